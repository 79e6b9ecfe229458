"""A manifest as a DICOM Key Object Selection, and back.

DICOM PS3.3: A.35.4 (the IOD and its modules); PS3.16: TID 2010 (content); PS3.10: 7 (file).  The modules
are pydicom's work, the two trees that grow with the number of instances are ``evidence.py``'s.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from xds.imaging import evidence, part10, reading, tags, text
from xds.imaging.codes import KEY_OBJECT_SELECTION
from xds.imaging.elements import Elements, Malformed, first
from xds.imaging.kos_rules import check
from xds.imaging.manifest import Code, Manifest, Request
from xds.imaging.reading import is_uid
from xds.metadata.identifiers import is_oid

__all__ = ["NotAManifest", "check", "read", "write"]


class NotAManifest(ValueError):
    """The bytes are no Key Object Selection that lists instances of one study.

    The message says what is missing and holds nothing of the document.
    """


MOST_BYTES = 64 * 1024 * 1024
"""Of a manifest that is read: some 200,000 instances."""


def write(manifest: Manifest) -> bytes:
    """The manifest as a Part 10 file in Explicit VR Little Endian.

    Identifiers are written as they are, though longer than their VR allows; other text is cut to it.

    Raises:
        ValueError: it lists nothing, lists an instance twice, holds a malformed UID or has a time or an
            offset that is none.
    """
    _demand(manifest)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _patient(dataset, manifest)
    _study(dataset, manifest)
    _document(dataset, manifest)
    split = tags.CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE
    return b"".join(
        (
            part10.file_head(KEY_OBJECT_SELECTION, manifest.sop_instance_uid, part10.EXPLICIT_LITTLE),
            _encoded(dataset[:split]),
            evidence.encode_evidence(manifest),
            _encoded(dataset[split:]),
            evidence.encode_content(manifest),  # (0040,A730), greater than all the others
        )
    )


def _demand(manifest: Manifest) -> None:
    if not manifest.count:
        raise ValueError("a manifest lists at least one instance (PS3.3: Table 10-4)")
    if any(not series.instances for series in manifest.series):
        raise ValueError("a series of a manifest lists at least one instance (PS3.3: Table 10-3)")
    if manifest.created.utcoffset() != timedelta(0) or not text.is_offset(manifest.timezone_offset):
        raise ValueError("a manifest's time of creation is in UTC, its offset of the form +0100")
    uids = {manifest.sop_instance_uid, manifest.series_instance_uid, manifest.study_instance_uid}
    uids.update(series.series_instance_uid for series in manifest.series)
    listed = {instance.sop_instance_uid for _, instance in manifest.instances()}
    classes = {instance.sop_class_uid for _, instance in manifest.instances()}
    if not all(map(is_uid, uids | listed | classes)) or not all(map(is_oid, manifest.retrieve_location_uids)):
        raise ValueError("a UID of the manifest is malformed (PS3.5: 9)")
    if len(listed) != manifest.count:
        raise ValueError("a manifest lists an instance once")
    if manifest.sop_instance_uid in listed:
        raise ValueError("a manifest does not list itself")


def _encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    out = DicomIO(buffer)
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, dataset, "utf8")
    return buffer.getvalue()


def _plain(value: str, limit: int = 64) -> str:
    """Text without the characters that separate values or that LO and PN forbid.  PS3.5: Table 6.2-1."""
    value = value.replace("\\", "/")
    return "".join(character for character in value if character.isprintable()).strip()[:limit]


def _identifier(value: str) -> str:
    """An identifier: never cut, because another would come of it.  Accession numbers often pass 16."""
    return _plain(value, limit=1024)


def _patient(dataset: Dataset, manifest: Manifest) -> None:
    """Patient module.  PS3.3: C.7.1.1."""
    patient = manifest.patient
    dataset.PatientName = _plain(patient.name)
    dataset.PatientID = _identifier(patient.id)
    if patient.issuer:
        dataset.IssuerOfPatientID = _plain(patient.issuer)
    if patient.issuer_oid:
        dataset.IssuerOfPatientIDQualifiersSequence = _issuer(patient.issuer_oid)
    dataset.PatientBirthDate = patient.birth_date
    dataset.PatientSex = patient.sex


def _study(dataset: Dataset, manifest: Manifest) -> None:
    """General Study module.  PS3.3: C.7.2.1."""
    dataset.StudyInstanceUID = manifest.study_instance_uid
    dataset.StudyDate = manifest.study_date
    dataset.StudyTime = manifest.study_time
    dataset.ReferringPhysicianName = _plain(manifest.referring_physician)
    dataset.StudyID = _plain(manifest.study_id, 16)
    if manifest.study_description:
        dataset.StudyDescription = _plain(manifest.study_description)
    accessions = {(one.accession_number, one.accession_issuer_oid) for one in manifest.requests}
    # Several: empty here, each in its item of the Referenced Request Sequence.
    number, issuer = accessions.pop() if len(accessions) == 1 else ("", "")
    dataset.AccessionNumber = _identifier(number)
    if issuer:
        dataset.IssuerOfAccessionNumberSequence = _issuer(issuer)


def _document(dataset: Dataset, manifest: Manifest) -> None:
    """Series, Equipment, Key Object Document, SR Document Content, SOP Common.

    PS3.3: C.17.6.1, C.7.5.1, C.17.6.2, C.17.3, C.12.1.
    """
    created = manifest.created.astimezone(text.zone(manifest.timezone_offset))
    dataset.Modality = "KO"
    dataset.SeriesInstanceUID = manifest.series_instance_uid
    dataset.SeriesNumber = 1
    dataset.ReferencedPerformedProcedureStepSequence = Sequence()
    dataset.Manufacturer = _plain(manifest.manufacturer)
    if manifest.institution_name:
        dataset.InstitutionName = _plain(manifest.institution_name)
    dataset.InstanceNumber = 1
    dataset.ContentDate = dataset.InstanceCreationDate = f"{created:%Y%m%d}"
    dataset.ContentTime = dataset.InstanceCreationTime = _time(created)
    if manifest.requests:
        dataset.ReferencedRequestSequence = Sequence(
            [_request(one, manifest.study_instance_uid) for one in manifest.requests]
        )
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = _code(manifest.title)
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ContentTemplateSequence = Sequence([Dataset()])
    dataset.ContentTemplateSequence[0].MappingResource = "DCMR"
    dataset.ContentTemplateSequence[0].TemplateIdentifier = "2010"
    dataset.SOPClassUID = KEY_OBJECT_SELECTION
    dataset.SOPInstanceUID = manifest.sop_instance_uid
    dataset.TimezoneOffsetFromUTC = manifest.timezone_offset


def _request(one: Request, study_instance_uid: str) -> Dataset:
    """An item of the Referenced Request Sequence.  PS3.3: Table C.17.6-2."""
    item = Dataset()
    item.StudyInstanceUID = study_instance_uid
    item.ReferencedStudySequence = Sequence()
    item.AccessionNumber = _identifier(one.accession_number)
    if one.accession_issuer_oid:
        item.IssuerOfAccessionNumberSequence = _issuer(one.accession_issuer_oid)
    item.PlacerOrderNumberImagingServiceRequest = _identifier(one.placer_order_number)
    if one.placer_issuer_oid:
        item.OrderPlacerIdentifierSequence = _issuer(one.placer_issuer_oid)
    item.FillerOrderNumberImagingServiceRequest = _identifier(one.filler_order_number)
    item.RequestedProcedureID = _identifier(one.requested_procedure_id)
    item.RequestedProcedureDescription = ""
    item.RequestedProcedureCodeSequence = Sequence()
    return item


def _issuer(oid: str) -> Sequence:
    """HL7v2 Hierarchic Designator macro.  PS3.3: Table 10-17."""
    item = Dataset()
    item.UniversalEntityID = oid
    item.UniversalEntityIDType = "ISO"
    return Sequence([item])


def _code(code: Code) -> Sequence:
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = _plain(code.meaning)
    return Sequence([item])


def _time(moment: datetime) -> str:
    return f"{moment:%H%M%S.%f}" if moment.microsecond else f"{moment:%H%M%S}"


def read(data: bytes, *, zone: str = "UTC", fallback_character_set: str = "") -> Manifest:
    """The manifest that a Part 10 file in any little endian transfer syntax holds.

    ``zone`` applies where the document has no Timezone Offset From UTC, ``fallback_character_set`` where
    it declares none.  Any title is taken; ``check`` is who minds.

    Raises:
        NotAManifest: it is no Key Object Selection, is damaged, or lists no instance of exactly one study.
        ValueError: there is no zone of that name.
    """
    text.zone(zone)
    try:
        root = part10.parse(data, fallback_character_set).root
        if root.uid(tags.SOP_CLASS_UID) != KEY_OBJECT_SELECTION:
            raise NotAManifest("not a Key Object Selection: another SOP Class UID (0008,0016)")
        studies = evidence.read_evidence(root)
        content = evidence.read_content(root, references=False)
        return _manifest(root, studies, content.description, zone)
    except Malformed as problem:
        raise NotAManifest(f"not readable: {problem}") from None


def _manifest(root: Elements, studies: tuple[evidence.StudyEvidence, ...], description: str, zone: str) -> Manifest:
    if sum(len(series.instances) for study in studies for series in study.series) == 0:
        raise NotAManifest("no evidence: (0040,A375) lists no instance (PS3.3: C.17.6.2)")
    if len(studies) != 1:
        raise NotAManifest("instances of several studies in (0040,A375); a manifest is of one")
    titles = reading.codes(root, tags.CONCEPT_NAME_CODE_SEQUENCE)
    if not titles:
        raise NotAManifest("no title: Concept Name Code Sequence (0040,A043) (PS3.3: C.17.3)")
    created, offset = _created(root, zone)
    return Manifest(
        sop_instance_uid=_uid(root, tags.SOP_INSTANCE_UID),
        series_instance_uid=_uid(root, tags.SERIES_INSTANCE_UID),
        study_instance_uid=_uid(root, tags.STUDY_INSTANCE_UID),
        created=created,
        patient=reading.patient(root),
        series=studies[0].series,
        title=titles[0],
        study_date=reading.date(root, tags.STUDY_DATE),
        study_time=reading.time(root, tags.STUDY_TIME),
        timezone_offset=offset,
        study_id=first(root, tags.STUDY_ID),
        study_description=first(root, tags.STUDY_DESCRIPTION),
        requests=reading.requests(root, tags.REFERENCED_REQUEST_SEQUENCE),
        referring_physician=reading.name(root, tags.REFERRING_PHYSICIAN_NAME),
        institution_name=first(root, tags.INSTITUTION_NAME),
        manufacturer=first(root, tags.MANUFACTURER),
        description=description,
    )


def _uid(root: Elements, tag: int) -> str:
    value = root.uid(tag)
    if not is_uid(value):
        raise NotAManifest(f"no UID in ({tag >> 16:04X},{tag & 0xFFFF:04X})")
    return value


def _created(root: Elements, zone: str) -> tuple[datetime, str]:
    """When it was made, in UTC, and the offset that its times are at."""
    declared = first(root, tags.TIMEZONE_OFFSET_FROM_UTC)
    for day, clock in (
        (tags.INSTANCE_CREATION_DATE, tags.INSTANCE_CREATION_TIME),
        (tags.CONTENT_DATE, tags.CONTENT_TIME),
    ):
        created = text.utc(first(root, day), first(root, clock), declared, zone)
        if created is not None:
            offset = declared if text.is_offset(declared) else text.offset(created.astimezone(text.zone(zone)))
            return created, offset
    raise NotAManifest("no date: Content Date (0008,0023) (PS3.3: C.17.6.2)")
