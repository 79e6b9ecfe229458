"""One submission of a source's, with its documents, into this deployment: whole or not at all, or why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import Severity, Unusable
from xds.merging.mapping import Mapped
from xds.merging.source import Source
from xds.merging.units import Unit
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import PatientId, is_entry_uuid
from xds.metadata.submission import MetadataObject, Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.visible import Facts
from xds.metadata.vocabulary import OFFLINE, AvailabilityStatus
from xds.rules.code_sets import CodeSets
from xds.store.audit.records import record
from xds.store.documents.folder import Kept, NotReachable
from xds.store.documents.moving import Pace
from xds.store.interface import Blobs, Found
from xds.store.merging import Became, Ledger, Merged
from xds.store.registry.rows import fragment
from xds.store.registry.sql_registry import SqlRegistry, Taken
from xds.store.work import Database, Work
from xds.system.disk import Reserve
from xds.wire.client import Faulted, NoReply, OverBounds
from xds.wire.spool import NotKept, Spool, Spooled

DOCUMENTS = 20
"""Asked for in one ITI-43."""

UNKNOWN = "the patient is not known here: the Patient Identity Feed has not named them"

PREFIX = "merge-"
"""Of files that are on their way into the document store."""


class NotCopied(Exception):
    """A submission stays where it is: what became of it, why, and on account of which object."""

    def __init__(self, became: Became, why: str, entry_uuid: str = "", *, may_follow: bool = False) -> None:
        """``may_follow``: what it lacks may come with another submission of the same patient's."""
        super().__init__(why)
        self.became, self.why, self.entry_uuid, self.may_follow = became, why, entry_uuid, may_follow


@dataclass(frozen=True, slots=True)
class Into:
    """Where a source is merged into."""

    database: Database
    blobs: Blobs
    disk: Reserve
    repositories: frozenset[str]  # whose documents this repository gives, its own among them
    open_patients: bool
    code_sets: CodeSets
    node: AuditSource


def digest(item: MetadataObject) -> str:
    """SHA-256 of an object's ebXML as this registry would write it."""
    return hashlib.sha256(fragment(item)).hexdigest()


def registered(item: MetadataObject) -> MetadataObject:
    """An object with what every registered one has; of a registry that knows no versions each is its own first."""
    version = item.version if item.version and item.version.isdecimal() and int(item.version) else "1"
    first = version == "1" or not item.logical_id or not is_entry_uuid(item.logical_id)
    return replace(
        item,
        availability_status=item.availability_status or AvailabilityStatus.APPROVED,
        logical_id=item.entry_uuid if first else item.logical_id,
        version="1" if first else version,
    )


