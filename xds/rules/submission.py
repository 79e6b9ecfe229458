"""What a submission must be in itself.  ITI TF-3: 4.2.1.4; ITI TF-2: 3.42.4.1.3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from xds.errors import ErrorCode, Finding
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import is_entry_uuid
from xds.metadata.reading import UNREAD_PATIENT
from xds.metadata.submission import MetadataObject, Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import RELATIONSHIPS, REPLACING, AssociationType


def _wrong(rule: str, clause: str, location: str = "") -> Finding:
    """A rule of ITI TF-3 that is broken."""
    return Finding(ErrorCode.REGISTRY_METADATA, f"{rule} (ITI TF-3: {clause})", location)


def _unresolved(rule: str, clause: str, item: Association) -> Finding:
    """An end that is not where it has to be."""
    return Finding(ErrorCode.UNRESOLVED_REFERENCE, f"Association: {rule} (ITI TF-3: {clause})", item.entry_uuid)


def holds_something(submission: Submission) -> Iterator[Finding]:
    """At least one entry, folder or folder membership.  ITI TF-3: 4.2.1.4."""
    if not submission.document_entries and not submission.folders and len(submission.associations) < 1:
        yield _wrong("SubmissionSet: a submission holds a DocumentEntry, a Folder or an Association", "4.2.1.4")


def one_patient(submission: Submission) -> Iterator[Finding]:
    """Every DocumentEntry and Folder is of the SubmissionSet's patient.  ITI TF-2: 3.42.4.1.3."""
    items: list[DocumentEntry | Folder] = [*submission.document_entries, *submission.folders]
    for item in items:
        if item.patient_id != submission.submission_set.patient_id != UNREAD_PATIENT:
            yield Finding(
                ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
                f"{type(item).__name__}.patientId differs from SubmissionSet.patientId (ITI TF-2: 3.42.4.1.3)",
                item.entry_uuid,
            )


def ids_once(submission: Submission) -> Iterator[Finding]:
    """No id comes twice in the message.  ebRIM 3.0: 2.1."""
    ids = Counter(item.entry_uuid for item in submission.objects())
    for entry_uuid in (id_ for id_, count in ids.items() if count > 1):
        rule = "an id names two objects of the submission (ebRIM 3.0: 2.1)"
        yield Finding(ErrorCode.REGISTRY_METADATA, rule, entry_uuid)


def ids_are_uuids_or_symbols(submission: Submission) -> Iterator[Finding]:
    """An id is a UUID as a URN in lower case, or a symbol that is no URN of one.  ITI TF-3: 4.2.3.2.4."""
    for item in submission.objects():
        symbol = not item.entry_uuid.startswith("urn:uuid:")
        if not item.entry_uuid or not (symbol or is_entry_uuid(item.entry_uuid)):
            rule = "is neither a urn:uuid: in lower case nor a symbol"
            yield _wrong(f"{type(item).__name__}.entryUUID {rule}", "4.2.3.2.4", item.entry_uuid)


def unique_ids_once(submission: Submission) -> Iterator[Finding]:
    """No uniqueId comes twice in the message.  ITI TF-3: Table 4.2.4.1-2."""
    named: list[SubmissionSet | DocumentEntry | Folder]
    named = [submission.submission_set, *submission.document_entries, *submission.folders]
    for unique_id in (id_ for id_, count in Counter(i.unique_id for i in named).items() if id_ and count > 1):
        yield Finding(ErrorCode.REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE, unique_id)


def members_of_the_set(submission: Submission) -> Iterator[Finding]:
    """The SubmissionSet has every entry, folder and folder membership as a member.  ITI TF-3: 4.2.1.4."""
    set_id = submission.submission_set.entry_uuid
    # Of an association without a type, or of another, that it is none of XDS says it all.
    others = set(AssociationType) - {AssociationType.HAS_MEMBER}
    members = {a.target for a in submission.associations if a.source == set_id and a.type not in others}
    inner = [a for a in submission.associations if a.source != set_id and a.type == AssociationType.HAS_MEMBER]
    items: list[MetadataObject] = [*submission.document_entries, *submission.folders, *inner]
    for item in items:
        if item.entry_uuid not in members:
            kind = type(item).__name__
            yield _wrong(f"{kind}: the SubmissionSet has no HasMember to it", "4.2.1.4", item.entry_uuid)


def associations_are_of_xds(submission: Submission) -> Iterator[Finding]:
    """Associations are of the types of ITI TF-3: Table 4.2.2-1."""
    for item in submission.associations:
        if item.type and item.type not in set(AssociationType):
            yield _wrong("Association.associationType is none of XDS", "Table 4.2.2-1", item.entry_uuid)


