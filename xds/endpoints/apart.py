"""What is sent against somebody's study: set apart with an alert in one commit, and done with as a person decides.

The decision and its record are in one commit; what follows from it is done after, and by the next start where this
process is killed in between.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from xds.archives.intake import AnothersStudy, Arrived, Intake, NotTaken, as_cx
from xds.archives.quarantine import Held
from xds.archives.senders import Sender
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.intake_events import apart_decided, apart_seen, taken_back
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.errors import Unusable
from xds.imaging.manifest import Patient
from xds.store import apart as store
from xds.store.apart import DISCARDED, TAKEN, UNDECIDED, Bounds, Case, Instance
from xds.store.audit.records import record
from xds.store.engine import reading
from xds.wire.gauges import gauge

log = logging.getLogger("xds.endpoints.apart")

REASON = 2000
"""Characters of a decision's reason."""

_TEXT, _SHOWN = 256, 5  # characters of what a file says of a patient, and how many patients of a study are kept


class NoSuchCase(Unusable):
    """Nothing is set apart under that number."""


class Decided(Unusable):
    """A person has decided before; that stands."""


class CannotBeDone(Unusable):
    """It cannot be decided so: no reason is given, or what is to be taken in would still change another's study."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Whose an instance is, and whose the study is that it was sent against; each with the study's description."""

    patient: Patient
    description: str
    held: tuple[Patient, ...]
    held_description: str

    @classmethod
    def of(cls, one: Instance) -> Facts:
        """As they were when it came."""
        found: Mapping[str, Any] = json.loads(one.facts)
        held = tuple(Patient(**patient) for patient in found["held"])
        return cls(Patient(**found["patient"]), found["description"], held, found["held_description"])