class Copying:
    """Copies what a source has of patients."""

    def __init__(self, source: Source, mapped: Mapped, into: Into, pace: Pace, now: Callable[[], int]) -> None:
        """``now``: microseconds since 1970."""
        self._source, self._mapped, self._into, self._pace, self._now = source, mapped, into, pace, now

    def look(self, unit: Unit, here: PatientId, before: Mapping[str, Merged]) -> None:
        """See that a submission could be registered here, without asking for its documents.

        Raises:
            NotCopied: it could not.
        """
        ours = self._ours(unit, here)
        fresh = [item for item in ours if not is_here(before.get(item.entry_uuid))]
        with self._into.database.work().reading() as (registry, _):
            if not registry.chain(here) and not self._into.open_patients:
                raise NotCopied(Became.WAITING, UNKNOWN)
            _see_no_other(registry, fresh)

    def _ours(self, unit: Unit, here: PatientId) -> list[MetadataObject]:
        """A submission's objects as they are to be here.

        Raises:
            NotCopied: they cannot be, as far as they say so themselves.
        """
        _see_usable(unit, self._into.repositories)
        ours = [registered(self._mapped.mapped(item, here)) for item in unit.objects]
        self._known_codes(ours)
        return ours

    def copy(self, unit: Unit, here: PatientId, before: Mapping[str, Merged], noted: Mapping[str, Merged]) -> int:
        """Copy what is new or has changed of a submission; return how many bytes of documents came.

        ``before``: what was kept of its objects; ``noted``: what is to be kept of them now.

        Raises:
            NotCopied: nothing of it was.
        """
        ours = self._ours(unit, here)
        copied = {uuid for uuid in noted if is_here(before.get(uuid))}
        fresh = [item for item in ours if item.entry_uuid not in copied]
        changed = [item for item in ours if item.entry_uuid in copied and _changed(before, noted, item.entry_uuid)]
        wanted = [item for item in fresh if isinstance(item, DocumentEntry) and _has_bytes(item)]
        documents = fetched(self._source, self._into, self._pace, wanted)
        work = self._into.database.work()
        try:
            self._write(work, unit, here, fresh, changed, before)
            for entry, spooled in documents:
                _add_document(work, entry, spooled, here, unit)
            written = {item.entry_uuid: digest(item) for item in (*fresh, *changed)}
            Ledger(work.connection, self._source.label).keep(
                replace(noted[uuid], state=Became.COPIED, why="", here=one, copied=self._now())
                for uuid, one in written.items()
            )
            record(work.connection, self._imported(unit, here).records())
            work.commit()
        except Taken:
            raise NotCopied(Became.CONFLICT, "somebody registers one of its ids just now") from None
        finally:
            work.close()
        return sum(spooled.size_bytes for _, spooled in documents)

    def _known_codes(self, ours: Sequence[MetadataObject]) -> None:
        """
        Raises:
            NotCopied: a code is none that the affinity domain uses.
        """
        sets = [item for item in ours if isinstance(item, SubmissionSet)]
        if not sets:
            return
        entries = tuple(item for item in ours if isinstance(item, DocumentEntry))
        folders = tuple(item for item in ours if isinstance(item, Folder))
        for finding in self._into.code_sets.findings(Submission(sets[0], entries, folders)):
            if finding.severity is Severity.ERROR:
                raise NotCopied(Became.WAITING, finding.context, finding.location)

    def _write(
        self, work: Work, unit: Unit, here: PatientId, fresh: Sequence[MetadataObject],
        changed: Sequence[MetadataObject], before: Mapping[str, Merged],
    ) -> None:  # fmt: skip
        """Into the registry, beside what is there.

        Raises:
            NotCopied: the patient is not known, or something is there that is another.
            Taken: as ``SqlRegistry.insert``.
        """
        registry = work.registry
        keys = registry.chain(here)
        if not keys and self._into.open_patients:
            registry.add_patient(here)
            keys = registry.chain(here)
        if not keys:
            raise NotCopied(Became.WAITING, UNKNOWN)
        unique_ids = [item.unique_id for item in fresh if not isinstance(item, Association)]
        registry.lock(keys[:1], unique_ids)
        if registry.chain(here)[:1] != keys[:1]:
            raise NotCopied(Became.WAITING, "the patient is being merged just now")
        _see_no_other(registry, fresh)
        see_ends(registry, [item for item in fresh if isinstance(item, Association)], {i.entry_uuid for i in fresh})
        self._replace(registry, changed, before)
        registry.insert(keys[0], [*fresh, *changed], unit.source_ids)
        _only_latest(registry, [*fresh, *changed])

    def _replace(self, registry: SqlRegistry, changed: Sequence[MetadataObject], before: Mapping[str, Merged]) -> None:
        """Make room for what has changed at the source, unless it was changed here since.

        Raises:
            NotCopied: it was.
        """
        for item in changed:
            found = registry.by_uuid(item.entry_uuid)
            if found is None or as_kept(found) != before[item.entry_uuid].here:
                why = (
                    "it was changed here and at the source"
                    if found
                    else "it was removed here and changed at the source"
                )
                raise NotCopied(Became.CONFLICT, why, item.entry_uuid)
        kinds = registry.kinds_of(item.entry_uuid for item in changed)
        if kinds:
            registry.remove(kinds)

    def _imported(self, unit: Unit, here: PatientId) -> AuditEvent:
        """Import (DICOM PS3.15: A.5.3.6) of a submission, by whoever merges."""
        there = Party(self._source.url, self._source.host)
        event = AuditEvent(
            self._into.node, "110107", "C", ("", ""), there, Party("xds merge", "localhost", ours=True, requestor=True)
        )  # fmt: skip
        event.about_patient(str(here))
        for item in unit.objects:
            if isinstance(item, SubmissionSet):
                event.about_submission_set(item.unique_id)
        event.noted(f"merged from {self._source.label}")
        event.end(failed=False)
        return event


