"""What is kept of a source that is merged into this deployment: its patients, and its objects one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, TypeGuard

import sqlalchemy as sa

from xds.store.engine import reading
from xds.store.registry.sql_reader import batches
from xds.store.statements import Statement, insert_of
from xds.store.tables import merged_object, merged_patient
from xds.system.values import value

PAGE = 500
"""Rows that are read at once of what goes through all."""


class Became(StrEnum):
    """What became of an object of a source's."""

    FOUND = "found"  # to be copied
    INVALID = "invalid"  # cannot be read, or breaks a rule that nobody here can mend
    WAITING = "waiting"  # for whoever says who the patient is, what a code is, or where a document is
    CONFLICT = "conflict"  # with what is here
    COPIED = "copied"
    GONE = "gone"  # was copied, and the source has it no more
    UNDONE = "undone"  # was copied, and was removed again


BROUGHT, THERE = "brought", "there"
"""What became of the document of an entry that was copied: its row was made with it, or was here before."""


class Looked(StrEnum):
    """How far it is with a patient of a source's."""

    LISTED = "listed"  # not asked about yet
    WAITING = "waiting"  # nobody says who they are here
    FAILED = "failed"  # the source did not say all
    EVEN = "even"  # nothing of theirs is left to be copied, or it is told of each why not


@value(frozen=True, slots=True)
class Merged:
    """An object of a source's: what it says of it, and what became of it.  Columns are those of the table."""

    entry_uuid: str
    patient_id: str
    kind: str
    unique_id: str = ""
    state: str = Became.FOUND
    why: str = ""
    there: str = ""
    here: str = ""
    repository_unique_id: str = ""
    hash: str = ""
    size: int = 0
    type_code: str = ""
    month: str = ""
    document: str = ""
    images: str = ""
    studies: str = ""
    looked: int = 0
    copied: int = 0


def is_here(row: Merged | None) -> TypeGuard[Merged]:
    """Whether an object was copied, and not removed again: whatever became of what is said of it since."""
    return row is not None and bool(row.here) and row.state != Became.UNDONE


_COLUMNS = tuple(column.name for column in merged_object.c if column.name != "source")


@cache
def _keeping(dialect: str) -> Statement:
    statement = insert_of(merged_object, merged_object.c.keys(), dialect)
    changed = {name: statement.excluded[name] for name in _COLUMNS if name != "entry_uuid"}
    return Statement(
        statement.on_conflict_do_update(index_elements=list(merged_object.primary_key.columns), set_=changed)
    )


@cache
def _listing(dialect: str) -> Statement:
    statement = insert_of(merged_patient, merged_patient.c.keys(), dialect)
    return Statement(statement.on_conflict_do_nothing())


@value(frozen=True, slots=True)
class Total:
    """So many objects of a kind, of which the same became, and of entries their bytes."""

    kind: str
    state: str
    objects: int
    size_bytes: int


