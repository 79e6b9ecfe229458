"""Partners' systems that are kept in the database, beside those of the settings: ``xds peer``."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from xds.settings.access import PeerEntry
from xds.store.audit.records import now_microseconds
from xds.store.statements import insert_ignoring
from xds.store.tables import peer


def all_of(connection: sa.Connection) -> dict[str, PeerEntry]:
    """Every entry by its name."""
    rows = connection.execute(sa.select(peer.c.name, peer.c.entry).order_by(peer.c.name))
    return {row.name: _read(row.entry) for row in rows}


def keep(connection: sa.Connection, name: str, entry: PeerEntry, who: str) -> None:
    """Add an entry, or put another in its place."""
    said = {key: value for key in PeerEntry.__slots__ if (value := getattr(entry, key)) != getattr(PeerEntry(), key)}
    values = {"entry": json.dumps(said), "changed": now_microseconds(), "changed_by": who}
    if not insert_ignoring(connection, peer, name=name, **values):
        connection.execute(sa.update(peer).where(peer.c.name == name).values(**values))


def remove(connection: sa.Connection, name: str) -> bool:
    """Remove an entry; whether there was one."""
    return bool(connection.execute(sa.delete(peer).where(peer.c.name == name)).rowcount)


def _read(text: str) -> PeerEntry:
    said: dict[str, Any] = json.loads(text)
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    return PeerEntry(**given)
