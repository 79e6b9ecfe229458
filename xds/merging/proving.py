"""That all of a source is here: counted, under one root for each side, and read back.

A leaf is an object: its entryUUID and uniqueId, and of an entry the SHA-1 and the size of its document.  The source's
root is made of what its registry said, the one here of what is kept: the object that is registered, and the document
as it was hashed when it came.  That the two are equal proves it only where every patient was told whole, and nothing
waits, is in conflict, or was left out: what is not so is told as a difference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from xds.audit.log import statement
from xds.audit.log.keys import SigningKey
from xds.audit.log.merkle import Frontier, leaf_hash
from xds.audit.log.statement import Kind as StatementKind
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import Unusable
from xds.merging.copying import PREFIX
from xds.merging.samples import Samples
from xds.merging.source import Source
from xds.store.documents.folder import DocumentTable, is_whole
from xds.store.engine import reading
from xds.store.interface import FoundDocument, Kind
from xds.store.merging import Became, Ledger, Looked, Merged, object_pages
from xds.store.work import Database
from xds.wire.client import Faulted, NoReply, OverBounds
from xds.wire.spool import NotKept, Spool

KIND = StatementKind(
    "urn:xds:merge:proof:1",
    "MergeProof",
    (
        "Source",
        "Registry",
        "Time",
        "Patients",
        "EntriesThere",
        "RootThere",
        "EntriesHere",
        "RootHere",
        "ReadBack",
        "Differences",
    ),
    "proof of a merge",
)

_THERE = (Became.FOUND, Became.INVALID, Became.WAITING, Became.CONFLICT, Became.COPIED, Became.UNDONE)
"""What became of an object that the source had when it was asked last."""

DIFFERENCES = 1000
"""That are told one by one."""


@dataclass(slots=True)
class Proof:
    """What was compared.  ``by`` counts entries by a name and its value: there, and here."""

    there: int = 0
    here: int = 0
    root_there: bytes = b""
    root_here: bytes = b""
    read_back: int = 0
    differences: list[tuple[str, str]] = field(default_factory=list)  # entryUUID, and what differs
    by: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    patients: int = 0  # who were told whole

    def compared(self, row: Merged, said: bytes, leaf: bytes | None) -> None:
        """Note in what an object here is not what the source said of it."""
        if leaf is None:
            self.differs(row.entry_uuid, row.why or "not here, or without its document")
        elif leaf != said:
            self.differs(row.entry_uuid, "its hash, size or uniqueId is another here")
        elif row.state != Became.COPIED:
            self.differs(row.entry_uuid, row.why or row.state)

    @property
    def holds(self) -> bool:
        return self.root_there == self.root_here and not self.differences

    def differs(self, entry_uuid: str, how: str) -> None:
        if len(self.differences) < DIFFERENCES:
            self.differences.append((entry_uuid, how))


def prove(database: Database, source: Source, *, samples: int) -> Proof:
    """Compare everything that a source had when it was asked last with what is here.

    ``samples``: of so many documents both sides' bytes are read, and compared.
    """
    proof, there, here = Proof(), Frontier.empty(), Frontier.empty()
    _see_patients(database, source.label, proof)
    counts: Counter[tuple[str, str, bool]] = Counter()
    chosen = Samples(samples)
    for rows in object_pages(database.engine, source.label, _THERE):
        with database.work().reading() as (registry, table):
            kinds = registry.kinds_of(row.entry_uuid for row in rows)
            found = {one.entry_uuid: one for one in registry.documents_by_uuid(row.entry_uuid for row in rows)}
            for row in rows:
                said = _leaf(row.entry_uuid, row.unique_id, row.hash, row.size)
                there.append(said)
                leaf = _kept(row, found.get(row.entry_uuid), table) if row.entry_uuid in kinds else None
                if leaf is not None:
                    here.append(leaf)
                proof.compared(row, said, leaf)
                if row.kind == Kind.DOCUMENT_ENTRY:
                    proof.there, proof.here = proof.there + 1, proof.here + (leaf is not None)
                    for name in ("month", "type_code", "patient_id", "repository_unique_id"):
                        counts[name, getattr(row, name), False] += 1
                        counts[name, getattr(row, name), True] += leaf is not None
                    if row.document and leaf is not None:
                        chosen.add(row)
    proof.root_there, proof.root_here = there.root(), here.root()
    for (name, one, is_here), number in counts.items():
        proof.by.setdefault(name, {}).setdefault(one, [0, 0])[is_here] = number
    for row in chosen:
        _read_back(database, source, row, proof)
    return proof


def _see_patients(database: Database, label: str, proof: Proof) -> None:
    """Each patient whom the source has must have been told whole."""
    with reading(database.engine) as connection:
        states = Ledger(connection, label).patients_by_state()
    proof.patients = states.get(Looked.EVEN, 0)
    if not states:
        proof.differs("", "nobody is listed: the source was never asked")
    for state, number in sorted(states.items()):
        if state != Looked.EVEN:
            proof.differs("", f"{number} of the source's patients: {state}")


def signed(proof: Proof, source: Source, time: datetime, signing: SigningKey) -> bytes:
    """The proof's numbers and roots, signed as checkpoints of the audit log are."""
    values = (
        source.label, source.url, time.astimezone(UTC).isoformat(timespec="seconds"), str(proof.patients),
        str(proof.there),
        proof.root_there.hex(), str(proof.here), proof.root_here.hex(), str(proof.read_back),
        str(len(proof.differences)),
    )  # fmt: skip
    return statement.sign(KIND, values, signing)


def _leaf(entry_uuid: str, unique_id: str, sha1: str, size_bytes: int) -> bytes:
    return leaf_hash("\n".join((entry_uuid, unique_id, sha1, str(size_bytes))).encode())


def _kept(row: Merged, kept: FoundDocument | None, table: DocumentTable) -> bytes | None:
    """The leaf of what is here: of an entry that has bytes these, else what is said of it; None: it is not here."""
    if row.kind != Kind.DOCUMENT_ENTRY:
        return _leaf(row.entry_uuid, row.unique_id, row.hash, row.size)
    if kept is None:
        return None
    if not row.document:
        return _leaf(kept.entry_uuid, kept.unique_id, (kept.hash or "").lower(), kept.size or 0)
    document = table.of(row.repository_unique_id).find(kept.unique_id)
    return None if document is None else _leaf(kept.entry_uuid, kept.unique_id, document.sha1, document.size_bytes)


def _read_back(database: Database, source: Source, row: Merged, proof: Proof) -> None:
    request = DocumentRequest(row.repository_unique_id, row.unique_id)
    with database.work().reading() as (_, table):
        kept = table.of(row.repository_unique_id).find(row.unique_id)
    try:
        with Spool(database.blobs.staging, PREFIX, sealed=database.blobs.seals) as spool:
            got = source.documents([request], spool).documents.get(row.unique_id)
            theirs = "" if got is None else got.sha256
    except (NoReply, Faulted, OverBounds, NotKept, Unusable) as problem:
        proof.differs(row.entry_uuid, f"the source's document could not be read: {problem}")
        return
    if kept is not None and not is_whole(database.blobs.chunks(kept.sha256, kept.size_bytes)):
        proof.differs(row.entry_uuid, "its document is damaged here")
        return
    proof.read_back += 1
    if kept is None or theirs != kept.sha256:
        proof.differs(row.entry_uuid, "its document, read back, is another here")