class Apart:
    """What is set apart from one archive."""

    def __init__(self, engine: sa.Engine, intake: Intake, node: AuditSource, bounds: Bounds) -> None:
        self._engine, self._intake, self._node, self._bounds = engine, intake, node, bounds
        self._files = intake.quarantine

    # Kept.

    def keep(
        self, arrived: Arrived, refusal: AnothersStudy, sender: Sender, event: AuditEvent,
        said: Callable[[sa.Connection, bool], None],
    ) -> bool:  # fmt: skip
        """Set an instance apart, if there is room; ``said`` records which it was, in the same commit.

        Raises:
            SQLAlchemyError: the database does not take it.
        """
        try:
            if 0 < arrived.path.stat().st_size <= self._bounds.peer_size:
                facts = self._facts(arrived, refusal)
                with self._files.holding(arrived.path) as held, self._engine.begin() as connection:
                    new = _instance(arrived, refusal, sender, event, facts, held)
                    number = store.add(connection, new, self._bounds)
                    said(connection, number is not None)
                    # From here on the file stays: whether a commit that broke off was done, the next start sees.
                    held.kept = bool(number)
                return number is not None
        except OSError as problem:
            log.warning("apart.not_kept", extra={"reason": problem.strerror})
        with self._engine.begin() as connection:
            said(connection, False)
        return False

    def _facts(self, arrived: Arrived, refusal: AnothersStudy) -> str:
        patients, description = self._intake.shown(refusal.study)
        return json.dumps({
            "patient": _bounded(arrived.patient), "description": arrived.description[:_TEXT],
            "held": [_bounded(one) for one in patients[:_SHOWN]], "held_description": description[:_TEXT],
        })  # fmt: skip

    # Looked at.

    def cases(self, who: Party, *, most: int, before: int = 0, state: str = "", number: int = 0) -> Sequence[Case]:
        """Cases, the newest first; that somebody has looked at them is recorded, for each patient."""
        with self._engine.begin() as connection:
            found = store.cases(connection, most=most, before=before, state=state, number=number)
            seen: dict[str, set[str]] = {}
            for case in found:
                facts = Facts.of(case.first)
                seen.setdefault(as_cx(facts.patient), set()).add(case.first.study_instance_uid)
                for patient in facts.held:
                    seen.setdefault(as_cx(patient), set()).add(case.first.study_held)
            for patient_id, studies in seen.items():
                record(connection, apart_seen(self._node, who, patient_id, sorted(studies)).records())
        return found

    def case(self, who: Party, number: int) -> tuple[Case, Sequence[Instance]]:
        """One of them, with its instances.

        Raises:
            NoSuchCase: there is none.
        """
        found = self.cases(who, most=1, number=number) if 0 < number < 2**63 else ()
        if not found:
            raise NoSuchCase(f"there is no case {number}")
        with reading(self._engine) as connection:
            return found[0], store.instances(connection, number)

    def hindrance(self, one: Instance) -> str:
        """Why an instance cannot be taken in as things are now; empty where it seems that it can."""
        try:
            self._takable(one, comparing=False)
        except CannotBeDone as problem:
            return str(problem)
        return ""

    # Decided.

    def take(self, number: int, who: Party, reason: str, last: int = 0) -> int:
        """Take a case into the study, as it was sent; return how many instances were.

        ``last`` is the last that was seen of it: what came later is a case of its own from then on.  Never is an
        instance taken in that shows another patient than the study does now, or another of the same UID.

        Raises:
            NoSuchCase, Decided: there is none that waits.
            CannotBeDone: no reason is given, or one of its instances cannot be taken in; nothing is done then.
        """
        waiting = [one for one in self._waiting(number) if not last or one.id <= last]
        if not waiting:
            raise NoSuchCase("there is nothing in that case that was seen")
        try:
            notes = [arrived.rejects for arrived in map(self._takable, waiting) if arrived.rejects]
        except CannotBeDone:
            self._waiting(number)  # perhaps because somebody has decided just now
            raise
        event = AuditEvent(self._node, "110105", "D", ("", ""), who, who)
        event.about_patient(as_cx(Facts.of(waiting[0]).patient))
        event.end(failed=False)
        deleted = [taken_back(event, instances) for instances in notes]
        rows = self._decide(number, TAKEN, who, reason, waiting[-1].id, deleted)
        failed = [problem for one in rows if (problem := self._done(one))]
        if len(failed) == len(rows):
            raise CannotBeDone(f"not taken in: {failed[0]}")
        return len(rows) - len(failed)

    def discard(self, number: int, who: Party, reason: str, last: int = 0) -> int:
        """Throw a case away for good; return how many instances were.

        The very same from the very same sender is not set apart again: a decision stands.

        Raises:
            NoSuchCase, Decided, CannotBeDone: as ``take``.
        """
        rows = self._decide(number, DISCARDED, who, reason, last)
        for one in rows:
            self._done(one)
        return len(rows)

    def _waiting(self, number: int) -> Sequence[Instance]:
        with reading(self._engine) as connection:
            found = store.instances(connection, number) if 0 < number < 2**63 else ()
        if not found:
            raise NoSuchCase(f"there is no case {number}")
        if found[0].state != UNDECIDED:
            raise Decided(f"case {number} is decided: {found[0].state} by {found[0].decided_by}")
        return found

    def _takable(self, one: Instance, *, comparing: bool = True) -> Arrived:
        path = self._files.path(one.file)
        if path is None:
            raise CannotBeDone("cannot be taken in: its file is not on this machine")
        try:
            arrived = self._intake.examined(path)
            self._intake.demand_takable(arrived, comparing=comparing)
        except (NotTaken, OSError) as problem:
            raise CannotBeDone(f"cannot be taken in: {problem}") from None
        return arrived

    def _decide(
        self, number: int, state: str, who: Party, reason: str, last: int, also: Sequence[AuditEvent] = ()
    ) -> Sequence[Instance]:
        reason = "".join(one if one.isprintable() else " " for one in reason).strip()[:REASON]
        if not reason:
            raise CannotBeDone("a decision needs a reason")
        self._waiting(number)
        with self._engine.begin() as connection:
            rows = store.decide(connection, number, state, who.user_id, reason, last)
            if rows:
                patient_id = as_cx(Facts.of(rows[0]).patient)
                instances = [(one.study_instance_uid, one.sop_instance_uid) for one in rows]
                event = apart_decided(
                    self._node, who, number, patient_id, instances, reason, taken=state == TAKEN
                )  # fmt: skip
                record(connection, [each for one in (event, *also) for each in one.records()])
        if not rows:
            raise Decided(f"case {number} is decided, by somebody else just now")
        log.info("apart.decided", extra={"case": number, "state": state, "instances": len(rows)})
        return rows

    def _done(self, one: Instance) -> str:
        """Do what was decided; why it cannot be done, and then it waits again."""
        path = self._files.path(one.file)
        if path is not None and one.state == TAKEN:
            try:
                self._intake.keep(self._intake.examined(path), Sender(one.peer), decided=True)
            except (NotTaken, OSError) as problem:
                if self._files.path(one.file) is not None:  # else another process has just done it
                    return self._undone(one, str(problem))
        self._files.remove(one.file)
        with self._engine.begin() as connection:
            store.gone(connection, [one.id])
        return ""

    def _undone(self, one: Instance, problem: str) -> str:
        here = Party("xds", "localhost", ours=True)
        uids = [(one.study_instance_uid, one.sop_instance_uid)]
        patient_id = as_cx(Facts.of(one).patient)
        event = apart_decided(self._node, here, one.case_id, patient_id, uids, one.decision, taken=True)
        event.refused(f"not taken in: {problem}")
        with self._engine.begin() as connection:
            store.undo(connection, one.id)
            record(connection, event.records())
        return problem

    def recovered(self) -> int:
        """Finish what a process that was killed had begun; return of how many files.

        Files that no row names are gone, and of what was decided is done what follows.
        """
        names, count = self._files.names(), 0
        if not names:
            return 0
        # The processes of these are looked at before the rows are: what a living one adds now is in neither.
        left = {name for name in names if self._files.is_left(name)}
        with reading(self._engine) as connection:
            rows = store.by_file(connection)
        for name in names:
            one = rows.get(name)
            if one is None and name in left:
                self._files.remove(name)
                count += 1
            elif one is not None and one.state != UNDECIDED:
                self._done(one)
                count += 1
        return count