def relationships_are_of_entries(submission: Submission) -> Iterator[Finding]:
    """A relationship is of an entry of the submission to another entry.  ITI TF-3: 4.2.2.2."""
    entries = {entry.entry_uuid for entry in submission.document_entries}
    others = {item.entry_uuid for item in submission.objects()} - entries
    for item in submission.associations:
        if item.type not in RELATIONSHIPS:
            continue
        if item.source not in entries:
            yield _unresolved("the source of a relationship is in the submission", "4.2.2.2", item)
        if item.target in others:
            yield _wrong("Association: the target of a relationship is a DocumentEntry", "4.2.2.2", item.entry_uuid)
        if item.type in REPLACING and item.target in entries:
            yield _unresolved("what is replaced is in the registry already", "4.2.2.2.3", item)


def relationships_lead_somewhere(submission: Submission) -> Iterator[Finding]:
    """No document is related to itself, nor by way of others; no transformation has addenda.  ITI TF-3: 4.2.2.2."""
    relations = [item for item in submission.associations if item.type in RELATIONSHIPS]
    made = {item.source for item in relations if item.type == AssociationType.XFRM}
    graph = TopologicalSorter[str]()
    for item in relations:
        graph.add(item.source, item.target)
        if item.type == AssociationType.APND and item.target in made:
            yield _wrong("Association: a transformation (XFRM) has no addenda", "4.2.2.2.1", item.entry_uuid)
    try:
        graph.prepare()
    except CycleError as cycle:
        going_round = set(cycle.args[1])
        for item in relations:
            if {item.source, item.target} <= going_round:
                yield _wrong("Association: a document is related to itself", "4.2.2.2", item.entry_uuid)


def associations_come_once(submission: Submission) -> Iterator[Finding]:
    """Nothing is a member twice, and no document is replaced twice.  ITI TF-3: 4.2.2."""
    seen = set[tuple[str, str, str]]()
    for item in submission.associations:
        source = "" if item.type in REPLACING else item.source
        key = ("replaced" if item.type in REPLACING else item.type, source, item.target)
        if key in seen:
            what = "a document is replaced by one other" if item.type in REPLACING else "there is one between these two"
            yield _wrong(f"Association: {what}", "4.2.2", item.entry_uuid)
        seen.add(key)


def members_are_of_sets_and_folders(submission: Submission) -> Iterator[Finding]:
    """A set has members of all kinds; a folder has entries.  ITI TF-3: 4.2.2.1."""
    set_id = submission.submission_set.entry_uuid
    entries = {entry.entry_uuid for entry in submission.document_entries}
    folders = {folder.entry_uuid for folder in submission.folders}
    inside = {item.entry_uuid for item in submission.objects()}
    related = {
        a.entry_uuid for a in submission.associations if a.type != AssociationType.HAS_MEMBER or a.source == set_id
    }
    for item in submission.associations:
        if item.type != AssociationType.HAS_MEMBER:
            continue
        if item.target == set_id:
            yield _wrong("Association: nothing has a SubmissionSet as member", "4.2.2.1", item.entry_uuid)
        elif item.source == set_id:
            if item.target in related:
                yield _wrong(
                    "Association: of associations a SubmissionSet has a Folder's HasMembers", "4.2.2.1", item.entry_uuid
                )
        elif item.source in inside - folders:
            yield _wrong("Association: only a SubmissionSet or Folder has members", "4.2.2.1", item.entry_uuid)
        elif item.target in inside - entries:
            yield _wrong("Association: the members of a Folder are DocumentEntries", "4.2.2.1", item.entry_uuid)


def new_entries_are_original(submission: Submission) -> Iterator[Finding]:
    """The SubmissionSet's HasMember of an entry of the submission says Original.  ITI TF-3: 4.2.2.1.1."""
    entries = {entry.entry_uuid for entry in submission.document_entries}
    for item in submission.associations:
        if item.type != AssociationType.HAS_MEMBER or item.source != submission.submission_set.entry_uuid:
            continue
        original = item.submission_set_status in (SubmissionSetStatus.ORIGINAL, SubmissionSetStatus.UNREAD)
        if item.target in entries and not original:
            yield _wrong("Association.SubmissionSetStatus must be Original", "4.2.2.1.1", item.entry_uuid)


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
            yield _unresolved("what a snapshot is of is in the registry already", "4.2.2.2.6", item)


RULES = (
    holds_something,
    one_patient,
    ids_once,
    ids_are_uuids_or_symbols,
    unique_ids_once,
    members_of_the_set,
    associations_are_of_xds,
    relationships_are_of_entries,
    relationships_lead_somewhere,
    associations_come_once,
    snapshots_are_stable,
    members_are_of_sets_and_folders,
    new_entries_are_original,
    ends_can_be_found,
)
