"""Counts what peers are acknowledged, in the transactions that do it: what a replica has seen of it, can be told.

A row is written with what it counts, so that whoever sees the one sees the other, however it came there.  Each
connection of the database counts for itself: two requests of one peer do not wait for each other.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from xds.store.statements import Asked, Statement, insert_of
from xds.store.tables import acknowledged as table
from xds.wire.peers import served

EVERYBODY = "*"
"""Stands for all peers: consent, glass that was broken, merges."""

KEPT_DAYS = 2
"""A replica that is so far behind is asked nothing, whatever it has seen."""

Counts = dict[tuple[str, int], int]
"""How often each peer was acknowledged something, by each connection."""


def _counting() -> Statement:
    insert = insert_of(table, ("peer", "count", "day"), "postgresql")
    insert = insert.values(backend=sa.func.pg_backend_pid())
    return Statement(insert.on_conflict_do_update(
        index_elements=[table.c.peer, table.c.backend],
        set_={"count": table.c.count + 1, "day": insert.excluded.day},
    ))  # fmt: skip


_COUNTING = _counting()
_COUNTED = Statement(
    sa.select(table.c.peer, table.c.backend, table.c.count).where(
        table.c.peer.in_([sa.bindparam("peer", type_=sa.String), sa.literal(EVERYBODY)]),
        table.c.day >= sa.bindparam("day", type_=sa.Integer),
    )
)
_FORGET = Statement(sa.delete(table).where(table.c.day < sa.bindparam("day")))


def counting(peer: str | None = None) -> Asked:
    """What counts one thing more that a peer is acknowledged; by default the one that is served just now."""
    return _COUNTING, {"peer": served() if peer is None else peer, "count": 1, "day": _today()}


def concerns_everybody(connection: sa.Connection) -> None:
    """Count something that all peers are to see at once, whoever has done it."""
    if connection.dialect.name != "sqlite":
        statement, given = counting(EVERYBODY)
        statement.run(connection, **given)


def counted(peer: str) -> Asked:
    """What a peer was acknowledged, with what concerns everybody."""
    return _COUNTED, {"peer": peer, "day": _today() - KEPT_DAYS}


def as_counts(rows: list[tuple[str, int, int]]) -> Counts:
    return {(peer, backend): count for peer, backend, count in rows}


def has_all(seen: Counts, wanted: Counts) -> bool:
    """Whether somebody who sees the one count has what the other counts."""
    return all(seen.get(key, 0) >= count for key, count in wanted.items())


def forget(connection: sa.Connection) -> None:
    """Forget what no replica is asked for any more."""
    _FORGET.run(connection, day=_today() - KEPT_DAYS)


def _today() -> int:
    return int(time.time()) // 86_400
