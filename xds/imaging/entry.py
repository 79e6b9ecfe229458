"""A study and its manifest as the DocumentEntry that RAD-68 submits.

IHE RAD TF-2: 4.68; RAD XDS-I.b metadata (Volume 3); ITI TF-3: 4.2.3.2.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from xds.ebxml.rim import LocalizedString
from xds.imaging import codes
from xds.imaging.group import Study
from xds.imaging.manifest import Code as DicomCode
from xds.imaging.manifest import Manifest, Request
from xds.imaging.text import xpn
from xds.metadata import vocabulary as v
from xds.metadata.datatypes import Author, Code, Dtm, ReferenceId, Xcn, Xon, escape
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import EntryUuid, Oid, PatientId, UniqueId, is_oid

VALUE_LIMIT = 256
"""Characters of a slot's value, a code or an identifier (rim.xsd, LongName)."""

DICOM_UID_REGISTRY = "1.2.840.10008.2.6.1"
MIME_TYPE = "application/dicom"

# PS3.16: 8, coding scheme designators of DICOM and the OIDs that XDS wants.
SCHEMES = {
    "DCM": "1.2.840.10008.2.16.4",
    "SCT": "2.16.840.1.113883.6.96",
    "SRT": "2.16.840.1.113883.6.96",
    "SNM3": "2.16.840.1.113883.6.96",
    "LN": "2.16.840.1.113883.6.1",
    "RADLEX": "2.16.840.1.113883.6.256",
    "RADELEMENT": "2.16.840.1.113883.6.256",
}

FORMAT_CODE = Code(codes.KEY_OBJECT_SELECTION, DICOM_UID_REGISTRY, "Key Object Selection Document")


_IMAGES = Code("IMAGES", "1.3.6.1.4.1.19376.1.2.6.1", "Images")
_IMAGING_STUDY = Code("18748-4", "2.16.840.1.113883.6.1", "Diagnostic imaging study")
_RADIOLOGY = Code("394914008", "2.16.840.1.113883.6.96", "Radiology")
_HOSPITAL = Code("22232009", "2.16.840.1.113883.6.96", "Hospital")
_NORMAL = Code("N", "2.16.840.1.113883.5.25", "normal")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the images cannot say and the affinity domain decides."""

    authority: Oid  # of patient ids and accession numbers whose issuer the images do not name
    class_code: Code = _IMAGES
    type_code: Code = _IMAGING_STUDY
    practice_setting_code: Code = _RADIOLOGY
    healthcare_facility_type_code: Code = _HOSPITAL
    confidentiality_code: Code = _NORMAL
    language_code: str = "en"


def document_entry(
    study: Study, manifest: Manifest, content: bytes, patient_id: PatientId, defaults: Defaults, entry_uuid: str
) -> DocumentEntry:
    """The entry of a manifest, of the patient as the affinity domain knows them."""
    patient = manifest.patient
    authority = Oid(patient.issuer_oid) if is_oid(patient.issuer_oid) else defaults.authority
    source_patient_id = PatientId(_component(patient.id) or "unknown", authority)
    if len(str(source_patient_id)) > VALUE_LIMIT:
        source_patient_id = PatientId("unknown", authority)  # the beginning of an id is another one
    return DocumentEntry(
        entry_uuid=EntryUuid(entry_uuid),
        unique_id=UniqueId(manifest.sop_instance_uid),
        patient_id=patient_id,
        class_code=defaults.class_code,
        type_code=_type_code(study, defaults),
        format_code=FORMAT_CODE,
        healthcare_facility_type_code=defaults.healthcare_facility_type_code,
        practice_setting_code=defaults.practice_setting_code,
        confidentiality_code=(defaults.confidentiality_code,),
        language_code=defaults.language_code,
        mime_type=MIME_TYPE,
        source_patient_id=source_patient_id,
        creation_time=Dtm.of(manifest.created),
        hash=hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        size=len(content),
        author=_authors(study, manifest),
        event_code_list=_event_codes(study),
        reference_id_list=_references(manifest, defaults.authority),
        service_start_time=Dtm.of(study.study_date_time) if study.study_date_time else None,
        service_stop_time=Dtm.of(study.last_date_time) if study.last_date_time else None,
        source_patient_info=_patient_info(manifest, source_patient_id),
        title=(LocalizedString((plain(study.description) or manifest.title.meaning)[:120]),),
    )


_NOT_TEXT = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def plain(text: str) -> str:
    """What the images say as XML can hold it: in NFC, without control characters, blanks single.

    DICOM forbids control characters in most values; archives hold them all the same.
    """
    return " ".join(unicodedata.normalize("NFC", _NOT_TEXT.sub(" ", text)).split())


def _component(text: str) -> str:
    """An identifier's characters that a CX component can hold unescaped."""
    return plain("".join(c for c in text if c not in "^&~|\\"))


