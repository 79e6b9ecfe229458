"""Who may sign in at the console, and who has."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from xds.store.audit.records import now_microseconds
from xds.store.statements import insert_ignoring
from xds.store.tables import account, session

IDLE_SECONDS, LONGEST_SECONDS = 20 * 60, 10 * 3600
"""Until a session ends that nobody uses, and any."""

NOTED_SECONDS = 60
"""How exactly it is known when a session was used last: not every look at a page writes."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in."""

    name: str
    role: str
    password: str  # Argon2id, as PHC writes it; empty: a provider vouches for them
    second_factor: str = ""  # the secret of one-time passwords, in base32; empty: none are asked for
    factor_used: int = 0  # the time step of the last one that was used


def add(connection: sa.Connection, name: str, role: str, password: str) -> bool:
    """Make an account; False if there is one of the name."""
    values = {"role": role, "password": password, "second_factor": "", "factor_used": 0}
    return insert_ignoring(connection, account, name=name, **values)


def remove(connection: sa.Connection, name: str) -> bool:
    """Remove an account and its sessions; False if there is none of the name."""
    connection.execute(sa.delete(session).where(session.c.account == name))
    return bool(connection.execute(sa.delete(account).where(account.c.name == name)).rowcount)


def vouched_for(connection: sa.Connection, name: str, role: str) -> bool:
    """Somebody whom a provider vouches for has a role; False if there is an own account of the name."""
    if add(connection, name, role, ""):
        return True
    where = (account.c.name == name, account.c.password == "")  # a provider keeps it  # nosec B105
    return bool(connection.execute(sa.update(account).where(*where).values(role=role)).rowcount)


def set_password(connection: sa.Connection, name: str, password: str) -> bool:
    """Give an account another password and end its sessions; False if there is none of the name."""
    connection.execute(sa.delete(session).where(session.c.account == name))
    return _changed(connection, name, password=password)


def set_second_factor(connection: sa.Connection, name: str, secret: str) -> bool:
    """Ask an account for one-time passwords of a secret, for none where it is empty; its sessions end.

    False if there is no account of the name with a password here.
    """
    connection.execute(sa.delete(session).where(session.c.account == name))
    where = (account.c.name == name, account.c.password != "")  # nosec B105
    values = {"second_factor": secret, "factor_used": 0}
    return bool(connection.execute(sa.update(account).where(*where).values(**values)).rowcount)


def use_factor(connection: sa.Connection, name: str, step: int) -> None:
    """Note that the one-time password of a time step is used, and with it all before."""
    _changed(connection, name, factor_used=step)


def _changed(connection: sa.Connection, name: str, **values: object) -> bool:
    return bool(connection.execute(sa.update(account).where(account.c.name == name).values(**values)).rowcount)


def all_of(connection: sa.Connection) -> list[Account]:
    return [Account(**dict(row._mapping)) for row in connection.execute(sa.select(account).order_by(account.c.name))]


def any_at_all(connection: sa.Connection) -> bool:
    return bool(connection.scalar(sa.select(sa.exists(sa.select(account.c.name)))))


def one(connection: sa.Connection, name: str, *, to_change: bool = False) -> Account | None:
    """An account by its name; ``to_change``: nobody else changes it until the transaction ends."""
    statement = sa.select(account).where(account.c.name == name)
    row = connection.execute(statement.with_for_update() if to_change else statement).first()
    return None if row is None else Account(**dict(row._mapping))


def begin(connection: sa.Connection, name: str) -> str:
    """A session of an account's: its token, which is kept nowhere but with who has it."""
    token, now = secrets.token_urlsafe(32), now_microseconds()
    connection.execute(sa.delete(session).where(session.c.started < now - LONGEST_SECONDS * 1_000_000))
    connection.execute(sa.insert(session).values(token=_hashed(token), account=name, started=now, seen=now))
    return token


@dataclass(frozen=True, slots=True)
class Living:
    """A session that has not ended; ``is_due``: it is time to note that it is used."""

    account: Account
    is_due: bool


def living(connection: sa.Connection, token: str) -> Living | None:
    """The session of a token, if it lives."""
    now = now_microseconds()
    row = connection.execute(sa.select(session).where(session.c.token == _hashed(token))).first()
    if row is None or row.seen < now - IDLE_SECONDS * 1_000_000 or row.started < now - LONGEST_SECONDS * 1_000_000:
        return None
    found = one(connection, row.account)
    return None if found is None else Living(found, row.seen < now - NOTED_SECONDS * 1_000_000)


def keep_alive(connection: sa.Connection, token: str) -> None:
    """Note that a session is used."""
    connection.execute(sa.update(session).where(session.c.token == _hashed(token)).values(seen=now_microseconds()))


def end(connection: sa.Connection, token: str) -> None:
    connection.execute(sa.delete(session).where(session.c.token == _hashed(token)))


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
