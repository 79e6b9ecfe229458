"""One good thing of each kind, for tests to spoil."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from xds.ebxml import rim
from xds.ebxml.rim import LocalizedString
from xds.errors import Refused, Severity
from xds.metadata import from_ebxml
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.datatypes import Author, Code, Dtm, ReferenceId, Xcn, Xon
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import EntryUuid, Oid, PatientId, UniqueId, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AssociationType

AUTHORITY = Oid("1.2.3.4.5")
ANNA = PatientId("anna", AUTHORITY)
BERT = PatientId("bert", AUTHORITY)
REPOSITORY = Oid("1.2.3.4.6")
SOURCE = Oid("1.2.3.4.7")
LOINC = "2.16.840.1.113883.6.1"
DCM = "1.2.840.10008.2.16.4"

_numbers = itertools.count(1)


def count_from(number: int) -> None:
    """Make uniqueIds from this number on: a forked process would make those of the others."""
    global _numbers
    _numbers = itertools.count(number)


def a_unique_id() -> UniqueId:
    return UniqueId(f"2.25.{next(_numbers)}.1")


def text(value: str) -> tuple[LocalizedString, ...]:
    return (LocalizedString(value),)


def an_entry(**changes: Any) -> DocumentEntry:
    entry = DocumentEntry(
        entry_uuid=new_entry_uuid(),
        unique_id=a_unique_id(),
        patient_id=ANNA,
        class_code=Code("IMAGES", "1.3.6.1.4.1.19376.1.2.6.1", "Images"),
        type_code=Code("18748-4", LOINC, "Diagnostic imaging study"),
        format_code=Code("1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.2.6.1", "Key Object Selection Document"),
        healthcare_facility_type_code=Code("HOSP", "2.16.840.1.113883.5.111", "Hospital"),
        practice_setting_code=Code("394914008", "2.16.840.1.113883.6.96", "Radiology"),
        confidentiality_code=(Code("N", "2.16.840.1.113883.5.25", "normal"),),
        language_code="en-US",
        mime_type="application/dicom",
        source_patient_id=PatientId("mrn-1", Oid("1.2.3.4.9")),
        creation_time=Dtm("20240102030405"),
        hash="da39a3ee5e6b4b0d3255bfef95601890afd80709",
        size=0,
        repository_unique_id=REPOSITORY,
        author=(Author(Xcn("^Röntgen^Wilhelm"), (Xon("General Hospital"),)),),
        event_code_list=(Code("CT", DCM, "Computed Tomography"),),
        reference_id_list=(ReferenceId.of("1.2.840.1", "urn:ihe:iti:xds:2016:studyInstanceUID"),),
        service_start_time=Dtm("202401020300"),
        source_patient_info=("PID-3|mrn-1^^^&1.2.3.4.9&ISO", "PID-5|Müller^Anna", "PID-7|19560527", "PID-8|F"),
        title=text("CT thorax"),
    )
    return replace(entry, **changes)


def a_submission_set(**changes: Any) -> SubmissionSet:
    value = SubmissionSet(
        entry_uuid=new_entry_uuid(),
        unique_id=a_unique_id(),
        source_id=SOURCE,
        patient_id=ANNA,
        content_type_code=Code("IMG", "1.2.3.4.10", "Imaging"),
        submission_time=Dtm("20240102030405"),
    )
    return replace(value, **changes)


def a_folder(**changes: Any) -> Folder:
    value = Folder(
        entry_uuid=new_entry_uuid(),
        unique_id=a_unique_id(),
        patient_id=ANNA,
        code_list=(Code("ONC", "1.2.3.4.11", "Oncology"),),
        title=text("Oncology"),
    )
    return replace(value, **changes)


def an_association(type_: str, source: str, target: str, **changes: Any) -> Association:
    value = Association(entry_uuid=new_entry_uuid(), type=type_, source=source, target=target)
    return replace(value, **changes)


def a_submission(
    *,
    patient: PatientId = ANNA,
    entries: list[DocumentEntry] | None = None,
    folders: list[Folder] | None = None,
    relations: list[Association] | None = None,
    **set_changes: Any,
) -> Submission:
    """A whole submission: each entry, folder and folder membership is a member of the set."""
    entries = [an_entry(patient_id=patient)] if entries is None else entries
    folders = folders or []
    relations = relations or []
    set_ = a_submission_set(patient_id=patient, **set_changes)
    member = AssociationType.HAS_MEMBER
    folder_ids = {f.entry_uuid for f in folders}
    original = SubmissionSetStatus.ORIGINAL
    associations = [
        *(an_association(member, set_.entry_uuid, e.entry_uuid, submission_set_status=original) for e in entries),
        *(an_association(member, set_.entry_uuid, f.entry_uuid) for f in folders),
        *relations,
        *(
            an_association(member, set_.entry_uuid, r.entry_uuid)
            for r in relations
            if r.type == member and r.source in folder_ids
        ),
    ]
    return Submission(set_, tuple(entries), tuple(folders), tuple(associations))


def symbolic(submission: Submission) -> Submission:
    """The same with symbolic ids, as most sources send."""
    ids = {item.entry_uuid: EntryUuid(f"object{n}") for n, item in enumerate(submission.objects())}
    return Submission(
        replace(submission.submission_set, entry_uuid=ids[submission.submission_set.entry_uuid]),
        tuple(replace(e, entry_uuid=ids[e.entry_uuid]) for e in submission.document_entries),
        tuple(replace(f, entry_uuid=ids[f.entry_uuid]) for f in submission.folders),
        tuple(
            replace(
                a, entry_uuid=ids[a.entry_uuid], source=ids.get(a.source, a.source), target=ids.get(a.target, a.target)
            )
            for a in submission.associations
        ),
    )


def submission_of(objects: rim.RegistryObjectList) -> Submission:
    """The submission that a SubmitObjectsRequest holds.

    Raises:
        Refused: something is missing, malformed or not of a submission's shape; all of it is named.
    """
    found = from_ebxml.read(objects)
    if any(finding.severity is Severity.ERROR for finding in found.findings):
        raise Refused(found.findings)
    return found.submission
