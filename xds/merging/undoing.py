"""What was merged is removed again, as long as nobody has changed it here; the source is not touched."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from xds.actors.metadata_removal import Removed, described
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.ebxml.xdsb import DocumentRequest
from xds.merging.copying import as_kept
from xds.store.audit.records import record
from xds.store.merging import BROUGHT, Became, Ledger, Merged, is_here, patient_pages
from xds.store.registry.sql_reader import batches
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.work import Database, Work


@dataclass(slots=True)
class Undone:
    """How much was removed, and what stays because it was changed here since, by entryUUID."""

    objects: int = 0
    documents: int = 0
    changed: list[str] = field(default_factory=list)


def undo(database: Database, source: str, node: AuditSource, *, dry: bool) -> Undone:
    """Remove what was merged from a source, a patient's objects at a time.

    A patient of whom anything was changed here, or is led to from what is, keeps all of it: half a history is none.
    """
    done = Undone()
    for some in patient_pages(database.engine, source):
        for patient_id in some:
            _of_patient(database, source, patient_id, node, done, dry=dry)
    return done


def _of_patient(
    database: Database, source: str, patient_id: str, node: AuditSource, done: Undone, *, dry: bool
) -> None:  # fmt: skip
    work = database.work()
    try:
        ledger, registry = Ledger(work.connection, source), work.registry
        rows = {uuid: row for uuid, row in ledger.objects_of(patient_id).items() if is_here(row)}
        kinds = registry.kinds_of(rows)
        registry.lock_patients({key for _, key in kinds.values()})
        changed = [*_changed(registry, rows.values()), *_led_to(registry, rows)]
        if changed:
            done.changed += changed
            return
        done.objects += len(rows)
        entries = [row for row in rows.values() if row.document == BROUGHT]
        if dry:
            done.documents += len(entries)
            return
        removed = list(described(kinds, registry))
        registry.remove(kinds)
        gone = [row for row in entries if _is_nobodys(work, ledger, row, rows)]
        done.documents += len(gone)
        ledger.keep(replace(row, state=Became.UNDONE, why="", here="", document="") for row in rows.values())
        if removed:
            _record(work, node, source, removed, gone)
        work.commit()
    finally:
        work.close()


def _is_nobodys(work: Work, ledger: Ledger, row: Merged, rows: Collection[str]) -> bool:
    """Remove a document that was brought, unless another entry has it still: whether it was removed."""
    others = work.registry.documents_by_unique_id([row.unique_id])
    if any(one.repository_unique_id == row.repository_unique_id and one.entry_uuid not in rows for one in others):
        ledger.pass_on(row.repository_unique_id, row.unique_id)
        return False
    return work.documents.of(row.repository_unique_id).remove(row.unique_id)


def _changed(registry: SqlRegistry, rows: Collection[Merged]) -> list[str]:
    found = []
    for row in rows:
        here = registry.by_uuid(row.entry_uuid)
        if here is not None and as_kept(here) != row.here:
            found.append(row.entry_uuid)
    return found


def _led_to(registry: SqlRegistry, rows: Collection[str]) -> list[str]:
    """Associations that lead to what was merged, and were made here."""
    found = (one.entry_uuid for some in batches(rows) for one in registry.associations_of(some))
    return [uuid for uuid in found if uuid not in rows]


def _record(
    work: Work, node: AuditSource, source: str, removed: Sequence[Removed], entries: Sequence[Merged]
) -> None:  # fmt: skip
    """Who has removed a patient's objects and documents (DICOM PS3.15: A.5.3.11)."""
    here = Party("xds merge undo", "localhost", ours=True, requestor=True)
    event = AuditEvent(node, "110110", "D", ("", ""), here, here)
    event.about_patient(str(removed[0].patient_id))
    event.about_removed((one.entry_uuid, one.code, one.text) for one in removed)
    event.about_removed_documents(DocumentRequest(row.repository_unique_id, row.unique_id) for row in entries)
    event.noted(f"what was merged from {source} is undone")
    event.end(failed=False)
    record(work.connection, event.records())