def _add_document(work: Work, entry: DocumentEntry, spooled: Spooled, here: PatientId, unit: Unit) -> None:
    """
    Raises:
        NotCopied: the repository has another document of that id.
    """
    table = work.documents.of(entry.repository_unique_id or "")
    facts = Facts({}, {"sourceId": unit.source_ids})
    kept = Kept(
        entry.unique_id, entry.mime_type, spooled.size_bytes, spooled.sha1, spooled.sha256,
        patient_id=str(here), facts=facts,
    )  # fmt: skip
    if not table.add(kept):
        other = table.find(entry.unique_id)
        if other is None or other.sha256 != spooled.sha256:
            why = "the repository has another document of this uniqueId"
            raise NotCopied(Became.CONFLICT, why, entry.entry_uuid)


def fetched(
    source: Source, into: Into, pace: Pace, entries: Sequence[DocumentEntry]
) -> list[tuple[DocumentEntry, Spooled]]:
    """The documents of entries, put into the document store before a row names them.

    What was put and is named by nobody afterwards goes with the sweep.

    Raises:
        NotCopied: one of them does not come, or is another than its entry says.
    """
    by_place = sorted(entries, key=lambda one: (one.repository_unique_id or "", one.entry_uuid))
    found: list[tuple[DocumentEntry, Spooled]] = []
    for _, group in groupby(by_place, key=lambda one: one.repository_unique_id):
        for some in _some(list(group)):
            found += _fetched(source, into, pace, some)
    return found


def _fetched(
    source: Source, into: Into, pace: Pace, entries: Sequence[DocumentEntry]
) -> list[tuple[DocumentEntry, Spooled]]:
    requests = [DocumentRequest(one.repository_unique_id or "", one.unique_id) for one in entries]
    with Spool(into.blobs.staging, PREFIX, into.disk, sealed=into.blobs.seals) as spool:
        try:
            got = source.documents(list(dict.fromkeys(requests)), spool)
        except Unusable as problem:
            raise NotCopied(Became.WAITING, str(problem)) from None
        except (NoReply, Faulted, OverBounds, NotKept) as problem:
            raise NotCopied(Became.WAITING, f"a document did not come: {problem}") from None
        found = [(one, _right(one, got.documents.get(one.unique_id))) for one in entries]
        for one in {spooled.sha256: spooled for _, spooled in found}.values():
            pace.wait(one.size_bytes)
            try:
                into.blobs.put(one)
            except (NotKept, NotReachable) as problem:
                raise NotCopied(Became.WAITING, f"the document store here does not take it: {problem}") from None
    return found


def _right(entry: DocumentEntry, spooled: Spooled | None) -> Spooled:
    """The document of an entry.

    Raises:
        NotCopied: it did not come, or is another than the entry says.
    """
    if spooled is None:
        raise NotCopied(Became.WAITING, "the source does not give its document", entry.entry_uuid)
    if entry.hash and spooled.sha1 != entry.hash.lower():
        raise NotCopied(Became.INVALID, "its document's SHA-1 is not the entry's hash", entry.entry_uuid)
    if entry.size is not None and spooled.size_bytes != entry.size:
        raise NotCopied(Became.INVALID, "its document's size is not the entry's", entry.entry_uuid)
    return spooled


def _has_bytes(entry: DocumentEntry) -> bool:
    return not entry.on_demand and entry.document_availability != OFFLINE


