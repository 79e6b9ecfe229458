"""What each peer has brought about in a day, in all processes together: audit records, and bytes that are kept."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import sqlalchemy as sa

from xds.store.statements import Statement, insert_of
from xds.store.tables import peer_use as table

KEPT_DAYS = 31
"""For which it is known afterwards."""

AT_ONCE = 500
"""Peers that one statement names."""


@dataclass(frozen=True, slots=True)
class Use:
    """Of one peer; ``name`` is of its entry, empty where none is known."""

    records: int = 0
    size_bytes: int = 0
    name: str = ""

    def and_(self, more: Use) -> Use:
        return Use(self.records + more.records, self.size_bytes + more.size_bytes, more.name or self.name)


def today() -> int:
    """The day that it is, in UTC, since 1970."""
    return int(time.time()) // 86_400


def seconds_left() -> int:
    """Of today."""
    return 86_400 - int(time.time()) % 86_400


@cache
def _adding(dialect: str) -> Statement:
    statement = insert_of(table, table.c.keys(), dialect)
    more = statement.excluded
    named = sa.case((more.name != "", more.name), else_=table.c.name)
    return Statement(statement.on_conflict_do_update(
        index_elements=[table.c.day, table.c.peer],
        set_={"records": table.c.records + more.records, "bytes": table.c.bytes + more.bytes, "name": named},
    ))  # fmt: skip


_FORGET = Statement(sa.delete(table).where(table.c.day < sa.bindparam("day")))


def add(connection: sa.Connection, day: int, used: Mapping[str, Use]) -> None:
    """Count more, of peers by their keys; what is older than KEPT_DAYS is forgotten."""
    rows = [
        {"day": day, "peer": key, "name": one.name, "records": one.records, "bytes": one.size_bytes}
        for key, one in sorted(used.items())  # in one order, so that processes do not wait for one another in a circle
    ]
    if rows:
        _adding(connection.dialect.name).run_each(connection, rows)
        _FORGET.run(connection, day=day - KEPT_DAYS)


def of_peers(connection: sa.Connection, day: int, keys: Collection[str]) -> dict[str, Use]:
    """What these have used of a day; who has used nothing is not in it."""
    wanted, found = sorted(keys), dict[str, Use]()
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        rows = connection.execute(sa.select(table).where(table.c.day == day, table.c.peer.in_(some)))
        found |= {row.peer: Use(row.records, row.bytes, row.name) for row in rows}
    return found


def most(connection: sa.Connection, day: int, count: int) -> dict[str, Use]:
    """The peers that have used most of a day, by records and by bytes: so many of each."""
    found = dict[str, Use]()
    for column in (table.c.records, table.c.bytes):
        rows = connection.execute(
            sa.select(table).where(table.c.day == day).order_by(column.desc(), table.c.peer).limit(count)
        )
        found |= {row.peer: Use(row.records, row.bytes, row.name) for row in rows}
    return found


def of_name(connection: sa.Connection, name: str, keys: Collection[str], days: int = 1) -> dict[int, Use]:
    """What the peer of an entry has used by day, told by its name or one of its keys; the last so many days."""
    mine = sa.or_(table.c.name == name, table.c.peer.in_(sorted(keys)))
    rows = connection.execute(sa.select(table).where(mine, table.c.day > today() - days).order_by(table.c.day))
    found = dict[int, Use]()
    for row in rows:
        found[row.day] = found.get(row.day, Use()).and_(Use(row.records, row.bytes, row.name))
    return found
