"""The evidence and content trees of a Key Object Selection, encoded and walked by hand.

pydicom takes seconds for a manifest of ten thousand instances; these take milliseconds, and property
tests hold them against pydicom.  DICOM PS3.3: Table 10-4 and 10-3 (evidence), C.17.3 (content);
PS3.5: 7.1.2 (explicit VR), 7.5 (sequences); PS3.16: TID 2010.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xds.imaging import tags
from xds.imaging.codes import DCM, value_type
from xds.imaging.elements import Elements, Malformed, first
from xds.imaging.manifest import Code, InstanceReference, Manifest, SeriesReference
from xds.imaging.reading import code as read_code

KEY_OBJECT_DESCRIPTION = Code("113012", DCM, "Key Object Description")
INSTANCE_LIMIT = 250_000
"""Instances in one manifest; the largest studies have some tens of thousands."""

_REFERENCE_TYPES = frozenset(("IMAGE", "WAVEFORM", "COMPOSITE"))


@dataclass(frozen=True, slots=True)
class StudyEvidence:
    """One item of the Current Requested Procedure Evidence Sequence."""

    study_instance_uid: str
    series: tuple[SeriesReference, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """The content tree: the instances that it refers to, and the text of its description."""

    references: tuple[tuple[str, str, str], ...]  # value type, SOP class, SOP instance
    description: str


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """An element in explicit VR little endian, its value padded to even length."""
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr in (b"SQ", b"UC", b"UR", b"UT"):
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def sequence(tag: int, items: Iterable[bytes]) -> bytes:
    """A sequence of defined length."""
    return element(tag, b"SQ", b"".join(map(item, items)))


def item(content: bytes) -> bytes:
    """An item of defined length."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def code_sequence(tag: int, code: Code) -> bytes:
    """A sequence of one code.  PS3.3: Table 8.8-1."""
    value_tag = tags.CODE_VALUE if len(code.value) <= 16 else tags.LONG_CODE_VALUE
    value = element(value_tag, b"SH" if value_tag == tags.CODE_VALUE else b"UC", code.value.encode())
    rest = element(tags.CODING_SCHEME_DESIGNATOR, b"SH", code.scheme.encode())
    rest += element(tags.CODE_MEANING, b"LO", code.meaning.encode())
    return sequence(tag, [value + rest if value_tag == tags.CODE_VALUE else rest + value])


def encode_evidence(manifest: Manifest) -> bytes:
    """The Current Requested Procedure Evidence Sequence (0040,A375).  PS3.3: Table 10-4."""
    series = (_encode_series(one) for one in manifest.series)
    study = sequence(tags.REFERENCED_SERIES_SEQUENCE, series)
    study += element(tags.STUDY_INSTANCE_UID, b"UI", manifest.study_instance_uid.encode())
    return sequence(tags.CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, [study])


def _encode_series(series: SeriesReference) -> bytes:
    parts = []
    if series.retrieve_ae_title:
        parts.append(element(tags.RETRIEVE_AE_TITLE, b"AE", series.retrieve_ae_title.encode()))
    if series.retrieve_url:
        parts.append(element(tags.RETRIEVE_URL, b"UR", series.retrieve_url.encode()))
    parts.append(sequence(tags.REFERENCED_SOP_SEQUENCE, map(_encode_reference, series.instances)))
    parts.append(element(tags.SERIES_INSTANCE_UID, b"UI", series.series_instance_uid.encode()))
    if series.retrieve_location_uid:
        parts.append(element(tags.RETRIEVE_LOCATION_UID, b"UI", series.retrieve_location_uid.encode()))
    return b"".join(parts)


def _encode_reference(instance: InstanceReference) -> bytes:
    return element(tags.REFERENCED_SOP_CLASS_UID, b"UI", instance.sop_class_uid.encode()) + element(
        tags.REFERENCED_SOP_INSTANCE_UID, b"UI", instance.sop_instance_uid.encode()
    )


