"""What a Key Object Selection must be to serve as an XDS-I.b manifest, as findings, all at once.

DICOM PS3.3: A.35.4, C.17.6 (modules), C.17.3 (content); PS3.16: TID 2010, CID 7010; IHE RAD TF XDS-I.b
(retrieve keys of each series), RAD IOCM (rejection notes).
"""

from __future__ import annotations

from collections.abc import Iterator

from xds.errors import ErrorCode, Finding, Severity
from xds.imaging import evidence, part10, reading, tags, text
from xds.imaging.codes import DCM, KEY_OBJECT_SELECTION, document_title, is_rejection_note, value_type
from xds.imaging.elements import Elements, Malformed, first
from xds.imaging.manifest import InstanceReference, SeriesReference
from xds.imaging.reading import is_uid
from xds.metadata.identifiers import is_oid

MANIFEST_WITH_DESCRIPTION = ("131560", "MADOTEMP001", "ddd001")
"""Titles of a MADO manifest, which TID 2010 gets in a later edition than CID 7010 here."""

# Attributes that must have a value (type 1).  PS3.3: tables of the modules named.
_TYPE_1 = {
    tags.SOP_INSTANCE_UID: "SOP Instance UID (0008,0018), PS3.3: C.12.1",
    tags.STUDY_INSTANCE_UID: "Study Instance UID (0020,000D), PS3.3: C.7.2.1",
    tags.SERIES_INSTANCE_UID: "Series Instance UID (0020,000E), PS3.3: C.17.6.1",
    tags.SERIES_NUMBER: "Series Number (0020,0011), PS3.3: C.17.6.1",
    tags.INSTANCE_NUMBER: "Instance Number (0020,0013), PS3.3: C.17.6.2",
    tags.CONTENT_DATE: "Content Date (0008,0023), PS3.3: C.17.6.2",
    tags.CONTENT_TIME: "Content Time (0008,0033), PS3.3: C.17.6.2",
}
# Attributes that must be there, perhaps empty (type 2).
_TYPE_2 = {
    tags.PATIENT_NAME: "Patient's Name (0010,0010), PS3.3: C.7.1.1",
    tags.PATIENT_ID: "Patient ID (0010,0020), PS3.3: C.7.1.1",
    tags.PATIENT_BIRTH_DATE: "Patient's Birth Date (0010,0030), PS3.3: C.7.1.1",
    tags.PATIENT_SEX: "Patient's Sex (0010,0040), PS3.3: C.7.1.1",
    tags.STUDY_DATE: "Study Date (0008,0020), PS3.3: C.7.2.1",
    tags.STUDY_TIME: "Study Time (0008,0030), PS3.3: C.7.2.1",
    tags.ACCESSION_NUMBER: "Accession Number (0008,0050), PS3.3: C.7.2.1",
    tags.REFERRING_PHYSICIAN_NAME: "Referring Physician's Name (0008,0090), PS3.3: C.7.2.1",
    tags.STUDY_ID: "Study ID (0020,0010), PS3.3: C.7.2.1",
    tags.MANUFACTURER: "Manufacturer (0008,0070), PS3.3: C.7.5.1",
    tags.REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE: (
        "Referenced Performed Procedure Step Sequence (0008,1111), PS3.3: C.17.6.1"
    ),
}
# Values that are fixed.
_FIXED = {
    tags.MODALITY: ("KO", "Modality (0008,0060), PS3.3: C.17.6.1"),
    tags.VALUE_TYPE: ("CONTAINER", "Value Type (0040,A040), PS3.3: C.17.3"),
    tags.CONTINUITY_OF_CONTENT: ("SEPARATE", "Continuity of Content (0040,A050), PS3.16: TID 2010"),
}
_EVIDENCE = "Current Requested Procedure Evidence Sequence (0040,A375)"


