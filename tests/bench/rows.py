"""Rows as the registry writes them, made fast, and put into a database by its raw driver."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from tests.bench.load import patient
from tests.builders import AUTHORITY, a_submission, an_entry
from xds.actors.document_registry import _new_ids, _resolved
from xds.metadata.identifiers import EntryUuid, PatientId, UniqueId
from xds.store.audit import Recorded
from xds.store.compression import pack, unpack
from xds.store.engine import make_engine
from xds.store.rows import rows as _rows
from xds.store.tables import audit_record, document_entry, locator

DOMAIN = "default"
BATCH = 5_000
"""Submissions that are loaded at once."""

# What stands in the template for what differs.
_PATIENT, _DOCUMENT, _SET = "p0000000", "2.25.1111111111111111", "2.25.2222222222222222"
_ENTRY_UUID, _SET_UUID = (f"urn:uuid:00000000-0000-4000-8000-00000000000{n}" for n in range(2))

Row = tuple[str, tuple[Any, ...]]
"""Where it goes, as ``table ("a", "b")``, and its values."""


class _Key:
    """Stands for the patient key."""


class Template:
    """The rows of a submission of one document, to be filled in for other ids and patients.

    The entry's ebXML is that entry's where it is ``exact``; all other is the template's, of the same length.
    """

    def __init__(self, audit: Recorded | None = None, seed: int = 1, *, exact: bool = True) -> None:
        """``audit``: a record to be kept with each submission."""
        owner = PatientId(_PATIENT, AUTHORITY)
        entry = an_entry(entry_uuid=EntryUuid(_ENTRY_UUID), unique_id=UniqueId(_DOCUMENT), patient_id=owner)
        made = a_submission(
            patient=owner, entries=[entry], unique_id=UniqueId(_SET), entry_uuid=EntryUuid(_SET_UUID)
        )  # fmt: skip
        # The order of ``_fresh``.
        self._marks = (_ENTRY_UUID, _SET_UUID, made.associations[0].entry_uuid, _DOCUMENT, _SET, _PATIENT)
        self._random = random.Random(seed)  # noqa: S311
        self._rows: list[tuple[str, list[Any]]] = []
        for item in _resolved(made, _new_ids(made), datetime.now(UTC)).objects():
            for table, row in _rows(item):
                common = {"patient_key": _Key, "entry_uuid": item.entry_uuid}
                values: dict[str, Any] = common | ({"domain": DOMAIN} if table is locator else {}) | row
                if exact and table is document_entry:
                    values["ebxml"] = _Fragment(unpack(values["ebxml"]), self._marks)
                self._add(table, values)
        # One statement a table, in the order that the registry has them.
        order = list(dict.fromkeys(into for into, _ in self._rows))
        self._rows.sort(key=lambda row: order.index(row[0]))
        if audit is not None:
            self._add(audit_record, audit_values(audit))

    def _add(self, table: sa.Table, values: dict[str, Any]) -> None:
        marked = [
            _Fragment(value.encode(), self._marks) if isinstance(value, str) else value for value in values.values()
        ]
        texts = [
            value if isinstance(value, _Fragment) and value.has_marks else plain
            for value, plain in zip(marked, values.values(), strict=True)
        ]
        self._rows.append((into(table, values), texts))

    def fill(self, number: int, patient_number: int, patient_key: int) -> list[Row]:
        """The rows of one submission."""
        uuids = (f"urn:uuid:{uuid.UUID(int=self._random.getrandbits(128), version=4)}" for _ in range(3))
        fresh = (*uuids, f"2.25.11{number:014d}", f"2.25.22{number:014d}", patient(patient_number).id)

        def value(cell: Any) -> Any:
            if cell is _Key:
                return patient_key
            return cell.filled(fresh) if isinstance(cell, _Fragment) else cell

        return [(where, tuple(map(value, cells))) for where, cells in self._rows]


class _Fragment:
    """A text with marks in it; ebXML, which is long, comes out packed."""

    def __init__(self, data: bytes, marks: Sequence[str]) -> None:
        self._data, self._packed = data, data.startswith(b"<")
        self._marks = [(number, mark.encode()) for number, mark in enumerate(marks) if mark.encode() in data]
        self.has_marks = bool(self._marks)

    def filled(self, fresh: Sequence[str]) -> str | bytes:
        data = self._data
        for number, mark in self._marks:
            data = data.replace(mark, fresh[number].encode())
        return pack(data) if self._packed else data.decode()


def audit_values(audit: Recorded) -> dict[str, Any]:
    """An audit record's row."""
    return {
        "recorded": audit.recorded, "event": audit.event, "transaction": audit.transaction,
        "outcome": audit.outcome, "patient_id": audit.patient_id, "message": audit.message,
    }  # fmt: skip


