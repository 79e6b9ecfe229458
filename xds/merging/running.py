"""A source's patients one by one: looked at, or copied; broken off anywhere, it is gone on with where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import sqlalchemy as sa

from xds.archives.interface import NotAnswering
from xds.errors import Refused
from xds.merging.copying import Copying
from xds.merging.mapping import Mapped
from xds.merging.outcome import NotCopied
from xds.merging.patient import LEFT, NOBODY, Done, Patient, key_of
from xds.merging.source import Everything, Source
from xds.merging.units import Unit
from xds.metadata.identifiers import PatientId
from xds.store.engine import reading
from xds.store.merging import Became, Ledger, Looked, Merged, is_here, patient_pages
from xds.wire.client import Faulted, NoReply, OverBounds
from xds.wire.spool import NotKept

AT_ONCE = 25
"""Submissions of a patient that share a commit."""

_NAMED_ANEW = "they were copied as another patient than is named now: undo that first"


class Running:
    """Goes through a source's patients."""

    def __init__(
        self, engine: sa.Engine, source: Source, mapped: Mapped, copying: Copying, now: Callable[[], int],
        still: Callable[[], None], *, copies: bool,
    ) -> None:  # fmt: skip
        """``now``: microseconds since 1970; ``still`` raises where this must not go on.

        Without ``copies`` it is only noted what there is.
        """
        self._engine, self._source, self._mapped, self._copying = engine, source, mapped, copying
        self._now, self._still, self._copies = now, still, copies

    def run(self, jobs: int, tell: Callable[[Done], None] = lambda _: None) -> Done:
        """All patients that are listed, so many at once."""
        done = Done()
        with ThreadPoolExecutor(jobs) as pool:
            under_way = set[Future[Done]]()
            try:
                for some in patient_pages(self._engine, self._source.label):
                    self._still()
                    for patient_id in some:
                        under_way.add(pool.submit(self.one, PatientId.parse(patient_id)))
                        if len(under_way) >= 2 * jobs:
                            under_way = _settled(under_way, done, tell)
                while under_way:
                    under_way = _settled(under_way, done, tell)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return done

    def one(self, theirs: PatientId) -> Done:
        """One patient; what is wrong with them is noted, and stops nobody else."""
        try:
            return self._one(theirs)
        except (Refused, NotAnswering, NoReply, Faulted, OverBounds, NotKept) as problem:
            said = "; ".join(one.code for one in problem.findings) if isinstance(problem, Refused) else str(problem)
        except (ValueError, OverflowError, sa.exc.DataError) as problem:
            said = f"what the source says of them cannot be kept ({type(problem).__name__})"
        with self._engine.begin() as connection:
            self._ledger(connection).note_patient(str(theirs), None, Looked.FAILED, said, self._now())
        return Done(patients=1, failed=1)

    def _ledger(self, connection: sa.Connection) -> Ledger:
        return Ledger(connection, self._source.label)

    def _one(self, theirs: PatientId) -> Done:
        """
        Raises:
            NotAnswering: who says whose a patient is does not answer.
            Refused, NoReply, Faulted, OverBounds, NotKept: the source does not say all.
            ValueError, OverflowError, sqlalchemy.exc.DataError: what it says cannot be kept.
        """
        here = self._mapped.patient(theirs)
        found = self._source.everything(theirs)
        with reading(self._engine) as connection:
            ledger = self._ledger(connection)
            before = ledger.objects_of(str(theirs))
            before |= ledger.objects_by_uuid(({key_of(one) for one in found.ids()}) - before.keys())
            was = ledger.here_of(str(theirs))
        if was and here is not None and was != str(here) and any(map(is_here, before.values())):
            with self._engine.begin() as connection:
                self._ledger(connection).note_patient(str(theirs), None, Looked.WAITING, _NAMED_ANEW, self._now())
            return Done(patients=1, left=len(before))
        patient = Patient(theirs, here, found, before, self._given_twice(theirs, found, before), self._now())
        tried = 0
        while len(patient.left) != tried:  # what may follow another is tried again as long as that brings anything
            tried = len(patient.left)
            patient.again(self._tried(patient, patient.left))
        self._keep(theirs, patient)
        patient.done.left = sum(one.state in LEFT for one in patient.rows.values())
        return patient.done

    def _given_twice(self, theirs: PatientId, found: Everything, before: Mapping[str, Merged]) -> set[str]:
        """What was copied as another patient's, whom the source gives it for still: it is theirs."""
        moved = {uuid: row.patient_id for uuid in found.ids() if is_here(row := before.get(uuid))}
        former = {patient_id for patient_id in moved.values() if patient_id != str(theirs)}
        still: dict[str, set[str]] = {one: self._source.everything(PatientId.parse(one)).ids() for one in former}
        return {uuid for uuid, patient_id in moved.items() if uuid in still.get(patient_id, ())}

    def _tried(self, patient: Patient, tried: Sequence[Unit]) -> list[NotCopied | None]:
        """Copy submissions, or look whether they could be; of each why it is not here."""
        here = patient.here
        if here is None:
            return [NotCopied(Became.WAITING, NOBODY)] * len(tried)
        outcomes: list[NotCopied | None] = [None] * len(tried)
        new = [number for number, unit in enumerate(tried) if patient.is_new(unit)]
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            units = [tried[number] for number in some]
            told = self._copy(patient, here, units) if self._copies else [self._look(patient, here, u) for u in units]
            for number, outcome in zip(some, told, strict=True):
                outcomes[number] = outcome
        return outcomes

    def _look(self, patient: Patient, here: PatientId, unit: Unit) -> NotCopied | None:
        try:
            self._copying.look(unit, here, patient.before)
        except NotCopied as why:
            return why
        patient.found(unit)
        return None

    def _copy(self, patient: Patient, here: PatientId, units: Sequence[Unit]) -> list[NotCopied | None]:
        outcomes: list[NotCopied | None] = []
        came = self._copying.copy(units, here, patient.before, patient.noted)
        for unit, outcome in zip(units, came, strict=True):
            if isinstance(outcome, NotCopied):
                outcomes.append(outcome)
            else:
                patient.copied(unit, outcome)
                outcomes.append(None)
        return outcomes

    def _keep(self, theirs: PatientId, patient: Patient) -> None:
        """What is noted of a patient, except of objects that another's run has noted since they were looked at."""
        state = Looked.EVEN if patient.here is not None else Looked.WAITING
        with self._engine.begin() as connection:
            ledger = self._ledger(connection)
            now = ledger.objects_by_uuid(patient.rows)
            ledger.keep(row for uuid, row in patient.rows.items() if now.get(uuid) == patient.before.get(uuid))
            ledger.drop(patient.dropped)
            here = None if patient.here is None else str(patient.here)
            ledger.note_patient(str(theirs), here, state, "" if here else NOBODY, self._now())


def _settled(under_way: set[Future[Done]], done: Done, tell: Callable[[Done], None]) -> set[Future[Done]]:
    ended, left = wait(under_way, return_when=FIRST_COMPLETED)
    for one in ended:
        done.add(one.result())
    tell(done)
    return left
