"""What every endpoint asks, once a request and before anything is read or written: who is it, and may they.

Policy and peers are read again when they change; a mistake in them leaves the last good ones in force.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa

from xds.access import policy as policies
from xds.access.consent import Asking, left_by
from xds.access.decisions import Decision, Effect, Question, checked, decide, names_of, purposes_of, roles_of
from xds.access.peers import Peer, Peers
from xds.access.policy import ANYBODY, Policy
from xds.audit.messages.people import Person
from xds.errors import Unusable
from xds.metadata.identifiers import PatientId
from xds.metadata.visible import FULL, NOTHING, Access, Clause, Those, Visible
from xds.settings.access import PeerEntry
from xds.settings.addresses import stands_alone
from xds.settings.sections import Settings
from xds.store import consents, peers
from xds.store.audit.records import now_microseconds
from xds.store.deployment import noted
from xds.store.engine import reading
from xds.store.registry import patients
from xds.store.registry.sql_reader import NOBODY
from xds.wire.certificates import Certificate

log = logging.getLogger("xds.access.gate")

LOOK_SECONDS = 2.0
"""How often a process looks whether peers have changed, or a first patient has said something."""

MOST_WITH_DIRECTIVES = 10_000
"""Patients whose directives a query about several patients, none of them named, goes by; of more it is refused."""

RESET = "policy.reset"
"""Under which it is kept which state of the policy's file is not gone by."""

READ, WRITE = "ITI-18", frozenset(("ITI-41", "ITI-42", "ITI-57", "ITI-61", "ITI-62", "ITI-86", "ITI-92", "RAD-68"))

_OWN = (
    "document-consumer", "imaging-document-consumer", "document-source", "imaging-document-source",
    "document-repository",
)  # fmt: skip