def is_here(row: Merged | None) -> bool:
    """Whether an object was copied, and not removed again."""
    return row is not None and bool(row.here) and row.state in (Became.COPIED, Became.GONE, Became.CONFLICT)


def _changed(before: Mapping[str, Merged], noted: Mapping[str, Merged], entry_uuid: str) -> bool:
    return before[entry_uuid].there != noted[entry_uuid].there


def as_kept(found: Found) -> str:
    """SHA-256 of an object's ebXML as it is here."""
    return hashlib.sha256(found.ebxml).hexdigest()


def _see_usable(unit: Unit, repositories: frozenset[str]) -> None:
    """
    Raises:
        NotCopied: an id is none, or documents are of a repository that this one does not stand for.
    """
    for item in unit.objects:
        if not is_entry_uuid(item.entry_uuid):
            raise NotCopied(Became.INVALID, "the entryUUID is none (ITI TF-3: 4.2.3.2.4)", item.entry_uuid)
    for entry in unit.entries:
        repository = entry.repository_unique_id or ""
        if _has_bytes(entry) and repository not in repositories:
            why = f"repository.also does not name {repository}: nobody could fetch its documents here"
            raise NotCopied(Became.WAITING, why, entry.entry_uuid)


def _see_no_other(registry: SqlRegistry, fresh: Sequence[MetadataObject]) -> None:
    """
    Raises:
        NotCopied: an id is registered here already, as something else's.
    """
    for uuid in registry.kinds_of(item.entry_uuid for item in fresh):
        raise NotCopied(Became.CONFLICT, "its entryUUID is registered here, and was not merged from there", uuid)
    sets: dict[str, str] = {item.unique_id: item.entry_uuid for item in fresh if isinstance(item, SubmissionSet)}
    folders: dict[str, str] = {item.unique_id: item.entry_uuid for item in fresh if isinstance(item, Folder)}
    for other in registry.submission_sets_by_unique_id(sets):
        raise NotCopied(Became.CONFLICT, "its uniqueId is another submission set's here", sets[other.unique_id])
    mine = {item.logical_id for item in fresh if isinstance(item, Folder)}
    for other in registry.folders_by_unique_id(folders):
        if other.logical_id not in mine:
            raise NotCopied(Became.CONFLICT, "its uniqueId is another folder's here", folders[other.unique_id])
    entries: dict[str, DocumentEntry] = {
        item.unique_id: item for item in fresh if isinstance(item, DocumentEntry) and item.hash
    }
    for document in registry.documents_by_unique_id(entries):
        entry = entries[document.unique_id]
        if document.hash and entry.hash and document.hash != entry.hash.lower():
            why = "its uniqueId is another document's here: of another hash"
            raise NotCopied(Became.CONFLICT, why, entry.entry_uuid)


def see_ends(registry: SqlRegistry, relations: Sequence[Association], with_it: Iterable[str]) -> None:
    """
    Raises:
        NotCopied: what one of them leads to is neither here nor comes with it.
    """
    own = set(with_it)
    ends = {end: item for item in relations for end in (item.source, item.target) if end not in own}
    for end in ends.keys() - registry.kinds_of(ends).keys():
        raise NotCopied(Became.WAITING, "what it leads to is not here yet", ends[end].entry_uuid, may_follow=True)


def _only_latest(registry: SqlRegistry, items: Sequence[MetadataObject]) -> None:
    """Let the latest of an object's versions alone be it, in whatever order they come."""
    logical = {item.logical_id for item in items if isinstance(item, DocumentEntry | Folder) and item.logical_id}
    found = [*registry.documents_by_logical_id(logical), *registry.folders_by_logical_id(logical)]
    newest: dict[str, int] = {}
    for one in found:
        newest[one.logical_id] = max(one.version, newest.get(one.logical_id, 0))
    for one in found:
        if one.latest and one.version < newest[one.logical_id]:
            registry.supersede(one)


def _some(entries: Sequence[DocumentEntry]) -> Iterator[Sequence[DocumentEntry]]:
    for start in range(0, len(entries), DOCUMENTS):
        yield entries[start : start + DOCUMENTS]
