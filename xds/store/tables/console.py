"""The console's tables: who may sign in, who has, and what auditors look for again."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.tables.base import Id, metadata

# Who may sign in at the console, and who has.
account = sa.Table(
    "account",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password", sa.String(256), nullable=False),  # Argon2id
    sa.Column("failed", sa.Integer, nullable=False),  # wrong passwords since the last right one
    sa.Column("failed_at", sa.BigInteger, nullable=False),  # the last of them
    sa.Column("locked_until", sa.BigInteger, nullable=False),
)
session = sa.Table(
    "session",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),  # its SHA-256
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
)
# Searches of the desk that somebody wants to make again.
saved_search = sa.Table(
    "saved_search",
    metadata,
    sa.Column("id", Id, primary_key=True, autoincrement=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.UniqueConstraint("account", "name", name="saved_search_once"),
)
