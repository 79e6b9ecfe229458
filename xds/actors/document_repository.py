"""The Document Repository: keeps documents, registers them, gives them back.

ITI TF-2: 3.41.4.1.3 (what it checks and adds), 3.43.4.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from xds.actors.streams import Streams
from xds.ebxml import rim
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Refused
from xds.metadata import from_ebxml
from xds.metadata import vocabulary as v
from xds.metadata.visible import Facts
from xds.store.documents.folder import DocumentTable, Kept, NotReachable
from xds.store.interface import Blobs
from xds.store.registry.rows import facts_of
from xds.store.registry.sql_reader import SqlReader
from xds.store.work import Work
from xds.wire.spool import Spooled

EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"


class NoAnswer(Exception):
    """The registry may or may not have taken the submission."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document on its way in: its entry as it will be registered, and its bytes."""

    entry: rim.ExtrinsicObject
    unique_id: str
    spooled: Spooled
    facts: Facts


Register: TypeAlias = Callable[[rim.RegistryObjectList], tuple[Finding, ...]]
"""How a submission reaches the registry, ITI-42; returns its warnings, or raises Refused or NoAnswer."""


class DocumentRepository:
    """One repository, by its OID; its registry is ``remote`` or in this process."""

    def __init__(
        self,
        unique_id: str,
        blobs: Blobs,
        *,
        remote: bool,
        streams: int,
        share: float = 0.5,
        also: Collection[str] = (),
    ) -> None:
        """``also``: other repositories that were merged into it, by their OIDs; it gives their documents, too."""
        self.unique_id, self._blobs, self._remote = unique_id, blobs, remote
        self._ids = frozenset({unique_id, *also})
        self.streams = Streams(streams, share)

    def provide_and_register(
        self, objects: rim.RegistryObjectList, contents: Sequence[tuple[str, Spooled]], work: Work, register: Register
    ) -> tuple[Finding, ...]:
        """Keep the documents and register them: all or nothing.  Returns the registry's warnings.

        Raises:
            Refused: with everything that this repository, or else the registry, finds wrong.
        """
        documents = self._documents(objects, contents)
        self._not_others(documents, work)
        for document in documents:
            self._blobs.put(document.spooled)
        entries = {document.entry.id: document.entry for document in documents}
        objects = replace(objects, extrinsic_objects=tuple(entries[e.id] for e in objects.extrinsic_objects))
        return (
            self._registered_apart(objects, documents, work, register)
            if self._remote
            else self._registered(objects, documents, work, register)
        )

    def _registered(
        self, objects: rim.RegistryObjectList, documents: Sequence[Document], work: Work, register: Register
    ) -> tuple[Finding, ...]:
        """Registry in this process: document rows and metadata in one transaction."""
        warnings = register(objects)
        for document in documents:
            self._add(work.documents, document, "registered", "")
        return warnings

    def _registered_apart(
        self, objects: rim.RegistryObjectList, documents: Sequence[Document], work: Work, register: Register
    ) -> tuple[Finding, ...]:
        """Registry elsewhere: rows first, pending; then ITI-42; then settled."""
        submission = next((_submission_id(p) for p in objects.registry_packages if _submission_id(p)), "")
        with work.apart() as table:
            new = [d.unique_id for d in documents if self._add(table, d, "pending", submission)]
        try:
            warnings = register(objects)
        except NoAnswer:
            rule = "the registry did not answer; the documents are kept and settled when it does"
            raise Refused([Finding(ErrorCode.REGISTRY_NOT_AVAILABLE, rule)]) from None
        except Refused:
            # What waited before may be registered by its first sending: it waits on, and is asked about.
            with work.apart() as table:
                for unique_id in new:
                    table.settle_one(unique_id, registered=False)
            raise
        with work.apart() as table:
            table.settle(submission)
        return warnings

    def _add(self, table: DocumentTable, document: Document, state: str, submission: str) -> bool:
        """Add a row, or take over the one that waits; whether it is new.

        Raises:
            Refused: the id is another document's.
        """
        spooled = document.spooled
        kept = Kept(
            document.unique_id, document.entry.mime_type, spooled.size_bytes, spooled.sha1, spooled.sha256,
            state, submission, _identifier(document.entry, v.DOCUMENT_ENTRY_PATIENT_ID), document.facts,
        )  # fmt: skip
        if table.add(kept):
            return True
        other = table.find(document.unique_id)
        if other is not None and other.sha256 != spooled.sha256:
            raise Refused([Finding(ErrorCode.NON_IDENTICAL_HASH, document.unique_id, document.entry.id)])
        return False

    def settle(self, holds: Callable[[str], bool], older_than_seconds: float, work: Work) -> int:
        """Ask the registry about documents whose registration was never answered; return how many are settled.

        Raises:
            Refused, NoAnswer: the registry did not say; the rest waits on.
        """
        with work.reading() as (_, table):
            waiting = table.pending(older_than_seconds)
        for unique_id in waiting:
            registered = holds(unique_id)
            with work.apart() as table:
                table.settle_one(unique_id, registered=registered)
        return len(waiting)

    def _documents(self, objects: rim.RegistryObjectList, contents: Sequence[tuple[str, Spooled]]) -> list[Document]:
        """Each entry with its one document, size, hash and repositoryUniqueId filled in or checked."""
        findings: list[Finding] = []
        by_id: dict[str, Spooled] = {}
        for id_, spooled in contents:
            if id_ in by_id:
                findings.append(Finding(ErrorCode.REPOSITORY_METADATA, "two Documents have the same id", id_))
            by_id[id_] = spooled
        known = {entry.id for entry in objects.extrinsic_objects}
        for id_ in by_id.keys() - known:
            rule = "a Document without a DocumentEntry (ITI TF-2: 3.41.4.1.2)"
            findings.append(Finding(ErrorCode.MISSING_DOCUMENT_METADATA, rule, id_))
        documents, seen = [], set[str]()
        sources = {_identifier(package, v.SUBMISSION_SET_SOURCE_ID) for package in objects.registry_packages} - {""}
        for entry in objects.extrinsic_objects:
            unique_id = _identifier(entry, v.DOCUMENT_ENTRY_UNIQUE_ID)
            if entry.id not in by_id:
                rule = "a DocumentEntry without its Document (ITI TF-2: 3.41.4.1.2)"
                findings.append(Finding(ErrorCode.MISSING_DOCUMENT, rule, entry.id))
                continue
            if not unique_id or len(unique_id) > 128:
                rule = "DocumentEntry.uniqueId is required, at most 128 characters (ITI TF-3: Table 4.2.3.2-1)"
                findings.append(Finding(ErrorCode.REPOSITORY_METADATA, rule, entry.id))
            elif unique_id in seen:
                findings.append(Finding(ErrorCode.REPOSITORY_DUPLICATE_UNIQUE_ID_IN_MESSAGE, unique_id, entry.id))
            seen.add(unique_id)
            findings += _mismatches(entry, by_id[entry.id])
            filled = self._filled(entry, by_id[entry.id])
            documents.append(Document(filled, unique_id, by_id[entry.id], self._facts(filled, sources)))
        if findings:
            raise Refused(findings)
        return documents

    def _facts(self, entry: rim.ExtrinsicObject, sources: Collection[str]) -> Facts:
        """What decisions ask of a document: whose it is; the rest the registry knows, where that is in this process."""
        own = {"sourceId": frozenset(sources)}
        if not self._remote:
            return Facts({}, own)
        read, _ = from_ebxml.document_entry(entry)
        return facts_of(read, sources) if read is not None else Facts({}, own)

    def _filled(self, entry: rim.ExtrinsicObject, spooled: Spooled) -> rim.ExtrinsicObject:
        ours: Mapping[str, str] = {
            "hash": spooled.sha1, "size": str(spooled.size_bytes), "repositoryUniqueId": self.unique_id,
        }  # fmt: skip
        kept = tuple(slot for slot in entry.slots if slot.name not in ours)
        return replace(entry, slots=kept + tuple(rim.Slot(name, (value,)) for name, value in ours.items()))

    def _not_others(self, documents: Sequence[Document], work: Work) -> None:
        """A uniqueId that is held already comes with the same bytes (ITI TF-2: 3.41.4.1.3)."""
        findings = []
        with work.reading() as (_, table):
            for document in documents:
                other = table.find(document.unique_id)
                if other is not None and other.sha256 != document.spooled.sha256:
                    if other.size_bytes != document.spooled.size_bytes:
                        findings.append(Finding(ErrorCode.NON_IDENTICAL_SIZE, document.unique_id, document.entry.id))
                    findings.append(Finding(ErrorCode.NON_IDENTICAL_HASH, document.unique_id, document.entry.id))
        if findings:
            raise Refused(findings)

    def retrieve(self, requests: Sequence[DocumentRequest], work: Work) -> list[Kept | Finding]:
        """For each document asked for, where it is, or why it cannot be given.

        Raises:
            Refused: the document store does not answer.
        """
        with work.asking() as (registry, table):
            found = [self._known(request, table) for request in requests]
            found = self._seen(found, requests, registry)
        kept = [one for one in found if isinstance(one, Kept)]
        try:
            there = iter(self._blobs.holding([(one.sha256, one.size_bytes) for one in kept]))
        except NotReachable:
            rule = "the document store does not answer; try again"
            raise Refused([Finding(ErrorCode.REPOSITORY_ERROR, rule)]) from None
        return [
            Finding(ErrorCode.REPOSITORY_ERROR, "the document is damaged", one.document_unique_id)
            if isinstance(one, Kept) and not next(there)
            else one
            for one in found
        ]

    def _seen(
        self, found: Sequence[Kept | Finding], requests: Sequence[DocumentRequest], registry: SqlReader
    ) -> list[Kept | Finding]:
        """The same, with what who asks may not see as absent as what is not there; in the same time."""
        if registry.sees_everything:
            return list(found)
        if self._remote:  # what its metadata were as they came, and what its patient wants
            there = [one for one in found if isinstance(one, Kept)]
            wants = {cx: registry.wants_of(cx) for cx in {one.patient_id for one in there} or {""}}
            seen = {
                (one.repository_unique_id, one.document_unique_id)
                for one in there
                if wants[one.patient_id].shows(_as_kept(one))
            }
        else:
            found_here = registry.documents_by_unique_id([one.document_unique_id for one in requests])
            seen = {(one.repository_unique_id, one.unique_id) for one in found_here}
        return [
            one
            if isinstance(one, Finding) or (one.repository_unique_id, one.document_unique_id) in seen
            else _absent(request)
            for one, request in zip(found, requests, strict=True)
        ]

    def _known(self, request: DocumentRequest, table: DocumentTable) -> Kept | Finding:
        if request.repository_unique_id not in self._ids:
            rule = f"{request.repository_unique_id[:64]} is not this repository, which is {self.unique_id}"
            return Finding(ErrorCode.UNKNOWN_REPOSITORY_ID, rule, request.document_unique_id)
        kept = table.of(request.repository_unique_id).find(request.document_unique_id)
        if kept is None:
            return _absent(request)
        return kept

    def remove(self, requests: Sequence[DocumentRequest], work: Work) -> list[str | Finding]:
        """Remove documents, each by itself; of each its patient, or why it stays.

        Bytes that another entry has too stay; those that none has any more go with the next sweep.
        """
        change = work.access.change
        with work.reading() as (_, table):
            found = [self._known(request, table) for request in requests]
        theirs = [isinstance(one, Finding) or change.shows(_as_kept(one)) for one in found]
        found = [one if fine else _absent(request) for one, fine, request in zip(found, theirs, requests, strict=True)]
        return [self._removed(one, work) if isinstance(one, Kept) else one for one in found]

    def _removed(self, kept: Kept, work: Work) -> str | Finding:
        unique_id = kept.document_unique_id
        if kept.state == "pending":
            # Table 3.86.4.2.3-1 wants the document's id in codeContext.
            return Finding(ErrorCode.REMOVE_DOCUMENTS, unique_id, unique_id)
        if not work.documents.of(kept.repository_unique_id).remove(unique_id):
            rule = "another request has removed the document (ITI TF-2: 3.86.4.1.3)"
            return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, rule, unique_id)
        return kept.patient_id

    def chunks(self, kept: Kept) -> Iterator[bytes]:
        """A document's bytes, checked on the way (see ``Blobs.chunks``)."""
        return self._blobs.chunks(kept.sha256, kept.size_bytes)