class Ledger:
    """What is kept of one source, inside one database transaction."""

    def __init__(self, connection: sa.Connection, source: str) -> None:
        self._connection, self.source = connection, source
        self._mine = merged_object.c.source == source
        self._theirs = merged_patient.c.source == source

    def list_patients(self, patient_ids: Iterable[str]) -> None:
        """Note whom the source has; of who is noted already nothing changes."""
        rows = [
            {"source": self.source, "patient_id": one, "here": "", "state": Looked.LISTED, "why": "", "looked": 0}
            for one in patient_ids
        ]
        _listing(self._connection.dialect.name).run_each(self._connection, rows)

    def note_patient(self, patient_id: str, here: str | None, state: Looked, why: str, now: int) -> None:
        """Note how far it is with a patient; without ``here`` who they were copied as stays."""
        values = {"state": state, "why": why, "looked": now, **({} if here is None else {"here": here})}
        mine = merged_patient.c.patient_id == patient_id
        self._connection.execute(sa.update(merged_patient).where(self._theirs, mine).values(values))

    def here_of(self, patient_id: str) -> str:
        """Whom a patient was copied as; empty: nobody yet."""
        statement = sa.select(merged_patient.c.here).where(self._theirs, merged_patient.c.patient_id == patient_id)
        return str(self._connection.scalar(statement) or "")

    def patients(self, after: str = "") -> list[str]:
        """The next patients in order."""
        statement = sa.select(merged_patient.c.patient_id).where(self._theirs, merged_patient.c.patient_id > after)
        return list(self._connection.scalars(statement.order_by(merged_patient.c.patient_id).limit(PAGE)))

    def patients_by_state(self) -> dict[str, int]:
        """How many patients are how far."""
        statement = sa.select(merged_patient.c.state, sa.func.count()).where(self._theirs)
        return {state: int(count) for state, count in self._connection.execute(statement.group_by("state"))}

    def unsettled_patients(self, most: int) -> list[tuple[str, str, str]]:
        """Patients whose objects wait or were not told, with their state and why."""
        columns = (merged_patient.c.patient_id, merged_patient.c.state, merged_patient.c.why)
        wanted = merged_patient.c.state.in_([Looked.WAITING, Looked.FAILED])
        statement = sa.select(*columns).where(self._theirs, wanted).order_by(merged_patient.c.patient_id).limit(most)
        return [(str(one), str(state), str(why)) for one, state, why in self._connection.execute(statement)]

    def objects_of(self, patient_id: str) -> dict[str, Merged]:
        """A patient's objects by entryUUID."""
        statement = sa.select(merged_object).where(self._mine, merged_object.c.patient_id == patient_id)
        return {row.entry_uuid: _merged(row) for row in self._connection.execute(statement)}

    def objects_by_uuid(self, entry_uuids: Iterable[str]) -> dict[str, Merged]:
        """What is kept of objects, of whatever patient they were."""
        found = dict[str, Merged]()
        for some in batches(entry_uuids):
            mine = merged_object.c.entry_uuid.in_(some)
            rows = self._connection.execute(sa.select(merged_object).where(self._mine, mine))
            found.update({row.entry_uuid: _merged(row) for row in rows})
        return found

    def keep(self, objects: Iterable[Merged]) -> None:
        """Keep what is said of objects; what was kept of them before is replaced."""
        rows = [{"source": self.source, **{name: getattr(one, name) for name in _COLUMNS}} for one in objects]
        if rows:
            _keeping(self._connection.dialect.name).run_each(self._connection, rows)

    def note_images(self, entry_uuid: str, study_instance_uid: str) -> None:
        """Note of which study images were brought for a manifest."""
        mine = merged_object.c.entry_uuid == entry_uuid
        self._connection.execute(sa.update(merged_object).where(self._mine, mine).values(images=study_instance_uid))

    def brought_images(self, study_instance_uid: str) -> bool:
        """Whether images of a study were brought from this source."""
        mine = merged_object.c.images == study_instance_uid
        return self._connection.scalar(sa.select(sa.literal(1)).where(self._mine, mine).limit(1)) is not None

    def pass_on(self, repository_unique_id: str, unique_id: str) -> None:
        """Let a document that was brought be that of another entry that has it, too, of whatever source."""
        self._connection.execute(
            sa.update(merged_object)
            .where(
                merged_object.c.repository_unique_id == repository_unique_id,
                merged_object.c.unique_id == unique_id,
                merged_object.c.document == THERE,
                merged_object.c.here != "",
            )
            .values(document=BROUGHT)
        )

    def drop(self, entry_uuids: Iterable[str]) -> None:
        """Keep nothing of objects that are neither here nor there."""
        for some in batches(entry_uuids):
            mine = merged_object.c.entry_uuid.in_(some)
            self._connection.execute(sa.delete(merged_object).where(self._mine, mine))

    def objects(self, after: str = "", states: Sequence[str] = (), kind: str = "") -> list[Merged]:
        """The next objects by entryUUID, those of these states or this kind if any is named."""
        statement = sa.select(merged_object).where(self._mine, merged_object.c.entry_uuid > after)
        if states:
            statement = statement.where(merged_object.c.state.in_(states))
        if kind:
            statement = statement.where(merged_object.c.kind == kind)
        return [_merged(row) for row in self._connection.execute(statement.order_by("entry_uuid").limit(PAGE))]

    def totals(self) -> list[Total]:
        """How many objects of each kind became what."""
        count, size = sa.func.count(), sa.func.sum(merged_object.c.size)
        columns = (merged_object.c.kind, merged_object.c.state)
        statement = sa.select(*columns, count, size).where(self._mine).group_by(*columns).order_by(*columns)
        return [Total(kind, state, int(n), int(of or 0)) for kind, state, n, of in self._connection.execute(statement)]

    def counted_by(self, column: str, most: int = 50) -> list[tuple[str, int]]:
        """How many entries have each value of a column, the most frequent first."""
        of, count = merged_object.c[column], sa.func.count().label("entries")
        statement = sa.select(of, count).where(self._mine, merged_object.c.kind == "DE").group_by(of)
        found = self._connection.execute(statement.order_by(count.desc(), of).limit(most))
        return [(str(one), int(entries)) for one, entries in found]

    def reasons(self, most: int = 50) -> list[tuple[str, str, int]]:
        """Why objects were not copied: state, reason, and of how many."""
        count = sa.func.count().label("objects")
        columns = (merged_object.c.state, merged_object.c.why)
        statement = sa.select(*columns, count).where(self._mine, merged_object.c.why != "").group_by(*columns)
        found = self._connection.execute(statement.order_by(count.desc(), *columns).limit(most))
        return [(str(state), str(why), int(n)) for state, why, n in found]

    def by_month(self) -> list[tuple[str, int, int]]:
        """How many entries the source has of each month, and how many of these are here as they are there."""
        month, here = merged_object.c.month, sa.func.sum(sa.case((merged_object.c.state == Became.COPIED, 1), else_=0))
        has = merged_object.c.state.not_in([Became.GONE, Became.UNDONE])
        statement = sa.select(month, sa.func.count(), here).where(self._mine, merged_object.c.kind == "DE", has)
        found = self._connection.execute(statement.group_by(month).order_by(month))
        return [(str(one), int(there), int(of or 0)) for one, there, of in found]

    def last_looked(self) -> int:
        """When the source was asked last, in microseconds since 1970; 0: never."""
        return int(self._connection.scalar(sa.select(sa.func.max(merged_patient.c.looked)).where(self._theirs)) or 0)


