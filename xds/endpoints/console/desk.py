"""What the console's desk asks of a deployment: who signs in, and the audit log; each on record."""

from __future__ import annotations

import functools
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import argon2
import sqlalchemy as sa

from xds.audit.log.keys import log_certificates
from xds.audit.log.proof import Proof, proof
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.audit.search import indexing
from xds.audit.search.covering import covered
from xds.audit.search.unjoined import unjoined
from xds.settings.sections import Settings
from xds.store import accounts
from xds.store.accounts import Account
from xds.store.audit import records as store
from xds.store.audit import review, search
from xds.store.audit.records import Recorded, now_microseconds
from xds.store.audit.review import Saved, Unusual
from xds.store.audit.search import Page, Wanted
from xds.store.engine import reading

PATIENCE_SECONDS = 0.7
"""How long a search of the log goes on until it shows what it has found so far."""

TAKEN_SECONDS = 20.0
"""And one whose records are taken away."""

# One lane, and two at once in a process: a password costs 64 MiB and a tenth of a second to compare, whoever tries it.
HASHER = argon2.PasswordHasher(parallelism=1)
_COMPARING = threading.BoundedSemaphore(2)
WAITING_SECONDS = 2.0
"""How long a sign-in waits for others."""


class Busy(Exception):
    """Too many are signing in just now."""


@functools.cache
def _nobodys() -> str:
    """Compared with where there is no such password, which must take as long; of something that nobody knows."""
    return HASHER.hash(secrets.token_hex())


def hashed(password: str) -> str:
    """A password as it is kept: Argon2id, with its own salt (RFC 9106)."""
    return HASHER.hash(password)


class Desk:
    """Accounts and sessions, with a record of each sign-in, each refusal and each sign-out."""

    def __init__(self, engine: sa.Engine, node: AuditSource, record: Callable[[AuditEvent], None]) -> None:
        self._engine, self._node, self._record = engine, node, record

    def any_account(self) -> bool:
        with reading(self._engine) as connection:
            return accounts.any_at_all(connection)

    def sign_in(self, name: str, password: str, address: str, before: str = "") -> str:
        """A session's token; empty where the password is wrong or the account locked.

        ``before`` is the token of a session that the browser had, which ends.

        Raises:
            Busy: too many are signing in just now; nothing was compared.
        """
        with reading(self._engine) as connection:
            seen = accounts.one(connection, name)
        # A locked account, and one that is none, take as long as any.
        right = _right(seen.password if seen and seen.password else _nobodys(), password)
        with self._engine.begin() as connection:
            # Read again: it may have been tried, locked, changed or removed meanwhile.
            known = accounts.one(connection, name, to_change=True)
            why = _refused(known, seen, right=right)
            if known is not None and known.locked_until <= now_microseconds():
                accounts.tried(connection, known, right=not why)
            # What was typed as a name may be a password typed in the wrong field: unknown ones are not recorded.
            who = Party(name if known else "unknown", address, requestor=True)
            store.record(connection, AuditEvent.signed_in(self._node, who, _here(), why).records())
            if why:
                return ""
            accounts.end(connection, before)
            return accounts.begin(connection, name)

    def vouched_for(self, name: str, role: str, address: str) -> str:
        """A session's token of somebody whom a provider vouches for; empty if there is an own account of the name."""
        with self._engine.begin() as connection:
            fine = accounts.vouched_for(connection, name, role)
            why = "" if fine else "there is an own account of the name"
            event = AuditEvent.signed_in(self._node, Party(name, address, requestor=True), _here(), why)
            store.record(connection, event.records())
            return accounts.begin(connection, name) if fine else ""

    def not_vouched_for(self, address: str, why: str) -> None:
        """Record somebody whom a provider does not vouch for, or who has no role."""
        self._record(AuditEvent.signed_in(self._node, Party("unknown", address, requestor=True), _here(), why))

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

    def not_allowed(self, name: str, address: str, path: str) -> None:
        """Record that somebody who has signed in asked for what is for another role."""
        who = Party(name, address, requestor=True)
        event = AuditEvent.security_alert(
            self._node, "110132", who, f"urn:xds:page:{path}", "refused: for another role"
        )
        event.refused("for another role")
        self._record(event)

    def sign_out(self, token: str, address: str) -> None:
        with self._engine.begin() as connection:
            living = accounts.living(connection, token)
            accounts.end(connection, token)
            if living is not None:
                party = Party(living.account.name, address, requestor=True)
                event = AuditEvent.signed_in(self._node, party, _here(), "", out=True)
                store.record(connection, event.records())


def _here() -> Party:
    return Party("xds console", socket.gethostname(), ours=True)


