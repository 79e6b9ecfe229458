"""One submission of a source's, with its documents, into this deployment: whole or not at all, or why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import Severity, Unusable
from xds.merging.known import Known
from xds.merging.mapping import Mapped
from xds.merging.outcome import NotCopied
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


@dataclass(slots=True)
class _Step:
    """A submission on its way: what of it is new, what has changed, and its documents; or why it stays there."""

    unit: Unit
    fresh: list[MetadataObject] = field(default_factory=list)
    changed: list[MetadataObject] = field(default_factory=list)
    documents: list[tuple[DocumentEntry, Spooled]] = field(default_factory=list)
    why: NotCopied | None = None


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
            Known(registry, fresh).see_no_other(fresh)

    def _ours(self, unit: Unit, here: PatientId) -> list[MetadataObject]:
        """A submission's objects as they are to be here.

        Raises:
            NotCopied: they cannot be, as far as they say so themselves.
        """
        _see_usable(unit, self._into.repositories)
        ours = [registered(self._mapped.mapped(item, here)) for item in unit.objects]
        self._known_codes(ours)
        return ours

    def copy(
        self, units: Sequence[Unit], here: PatientId, before: Mapping[str, Merged], noted: Mapping[str, Merged]
    ) -> list[int | NotCopied]:
        """Copy what is new or has changed of a patient's submissions, each whole or not at all, in one commit.

        Of each it is told how many bytes of documents came, or why nothing of it is here.  ``before``: what was kept of
        the source's objects; ``noted``: what is to be kept of them now.
        """
        steps = [self._planned(unit, here, before, noted) for unit in units]
        self._fetch(steps)
        work = self._into.database.work()
        try:
            key = self._alone_with(work, here, [step for step in steps if step.why is None])
            known = Known(work.registry, (one for step in steps if step.why is None for one in step.fresh))
            for step in steps:
                if step.why is None:
                    self._copied(work, key, step, here, before, known)
            self._note(work, [step for step in steps if step.why is None], here, noted)
            work.commit()
        except NotCopied as why:
            for step in steps:
                step.why = step.why or why
        finally:
            work.close()
        return [step.why or sum(one.size_bytes for _, one in step.documents) for step in steps]

    def _planned(
        self, unit: Unit, here: PatientId, before: Mapping[str, Merged], noted: Mapping[str, Merged]
    ) -> _Step:  # fmt: skip
        step = _Step(unit)
        try:
            for item in self._ours(unit, here):
                if not is_here(before.get(item.entry_uuid)):
                    step.fresh.append(item)
                elif before[item.entry_uuid].there != noted[item.entry_uuid].there:
                    step.changed.append(item)
        except NotCopied as why:
            step.why = why
        return step

    def _fetch(self, steps: Sequence[_Step]) -> None:
        """The documents of new entries, put into the document store before a row names them.

        What was put and is named by nobody afterwards goes with the sweep.
        """
        wanted = [
            (one.repository_unique_id or "", one, step)
            for step in steps
            for one in step.fresh
            if step.why is None and isinstance(one, DocumentEntry) and _has_bytes(one)
        ]
        wanted.sort(key=lambda one: one[0])
        for repository, group in groupby(wanted, key=lambda one: one[0]):
            entries = [(entry, step) for _, entry, step in group]
            for start in range(0, len(entries), DOCUMENTS):
                self._fetch_some(repository, entries[start : start + DOCUMENTS])

    def _fetch_some(self, repository: str, entries: Sequence[tuple[DocumentEntry, _Step]]) -> None:
        into = self._into
        requests = list(dict.fromkeys(DocumentRequest(repository, entry.unique_id) for entry, _ in entries))
        with Spool(into.blobs.staging, PREFIX, into.disk, sealed=into.blobs.seals) as spool:
            try:
                came = self._source.documents(requests, spool).documents
            except (Unusable, NoReply, Faulted, OverBounds, NotKept) as problem:
                for _, step in entries:
                    step.why = NotCopied(Became.WAITING, f"a document did not come: {problem}")
                return
            put = set[str]()
            for entry, step in entries:
                try:
                    spooled = _right(entry, came.get(entry.unique_id))
                    if spooled.sha256 not in put:
                        self._pace.wait(spooled.size_bytes)
                        into.blobs.put(spooled)
                        put.add(spooled.sha256)
                    step.documents.append((entry, spooled))
                except NotCopied as why:
                    step.why = why
                except (NotKept, NotReachable) as problem:
                    step.why = NotCopied(Became.WAITING, f"the document store here does not take it: {problem}")

    def _alone_with(self, work: Work, here: PatientId, steps: Sequence[_Step]) -> int:
        """The key of the patient, whom nobody else changes until the commit.

        Raises:
            NotCopied: nobody is known so, or they are being merged.
        """
        registry = work.registry
        keys = registry.chain(here)
        if not keys and self._into.open_patients:
            registry.add_patient(here)
            keys = registry.chain(here)
        if not keys:
            raise NotCopied(Became.WAITING, UNKNOWN)
        ids = [one.unique_id for step in steps for one in step.fresh if not isinstance(one, Association)]
        registry.lock(keys[:1], ids)
        if registry.chain(here)[:1] != keys[:1]:
            raise NotCopied(Became.WAITING, "the patient is being merged just now")
        return keys[0]

    def _copied(
        self, work: Work, key: int, step: _Step, here: PatientId, before: Mapping[str, Merged], known: Known
    ) -> None:  # fmt: skip
        """Write a submission, or nothing of it."""
        registry = work.registry
        try:
            known.see_no_other(step.fresh)
            known.see_ends(step.fresh)
            with work.connection.begin_nested():
                self._replace(registry, step.changed, before)
                registry.insert(key, [*step.fresh, *step.changed], step.unit.source_ids)
                for entry, spooled in step.documents:
                    _add_document(work, entry, spooled, here, step.unit)
        except NotCopied as why:
            step.why = why
        except Taken:
            step.why = NotCopied(Became.CONFLICT, "somebody registers one of its ids just now")
        else:
            known.add(step.fresh)

    def _note(self, work: Work, steps: Sequence[_Step], here: PatientId, noted: Mapping[str, Merged]) -> None:
        """What was written is kept as copied, is on record, and has its latest versions told."""
        items = [item for step in steps for item in (*step.fresh, *step.changed)]
        _only_latest(work.registry, items)
        Ledger(work.connection, self._source.label).keep(
            replace(noted[one.entry_uuid], state=Became.COPIED, why="", here=digest(one), copied=self._now())
            for one in items
        )
        record(work.connection, [one for step in steps for one in self._imported(step.unit, here).records()])

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
