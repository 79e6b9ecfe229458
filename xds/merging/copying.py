"""One submission of a source's, with its documents, into this deployment: whole or not at all, or why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

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
from xds.merging.usable import has_bytes, registered, see_usable
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import MetadataObject, Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.visible import Facts
from xds.rules.code_sets import CodeSets
from xds.store.audit.records import record
from xds.store.documents.folder import Kept, NotReachable
from xds.store.documents.moving import Pace
from xds.store.interface import Blobs, Found
from xds.store.merging import BROUGHT, THERE, Became, Ledger, Merged, is_here
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
    also: frozenset[str]  # repositories whose documents this one gives, beside its own
    open_patients: bool
    code_sets: CodeSets
    node: AuditSource


def digest(item: MetadataObject) -> str:
    """SHA-256 of an object's ebXML as this registry would write it."""
    return hashlib.sha256(fragment(item)).hexdigest()


@dataclass(slots=True)
class _Step:
    """A submission on its way: what of it is new, what has changed, and its documents; or why it stays there."""

    unit: Unit
    fresh: list[MetadataObject] = field(default_factory=list)
    changed: list[MetadataObject] = field(default_factory=list)
    documents: list[tuple[DocumentEntry, Spooled]] = field(default_factory=list)
    wanted: list[DocumentEntry] = field(default_factory=list)  # whose documents are to come
    became: dict[str, str] = field(default_factory=dict)  # of documents, by entryUUID: brought, or there before
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
            keys = registry.chain(here)
            if not keys and not self._into.open_patients:
                raise NotCopied(Became.WAITING, UNKNOWN)
            Known(registry, fresh, keys).see_no_other(fresh, before)

    def _ours(self, unit: Unit, here: PatientId) -> list[MetadataObject]:
        """A submission's objects as they are to be here.

        Raises:
            NotCopied: they cannot be, as far as they say so themselves.
        """
        see_usable(unit, self._into.database.repository_unique_id, self._into.also)
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
            going = [step for step in steps if step.why is None]
            keys = self._alone_with(work, here, going)
            known = Known(work.registry, (one for step in going for one in step.fresh), keys)
            for step in going:
                self._copied(work, keys[0], step, here, before, known)
            self._note(work, [step for step in going if step.why is None], here, before, noted)
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
        """What of a submission is to be copied; the document of what is here already is not asked for again."""
        step = _Step(unit)
        try:
            for item in self._ours(unit, here):
                row = before.get(item.entry_uuid)
                if not is_here(row):
                    step.fresh.append(item)
                elif differs(row, noted[item.entry_uuid]):
                    _see_the_same(row, noted[item.entry_uuid])
                    step.changed.append(item)
                else:
                    continue
                if isinstance(item, DocumentEntry) and has_bytes(item) and not (is_here(row) and row.document):
                    step.wanted.append(item)
        except NotCopied as why:
            step.why = why
        return step

    def _fetch(self, steps: Sequence[_Step]) -> None:
        """The documents of new entries, put into the document store before a row names them.

        What was put and is named by nobody afterwards goes with the sweep.
        """
        by_repository: dict[str, list[tuple[DocumentEntry, _Step]]] = {}
        for step in steps:
            for one in step.wanted if step.why is None else ():
                by_repository.setdefault(one.repository_unique_id or "", []).append((one, step))
        for repository, entries in by_repository.items():
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

    def _alone_with(self, work: Work, here: PatientId, steps: Sequence[_Step]) -> Sequence[int]:
        """The keys of the patient, whom nobody else changes until the commit; nor whom what has moved was of.

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
        moved = registry.kinds_of(one.entry_uuid for step in steps for one in step.changed)
        registry.lock({keys[0], *(key for _, key in moved.values())}, ids)
        if registry.chain(here)[:1] != keys[:1]:
            raise NotCopied(Became.WAITING, "the patient is being merged just now")
        return keys

    def _copied(
        self, work: Work, key: int, step: _Step, here: PatientId, before: Mapping[str, Merged], known: Known
    ) -> None:  # fmt: skip
        """Write a submission, or nothing of it."""
        registry = work.registry
        try:
            known.see_no_other(step.fresh, before)
            known.see_ends(step.fresh)
            with work.connection.begin_nested():
                self._replace(registry, step.changed, before)
                registry.insert(key, [*step.fresh, *step.changed], step.unit.source_ids)
                for entry, spooled in step.documents:
                    step.became[entry.entry_uuid] = _add_document(work, entry, spooled, here, step.unit)
        except NotCopied as why:
            step.why = why
        except Taken:
            step.why = NotCopied(Became.CONFLICT, "somebody registers one of its ids just now")
        except sa.exc.DataError:
            step.why = NotCopied(Became.INVALID, "something in it is longer, or larger, than it may be")
        else:
            known.add(step.fresh, key)

    def _note(
        self, work: Work, steps: Sequence[_Step], here: PatientId, before: Mapping[str, Merged],
        noted: Mapping[str, Merged],
    ) -> None:  # fmt: skip
        """What was written is kept as copied, is on record, and has its latest versions told."""
        became = {uuid: one for step in steps for uuid, one in step.became.items()}
        items = [item for step in steps for item in (*step.fresh, *step.changed)]
        _only_latest(work.registry, items)
        rows = []
        for item in items:
            row, now = before.get(item.entry_uuid), noted[item.entry_uuid]
            document, images = (row.document, row.images) if is_here(row) else ("", "")
            document = became.get(item.entry_uuid, document)
            copied = replace(now, state=Became.COPIED, why="", here=digest(item), copied=self._now())
            rows.append(replace(copied, document=document, images=images))
        Ledger(work.connection, self._source.label).keep(rows)
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
                why = "it was changed here and at the source"
                if found is None:
                    why = "it was removed here and changed at the source"
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


def _add_document(work: Work, entry: DocumentEntry, spooled: Spooled, here: PatientId, unit: Unit) -> str:
    """Whether the row of a document was made, or was there before.

    Raises:
        NotCopied: the repository has another document of that id.
    """
    table = work.documents.of(entry.repository_unique_id or "")
    facts = Facts({}, {"sourceId": unit.source_ids})
    kept = Kept(
        entry.unique_id, entry.mime_type, spooled.size_bytes, spooled.sha1, spooled.sha256,
        patient_id=str(here), facts=facts,
    )  # fmt: skip
    if table.add(kept):
        return BROUGHT
    other = table.find(entry.unique_id)
    if other is None or other.sha256 != spooled.sha256:
        why = "the repository has another document of this uniqueId"
        raise NotCopied(Became.CONFLICT, why, entry.entry_uuid)
    return THERE


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


def differs(row: Merged, noted: Merged) -> bool:
    """Whether an object that is here has changed at the source, or is another patient's there now."""
    return row.there != noted.there or row.patient_id != noted.patient_id


def _see_the_same(row: Merged, noted: Merged) -> None:
    """That what has changed is the same thing still: neither an id nor a document ever becomes another.

    Raises:
        NotCopied: it is another.
    """
    if (row.unique_id, row.repository_unique_id) != (noted.unique_id, noted.repository_unique_id):
        why = "its uniqueId, or the repository of its document, is another at the source since it was copied"
        raise NotCopied(Became.CONFLICT, why, row.entry_uuid)
    if row.hash and (row.hash, row.size) != (noted.hash, noted.size):
        why = "its document is another at the source since it was copied: by hash or size"
        raise NotCopied(Became.CONFLICT, why, row.entry_uuid)


def as_kept(found: Found) -> str:
    """SHA-256 of an object's ebXML as it is here."""
    return hashlib.sha256(found.ebxml).hexdigest()


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
