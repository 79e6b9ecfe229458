"""Sign-ins that failed, counted by account and address: who guesses is kept out, and not who is guessed at.

After TRIES wrong passwords of an account from an address, no more of it are taken from there for a while.  After
OF_ADDRESS from an address, of any names, or OF_ACCOUNT of an account from anywhere, only those are taken with which
somebody has signed in there before: many people may be behind one address, and many addresses in one hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from xds.store.audit.records import now_microseconds
from xds.store.statements import insert_ignoring
from xds.store.tables import sign_in_try as table

TRIES, OF_ADDRESS, OF_ACCOUNT = 5, 20, 50

CLOSED_SECONDS, LONGEST_SECONDS = 60, 300
"""For how long first, and at the longest: each time it is twice as long."""

FORGOTTEN_SECONDS, OF_ADDRESS_SECONDS = 24 * 3600, 300
"""After so long without one more, wrong passwords are forgotten; of an address, where many people may be, sooner."""

KNOWN_SECONDS = 30 * 24 * 3600
"""How long it is remembered from where somebody has signed in."""

SUMMARY_SECONDS = 600
"""Failures within this after one that is recorded are counted, and recorded in one."""

MOST = 20_000
"""Rows; over it the oldest are forgotten."""

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Counted:
    """Failures to be put on record: of an account, empty where it is none, from an address.

    One just now, and how many more before it; or, ``afterwards``, only these.
    """

    account: str
    address: str
    more: int
    afterwards: bool = False


def address_closed(connection: sa.Connection, name: str, address: str) -> bool:
    """Whether nothing of a name is taken from an address now, whatever its password."""
    now = now_microseconds()
    return _closed_until(connection, "", address) > now and (
        not _known(connection, name, address, now) or _closed_until(connection, name, address) > now
    )


def closed(connection: sa.Connection, name: str, address: str) -> bool:
    """Whether an account's password is not taken from an address now; ``name`` is empty where there is no account."""
    now = now_microseconds()
    if name and _closed_until(connection, name, address) > now:
        return True
    wide = max(_closed_until(connection, "", address), _closed_until(connection, name, "") if name else 0)
    return wide > now and not _known(connection, name, address, now)


def _known(connection: sa.Connection, name: str, address: str, now: int) -> bool:
    """Whether somebody has signed in by an account from an address, not long ago."""
    return (
        connection.scalar(sa.select(table.c.right_at).where(*_of(name, address))) or 0
    ) > now - KNOWN_SECONDS * _SECOND


def closed_until(connection: sa.Connection) -> dict[str, int]:
    """Until when an account is closed to some address, in microseconds since 1970."""
    columns = sa.select(table.c.account, sa.func.max(table.c.closed_until)).where(table.c.account != "")
    return {str(name): int(until) for name, until in connection.execute(columns.group_by(table.c.account))}


def wrong(connection: sa.Connection, name: str, address: str) -> Counted | None:
    """Count a wrong password; what of it is to be recorded now.  ``name`` is empty where there is no account of it."""
    _forget_old(connection)
    closes = [_failed(connection, "", address, OF_ADDRESS)]
    if name:
        closes += [_failed(connection, name, address, TRIES), _failed(connection, name, "", OF_ACCOUNT)]
    return _noted(connection, name, address, at_once=any(closes))


def kept_out(connection: sa.Connection, name: str, address: str, count: int = 1) -> Counted | None:
    """Count tries that were not looked at; what of them is to be recorded now."""
    shuts = bool(name) and _failed(connection, "", address, OF_ADDRESS)
    return _noted(connection, name, address, at_once=shuts, count=count)


def right(connection: sa.Connection, name: str, address: str) -> Counted | None:
    """Forget what an account got wrong at an address; what of it was not recorded."""
    row = _row(connection, name, address)
    values = {"failed": 0, "closed_until": 0, "right_at": now_microseconds(), "unrecorded": 0}
    connection.execute(sa.update(table).where(*_of(name, address)).values(**values))
    connection.execute(sa.update(table).where(*_of(name, "")).values(failed=0, closed_until=0))
    return Counted(name, address, row.unrecorded, afterwards=True) if row.unrecorded else None


def due(connection: sa.Connection) -> list[Counted]:
    """Failures that were counted and not recorded, whose time has come; from now on they are."""
    where = (table.c.unrecorded > 0, table.c.recorded_at < now_microseconds() - SUMMARY_SECONDS * _SECOND)
    found = [
        Counted(row.account, row.address, row.unrecorded, afterwards=True)
        for row in connection.execute(sa.select(table).where(*where))
    ]
    if found:
        connection.execute(sa.update(table).where(*where).values(unrecorded=0, recorded_at=now_microseconds()))
    return found


def forget(connection: sa.Connection, name: str) -> None:
    """Let an account be signed in by again from anywhere."""
    connection.execute(sa.delete(table).where(table.c.account == name))


def _noted(
    connection: sa.Connection, name: str, address: str, *, at_once: bool = False, count: int = 1
) -> Counted | None:
    row, now = _row(connection, name, address), now_microseconds()
    if at_once or row.recorded_at < now - SUMMARY_SECONDS * _SECOND:
        connection.execute(sa.update(table).where(*_of(name, address)).values(unrecorded=0, recorded_at=now))
        return Counted(name, address, row.unrecorded + count - 1)
    connection.execute(sa.update(table).where(*_of(name, address)).values(unrecorded=table.c.unrecorded + count))
    return None


def _failed(connection: sa.Connection, name: str, address: str, most: int) -> bool:
    """One more; whether that closes it for the first time."""
    row, now = _row(connection, name, address), now_microseconds()
    lasting = FORGOTTEN_SECONDS if name else OF_ADDRESS_SECONDS
    failed = 1 if row.failed_at < now - lasting * _SECOND else row.failed + 1
    values = {"failed": failed, "failed_at": now}
    if failed >= most:
        seconds = min(CLOSED_SECONDS * 2 ** min(failed - most, 10), LONGEST_SECONDS)
        values["closed_until"] = now + seconds * _SECOND
    connection.execute(sa.update(table).where(*_of(name, address)).values(**values))
    return failed == most


def _row(connection: sa.Connection, name: str, address: str) -> sa.Row[tuple[object, ...]]:
    """A row to be changed, made where there is none."""
    empty = dict.fromkeys(("failed", "failed_at", "closed_until", "right_at", "unrecorded", "recorded_at"), 0)
    insert_ignoring(connection, table, account=name, address=address, **empty)
    return connection.execute(sa.select(table).where(*_of(name, address)).with_for_update()).one()


def _closed_until(connection: sa.Connection, name: str, address: str) -> int:
    return connection.scalar(sa.select(table.c.closed_until).where(*_of(name, address))) or 0


def _of(name: str, address: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.account == name, table.c.address == address


def _forget_old(connection: sa.Connection) -> None:
    now = now_microseconds()
    old = (table.c.failed_at < now - FORGOTTEN_SECONDS * _SECOND, table.c.right_at < now - KNOWN_SECONDS * _SECOND)
    connection.execute(sa.delete(table).where(*old, table.c.unrecorded == 0))
    if (connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0) > MOST:
        oldest = sa.select(table.c.failed_at).where(table.c.right_at == 0).order_by(table.c.failed_at).limit(1)
        until = connection.scalar(oldest.offset(MOST // 10)) or 0
        connection.execute(sa.delete(table).where(table.c.failed_at <= until, table.c.right_at == 0))
