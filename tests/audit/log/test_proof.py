"""A record's badge: it holds the row to the tree, its checkpoint, and the evidence in the log's file."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.audit.log.test_retention import CERTIFICATES, Log
from tests.audit.logs import files, frames, write
from xds.audit.log.proof import Proof, proof
from xds.store.audit import records as store
from xds.store.tables import audit_record

LEAF = 9


@pytest.fixture
def log(engine: sa.Engine, tmp_path: Path) -> Log:
    made = Log(engine, tmp_path / "audit")
    with engine.begin() as connection:
        checkpoints = store.last_checkpoint(connection)
        if checkpoints is None:
            signed = sorted((tmp_path / "audit" / "checkpoints").glob("*.log"))
            store.keep_checkpoint(connection, 40, frames(signed[-1])[-1].data)
    return made


def proven(log: Log) -> Proof:
    with log.engine.connect() as connection:
        (record,) = store.numbered_from(connection, LEAF, 1)
    return proof(log.engine, log.folder, CERTIFICATES, record)


def spoil(log: Log, old: bytes, new: bytes) -> None:
    """In the record as the log's file has it."""
    for path in files(log.folder / "segments"):
        content = path.read_bytes()
        entries = frames(path)
        for entry in entries:
            if entry.number == LEAF:
                path.write_bytes(content.replace(entry.bytes(), entry.bytes().replace(old, new, 1)))


def test_a_record_that_is_sealed_and_in_its_file_holds(log: Log) -> None:
    assert proven(log).holds is True


@pytest.mark.parametrize(
    ("old", "new"), [(b"ITI", b"ITX"), (b"T08:00:00", b"T08:00:01"), (b"XDS-AUDIT-1 9", b"XDS-AUDIT-1 8")]
)
def test_a_record_that_is_another_in_the_logs_file_does_not_hold(log: Log, old: bytes, new: bytes) -> None:
    spoil(log, old, new)
    assert proven(log).holds is False


def test_a_record_that_is_missing_in_the_logs_files_does_not_hold(log: Log) -> None:
    last = files(log.folder / "segments")
    for path in last:
        write(path, [entry for entry in frames(path) if entry.number < LEAF])
    assert proven(log).holds is False


def test_a_record_whose_file_was_erased_is_said_to_be_so(log: Log) -> None:
    with log.engine.connect() as connection:
        (record,) = store.numbered_from(connection, LEAF, 1)
    (segment,) = [one for one in log.over() if one.first <= LEAF < one.end]
    log.erase(segment)
    found = proof(log.engine, log.folder, CERTIFICATES, record)
    assert (found.holds, "erased" in found.text) == (True, True)


@pytest.mark.parametrize("values", [
    {"message": sa.func.replace(audit_record.c.message, "ITI", "ITX")}, {"origin": "tls 192.0.2.9 CN=trusted"},
    {"recorded": audit_record.c.recorded + 1},
])  # fmt: skip
def test_a_row_that_somebody_has_changed_does_not_hold(log: Log, values: dict[str, object]) -> None:
    if "message" in values and log.engine.dialect.name != "sqlite":
        values = {"message": b"other"}
    with log.engine.begin() as connection:
        connection.execute(sa.update(audit_record).where(audit_record.c.leaf_number == LEAF).values(**values))
    assert proven(log).holds is False
