"""What images and manifests say in the same words: the patient, the orders, codes.

DICOM PS3.3: C.7.1.1 (Patient), C.7.2.1 (General Study), 8.8 (codes), 10.14 (HL7 v2 hierarchic designator).
"""

from __future__ import annotations

import re

from xds.imaging import tags, text
from xds.imaging.elements import Reader, first
from xds.imaging.manifest import Code, Patient, Request
from xds.metadata.identifiers import is_oid

# Schemes of SNOMED CT's numbers: SCT, and the names of old that some senders put before a number.
_SNOMED = frozenset(("SCT", "99SCT", "2.16.840.1.113883.6.96"))


_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def is_uid(value: str) -> bool:
    """Whether it is a UID of DICOM.  PS3.5: 9.1.

    Leading zeros, which the clause forbids, and roots that were never registered are let pass: archives
    hold them, and the instance is called so everywhere.
    """
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def name(reader: Reader, tag: int) -> str:
    """The first value of a PN, with each group that it has; ``text.alphabetic`` gives what sorts and searches."""
    groups = (group.rstrip("^ ") for group in text.Name.parse(first(reader, tag)))
    return text.Name(*groups).text


def date(reader: Reader, tag: int) -> str:
    """A DA as YYYYMMDD; empty when it is missing, partial or no day."""
    value = first(reader, tag).replace(".", "").replace("-", "")
    return value if re.fullmatch(r"[0-9]{8}", value) and text.utc(value, "", "") else ""


def time(reader: Reader, tag: int) -> str:
    """A TM as HHMMSS.FFFFFF or a beginning of it; empty when it is missing or none."""
    value = first(reader, tag).replace(":", "")
    pattern = r"([01][0-9]|2[0-3])([0-5][0-9](([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?"
    return value if re.fullmatch(pattern, value) else ""


def issuer_oid(reader: Reader, tag: int) -> str:
    """The OID in a sequence that names an assigning authority; empty when there is none."""
    for item in reader.items(tag):
        value = first(item, tags.UNIVERSAL_ENTITY_ID)
        # Type ISO is an OID; some senders leave the type out.
        if first(item, tags.UNIVERSAL_ENTITY_ID_TYPE) in ("ISO", "") and is_oid(value):
            return value
    return ""


def patient(reader: Reader) -> Patient:
    sex = first(reader, tags.PATIENT_SEX).upper()
    return Patient(
        id=first(reader, tags.PATIENT_ID),
        issuer=first(reader, tags.ISSUER_OF_PATIENT_ID),
        issuer_oid=issuer_oid(reader, tags.ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE),
        name=name(reader, tags.PATIENT_NAME),
        birth_date=date(reader, tags.PATIENT_BIRTH_DATE),
        sex=sex if sex in ("M", "F", "O") else "",
    )


def request(reader: Reader) -> Request:
    """One item of a request sequence, or the General Study module itself."""
    accession = first(reader, tags.ACCESSION_NUMBER)
    placer = first(reader, tags.PLACER_ORDER_NUMBER)
    return Request(
        accession_number=accession,
        accession_issuer_oid=issuer_oid(reader, tags.ISSUER_OF_ACCESSION_NUMBER_SEQUENCE) if accession else "",
        placer_order_number=placer,
        placer_issuer_oid=issuer_oid(reader, tags.ORDER_PLACER_IDENTIFIER_SEQUENCE) if placer else "",
        filler_order_number=first(reader, tags.FILLER_ORDER_NUMBER),
        requested_procedure_id=first(reader, tags.REQUESTED_PROCEDURE_ID),
    )


def requests(reader: Reader, sequence: int) -> tuple[Request, ...]:
    """Every order, each once, from a request sequence; the study's accession number where it has none.

    An item without an accession number gets the study's: (0008,0050) holds the one they share.
    """
    study = request(reader)
    found: dict[Request, None] = {}
    for item in reader.items(sequence):
        one = request(item)
        if study.accession_number and one.accession_number in ("", study.accession_number):
            one = _with_accession(one, study)
        found[one] = None
    found.pop(Request(), None)
    if study.accession_number and not any(r.accession_number == study.accession_number for r in found):
        found[Request(study.accession_number, study.accession_issuer_oid)] = None
    return tuple(found)


def _with_accession(one: Request, study: Request) -> Request:
    return Request(
        study.accession_number,
        one.accession_issuer_oid or study.accession_issuer_oid,
        one.placer_order_number,
        one.placer_issuer_oid,
        one.filler_order_number,
        one.requested_procedure_id,
    )


def code(reader: Reader) -> Code | None:
    """One item of a code sequence; ``None`` when its value or scheme is missing."""
    value = (
        first(reader, tags.CODE_VALUE)
        or first(reader, tags.LONG_CODE_VALUE)
        or reader.whole(tags.URN_CODE_VALUE).strip()
    )
    scheme = first(reader, tags.CODING_SCHEME_DESIGNATOR)
    if scheme in _SNOMED or (scheme in ("SRT", "SNM3") and value.isdigit()):
        scheme = "SCT"
    return Code(value, scheme, first(reader, tags.CODE_MEANING)) if value and scheme else None


def codes(reader: Reader, tag: int) -> tuple[Code, ...]:
    """The codes of a sequence, each once."""
    found = (code(item) for item in reader.items(tag))
    return tuple(dict.fromkeys(one for one in found if one))