def patient_pages(engine: sa.Engine, source: str) -> Iterator[list[str]]:
    """All of a source's patients in order, some at a time: nothing is held open between."""
    after = ""
    while True:
        with reading(engine) as connection:
            some = Ledger(connection, source).patients(after)
        if not some:
            return
        yield some
        after = some[-1]


def object_pages(
    engine: sa.Engine, source: str, states: Sequence[str] = (), kind: str = ""
) -> Iterator[list[Merged]]:  # fmt: skip
    """All of a source's objects by entryUUID, those of these states or this kind if any is named, likewise."""
    after = ""
    while True:
        with reading(engine) as connection:
            some = Ledger(connection, source).objects(after, states, kind)
        if not some:
            return
        yield some
        after = some[-1].entry_uuid


def shared_studies(connection: sa.Connection, source: str, most: int = 50) -> list[tuple[str, str]]:
    """Studies that another source has, too: each with that source's name.  Of entries that name one study."""
    mine, other = merged_object.alias("mine"), merged_object.alias("other")
    statement = (
        sa.select(mine.c.studies, other.c.source)
        .distinct()
        .join_from(mine, other, sa.and_(mine.c.studies == other.c.studies, mine.c.source != other.c.source))
        .where(mine.c.source == source, mine.c.studies != "")
        .order_by(mine.c.studies, other.c.source)
        .limit(most)
    )
    return [(str(study), str(name)) for study, name in connection.execute(statement)]


def _merged(row: Any) -> Merged:
    kept: Mapping[str, Any] = row._mapping
    return Merged(**{name: kept[name] for name in _COLUMNS})