def check(data: bytes) -> list[Finding]:
    """Everything that is wrong with a manifest; nothing when it is right.

    Of instances at fault the number is told, not each one.  Never raises.
    """
    try:
        document = part10.parse(data)
        root = document.root
        sop_class = root.uid(tags.SOP_CLASS_UID)
        if sop_class != KEY_OBJECT_SELECTION:
            return [_finding("SOP Class UID (0008,0016) is not Key Object Selection Document, PS3.3: A.35.4")]
        studies = evidence.read_evidence(root)
        content = evidence.read_content(root)
        rules = (
            *_attributes(root),
            *_file_meta(document, root),
            *_title(root),
            *_studies(root, studies),
            *_series(studies, is_mado=_is_mado(root)),
            *_trees(root, studies, content),
        )
        return [_finding(problem) for problem in rules] + [
            Finding(found.code, found.context, severity=Severity.WARNING)
            for found in map(_finding, _value_types(content))
        ]
    except Malformed as problem:
        return [_finding(f"not readable: {problem}")]


def _finding(context: str) -> Finding:
    return Finding(ErrorCode.INVALID_DOCUMENT_CONTENT, f"manifest: {context}")


def _attributes(root: Elements) -> Iterator[str]:
    for tag, name in _TYPE_1.items():
        if not first(root, tag):
            yield f"{name}: a value is required (type 1)"
    for tag, name in _TYPE_2.items():
        if not root.has(tag):
            yield f"{name}: must be present, though it may be empty (type 2)"
    for tag, (value, name) in _FIXED.items():
        if first(root, tag) != value:
            yield f"{name}: must be {value}"
    for tag in (tags.SOP_INSTANCE_UID, tags.STUDY_INSTANCE_UID, tags.SERIES_INSTANCE_UID):
        if first(root, tag) and not is_uid(first(root, tag)):
            yield f"{_TYPE_1[tag]}: malformed UID, PS3.5: 9"
    for tag in (tags.CONTENT_DATE, tags.STUDY_DATE):
        if first(root, tag) and not reading.date(root, tag):
            yield f"{(_TYPE_1 | _TYPE_2)[tag]}: no date of the form YYYYMMDD, PS3.5: 6.2"
    offset = first(root, tags.TIMEZONE_OFFSET_FROM_UTC)
    if offset and not text.is_offset(offset):
        yield "Timezone Offset From UTC (0008,0201), PS3.3: C.12.1.1.8: not of the form +0100"


def _file_meta(document: part10.Part10, root: Elements) -> Iterator[str]:
    if document.meta.uid(tags.MEDIA_STORAGE_SOP_CLASS_UID) != KEY_OBJECT_SELECTION:
        yield "Media Storage SOP Class UID (0002,0002), PS3.10: 7.1: differs from (0008,0016)"
    if document.meta.uid(tags.MEDIA_STORAGE_SOP_INSTANCE_UID) != root.uid(tags.SOP_INSTANCE_UID):
        yield "Media Storage SOP Instance UID (0002,0003), PS3.10: 7.1: differs from (0008,0018)"


def _title(root: Elements) -> Iterator[str]:
    where = "Concept Name Code Sequence (0040,A043)"
    titles = reading.codes(root, tags.CONCEPT_NAME_CODE_SEQUENCE)
    if not titles:
        yield f"{where}, PS3.3: C.17.3: the document has no title"
    elif is_rejection_note(titles[0]):
        yield f"{where}, RAD IOCM: a rejection note is no manifest"
    elif _is_mado(root):
        return
    elif titles[0].scheme != DCM or document_title(titles[0].value) is None:
        yield f"{where}, PS3.16: CID 7010: the title is not in the context group"
    for template in root.items(tags.CONTENT_TEMPLATE_SEQUENCE):
        if first(template, tags.TEMPLATE_IDENTIFIER) != "2010":
            yield "Template Identifier (0040,DB00), PS3.3: C.17.3: must be 2010"


def _is_mado(root: Elements) -> bool:
    return any(
        title.value in MANIFEST_WITH_DESCRIPTION for title in reading.codes(root, tags.CONCEPT_NAME_CODE_SEQUENCE)
    )


