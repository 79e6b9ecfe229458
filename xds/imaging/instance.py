"""One DICOM file as facts: what a manifest and a DocumentEntry need to know of an instance.

DICOM PS3.3: C.7.1 (patient), C.7.2.1 (study), C.7.3.1 (series), C.12.1 (SOP Common), 10.6 (Request Attributes).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xds.imaging import evidence, part10, reading, tags
from xds.imaging.codes import KEY_OBJECT_SELECTION, is_rejection_note
from xds.imaging.dicom import NotDicom, form, read_header
from xds.imaging.elements import Malformed, Reader, first, integer
from xds.imaging.manifest import Code, Patient, Request

_WANTED = (
    *(tags.SOP_CLASS_UID, tags.SOP_INSTANCE_UID, tags.STUDY_INSTANCE_UID, tags.SERIES_INSTANCE_UID),
    *(tags.STUDY_DATE, tags.STUDY_TIME, tags.SERIES_DATE, tags.SERIES_TIME, tags.ACQUISITION_DATE),
    *(tags.ACQUISITION_TIME, tags.TIMEZONE_OFFSET_FROM_UTC, tags.SPECIFIC_CHARACTER_SET),
    *(tags.ACCESSION_NUMBER, tags.ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, tags.REQUEST_ATTRIBUTES_SEQUENCE),
    *(tags.PLACER_ORDER_NUMBER, tags.FILLER_ORDER_NUMBER, tags.ORDER_PLACER_IDENTIFIER_SEQUENCE),
    *(tags.REFERENCED_REQUEST_SEQUENCE, tags.REQUESTED_PROCEDURE_ID, tags.STUDY_ID, tags.STUDY_DESCRIPTION),
    *(tags.PATIENT_NAME, tags.PATIENT_ID, tags.ISSUER_OF_PATIENT_ID, tags.PATIENT_BIRTH_DATE, tags.PATIENT_SEX),
    *(tags.ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, tags.MODALITY, tags.MANUFACTURER, tags.INSTITUTION_NAME),
    *(tags.REFERRING_PHYSICIAN_NAME, tags.PERFORMING_PHYSICIAN_NAME, tags.SERIES_DESCRIPTION),
    *(tags.SERIES_NUMBER, tags.INSTANCE_NUMBER, tags.NUMBER_OF_FRAMES, tags.BODY_PART_EXAMINED),
    *(tags.ANATOMIC_REGION_SEQUENCE, tags.PROCEDURE_CODE_SEQUENCE, tags.REQUESTED_PROCEDURE_CODE_SEQUENCE),
)


class NotAnInstance(ValueError):
    """The file holds no instance that could be listed or served; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One file's instance.  Dates and times are as the file has them, local, perhaps empty.

    ``dataset_begin`` and ``is_part10`` are as in ``dicom.Form``; ``timezone_offset`` is the file's own or
    empty.
    """

    path: Path
    size_bytes: int
    transfer_syntax_uid: str
    dataset_begin: int
    is_part10: bool
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient: Patient
    modality: str = ""
    timezone_offset: str = ""
    study_date: str = ""
    study_time: str = ""
    series_date: str = ""
    series_time: str = ""
    acquisition_date: str = ""
    acquisition_time: str = ""
    study_id: str = ""
    study_description: str = ""
    requests: tuple[Request, ...] = ()
    referring_physician: str = ""
    performing_physician: str = ""
    institution_name: str = ""
    manufacturer: str = ""
    series_number: int | None = None
    series_description: str = ""
    instance_number: int | None = None
    number_of_frames: int = 1
    body_part: str = ""
    anatomic_regions: tuple[Code, ...] = ()
    procedure_codes: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejection note: these instances are neither listed nor served.  IHE RAD IOCM.

    Each is named by its Study and SOP Instance UID: a note says nothing of other studies, whatever is in them.
    """

    path: Path
    instances: tuple[tuple[str, str], ...]


def read_file(path: Path, *, fallback_character_set: str = "") -> InstanceFacts | Rejection:
    """What one file holds.

    Raises:
        NotAnInstance: it is not DICOM, is damaged or cut off, lacks a UID, or is a DICOMDIR or a Key Object
            Selection that is no rejection note.
        OSError: it cannot be read.
    """
    try:
        encoding = form(path)
        if encoding.is_directory:
            raise NotAnInstance("a DICOMDIR, which is no instance")
        header = read_header(path, _WANTED, encoding, fallback_character_set)
        sop_class = first(header, tags.SOP_CLASS_UID)
        if sop_class == KEY_OBJECT_SELECTION:
            return _rejection(path)
        size = path.stat().st_size
        return _facts(path, size, header, encoding.transfer_syntax_uid, encoding.dataset_begin, encoding.is_part10)
    except (NotDicom, Malformed) as problem:
        raise NotAnInstance(str(problem)) from None


