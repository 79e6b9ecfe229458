"""What a submission must be in itself.  ITI TF-3: 4.2.1.4; ITI TF-2: 3.42.4.1.3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from xds.errors import ErrorCode, Finding
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import is_entry_uuid
from xds.metadata.submission import MetadataObject, Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import RELATIONSHIPS, REPLACING, AssociationType


def _wrong(rule: str, clause: str, location: str = "") -> Finding:
    """A rule of ITI TF-3 that is broken."""
    return Finding(ErrorCode.REGISTRY_METADATA, f"{rule} (ITI TF-3: {clause})", location)


def holds_something(submission: Submission) -> Iterator[Finding]:
    """At least one entry, folder or folder membership.  ITI TF-3: 4.2.1.4."""
    if not submission.document_entries and not submission.folders and len(submission.associations) < 1:
        yield _wrong("SubmissionSet: a submission holds a DocumentEntry, a Folder or an Association", "4.2.1.4")


def one_patient(submission: Submission) -> Iterator[Finding]:
    """Every DocumentEntry and Folder is of the SubmissionSet's patient.  ITI TF-2: 3.42.4.1.3."""
    items: list[DocumentEntry | Folder] = [*submission.document_entries, *submission.folders]
    for item in items:
        if item.patient_id != submission.submission_set.patient_id:
            yield Finding(
                ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
                f"{type(item).__name__}.patientId differs from SubmissionSet.patientId (ITI TF-2: 3.42.4.1.3)",
                item.entry_uuid,
            )


def ids_once(submission: Submission) -> Iterator[Finding]:
    """No id and no uniqueId comes twice in the message.  ITI TF-3: Table 4.2.4.1-2."""
    ids = Counter(item.entry_uuid for item in submission.objects())
    for entry_uuid in (id_ for id_, count in ids.items() if count > 1):
        rule = "an id names two objects of the submission (ebRIM 3.0: 2.1)"
        yield Finding(ErrorCode.REGISTRY_METADATA, rule, entry_uuid)
    named: list[SubmissionSet | DocumentEntry | Folder]
    named = [submission.submission_set, *submission.document_entries, *submission.folders]
    for unique_id in (id_ for id_, count in Counter(i.unique_id for i in named).items() if count > 1):
        yield Finding(ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE, unique_id)


def members_of_the_set(submission: Submission) -> Iterator[Finding]:
    """The SubmissionSet has every entry, folder and folder membership as a member.  ITI TF-3: 4.2.1.4."""
    set_id = submission.submission_set.entry_uuid
    members = {a.target for a in submission.associations if a.source == set_id and a.type == AssociationType.HAS_MEMBER}
    folders = {folder.entry_uuid for folder in submission.folders}
    inner = [a for a in submission.associations if a.source in folders and a.type == AssociationType.HAS_MEMBER]
    items: list[MetadataObject] = [*submission.document_entries, *submission.folders, *inner]
    for item in items:
        if item.entry_uuid not in members:
            kind = type(item).__name__
            yield _wrong(f"{kind}: the SubmissionSet has no HasMember to it", "4.2.1.4", item.entry_uuid)


def associations_are_of_xds(submission: Submission) -> Iterator[Finding]:
    """Associations are of the types of ITI TF-3: Table 4.2.2-1."""
    for item in submission.associations:
        if item.type not in set(AssociationType):
            yield _wrong("Association.associationType is none of XDS", "Table 4.2.2-1", item.entry_uuid)


def relationships_are_of_entries(submission: Submission) -> Iterator[Finding]:
    """A relationship is of an entry of the submission to another entry.  ITI TF-3: 4.2.2.2."""
    entries = {entry.entry_uuid for entry in submission.document_entries}
    others = {item.entry_uuid for item in submission.objects()} - entries
    for item in submission.associations:
        if item.type not in RELATIONSHIPS:
            continue
        if item.source not in entries:
            yield _wrong("Association: the source of a relationship is in the submission", "4.2.2.2", item.entry_uuid)
        if item.target in others:
            yield _wrong("Association: the target of a relationship is a DocumentEntry", "4.2.2.2", item.entry_uuid)
        if item.type in REPLACING and item.target in entries:
            yield _wrong("Association: what is replaced is in the registry already", "4.2.2.2.3", item.entry_uuid)


def members_are_of_sets_and_folders(submission: Submission) -> Iterator[Finding]:
    """A set has members of all kinds, new entries as Original; a folder has entries.  ITI TF-3: 4.2.2.1."""
    set_id = submission.submission_set.entry_uuid
    entries = {entry.entry_uuid for entry in submission.document_entries}
    folders = {folder.entry_uuid for folder in submission.folders}
    inside = {item.entry_uuid for item in submission.objects()}
    for item in submission.associations:
        if item.type != AssociationType.HAS_MEMBER:
            continue
        if item.target == set_id:
            yield _wrong("Association: nothing has a SubmissionSet as member", "4.2.2.1", item.entry_uuid)
        elif item.source == set_id:
            if item.target in entries and item.submission_set_status is not SubmissionSetStatus.ORIGINAL:
                yield _wrong("Association.SubmissionSetStatus must be Original", "4.2.2.1.1", item.entry_uuid)
        elif item.source in inside - folders:
            yield _wrong("Association: only a SubmissionSet or Folder has members", "4.2.2.1", item.entry_uuid)
        elif item.target in inside - entries:
            yield _wrong("Association: the members of a Folder are DocumentEntries", "4.2.2.1", item.entry_uuid)


def ends_can_be_found(submission: Submission) -> Iterator[Finding]:
    """An end outside the submission is a UUID.  ITI TF-3: 4.2.3.1.5."""
    inside = {item.entry_uuid for item in submission.objects()}
    for item in submission.associations:
        for end in (item.source, item.target):
            if end not in inside and not is_entry_uuid(end):
                yield Finding(
                    ErrorCode.UNRESOLVED_REFERENCE,
                    "Association: an end that is not in the submission must be a urn:uuid: (ITI TF-3: 4.2.3.1.5)",
                    item.entry_uuid,
                )


def snapshots_are_stable(submission: Submission) -> Iterator[Finding]:
    """A snapshot is a stable document of an on-demand one that is registered.  ITI TF-3: 4.2.2.2.6."""
    entries: dict[str, DocumentEntry] = {entry.entry_uuid: entry for entry in submission.document_entries}
    for item in submission.associations:
        if item.type != AssociationType.IS_SNAPSHOT_OF:
            continue
        if item.source in entries and entries[item.source].on_demand:
            yield _wrong("Association: a snapshot is a stable document", "4.2.2.2.6", item.entry_uuid)
        if item.target in entries:
            yield _wrong("Association: what a snapshot is of is in the registry already", "4.2.2.2.6", item.entry_uuid)


RULES = (
    holds_something,
    one_patient,
    ids_once,
    members_of_the_set,
    associations_are_of_xds,
    relationships_are_of_entries,
    snapshots_are_stable,
    members_are_of_sets_and_folders,
    ends_can_be_found,
)
