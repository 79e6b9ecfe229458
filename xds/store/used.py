"""Assertions and tokens that may be used but once: kept until they end, so that every process sees them."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from xds.store.audit.records import now_microseconds
from xds.store.statements import insert_ignoring
from xds.store.tables import used_token

MOST = 100_000
"""Kept at once; over it no more are taken until some have ended."""


def first_use(engine: sa.Engine, token: str, until: datetime) -> bool:
    """Note that one is used; False where it was before, or where no more can be kept."""
    with engine.begin() as connection:
        connection.execute(sa.delete(used_token).where(used_token.c.until < now_microseconds()))
        count = connection.scalar(sa.select(sa.func.count()).select_from(used_token)) or 0
        if count >= MOST:
            return False
        return insert_ignoring(connection, used_token, token=token, until=int(until.timestamp() * 1_000_000))
