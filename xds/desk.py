"""What the console's desk asks of a deployment: who signs in, and the audit log; each on record."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable

import argon2
import sqlalchemy as sa

from xds.audit.events import AuditEvent, Party
from xds.audit.keys import log_certificates
from xds.audit.message import AuditSource
from xds.audit.proof import Proof, proof
from xds.settings import Settings
from xds.store import accounts
from xds.store import audit as store
from xds.store.accounts import Account
from xds.store.audit import Recorded, Wanted, now_microseconds
from xds.store.engine import reading

_HASHER = argon2.PasswordHasher()


@functools.cache
def _nobodys() -> str:
    """Compared with where there is no such account, which must take as long."""
    return _HASHER.hash("nobody's")


def hashed(password: str) -> str:
    """A password as it is kept: Argon2id, with its own salt (RFC 9106)."""
    return _HASHER.hash(password)


class Desk:
    """Accounts and sessions, with a record of each sign-in, each refusal and each sign-out."""

    def __init__(self, engine: sa.Engine, node: AuditSource, record: Callable[[AuditEvent], None]) -> None:
        self._engine, self._node, self._record = engine, node, record

    def any_account(self) -> bool:
        with reading(self._engine) as connection:
            return accounts.any_at_all(connection)

    def sign_in(self, name: str, password: str, address: str) -> str:
        """A session's token; empty where the password is wrong or the account locked."""
        with reading(self._engine) as connection:
            known = accounts.one(connection, name)
        locked = known is not None and known.locked_until > now_microseconds()
        right = not locked and _right(known.password if known else _nobodys(), password) and known is not None
        why = "the account is locked" if locked else "" if right else "the name or the password is wrong"
        # What was typed as a name may be a password typed in the wrong field: unknown ones are not recorded.
        who = Party(name if known else "unknown", address, requestor=True)
        with self._engine.begin() as connection:
            if known is not None and not locked:
                accounts.tried(connection, name, right=right)
            store.record(connection, AuditEvent.signed_in(self._node, who, _here(), why).records())
            return accounts.begin(connection, name) if right else ""

    def visitor(self, token: str) -> Account | None:
        """Whose session it is, if it lives; using it keeps it alive."""
        if not token:
            return None
        with reading(self._engine) as connection:
            living = accounts.living(connection, token)
        if living is None:
            return None
        if living.is_due:
            with self._engine.begin() as connection:
                accounts.keep_alive(connection, token)
        return living.account

    def sign_out(self, token: str, address: str) -> None:
        with self._engine.begin() as connection:
            living = accounts.living(connection, token)
            accounts.end(connection, token)
            if living is not None:
                party = Party(living.account.name, address, requestor=True)
                event = AuditEvent.signed_in(self._node, party, _here(), "", out=True)
                store.record(connection, event.records())

    def looked(self, name: str, address: str) -> None:
        """Record that somebody has read the audit log."""
        self._record(AuditEvent.log_used(self._node, Party(name, address, requestor=True)))


def _here() -> Party:
    return Party("xds console", socket.gethostname(), ours=True)


def _right(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except argon2.exceptions.VerificationError:
        return False


class AuditDesk:
    """The audit log, as the desk reads it."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings

    def found(self, wanted: Wanted, most: int) -> list[Recorded]:
        with reading(self._engine) as connection:
            return store.found(connection, wanted, most)

    def by_time(self, wanted: Wanted, width: int, most: int) -> dict[int, tuple[int, int]]:
        with reading(self._engine) as connection:
            return store.by_time(connection, wanted, width, most)

    def one(self, id_: int) -> Recorded | None:
        with reading(self._engine) as connection:
            return store.one(connection, id_)

    def proof(self, record: Recorded) -> Proof:
        return proof(self._engine, self._settings.data / "audit", log_certificates(self._settings), record)