def _coded(code: DicomCode) -> Code | None:
    value, scheme = plain(code.value), plain(code.scheme)
    scheme = SCHEMES.get(scheme, scheme)
    if not value or not scheme or max(len(value), len(scheme)) > VALUE_LIMIT:
        return None
    return Code(value, scheme, plain(code.meaning) or value)


def _type_code(study: Study, defaults: Defaults) -> Code:
    """The procedure's code, where the study has one under a scheme that others know."""
    for procedure in study.procedure_codes:
        code = _coded(procedure)
        if code is not None and is_oid(code.scheme):
            return code
    return defaults.type_code


def _event_codes(study: Study) -> tuple[Code, ...]:
    """Acquisition modalities, then anatomy: as coded, and the coarse regions that searches go by."""
    found = (*study.acquisition_modalities, *study.body_parts, *study.regions)
    coded = (_coded(one) for one in found)
    return tuple({code.key: code for code in coded if code is not None}.values())


def _authors(study: Study, manifest: Manifest) -> tuple[Author, ...]:
    names = dict.fromkeys(s.performing_physician for s in study.series if s.performing_physician)
    institution = escape(plain(manifest.institution_name))
    institutions = (Xon(institution),) if 0 < len(institution) <= VALUE_LIMIT else ()
    people = dict.fromkeys(filter(None, map(_person, names)))
    if people or not institutions:
        return tuple(Author(person, institutions) for person in people)
    return (Author(None, institutions),)


def _person(name: str) -> Xcn | None:
    """A PN as XCN, which wants a last name: where there is none, the first part that there is."""
    last, *others = xpn(plain(name)).split("^")
    parts = (last, *others) if last else tuple(filter(None, others))[:1]
    text = "^".join(("", *parts))
    return Xcn(text) if parts and len(text) <= VALUE_LIMIT else None


def _references(manifest: Manifest, authority: Oid) -> tuple[ReferenceId, ...]:
    """Study UID, accession and order numbers, each once."""
    found = [ReferenceId.of(manifest.study_instance_uid, v.REFERENCE_STUDY)]
    for request in manifest.requests:
        found += _request_references(request, authority)
    return tuple(dict.fromkeys(found))


def _request_references(request: Request, authority: Oid) -> list[ReferenceId]:
    numbers = (
        (request.accession_number, v.REFERENCE_ACCESSION, request.accession_issuer_oid),
        (request.placer_order_number, v.REFERENCE_ORDER, request.placer_issuer_oid),
    )
    found = [ReferenceId.of(plain(one), kind, issuer or authority) for one, kind, issuer in numbers if plain(one)]
    return [reference for reference in found if len(reference.text) <= VALUE_LIMIT]


def _date(text: str) -> str:
    """A date that is one, or nothing: images are not always right about it."""
    try:
        return Dtm(plain(text)).text
    except ValueError:
        return ""


def _patient_info(manifest: Manifest, id_: PatientId) -> tuple[str, ...]:
    """PID-3, 5, 7 and 8 as the images have them.  ITI TF-3: 4.2.3.2.23."""
    patient = manifest.patient
    name = xpn(plain(patient.name))
    values = {"PID-3": str(id_), "PID-5": name, "PID-7": _date(patient.birth_date), "PID-8": patient.sex}
    written = (f"{field}|{value}" for field, value in values.items() if value.strip("^"))
    return tuple(value for value in written if len(value) <= VALUE_LIMIT)