def metrics(engine: sa.Engine) -> str:
    """What waits for a person, in the text format of ``/metrics``."""
    with reading(engine) as connection:
        cases, instances = store.undecided(connection)
    return gauge(
        "xds_apart_undecided", "What is set apart from studies and waits for a person.",
        [({"of": "cases"}, cases), ({"of": "instances"}, instances)],
    )  # fmt: skip


def _bounded(patient: Patient) -> dict[str, str]:
    return {name: str(text)[:_TEXT] for name, text in asdict(patient).items()}


def _instance(
    arrived: Arrived, refusal: AnothersStudy, sender: Sender, event: AuditEvent, facts: str, held: Held
) -> Instance:
    came = event.source
    protocol = "STOW-RS" if event.transaction[0] else "C-STORE"
    why = str(refusal)
    like = (sender.key, arrived.study_instance_uid, refusal.study, why, json.dumps(_bounded(arrived.patient)))
    return Instance(
        alike=hashlib.sha256("\n".join(like).encode("utf-8", "replace")).hexdigest(),
        peer=_text(sender.key),
        sender=_text(came.organisation or came.authenticated or came.user_id),
        protocol=protocol,
        ae_title=_text(came.user_id if protocol == "C-STORE" else "")[:64],
        address=_text(came.address)[:64],
        study_instance_uid=arrived.study_instance_uid,
        series_instance_uid=arrived.series_instance_uid,
        sop_instance_uid=arrived.sop_instance_uid,
        sop_class_uid=arrived.sop_class_uid,
        study_held=refusal.study,
        facts=facts,
        why=why,
        file=held.name,
        size=held.size_bytes,
        sha256=held.sha256,
    )


def _text(text: str) -> str:
    """What every database can hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:1024]