def _rejection(path: Path) -> Rejection:
    if path.stat().st_size > part10.SIZE_LIMIT:
        raise NotAnInstance("a Key Object Selection, which a manifest does not list")
    root = part10.parse(path.read_bytes()).root
    titles = reading.codes(root, tags.CONCEPT_NAME_CODE_SEQUENCE)
    if not titles or not is_rejection_note(titles[0]):
        raise NotAnInstance("a Key Object Selection, which a manifest does not list")
    studies = evidence.read_evidence(root)
    return Rejection(
        path,
        tuple(
            (study.study_instance_uid, i.sop_instance_uid)
            for study in studies
            for series in study.series
            for i in series.instances
        ),
    )


def _facts(
    path: Path, size: int, header: Reader, transfer_syntax: str, dataset_begin: int, is_part10: bool
) -> InstanceFacts:
    sequence = tags.REQUEST_ATTRIBUTES_SEQUENCE
    if not header.has(sequence) and header.has(tags.REFERENCED_REQUEST_SEQUENCE):
        sequence = tags.REFERENCED_REQUEST_SEQUENCE  # of SR documents
    return InstanceFacts(
        path=path,
        size_bytes=size,
        transfer_syntax_uid=transfer_syntax,
        dataset_begin=dataset_begin,
        is_part10=is_part10,
        sop_class_uid=_uid(header, tags.SOP_CLASS_UID, "SOP Class UID (0008,0016)"),
        sop_instance_uid=_uid(header, tags.SOP_INSTANCE_UID, "SOP Instance UID (0008,0018)"),
        series_instance_uid=_uid(header, tags.SERIES_INSTANCE_UID, "Series Instance UID (0020,000E)"),
        study_instance_uid=_uid(header, tags.STUDY_INSTANCE_UID, "Study Instance UID (0020,000D)"),
        patient=reading.patient(header),
        modality=first(header, tags.MODALITY),
        timezone_offset=first(header, tags.TIMEZONE_OFFSET_FROM_UTC),
        study_date=reading.date(header, tags.STUDY_DATE),
        study_time=reading.time(header, tags.STUDY_TIME),
        series_date=reading.date(header, tags.SERIES_DATE),
        series_time=reading.time(header, tags.SERIES_TIME),
        acquisition_date=reading.date(header, tags.ACQUISITION_DATE),
        acquisition_time=reading.time(header, tags.ACQUISITION_TIME),
        study_id=first(header, tags.STUDY_ID),
        study_description=first(header, tags.STUDY_DESCRIPTION),
        requests=reading.requests(header, sequence),
        referring_physician=reading.name(header, tags.REFERRING_PHYSICIAN_NAME),
        performing_physician=reading.name(header, tags.PERFORMING_PHYSICIAN_NAME),
        institution_name=first(header, tags.INSTITUTION_NAME),
        manufacturer=first(header, tags.MANUFACTURER),
        series_number=integer(header, tags.SERIES_NUMBER),
        series_description=first(header, tags.SERIES_DESCRIPTION),
        instance_number=integer(header, tags.INSTANCE_NUMBER),
        number_of_frames=integer(header, tags.NUMBER_OF_FRAMES) or 1,
        body_part=first(header, tags.BODY_PART_EXAMINED),
        anatomic_regions=reading.codes(header, tags.ANATOMIC_REGION_SEQUENCE),
        procedure_codes=_procedures(header),
    )


def _procedures(header: Reader) -> tuple[Code, ...]:
    performed = reading.codes(header, tags.PROCEDURE_CODE_SEQUENCE)
    if performed:
        return performed
    requested = list(reading.codes(header, tags.REQUESTED_PROCEDURE_CODE_SEQUENCE))
    for item in header.items(tags.REQUEST_ATTRIBUTES_SEQUENCE):
        requested += reading.codes(item, tags.REQUESTED_PROCEDURE_CODE_SEQUENCE)
    return tuple(dict.fromkeys(requested))


def _uid(header: Reader, tag: int, name: str) -> str:
    value = first(header, tag)
    if not reading.is_uid(value):
        raise NotAnInstance(f"{name} is {'malformed' if value else 'missing'}")
    return value
