"""The tables of people: who may sign in at the console, who has or tried, what auditors look for again; used tokens."""

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
    # The secret of one-time passwords (RFC 6238), in base32; empty: none are asked for.  It must be readable here.
    sa.Column("second_factor", sa.String(64), nullable=False),
    sa.Column("factor_used", sa.BigInteger, nullable=False),  # the time step of the last that was used
)
# Who tried to sign in, from where: wrong passwords since the last right one.  Account is empty for all tries from an
# address, of any name; address is empty for all of an account, from anywhere.
sign_in_try = sa.Table(
    "sign_in_try",
    metadata,
    sa.Column("account", sa.String(64), primary_key=True),
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("failed_at", sa.BigInteger, nullable=False),  # the last of them
    sa.Column("closed_until", sa.BigInteger, nullable=False),  # no password is compared until then
    sa.Column("right_at", sa.BigInteger, nullable=False),  # when a right one came last; 0: never
    sa.Column("unrecorded", sa.Integer, nullable=False),  # failures since the one that was recorded
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
)
# Assertions and tokens that may be used but once and were, until they end anyway.
used_token = sa.Table(
    "used_token",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),  # SHA-256 of issuer and id
    sa.Column("until", sa.BigInteger, nullable=False, index=True),
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
