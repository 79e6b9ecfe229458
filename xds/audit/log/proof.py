"""Whether one record is under a signed checkpoint, and in the log's file as it is shown: looked up, not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509

from xds.audit.log import verify as checks
from xds.audit.log.erasure import erased_parts
from xds.audit.log.merkle import HashTree
from xds.audit.log.segments import Record, SegmentLog, as_leaf
from xds.audit.log.verify import Tampered
from xds.store.audit import records as store
from xds.store.engine import reading


@dataclass(frozen=True, slots=True)
class Proof:
    """``holds`` is None of a record that is not sealed yet."""

    holds: bool | None
    text: str


def proof(engine: sa.Engine, folder: Path, certificates: Sequence[x509.Certificate], record: store.Recorded) -> Proof:
    """The proof of a record in the log's folder."""
    waits = Proof(None, "not sealed yet")
    if record.leaf_number is None:
        return waits
    with reading(engine) as connection:
        signed = store.last_checkpoint(connection)
    if signed is None or signed[0] <= record.leaf_number:
        return waits
    try:
        path = HashTree(folder / "tree").inclusion_proof(record.leaf_number, signed[0])
        sealed = checks.verify_record(as_leaf(record), path, signed[1], certificates)
        kept = _in_file(folder, as_leaf(record))
    except (Tampered, ValueError) as problem:
        return Proof(False, f"DOES NOT HOLD: {problem}")
    text = f"holds: record {record.leaf_number} of {signed[0]}, signed at {sealed:%Y-%m-%d %H:%M:%S} UTC{kept}"
    return Proof(True, text)


def _in_file(folder: Path, record: Record) -> str:
    """That the log's file has the same record; or that it was erased there.

    Raises:
        Tampered, BadFrame: it has not.
    """
    found = next(SegmentLog(folder / "segments").raw(record.leaf), None)
    if found is not None and found[0] == record.leaf:
        if found[1:] != (record.said, record.message):
            raise Tampered(6, record.leaf, "the log's file has another record")
        return ""
    if any(part.first <= record.leaf < part.end for part in erased_parts(folder / "segments")):
        return "; its file was erased"
    raise Tampered(6, record.leaf, "the record is missing in the log's files")
