"""Rows, and how the raw driver puts them into a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

from tests.bench.load import patient
from tests.builders import AUTHORITY
from xds.store.engine import make_engine

DOMAIN = "default"

Row = tuple[str, tuple[Any, ...]]
"""Where it goes, as ``table ("a", "b")``, and its values."""


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
        put(cursor, dialect, where, [(DOMAIN, AUTHORITY, id_) for id_ in ids if id_ not in known])
        cursor.execute("SELECT id, patient_key FROM patient")
        keys = dict(cursor.fetchall())
        cursor.execute("COMMIT")
    return [keys[id_] for id_ in ids]


def put(cursor: Any, dialect: str, where: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows."""
    if dialect == "sqlite":
        cursor.executemany(insert(where, dialect), rows)
        return
    with cursor.copy(f"COPY {where} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
