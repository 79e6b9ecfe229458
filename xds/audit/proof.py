"""Whether one record is under a signed checkpoint: looked up and verified, not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509

from xds.audit import verify as checks
from xds.audit.merkle import HashTree
from xds.audit.segments import as_leaf
from xds.audit.verify import Tampered
from xds.store import audit as store
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
    except (Tampered, ValueError) as problem:
        return Proof(False, f"DOES NOT HOLD: {problem}")
    text = f"holds: record {record.leaf_number} of {signed[0]}, signed at {sealed:%Y-%m-%d %H:%M:%S} UTC"
    return Proof(True, text)