def _studies(root: Elements, studies: tuple[evidence.StudyEvidence, ...]) -> Iterator[str]:
    if not studies:
        yield f"{_EVIDENCE}, PS3.3: C.17.6.2: required and not empty (type 1)"
        return
    if len({study.study_instance_uid for study in studies}) > 1:
        yield f"{_EVIDENCE}, RAD XDS-I.b: instances of more than one study"
    elif len(studies) > 1:
        yield f"{_EVIDENCE}, PS3.3: Table 10-4: a study is in it twice"
    elif studies[0].study_instance_uid != root.uid(tags.STUDY_INSTANCE_UID):
        yield f"{_EVIDENCE}, PS3.3: C.17.6.2: the study differs from Study Instance UID (0020,000D)"
    if any(not study.series for study in studies):
        yield "Referenced Series Sequence (0008,1115), PS3.3: Table 10-4: required and not empty (type 1)"


def _series(studies: tuple[evidence.StudyEvidence, ...], *, is_mado: bool) -> Iterator[str]:
    series = [one for study in studies for one in study.series]
    for problem, wrong in (
        ("Series Instance UID (0020,000E), PS3.5: 9: missing or malformed", _no_uid),
        ("Retrieve AE Title (0008,0054), RAD XDS-I.b: missing", _no_ae_title),
        ("Retrieve Location UID (0040,E011), RAD XDS-I.b: missing or malformed", _no_location),
        ("Referenced SOP Sequence (0008,1199), PS3.3: Table 10-3: required and not empty (type 1)", _no_instances),
    ):
        # MADO leaves the AE title to deployments.
        count = 0 if is_mado and wrong is _no_ae_title else sum(map(wrong, series))
        if count:
            yield f"{problem} in {count} of {len(series)} series"
    if len({one.series_instance_uid for one in series}) < len(series):
        yield "Referenced Series Sequence (0008,1115), PS3.3: Table 10-4: a series is in it twice"


def _no_uid(series: SeriesReference) -> bool:
    return not is_uid(series.series_instance_uid)


def _no_ae_title(series: SeriesReference) -> bool:
    return not series.retrieve_ae_title


def _no_location(series: SeriesReference) -> bool:
    return not is_oid(series.retrieve_location_uid)


def _no_instances(series: SeriesReference) -> bool:
    return not series.instances


def _trees(root: Elements, studies: tuple[evidence.StudyEvidence, ...], content: evidence.Content) -> Iterator[str]:
    listed = [instance for study in studies for series in study.series for instance in series.instances]
    in_evidence = {(one.sop_class_uid, one.sop_instance_uid) for one in listed}
    in_content = {(sop_class, uid) for _, sop_class, uid in content.references}
    yield from _instances(root, listed, in_evidence)
    where = "Content Sequence (0040,A730)"
    if not content.references:
        yield f"{where}, PS3.16: TID 2010: refers to no instance"
    if missing := len(in_evidence - in_content):
        yield f"{where}, PS3.3: C.17.6.2.1: {missing} instances of the evidence are not referred to"
    if missing := len(in_content - in_evidence):
        yield f"{_EVIDENCE}, PS3.3: C.17.6.2.1: {missing} instances that the content refers to are not in it"


def _value_types(content: evidence.Content) -> Iterator[str]:
    # A warning: products that write IMAGE throughout are many, and readers go by the SOP class.
    if wrong := sum(kind != value_type(sop_class) for kind, sop_class, _ in content.references if sop_class):
        yield f"Value Type (0040,A040), PS3.16: TID 2010: does not fit the SOP class in {wrong} references"


def _instances(root: Elements, listed: list[InstanceReference], distinct: set[tuple[str, str]]) -> Iterator[str]:
    classes = {sop_class for sop_class, _ in distinct}
    if not all(map(is_uid, classes)):
        yield "Referenced SOP Class UID (0008,1150), PS3.5: 9: missing or malformed"
    if wrong := sum(not is_uid(uid) for _, uid in distinct):
        yield f"Referenced SOP Instance UID (0008,1155), PS3.5: 9: missing or malformed in {wrong} instances"
    if len({uid for _, uid in distinct}) < len(listed):
        yield f"{_EVIDENCE}, PS3.3: Table 10-3: an instance is in it twice"
    own = root.uid(tags.SOP_INSTANCE_UID)
    if own and any(uid == own for _, uid in distinct):
        yield f"{_EVIDENCE}, RAD XDS-I.b: the manifest lists itself"