class NotPermitted(Exception):
    """It is denied; the message names the rule, and nobody."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"not permitted: {rule}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Granted:
    """What somebody may, of one request."""

    peer: Peer
    rule: str
    access: Access = FULL
    note: str = ""  # what would have been refused, were the policy enforced
    override: bool = False  # the message breaks the glass itself
    watched: bool = False  # nothing is refused, all is noted
    marks: bool = False  # a name that is not the peer's is marked in the record, and not refused


class Gate:
    """The decisions of a deployment, as one process makes them.  Safe with threads.

    Raises:
        Unusable: policy or peers have a mistake at the start.
    """

    def __init__(self, settings: Settings, engine: sa.Engine, today: Callable[[], date] | None = None) -> None:
        self._settings, self._engine, self._lock = settings, engine, Lock()
        self.today = today or (lambda: datetime.now(UTC).date())
        self.alone = stands_alone(settings)
        self._watches = settings.policy.mode == "watch"
        self._file = Path(settings.policy.file) if settings.policy.file else None
        self._stamp = self._stamped()
        self._policy = self._read_policy()
        self._decide = _remembering(self._policy)
        self._kept: Mapping[str, PeerEntry] = {}
        self._peers = Peers(settings.peers, alone=self.alone)
        self._looked, self._any_directive = 0.0, True
        self.troubles: dict[str, str] = {}
        """What is wrong with policy or peers that are not in force, by what it is."""

    # Who.

    def peer(self, certificate: Certificate | None, address: str, *, ours: bool = False) -> Peer:
        """Whose system is calling; ``ours``: this node itself, for somebody at its pages."""
        self._look()
        return self._own() if ours else self._peers.of(certificate, address)

    def _own(self) -> Peer:
        settings = self._settings
        organisation = settings.audit.enterprise_site_id
        return Peer("this-node", PeerEntry(
            roles=_OWN, organisation=organisation, source_ids=(settings.imaging_source.retrieve_location_uid,),
            repository_ids=tuple(domain.repository_unique_id for domain in settings.affinity_domains.values()),
        ))  # fmt: skip

    @property
    def peers(self) -> Peers:
        """All that are known now."""
        self._look()
        return self._peers

    def wrong(self) -> Mapping[str, str]:
        """What is wrong with policy or peers as they are now, by what it is."""
        self._look()
        return dict(self.troubles)

    @property
    def policy(self) -> Policy:
        """The rules in force."""
        self._look()
        return self._policy

    # May they.

    def ask(
        self, peer: Peer, transaction: str, domain: str, person: Person | None = None, *, every_patient: bool = False
    ) -> Granted:
        """What a peer may, for a person.

        Raises:
            NotPermitted: nothing.
        """
        self._look()
        today = self.today()
        question = Question.by(peer, transaction, domain, person, every_patient=every_patient, today=today)
        breaks = self._breaks(person)
        broken = self._broken_by(person)
        if breaks and person is not None and person.patient:  # it says for whom
            broken |= self._family(domain, person.patient)
        declared = breaks and person is not None and not person.patient
        decided = self._decided(question, declared, broken)
        if decided.effect is Effect.DENY:
            return self._denied(question, decided.rule)
        reading_ = decided if transaction not in WRITE else self._decided(question.of(READ), declared, broken)
        change = decided.visible if transaction in WRITE else NOTHING
        wants = self._consents(Asking.by(peer, person, today), domain, broken, declared=declared)
        access = Access(reading_.visible, change, wants, tells=self._settings.policy.tell_withheld)
        if self._watches and not peer.alone:
            return Granted(peer, decided.rule, FULL, _watched(decided), breaks, watched=True, marks=True)
        return Granted(peer, decided.rule, access, override=breaks, marks=self._settings.policy.mismatch == "mark")

    def answers(self, connection: sa.Connection, person: Person | None, domain: str, keys: Sequence[int]) -> bool:
        """Whether a person at this node's pages can be told anything of a patient who is kept under these keys."""
        try:
            access = self.ask(self._own(), READ, domain, person).access
        except NotPermitted:
            return False
        return access.tells or not access.of(connection, keys).about(keys).nothing

    def _denied(self, question: Question, rule: str) -> Granted:
        if self._watches:
            return Granted(question.peer, rule, FULL, f"would be refused: {rule}", watched=True, marks=True)
        raise NotPermitted(rule)

    def _decided(self, question: Question, declared: bool, broken: frozenset[int]) -> Decision:
        """With the glass whole; and for the patients for whom it is broken, with it broken."""
        if declared:
            return self._decide(replace(question, override=True))
        whole = self._decide(question)
        if not broken:
            return whole
        opened = self._decide(replace(question, override=True))
        if opened.effect is Effect.DENY:
            return whole
        mine = Those(patients=broken)
        theirs = (*(_of(clause, broken) for clause in opened.part), Clause(permit=False, those=mine))
        part = (*theirs, *whole.part)
        return Decision(Effect.FILTER, opened.rule, part, Visible.by(part))

    def _breaks(self, person: Person | None) -> bool:
        """Whether a message says itself that it breaks the glass, as the policy lets it: with a reason."""
        if person is None or not person.overrides or not person.reason:
            return False
        return self.may_break(person)

    def may_break(self, person: Person) -> bool:
        """Whether the policy lets somebody, with this role and purpose, break the glass."""
        allowed = self._policy.override
        roles = roles_of(person)
        return bool(allowed.purposes & purposes_of(person)) and (
            bool(allowed.person_roles & roles) or (ANYBODY in allowed.person_roles and bool(roles))
        )

    def _broken_by(self, person: Person | None) -> frozenset[int]:
        if person is None:
            return frozenset()
        names = names_of(person)
        with reading(self._engine) as connection:
            found = consents.broken_by(connection, names, now_microseconds())
            keys = consents.families(connection, {one.patient_key for one in found})
        return frozenset(key for family in keys for key in family)

    def _family(self, domain: str, cx: str) -> frozenset[int]:
        with reading(self._engine) as connection:
            try:
                return frozenset(patients.chain(connection, domain, PatientId.parse(cx)))
            except ValueError:
                return frozenset()

    def _consents(
        self, asking: Asking, domain: str, broken: frozenset[int], *, declared: bool
    ) -> _PatientsWants | None:  # fmt: skip
        by_default = self._settings.policy.consent == "withhold"
        if not by_default and not self._any_directive:
            return None
        return _PatientsWants(asking, domain, broken, by_default=by_default, declared=declared)

    # What changes meanwhile.

    def _look(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._looked and now - self._looked < LOOK_SECONDS:
                return
            self._looked = now
        self._look_at_policy()
        try:
            with reading(self._engine) as connection:
                kept = peers.all_of(connection)
                self._any_directive = consents.any_at_all(connection)
        except sa.exc.SQLAlchemyError:
            log.warning("access.not_looked")  # whoever needs the database says so
            return
        if kept != self._kept:
            self._kept = kept
            self._try("peers", self._read_peers)

    def _look_at_policy(self) -> None:
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            self._try("policy", self._reread_policy)

    def _try(self, what: str, read: Callable[[], None]) -> None:
        try:
            read()
            self.troubles.pop(what, None)
            log.info("access.read", extra={"what": what})
        except Unusable as problem:
            self.troubles[what] = f"not in force: {problem}"
            log.error("access.not_read", extra={"what": what, "reason": str(problem)})

    def _read_peers(self) -> None:
        self._peers = Peers({**self._kept, **self._settings.peers}, alone=self.alone)

    def _reread_policy(self) -> None:
        self._policy = self._read_policy()
        self._decide = _remembering(self._policy)

    def _stamped(self) -> tuple[str, str]:
        """What changes when the policy does: the file, or that it was set back."""
        if self._file is None:
            return "", ""
        try:
            with reading(self._engine) as connection:
                reset = noted(connection, RESET)
        except sa.exc.SQLAlchemyError:  # before there is a table, or while nobody answers
            reset = ""
        return stamp_of(self._file), reset

    def _read_policy(self) -> Policy:
        if self._file is None or self._stamp[0] == self._stamp[1]:
            return policies.default()
        try:
            return checked(policies.read(self._file.read_text("utf-8"), str(self._file)))
        except (OSError, UnicodeDecodeError) as problem:
            raise Unusable(f"policy.file: {self._file}: {type(problem).__name__}") from None


def stamp_of(file: Path) -> str:
    """What changes when a file does."""
    try:
        status = file.stat()
    except OSError:
        return "gone"
    return f"{status.st_mtime_ns} {status.st_size}"


def _watched(decided: Decision) -> str:
    return f"would be filtered: {decided.rule}" if decided.effect is Effect.FILTER else ""


def _of(clause: Clause, patients: frozenset[int]) -> Clause:
    return Clause(clause.permit, replace(clause.those, patients=patients))


def _remembering(policy: Policy) -> Callable[[Question], Decision]:
    """The decision of a policy, which is the same for the same question."""

    @lru_cache(4096)
    def decided(question: Question) -> Decision:
        return decide(policy, question)

    return decided


class _PatientsWants:
    """What patients withhold from one who asks, looked up once a patient in a request."""

    def __init__(
        self, asking: Asking, domain: str, broken: frozenset[int], *, by_default: bool, declared: bool
    ) -> None:  # fmt: skip
        self._asking, self._domain, self._broken = asking, domain, broken
        self._by_default, self._declared = by_default, declared
        self._known: dict[tuple[int, ...] | None, Visible] = {}

    def of(self, connection: Any, patient_keys: Sequence[int] | None) -> Visible:
        """See ``Consents``.

        Raises:
            NotPermitted: too many patients have said something, and none is named.
        """
        asked = None if patient_keys is None else tuple(patient_keys)
        if asked not in self._known:
            self._known[asked] = self._found(connection, asked)
        return self._known[asked]

    def _found(self, connection: sa.Connection, asked: Sequence[int] | None) -> Visible:
        keys: Sequence[int]
        if asked is None:
            keys = consents.with_any(connection, self._domain, MOST_WITH_DIRECTIVES)
            if len(keys) > MOST_WITH_DIRECTIVES or self._by_default:
                raise NotPermitted("patients have to be named")
        else:
            keys = asked or NOBODY  # of whom the same is asked, so that time does not tell who is known
        by_patient = dict(consents.wanted(connection, keys))
        if not by_patient and asked is not None and self._by_default:
            return NOTHING  # of a patient who is not known here nothing is allowed
        broken = {key for family in by_patient for key in family} if self._declared else self._broken
        return left_by(by_patient, self._asking, by_default=self._by_default, broken=broken)
