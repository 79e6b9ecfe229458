"""What the console's desk asks of a deployment: who signs in, and the audit log; each on record."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlencode

import sqlalchemy as sa

from xds.access import second_factor
from xds.audit.log.keys import log_certificates
from xds.audit.log.proof import Proof, proof
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.audit.search import indexing
from xds.audit.search.covering import covered
from xds.audit.search.unjoined import unjoined
from xds.endpoints.console import passwords
from xds.settings.sections import Settings
from xds.store import accounts, tries
from xds.store.accounts import Account
from xds.store.audit import records as store
from xds.store.audit import review, search
from xds.store.audit.records import Recorded
from xds.store.audit.review import Saved, Unusual
from xds.store.audit.search import Page, Wanted
from xds.store.engine import reading
from xds.store.tries import Counted

PATIENCE_SECONDS = 0.7
"""How long a search of the log goes on until it shows what it has found so far."""

TAKEN_SECONDS = 20.0
"""And one whose records are taken away."""

WRONG, KEPT_OUT = "the name or the password is wrong", "too many wrong passwords from there"
_NO_FACTOR = "a second factor is required"

HELD_SECONDS = 5.0
"""How long tries that were not looked at are counted in memory alone."""


class KeptOut(Exception):
    """Nothing is taken from this address for a while: too many wrong passwords came from it."""


class NoSecondFactor(Exception):
    """The account's role needs a second factor, and it has none."""


class Desk:
    """Accounts and sessions, with a record of each sign-in, each refusal and each sign-out."""

    def __init__(
        self, engine: sa.Engine, node: AuditSource, record: Callable[[AuditEvent], None],
        second_factor: Collection[str] = (),
    ) -> None:  # fmt: skip
        """``second_factor``: the roles whose accounts must have one."""
        self._engine, self._node, self._record = engine, node, record
        self._second_factor = frozenset(second_factor)
        self._held, self._written, self._lock = Counter[str](), float("-inf"), Lock()

    def any_account(self) -> bool:
        with reading(self._engine) as connection:
            return accounts.any_at_all(connection)

    def sign_in(self, name: str, password: str, address: str, before: str = "", code: str = "") -> str:
        """A session's token; empty where the password or the code is wrong, or it is not taken from there now.

        ``before`` is the token of a session that the browser had, which ends; ``code`` a one-time password.

        Raises:
            Busy: too many are signing in just now; nothing was compared.
            KeptOut: nothing is taken from this address now; nothing was compared.
            NoSecondFactor: all is right, and this account may not do without a second factor.
        """
        near = _neighbourhood(address)
        with reading(self._engine) as connection:
            seen, shut = accounts.one(connection, name), tries.address_closed(connection, name, near)
        if shut:
            self._kept_out(near)
            raise KeptOut
        # An account that is closed to this address, and one that is none, take as long as any.
        right = passwords.right(seen.password if seen and seen.password else passwords.nobodys(), password, near)
        with self._engine.begin() as connection:
            self._write_held(connection)
            # Read again: it may have been tried, closed, changed or removed meanwhile.
            known = accounts.one(connection, name, to_change=True)
            # What was typed as a name may be a password typed in the wrong field: unknown ones are not kept.
            called = known.name if known else ""
            if tries.closed(connection, called, near):
                self._noted(connection, tries.kept_out(connection, called, near), address, KEPT_OUT)
                return ""
            if known is None or not right or not _same(known, seen) or not _second(connection, known, code):
                self._noted(connection, tries.wrong(connection, called, near), address, WRONG)
                return ""
            self._noted(connection, tries.right(connection, called, near), address, WRONG)
            lacking = not known.second_factor and known.role in self._second_factor
            who = Party(called, address, requestor=True)
            event = AuditEvent.signed_in(self._node, who, _here(), _NO_FACTOR if lacking else "")
            store.record(connection, event.records())
            if not lacking:
                accounts.end(connection, before)
                return accounts.begin(connection, name)
        raise NoSecondFactor

    def _kept_out(self, near: str) -> None:
        """Count a try that was not looked at: in memory, and now and then in the database, which has one writer."""
        with self._lock:
            self._held[near] += 1
            if time.monotonic() - self._written < HELD_SECONDS:
                return
            self._written = time.monotonic()
        with self._engine.begin() as connection:
            self._write_held(connection)

    def _write_held(self, connection: sa.Connection) -> None:
        with self._lock:
            held, self._held = self._held, Counter()
        for near, count in held.items():
            self._noted(connection, tries.kept_out(connection, "", near, count), near, KEPT_OUT)

    def _noted(self, connection: sa.Connection, counted: Counted | None, address: str, why: str) -> None:
        """Record failures of which it is time: the first, and then how many there were more."""
        for one in [*([counted] if counted else []), *tries.due(connection)]:
            more = f": {one.more} times more" if one.afterwards else f"; {one.more} more before" if one.more else ""
            who = Party(one.account or "unknown", address if one is counted else one.address, requestor=True)
            store.record(connection, AuditEvent.signed_in(self._node, who, _here(), f"{why}{more}").records())

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
                self._write_held(connection)
                self._noted(connection, None, "", WRONG)
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


def _same(known: Account, seen: Account | None) -> bool:
    """Whether the password that was compared is the account's still; who signs in by a provider has none."""
    return seen is not None and known.password == seen.password != ""


def _second(connection: sa.Connection, known: Account, code: str) -> bool:
    """Whether the second factor is right, which is used by that; one is asked for where the account has one."""
    if not known.second_factor:
        return True
    step = second_factor.step_of(known.second_factor, code, known.factor_used)
    if step is not None:
        accounts.use_factor(connection, known.name, step)
    return step is not None


def _neighbourhood(address: str) -> str:
    """What somebody has to themselves: of IPv6 a network of 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if found.version == 4:
        return str(found)
    plain = found.ipv4_mapped
    return str(plain) if plain else str(ipaddress.ip_network((found, 64), strict=False).network_address)


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
