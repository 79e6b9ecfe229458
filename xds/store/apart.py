"""What is set apart, as it is kept: instances by cases, how much of them is whose, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from xds.store.audit.records import now_microseconds
from xds.store.tables import apart

UNDECIDED, TAKEN, DISCARDED = STATES = ("undecided", "taken", "discarded")


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance that is set apart; times in microseconds since 1970, UTC.  See ``tables.apart``."""

    alike: str
    peer: str
    sender: str
    protocol: str
    ae_title: str
    address: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    study_held: str
    facts: str
    why: str
    file: str
    size: int
    sha256: str
    came: int = 0
    state: str = UNDECIDED
    decided: int = 0
    decided_by: str = ""
    decision: str = ""
    id: int = 0
    case_id: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """Instances that are decided upon together: the first and the last of them, how many, and how large."""

    first: Instance
    last: int
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many instances, and bytes, wait for a decision at most: in all, and of one peer."""

    instances: int
    size: int
    peer_instances: int
    peer_size: int


def add(connection: sa.Connection, new: Instance, bounds: Bounds) -> int | None:
    """Set an instance apart; its number, or 0 where it is apart already.  None: it is not.

    It is not where there is no room, and where a person has thrown away the very same from the very same peer.
    """
    if connection.dialect.name == "postgresql":  # as SQLite has it: what is counted stays so until the commit
        connection.exec_driver_sql("LOCK TABLE apart IN SHARE ROW EXCLUSIVE MODE")
    row = apart.c
    same = (row.sha256 == new.sha256, row.peer == new.peer, row.why == new.why)
    states = set(connection.scalars(sa.select(row.state).where(*same).distinct()))
    if UNDECIDED in states:
        return 0
    if DISCARDED in states or not _has_room(connection, new, bounds):
        return None
    waiting = (row.peer == new.peer, row.alike == new.alike, row.state == UNDECIDED)
    case = connection.scalar(sa.select(sa.func.min(row.case_id)).where(*waiting))
    values = {name: getattr(new, name) for name in Instance.__slots__ if name not in ("id", "case_id")}
    values |= {"came": now_microseconds(), "case_id": case or 0, "told": 0}
    key = connection.execute(sa.insert(apart).values(**values)).inserted_primary_key
    assert key is not None  # noqa: S101  of a single row there is one
    number = int(key[0])
    if case is None:
        connection.execute(sa.update(apart).where(row.id == number).values(case_id=number))
    return number


def _has_room(connection: sa.Connection, new: Instance, bounds: Bounds) -> bool:
    row = apart.c
    totals = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(row.size), 0)).where(row.state == UNDECIDED)
    for statement, most, most_bytes in (
        (totals, bounds.instances, bounds.size),
        (totals.where(row.peer == new.peer), bounds.peer_instances, bounds.peer_size),
    ):
        count, size = connection.execute(statement).one()
        if count >= most or size + new.size > most_bytes:
            return False
    return True


def cases(connection: sa.Connection, *, most: int, before: int = 0, state: str = "", number: int = 0) -> Sequence[Case]:
    """Cases, the newest first; ``before``: those of smaller numbers; ``number``: that one alone."""
    row = apart.c
    where: list[sa.ColumnElement[bool]] = [sa.true()]
    if before:
        where.append(row.case_id < before)
    if state:
        where.append(row.state == state)
    if number:
        where.append(row.case_id == number)
    grouped = (
        sa.select(row.case_id, sa.func.max(row.id), sa.func.count(), sa.func.sum(row.size))
        .where(*where).group_by(row.case_id).order_by(row.case_id.desc()).limit(most)
    )  # fmt: skip
    found = connection.execute(grouped).all()
    firsts = {one.id: one for one in _instances(connection, row.id.in_([case for case, *_ in found]))}
    return [Case(firsts[case], int(last), int(count), int(size)) for case, last, count, size in found]


def instances(connection: sa.Connection, case: int, *, most: int = 100_000) -> Sequence[Instance]:
    """The instances of a case, in the order in which they came."""
    return _instances(connection, apart.c.case_id == case, most)


def by_file(connection: sa.Connection) -> dict[str, Instance]:
    """All whose files are not known to be gone."""
    return {one.file: one for one in _instances(connection, apart.c.file != "")}


def _instances(connection: sa.Connection, where: sa.ColumnElement[bool], most: int = 100_000) -> Sequence[Instance]:
    statement = sa.select(apart).where(where).order_by(apart.c.id).limit(most)
    return [_instance(row._mapping) for row in connection.execute(statement)]


def _instance(found: Mapping[Any, Any]) -> Instance:
    return Instance(**{name: found[name] for name in Instance.__slots__})


def decide(
    connection: sa.Connection, case: int, state: str, who: str, reason: str, last: int = 0
) -> Sequence[Instance]:
    """Decide upon what waits of a case; none where that was done before.

    ``last``: the last that was seen; what came after is a case of its own from now on.
    """
    row = apart.c
    waiting = sa.and_(row.case_id == case, row.state == UNDECIDED)
    seen = sa.and_(waiting, row.id <= last) if last else waiting
    values = {"state": state, "decided": now_microseconds(), "decided_by": who, "decision": reason}
    changed = sa.update(apart).where(seen).values(**values).returning(row.id)
    numbers = list(connection.scalars(changed))
    later = connection.scalar(sa.select(sa.func.min(row.id)).where(waiting)) if numbers else None
    if later is not None:
        connection.execute(sa.update(apart).where(waiting).values(case_id=later))
    return _instances(connection, row.id.in_(numbers))


def undo(connection: sa.Connection, number: int) -> None:
    """What was decided of an instance could not be done: it waits again, as a case of its own."""
    row = apart.c
    others = sa.and_(row.case_id == number, row.id != number)
    other = connection.scalar(sa.select(sa.func.min(row.id)).where(others))
    if other is not None:
        connection.execute(sa.update(apart).where(others).values(case_id=other))
    values = {"state": UNDECIDED, "decided": 0, "decided_by": "", "decision": "", "case_id": number}
    connection.execute(sa.update(apart).where(row.id == number).values(**values))


def gone(connection: sa.Connection, numbers: Sequence[int]) -> None:
    """The files of these are gone."""
    connection.execute(sa.update(apart).where(apart.c.id.in_(numbers)).values(file=""))


def undecided(connection: sa.Connection) -> tuple[int, int]:
    """How many cases wait, and how many instances."""
    row = apart.c
    statement = sa.select(sa.func.count(row.case_id.distinct()), sa.func.count()).where(row.state == UNDECIDED)
    cases, instances = connection.execute(statement).one()
    return int(cases), int(instances)


def untold(connection: sa.Connection, most: int = 100) -> Sequence[Instance]:
    """Of each case that waits and that the alert hook has not taken yet, the first instance."""
    row = apart.c
    return _instances(connection, sa.and_(row.told == 0, row.id == row.case_id, row.state == UNDECIDED), most)


def told(connection: sa.Connection, number: int) -> None:
    """Note that the alert hook has taken a case."""
    connection.execute(sa.update(apart).where(apart.c.id == number).values(told=now_microseconds()))