def into(table: sa.Table, values: Iterable[str]) -> str:
    """Where rows with these columns go."""
    columns = ", ".join(f'"{name}"' for name in values)
    return f"{table.name} ({columns})"


@cache
def insert(where: str, dialect: str) -> str:
    """The INSERT of one row."""
    mark = "?" if dialect == "sqlite" else "%s"
    marks = ", ".join([mark] * (where.count(",") + 1))
    return f"INSERT INTO {where} VALUES ({marks})"  # noqa: S608  our own tables


def begin(dialect: str) -> str:
    """The beginning of a transaction that writes."""
    return "BEGIN IMMEDIATE" if dialect == "sqlite" else "BEGIN"


@contextmanager
def raw(url: str) -> Iterator[tuple[Any, str]]:
    """The driver's own connection, set up as xds sets up its own, and the dialect's name."""
    engine = make_engine(url, connections=1)
    pooled = engine.raw_connection()
    try:
        yield pooled.driver_connection, engine.dialect.name
    finally:
        pooled.close()
        engine.dispose()


def has_patients(url: str) -> bool:
    """Whether the database was filled before."""
    with raw(url) as (connection, _):
        return connection.execute("SELECT 1 FROM patient").fetchone() is not None


def add_patients(url: str, count: int) -> list[int]:
    """Make the first so many patients known; return their keys."""
    where = 'patient ("domain", "authority", "id")'
    ids = [patient(number).id for number in range(count)]
    with raw(url) as (connection, dialect):
        cursor = connection.cursor()
        cursor.execute(begin(dialect))
        cursor.execute("SELECT id, patient_key FROM patient")
        known = dict(cursor.fetchall())
        cursor.executemany(insert(where, dialect), [(DOMAIN, AUTHORITY, id_) for id_ in ids if id_ not in known])
        cursor.execute("SELECT id, patient_key FROM patient")
        keys = dict(cursor.fetchall())
        cursor.execute("COMMIT")
    return [keys[id_] for id_ in ids]


def load(url: str, keys: Sequence[int], first: int, end: int, *, a_patient: int) -> None:
    """Documents number ``first`` to ``end``, so many a patient in their order; what follows it is done, too."""
    template = Template(seed=first)
    with raw(url) as (connection, dialect):
        cursor = connection.cursor()
        for start in range(first, end, BATCH):
            rows: dict[str, list[tuple[Any, ...]]] = {}
            for number in range(start, min(end, start + BATCH)):
                owner = number // a_patient
                for where, values in template.fill(number, owner, keys[owner]):
                    rows.setdefault(where, []).append(values)
            cursor.execute(begin(dialect))
            for where, listed in rows.items():
                _put(cursor, dialect, where, listed)
            cursor.execute("COMMIT")
        if dialect == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute("ANALYZE")
        else:
            connection.autocommit = True
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")


def _put(cursor: Any, dialect: str, where: str, rows: list[tuple[Any, ...]]) -> None:
    if dialect == "sqlite":
        cursor.executemany(insert(where, dialect), rows)
        return
    with cursor.copy(f"COPY {where} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