def _refused(known: Account | None, seen: Account | None, *, right: bool) -> str:
    """Why somebody is not let in; empty if they are."""
    if known is not None and known.locked_until > now_microseconds():
        return "the account is locked"
    # Who signs in by a provider has no password.
    same = known is not None and seen is not None and known.password == seen.password != ""
    return "" if right and same else "the name or the password is wrong"


def _right(kept: str, password: str) -> bool:
    """Whether it is the password.

    Raises:
        Busy: too many are being compared.
    """
    if not _COMPARING.acquire(timeout=WAITING_SECONDS):
        raise Busy
    try:
        return HASHER.verify(kept, password)
    except argon2.exceptions.VerifyMismatchError:
        return False
    finally:
        _COMPARING.release()


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks at the log, and from where."""

    name: str
    address: str


class AuditDesk:
    """The audit log, as the desk reads it; each look is on record, with what was looked for."""

    def __init__(
        self, engine: sa.Engine, settings: Settings, node: AuditSource, record: Callable[[AuditEvent], None]
    ) -> None:
        self._engine, self._settings, self._node, self._record = engine, settings, node, record

    def looked(self, look: Look, given: Mapping[str, str], patient_id: str = "") -> None:
        """Record that somebody has read the log: what was asked, and about whom."""
        reader = Party(look.name, look.address, requestor=True)
        patient = given.get("patient", "") or patient_id
        self._record(AuditEvent.log_used(self._node, reader, asked=urlencode(given), patient_id=patient))

    def page(self, wanted: Wanted, most: int) -> Page:
        """What is found within a time in which a person waits."""
        with reading(self._engine) as connection:
            return search.page(connection, wanted, most, PATIENCE_SECONDS)

    def valued(self, kind: str, value: str) -> int:
        """How many records have a value."""
        with reading(self._engine) as connection:
            return search.valued(connection, kind, value)

    def covered(self, patient_id: str) -> list[str]:
        """What a patient is and was called: records name them as they were called then.

        Raises:
            CannotMatch: nobody is, or was, called so.
        """
        with reading(self._engine) as connection:
            return covered(connection, self._settings, patient_id)

    def unjoined(self, records: Sequence[Recorded], wanted: Wanted) -> int:
        """Retrievals that name no patient, by those who are in records about one, in the same time."""
        with reading(self._engine) as connection:
            return unjoined(connection, records, wanted.since, wanted.until)

    def by_time(self, wanted: Wanted, width: int, most: int) -> dict[int, tuple[int, int]]:
        with reading(self._engine) as connection:
            return search.by_time(connection, wanted, width, most)

    def taken(self, wanted: Wanted, most: int) -> Page:
        """The newest, to be taken away: what is found within a longer time."""
        with reading(self._engine) as connection:
            return search.page(connection, wanted, most, TAKEN_SECONDS)

    def unusual(self, *, decided: bool, before: int, most: int) -> list[Unusual]:
        with reading(self._engine) as connection:
            return review.unusual(connection, decided=decided, before=before, most=most)

    def open_count(self) -> int:
        with reading(self._engine) as connection:
            return review.open_count(connection)

    def decide(self, look: Look, id_: int, decision: str, note: str) -> bool:
        """Keep a decision on what is unusual, on record in the same commit; False if there is nothing of the id.

        Raises:
            Decided: somebody has decided before.
        """
        with self._engine.begin() as connection:
            decided = review.decide(connection, id_, decision, note, look.name)
            if decided is None:
                return False
            reader = Party(look.name, look.address, requestor=True)
            said = urlencode(
                {"decision": decision, "reason": decided.reason, "record": decided.record_id, "note": decided.note}
            )
            event = AuditEvent.log_used(self._node, reader, asked=said, patient_id=decided.patient_id)
            store.record(connection, event.records())
        return True

    def searches(self, name: str) -> Sequence[Saved]:
        with reading(self._engine) as connection:
            return review.searches(connection, name)

    def save_search(self, name: str, title: str, query: str) -> bool:
        with self._engine.begin() as connection:
            return review.save_search(connection, name, title, query)

    def forget_search(self, name: str, id_: int) -> None:
        with self._engine.begin() as connection:
            review.forget_search(connection, name, id_)

    def one(self, id_: int) -> Recorded | None:
        if id_ >= 2**63:
            return None
        with reading(self._engine) as connection:
            return store.one(connection, id_)

    def patients(self, records: Sequence[Recorded]) -> dict[int, list[str]]:
        """Whom records are about, by their ids; of a retrieval that names nobody, whose its documents are."""
        with reading(self._engine) as connection:
            return {record.id: indexing.patients(connection, record) for record in records}

    def proof(self, record: Recorded) -> Proof:
        return proof(self._engine, self._settings.data / "audit", log_certificates(self._settings), record)
