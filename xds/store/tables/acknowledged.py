"""What each peer was last acknowledged: a replica that has it has all that the peer may expect to see."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import metadata

# Counted by each connection of the database alone, so that no two requests of a peer wait for each other here.
acknowledged = sa.Table(
    "acknowledged",
    metadata,
    sa.Column("peer", sa.String(64), primary_key=True),  # its key; *: what concerns everybody
    sa.Column("backend", sa.BigInteger, primary_key=True),  # the process of the database that has written it
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("day", sa.Integer, nullable=False),  # of UTC, since 1970: forgotten some days later
)
