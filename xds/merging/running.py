"""A source's patients one by one: looked at, or copied; broken off anywhere, it is gone on with where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields, replace

import sqlalchemy as sa

from xds.errors import Refused
from xds.merging.copying import Copying, digest, is_here
from xds.merging.mapping import Mapped
from xds.merging.outcome import NotCopied
from xds.merging.source import Everything, Source
from xds.merging.units import Unit, units
from xds.metadata import vocabulary as v
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.metadata.submission import MetadataObject
from xds.store.engine import reading
from xds.store.merging import Became, Ledger, Looked, Merged
from xds.store.registry.rows import kind_of
from xds.wire.client import Faulted, NoReply, OverBounds
from xds.wire.spool import NotKept

AT_ONCE = 25
"""Submissions of a patient that share a commit."""

_NOBODY = "nobody has said who the patient is here"
_NO_SET = "of no submission set that the registry gives (ITI TF-3: 4.2.1.4)"
_LEFT = frozenset({Became.INVALID, Became.WAITING, Became.CONFLICT})
_WITH = "another object of its submission: "
_OTHERS = "the source gave it for another patient than its own"


@dataclass(slots=True)
class Done:
    """What has been done so far."""

    patients: int = 0
    failed: int = 0  # patients of whom the source did not say all
    copied: int = 0  # objects
    changed: int = 0  # objects that were here, and are now as they are there
    copied_bytes: int = 0  # of documents
    left: int = 0  # objects that are not here, or not as they are there
    gone: int = 0  # objects that are here, and there no more

    def add(self, other: Done) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


class Running:
    """Goes through a source's patients."""

    def __init__(
        self, engine: sa.Engine, source: Source, mapped: Mapped, copying: Copying, now: Callable[[], int], *,
        copies: bool,
    ) -> None:  # fmt: skip
        """``now``: microseconds since 1970; without ``copies`` it is only noted what there is."""
        self._engine, self._source, self._mapped, self._copying = engine, source, mapped, copying
        self._now, self._copies = now, copies

    def run(self, jobs: int, tell: Callable[[Done], None] = lambda _: None, states: Sequence[str] = ()) -> Done:
        """All patients that are listed, or those of some states; so many at once."""
        done = Done()
        with ThreadPoolExecutor(jobs) as pool:
            under_way = set[Future[Done]]()
            try:
                for patient_id in self._patients(states):
                    under_way.add(pool.submit(self.one, PatientId.parse(patient_id)))
                    if len(under_way) >= 2 * jobs:
                        under_way = _settled(under_way, done, tell)
                while under_way:
                    under_way = _settled(under_way, done, tell)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return done

    def _patients(self, states: Sequence[str]) -> Iterator[str]:
        after, some = "", [""]
        while some:
            with reading(self._engine) as connection:
                some = Ledger(connection, self._source.label).patients(after, states)
            yield from some
            after = some[-1] if some else ""

    def one(self, theirs: PatientId) -> Done:
        """One patient; what is wrong with them is noted, and stops nobody else."""
        here = self._mapped.patient(theirs)
        try:
            found = self._source.everything(theirs)
        except (Refused, NoReply, Faulted, OverBounds, NotKept) as problem:
            said = "; ".join(one.code for one in problem.findings) if isinstance(problem, Refused) else str(problem)
            self._keep(theirs, here, Looked.FAILED, said, {}, ())
            return Done(patients=1, failed=1)
        with reading(self._engine) as connection:
            ledger = Ledger(connection, self._source.label)
            before = ledger.objects_of(str(theirs))
            before |= ledger.objects_by_uuid({one.entry_uuid for one in found.objects} - before.keys())
        patient = _Patient(theirs, here, found, before, self._source.label, self._now())
        while patient.left:
            before_this = len(patient.left)
            patient.again(list(self._tried(patient, patient.left)))
            if len(patient.left) == before_this:
                break
        state = Looked.EVEN if here is not None else Looked.WAITING
        self._keep(theirs, here, state, "" if here else _NOBODY, patient.rows, patient.dropped)
        patient.done.left = sum(one.state in _LEFT for one in patient.rows.values())
        return patient.done

    def _tried(self, patient: _Patient, tried: Sequence[Unit]) -> Iterator[NotCopied | None]:
        """Copy submissions, or look whether they could be; of each why it is not here."""
        for start in range(0, len(tried), AT_ONCE):
            some = tried[start : start + AT_ONCE]
            new = [unit for unit in some if patient.here is not None and patient.is_new(unit)]
            outcomes = iter(self._copy(patient, new) if self._copies else [self._look(patient, unit) for unit in new])
            for unit in some:
                if patient.here is None:
                    yield NotCopied(Became.WAITING, _NOBODY)
                else:
                    yield next(outcomes) if unit in new else None

    def _look(self, patient: _Patient, unit: Unit) -> NotCopied | None:
        assert patient.here is not None  # noqa: S101  seen to by who calls
        try:
            self._copying.look(unit, patient.here, patient.before)
        except NotCopied as why:
            return why
        patient.found(unit)
        return None

    def _copy(self, patient: _Patient, units: Sequence[Unit]) -> list[NotCopied | None]:
        if patient.here is None or not units:
            return []
        outcomes: list[NotCopied | None] = []
        for unit, outcome in zip(
            units, self._copying.copy(units, patient.here, patient.before, patient.noted), strict=True
        ):
            if isinstance(outcome, NotCopied):
                outcomes.append(outcome)
                continue
            patient.copied(unit, outcome)
            outcomes.append(None)
        return outcomes

    def _keep(
        self, theirs: PatientId, here: PatientId | None, state: Looked, why: str, rows: dict[str, Merged],
        dropped: Sequence[str],
    ) -> None:  # fmt: skip
        with self._engine.begin() as connection:
            ledger = Ledger(connection, self._source.label)
            ledger.keep(rows.values())
            ledger.drop(dropped)
            ledger.note_patient(str(theirs), str(here or ""), state, why, self._now())