def _as_kept(kept: Kept) -> Facts:
    own = {"unique_id": kept.document_unique_id, "repository_unique_id": kept.repository_unique_id}
    return replace(kept.facts, single={**kept.facts.single, **own})


def _absent(request: DocumentRequest) -> Finding:
    """What is not here, and what is withheld, are answered alike."""
    return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "no such document here", request.document_unique_id)


def _identifier(item: rim.RegistryObject, scheme: str) -> str:
    return next((i.value for i in item.external_identifiers if i.scheme == scheme), "")


def _submission_id(package: rim.RegistryPackage) -> str:
    return _identifier(package, v.SUBMISSION_SET_UNIQUE_ID)


def _mismatches(entry: rim.ExtrinsicObject, spooled: Spooled) -> Iterator[Finding]:
    """Hash and size, where the source sent them, are those of the bytes (ITI TF-2: 3.41.4.1.3)."""
    hash_, size = entry.slot("hash"), entry.slot("size")
    # Size 0 with the hash of nothing announces a document that is assembled later.
    if hash_ and hash_.values == (EMPTY_SHA1,) and size and size.values == ("0",):
        return
    if hash_ and tuple(value.lower() for value in hash_.values) != (spooled.sha1,):
        rule = "DocumentEntry.hash is not the SHA-1 of the document (ITI TF-2: 3.41.4.1.3)"
        yield Finding(ErrorCode.REPOSITORY_METADATA, rule, entry.id)
    if size and size.values != (str(spooled.size_bytes),):
        rule = "DocumentEntry.size is not the document's (ITI TF-2: 3.41.4.1.3)"
        yield Finding(ErrorCode.REPOSITORY_METADATA, rule, entry.id)
