"""What a submission says of objects that are in the registry already: whether it may, and what becomes of them.

ITI TF-2: 3.42.4.1.3; ITI TF-3: 4.2.2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from xds.actors.update_rules import unique_id_used
from xds.errors import ErrorCode, Finding
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.datatypes import Dtm
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import is_entry_uuid, new_entry_uuid
from xds.metadata.submission import Submission, first_version
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import ON_DEMAND, REPLACING, AssociationType
from xds.store.interface import FoundDocument, Kind
from xds.store.registry.sql_registry import SqlRegistry

_ADDENDA = (AssociationType.APND, AssociationType.XFRM)


def identical(submission: Submission, store: SqlRegistry) -> Iterator[Finding]:
    """A uniqueId registered before may come again with the same document only (ITI TF-2: 3.42.4.1.3.3.1)."""
    known: dict[str, list[FoundDocument]] = {}
    sent = (entry.unique_id for entry in submission.document_entries if entry.unique_id)
    for found in store.documents_by_unique_id(sent):
        known.setdefault(found.unique_id, []).append(found)
    for entry in submission.document_entries:
        for other in known.get(entry.unique_id, ()):
            if not other.latest:
                continue  # its hash and size may have been known later only (delayed document assembly)
            if entry.on_demand and other.object_type == ON_DEMAND:
                continue  # an on-demand entry may be registered anew (ITI TF-2: 3.61.4.1.3)
            if entry.on_demand:
                rule = "DocumentEntry.uniqueId is a stable document's (ITI TF-2: 3.61.4.1.3)"
                yield Finding(ErrorCode.REGISTRY_METADATA, rule, entry.entry_uuid)
                continue
            # Of a stable entry None is what could not be read.
            if entry.hash is not None and (other.hash or "") != entry.hash.lower():
                yield Finding(ErrorCode.NON_IDENTICAL_HASH, entry.unique_id, entry.entry_uuid)
            if entry.size is not None and other.size != entry.size:
                yield Finding(ErrorCode.NON_IDENTICAL_SIZE, entry.unique_id, entry.entry_uuid)


def ends_outside(submission: Submission) -> set[str]:
    """The ids of the objects of the registry that a submission points to."""
    ends = {end for association in submission.associations for end in (association.source, association.target)}
    return ends - {item.entry_uuid for item in submission.objects()}


class Outside:
    """The objects of the registry that a submission points to, and what becomes of them."""

    def __init__(self, submission: Submission, store: SqlRegistry) -> None:
        self._submission, self._store = submission, store
        inside = {item.entry_uuid for item in submission.objects()}
        self._inside = inside
        ends = ends_outside(submission)
        replaced = {a.target for a in submission.associations if a.type in REPLACING} & ends
        # What its sender may not see, or replaces and may not, is as absent to them as what is not registered.
        ends -= store.withheld(ends) | store.not_theirs(replaced)
        self._kinds = store.kinds_of([*ends, *(item.entry_uuid for item in submission.objects())])
        self._documents = {d.entry_uuid: d for d in store.documents_by_uuid(ends)}
        self._folders = {f.entry_uuid: f for f in store.folders_by_uuid(ends)}

    def findings(self, chain: Collection[int] | None) -> Iterator[Finding]:
        """New ids are free; ends outside exist, are of the right kind and Approved, and of the patient if one is known.

        ``chain``: the patient's keys.
        """
        for item in self._submission.objects():
            if item.entry_uuid in self._kinds:
                rule = "entryUUID is registered already (ITI TF-2: 3.42.4.1.3)"
                yield Finding(ErrorCode.REGISTRY_METADATA, f"{type(item).__name__}.{rule}", item.entry_uuid)
        yield from self._used()
        for association in self._submission.associations:
            for end in (association.source, association.target):
                if end not in self._inside:
                    yield from self._end(association, end, chain)

    def _used(self) -> Iterator[Finding]:
        """A uniqueId is one object's, whatever its kind (ITI TF-3: Table 4.2.4.1-2); of entries see ``identical``."""
        items: list[SubmissionSet | Folder | DocumentEntry]
        items = [self._submission.submission_set, *self._submission.folders, *self._submission.document_entries]
        used = self._store.unique_ids(item.unique_id for item in items if item.unique_id)
        for item in items:
            kinds = used.get(item.unique_id, frozenset())
            if kinds - ({Kind.DOCUMENT_ENTRY} if isinstance(item, DocumentEntry) else set()):
                yield unique_id_used(item)

    def _end(self, association: Association, end: str, chain: Collection[int] | None) -> Iterator[Finding]:
        kind = self._kinds.get(end)
        if not is_entry_uuid(end):
            return  # a rule of submissions says so
        if kind is None:
            yield Finding(
                ErrorCode.UNRESOLVED_REFERENCE,
                f"{end} is not registered (ITI TF-2: 3.42.4.1.3)",
                association.entry_uuid,
            )
            return
        by_reference = association.source == self._submission.submission_set.entry_uuid
        if chain is not None and kind[1] not in chain and not by_reference:
            rule = "Association: an end is of another patient (ITI TF-2: 3.42.4.1.3)"
            yield Finding(ErrorCode.PATIENT_ID_DOES_NOT_MATCH, rule, association.entry_uuid)
        document = self._documents.get(end)
        if association.type == AssociationType.HAS_MEMBER:
            yield from self._membership(association, end, kind[0])
        elif document is None:
            rule = "Association: the target of a relationship is a DocumentEntry (ITI TF-3: 4.2.2.2)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, association.entry_uuid)
        held = document or self._folders.get(end)
        if held is not None and not by_reference and held.status != "Approved":
            rule = "Association: the document or folder is Deprecated (ITI TF-2: 3.42.4.1.3)"
            yield Finding(ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, f"{rule}: {end}", association.entry_uuid)
        if association.type == AssociationType.IS_SNAPSHOT_OF and document and document.object_type != ON_DEMAND:
            rule = "Association: a snapshot is of an on-demand document (ITI TF-3: 4.2.2.2.6)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, association.entry_uuid)
        if association.type == AssociationType.APND and document and self._is_transformation(end):
            rule = "Association: a transformation (XFRM) has no addenda (ITI TF-3: 4.2.2.2.1)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, association.entry_uuid)

    def _membership(self, association: Association, end: str, kind: Kind) -> Iterator[Finding]:
        """What is registered may be the folder of a HasMember, or a DocumentEntry held by a folder or by reference."""
        rule = ""
        if end == association.source and kind is not Kind.FOLDER:
            rule = "Association: of what is registered only a Folder takes new members (ITI TF-3: 4.2.2.1)"
        elif end == association.target and association.source == self._submission.submission_set.entry_uuid:
            if kind is not Kind.DOCUMENT_ENTRY:
                rule = "Association: a SubmissionSet has DocumentEntries by reference (ITI TF-3: 4.2.2.1.1)"
            elif association.submission_set_status not in (SubmissionSetStatus.REFERENCE, SubmissionSetStatus.UNREAD):
                rule = "Association.SubmissionSetStatus must be Reference (ITI TF-3: 4.2.2.1.1)"
        elif end == association.target and kind is not Kind.DOCUMENT_ENTRY:
            rule = "Association: the members of a Folder are DocumentEntries (ITI TF-3: 4.2.2.1.3)"
        if rule:
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, association.entry_uuid)

    def _is_transformation(self, entry_uuid: str) -> bool:
        """Whether it is another form of a document; what XFRM_RPLC made stands for itself (ITI TF-3: 4.2.2.2.4)."""
        around = self._store.associations_of([entry_uuid])
        return any(a.source == entry_uuid and a.type == AssociationType.XFRM for a in around)

    def take_effect(self, patient_key: int) -> None:
        """Replaced documents and their addenda are Deprecated, folders carried over and updated."""
        replaced = [a for a in self._submission.associations if a.type in REPLACING]
        for association in replaced:
            self._replace(association, patient_key)
        folders = {a.source for a in self._submission.associations if a.type == AssociationType.HAS_MEMBER}
        self._touch(folders - self._inside)

    def _replace(self, association: Association, patient_key: int) -> None:
        old = association.target
        around = self._store.associations_of([old])
        addenda = [
            a.source
            for a in around
            if a.target == old and a.type in _ADDENDA and a.status == "Approved" and a.source not in self._inside
        ]
        targets = self._store.documents_by_uuid([old, *addenda])
        self._store.deprecate(d for d in targets if d.status == "Approved")
        members = [a for a in around if a.target == old and a.type == AssociationType.HAS_MEMBER]
        given = {a.source for a in self._submission.associations if a.target == association.source}
        for folder in self._store.folders_by_uuid(a.source for a in members if a.status == "Approved"):
            if folder.status != "Approved" or folder.entry_uuid in given:  # or superseded by a later version
                continue
            member = _member(folder.entry_uuid, association.source)
            held = _member(self._submission.submission_set.entry_uuid, member.entry_uuid)
            self._store.insert(patient_key, (member, held))
            self._touch([folder.entry_uuid])

    def _touch(self, folders: Iterable[str]) -> None:
        now = Dtm.of(datetime.now(UTC)).text
        found: Sequence[str] = [f for f in folders if self._kinds.get(f, (Kind.FOLDER, 0))[0] is Kind.FOLDER]
        for folder in self._store.folders_by_uuid(found):
            self._store.touch_folder(folder, now)


def _member(source: str, target: str) -> Association:
    """A HasMember of our own making."""
    return Association(**first_version(new_entry_uuid()), type=AssociationType.HAS_MEMBER, source=source, target=target)