class _Patient:
    """One patient's objects, and what is to be noted of them; those that are copied were noted with that."""

    def __init__(
        self, theirs: PatientId, here: PatientId | None, found: Everything, before: dict[str, Merged], label: str,
        now: int,
    ) -> None:  # fmt: skip
        self.here, self.before, self._label = here, before, label
        self.noted: dict[str, Merged] = {one.entry_uuid: _merged(one, theirs, now) for one in found.objects}
        self.rows: dict[str, Merged] = {}
        self.done = Done(patients=1)
        strangers = [one for one in found.objects if not isinstance(one, Association) and one.patient_id != theirs]
        away = {one.entry_uuid for one in strangers}
        parts, without_set = units(one for one in found.objects if one.entry_uuid not in away)
        self.left = parts
        for uuid, (kind, why) in found.unread.items():
            self._note(Merged(uuid, str(theirs), kind, looked=now), Became.INVALID, why)
        for some, why in ((strangers, _OTHERS), (without_set, _NO_SET)):
            for one in some:
                self._note(self.noted[one.entry_uuid], Became.INVALID, why)
        said = self.noted.keys() | found.unread.keys()
        self.dropped = [uuid for uuid, row in before.items() if uuid not in said and not is_here(row)]
        for uuid, row in before.items():
            if uuid not in said and is_here(row):
                self.rows[uuid] = replace(row, state=Became.GONE, why="the source has it no more", looked=now)
                self.done.gone += 1

    def is_new(self, unit: Unit) -> bool:
        """Whether anything of a submission is not here, or not as it is there."""
        rows = ((self.before.get(item.entry_uuid), self.noted[item.entry_uuid]) for item in unit.objects)
        return any(not is_here(row) or row is None or row.there != noted.there for row, noted in rows)

    def found(self, unit: Unit) -> None:
        """Note what of a submission is to be copied."""
        for item in unit.objects:
            if not is_here(self.before.get(item.entry_uuid)):
                self.rows[item.entry_uuid] = self.noted[item.entry_uuid]

    def copied(self, unit: Unit, size_bytes: int) -> None:
        """What of a submission was to be noted, was with its copy."""
        self.done.copied_bytes += size_bytes
        for item in unit.objects:
            row = self.before.get(item.entry_uuid)
            self.done.copied += not is_here(row)
            self.done.changed += row is not None and is_here(row) and row.there != self.noted[item.entry_uuid].there
            self.rows.pop(item.entry_uuid, None)

    def again(self, outcomes: Sequence[NotCopied | None]) -> None:
        """Note what became of the submissions that are left; what may follow another of them is left again."""
        tried, self.left = self.left, []
        for unit, why in zip(tried, outcomes, strict=True):
            if why is not None and why.may_follow:
                self.left.append(unit)
            for item in unit.objects:
                self._outcome(item, why)

    def _outcome(self, item: MetadataObject, why: NotCopied | None) -> None:
        uuid, row = item.entry_uuid, self.before.get(item.entry_uuid)
        if why is not None:
            own = not why.entry_uuid or why.entry_uuid == uuid
            self._note(self.noted[uuid], why.became, why.why if own else f"{_WITH}{why.why}")
        elif row is not None and row.state in (Became.CONFLICT, Became.GONE) and row.there == self.noted[uuid].there:
            self.rows[uuid] = replace(row, state=Became.COPIED, why="")  # both as they were

    def _note(self, noted: Merged, became: Became, why: str) -> None:
        """What was here before stays as it was copied: what has changed there is found again."""
        row = self.before.get(noted.entry_uuid)
        kept = row if row is not None and is_here(row) else noted
        self.rows[noted.entry_uuid] = replace(kept, state=became, why=why, looked=noted.looked)


def _settled(under_way: set[Future[Done]], done: Done, tell: Callable[[Done], None]) -> set[Future[Done]]:
    ended, left = wait(under_way, return_when=FIRST_COMPLETED)
    for one in ended:
        done.add(one.result())
    tell(done)
    return left


def _merged(item: MetadataObject, theirs: PatientId, now: int) -> Merged:
    """What a source says of an object."""
    common = Merged(
        item.entry_uuid, str(theirs), kind_of(item), "" if isinstance(item, Association) else item.unique_id,
        there=digest(item), looked=now,
    )  # fmt: skip
    if not isinstance(item, DocumentEntry):
        return common
    studies = sorted(r.key.split("^")[0] for r in item.reference_id_list if r.key.endswith(v.REFERENCE_STUDY))
    return replace(
        common, repository_unique_id=item.repository_unique_id or "", hash=(item.hash or "").lower(),
        size=item.size or 0, type_code=item.type_code.key,
        month=item.creation_time.padded[:6] if item.creation_time else "", studies=" ".join(studies),
    )  # fmt: skip