def encode_content(manifest: Manifest) -> bytes:
    """The root's Content Sequence (0040,A730).  PS3.16: TID 2010, rows 5 to 8."""
    tails = {
        kind: element(tags.RELATIONSHIP_TYPE, b"CS", b"CONTAINS") + element(tags.VALUE_TYPE, b"CS", kind.encode())
        for kind in ("TEXT", *_REFERENCE_TYPES)
    }
    kinds: dict[str, bytes] = {}
    items = []
    if manifest.description:
        name = code_sequence(tags.CONCEPT_NAME_CODE_SEQUENCE, KEY_OBJECT_DESCRIPTION)
        items.append(tails["TEXT"] + name + element(tags.TEXT_VALUE, b"UT", manifest.description.encode()))
    for _, instance in manifest.instances():
        tail = kinds.get(instance.sop_class_uid)
        if tail is None:
            tail = kinds[instance.sop_class_uid] = tails[value_type(instance.sop_class_uid)]
        items.append(sequence(tags.REFERENCED_SOP_SEQUENCE, [_encode_reference(instance)]) + tail)
    return sequence(tags.CONTENT_SEQUENCE, items)


def read_evidence(root: Elements) -> tuple[StudyEvidence, ...]:
    """Every study item, as it is, complete or not.

    Raises:
        Malformed: it is not readable, or lists more than ``INSTANCE_LIMIT`` instances.
    """
    left = INSTANCE_LIMIT
    found = []
    for study in root.items(tags.CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE):
        series = []
        for one in study.items(tags.REFERENCED_SERIES_SEQUENCE):
            reference = _read_series(one, left)
            left -= len(reference.instances)
            series.append(reference)
        found.append(StudyEvidence(first(study, tags.STUDY_INSTANCE_UID), tuple(series)))
    return tuple(found)


def _read_series(series: Elements, limit: int) -> SeriesReference:
    return SeriesReference(
        series_instance_uid=first(series, tags.SERIES_INSTANCE_UID),
        modality="",
        retrieve_ae_title=first(series, tags.RETRIEVE_AE_TITLE),
        retrieve_location_uid=first(series, tags.RETRIEVE_LOCATION_UID),
        retrieve_url=series.whole(tags.RETRIEVE_URL),
        instances=tuple(_read_references(series, limit)),
    )


def _read_references(parent: Elements, limit: int) -> Iterator[InstanceReference]:
    """The instances of a Referenced SOP Sequence."""
    for reference in parent.items(tags.REFERENCED_SOP_SEQUENCE):
        limit -= 1
        if limit < 0:
            raise Malformed(f"more than {INSTANCE_LIMIT} instances")
        yield InstanceReference(
            reference.uid(tags.REFERENCED_SOP_CLASS_UID), reference.uid(tags.REFERENCED_SOP_INSTANCE_UID)
        )


def read_content(root: Elements, *, references: bool = True) -> Content:
    """What the content tree says.  Containers within it, MADO's Image Library, are left aside.

    Raises:
        Malformed: it is not readable, or refers to more than ``INSTANCE_LIMIT`` instances.
    """
    found: list[tuple[str, str, str]] = []
    description = ""
    for one in root.items(tags.CONTENT_SEQUENCE):
        kind = one.uid(tags.VALUE_TYPE)
        if kind in _REFERENCE_TYPES:
            if references:
                left = INSTANCE_LIMIT - len(found)
                found += [(kind, r.sop_class_uid, r.sop_instance_uid) for r in _read_references(one, left)]
        elif kind == "TEXT" and not description and _is_description(one):
            description = one.whole(tags.TEXT_VALUE)
    return Content(tuple(found), description)


def _is_description(one: Elements) -> bool:
    for name in one.items(tags.CONCEPT_NAME_CODE_SEQUENCE):
        found = read_code(name)
        return found is not None and (found.value, found.scheme) == (KEY_OBJECT_DESCRIPTION.value, DCM)
    return False
