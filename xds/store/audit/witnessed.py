"""Other logs' checkpoints that this node has seen: the newest of each day."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from xds.store.statements import insert_ignoring
from xds.store.tables import audit_witnessed


def last(connection: sa.Connection, log_id: str, *, to_change: bool = False) -> bytes | None:
    """The newest of a log, as signed; ``to_change``: no other is taken until the transaction ends."""
    table = audit_witnessed.c
    statement = sa.select(table.signed).where(table.log_id == log_id).order_by(table.day.desc()).limit(1)
    found = connection.scalar(statement.with_for_update() if to_change else statement)
    return None if found is None else bytes(found)


def keep(connection: sa.Connection, log_id: str, size: int, time: datetime, signed: bytes) -> None:
    """Keep a newer one."""
    key, values = {"log_id": log_id, "day": time.toordinal()}, {"size": size, "signed": signed}
    if not insert_ignoring(connection, audit_witnessed, **key, **values):
        same = (audit_witnessed.c[name] == value for name, value in key.items())
        connection.execute(sa.update(audit_witnessed).where(*same).values(**values))
