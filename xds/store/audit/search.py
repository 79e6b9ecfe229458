"""Searching the audit log: what records are found by, in a time that its size does not change.

A value that a record is found by is kept as a 64-bit hash of its kind and itself: rows stay narrow at any length, and
say nothing of patients by themselves.  Beside it stands an hourly count, which tells where rare events lie.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import sqlalchemy as sa

from xds.store.audit.records import Recorded, position, recorded_of
from xds.store.engine import copy_in
from xds.store.statements import insert_ignoring
from xds.store.tables import audit_hour, audit_record, audit_value

HOUR = 3_600_000_000
"""Microseconds."""

INDEX = "index"
"""The name of who has indexed the records, among those who go through them."""

# Records of a value that are few; of a kind that are rare; and how many are looked at in one statement: records of a
# value at first, hours, and messages for a text.
_FEW, _RARE = 1000, 20_000
_CHUNK, _HOURS, _TEXTS = 500, 48, 1000
_ASKED = 2000


class Position(NamedTuple):
    """Where a search has come to, newest first: what follows is older than this.  As text, ``RECORDED-ID``."""

    recorded: int
    id: int

    def __str__(self) -> str:
        return f"{self.recorded}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read one.

        Raises:
            ValueError: it is none.
        """
        match = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", text, re.ASCII)
        if match is None:
            raise ValueError("no position in the log")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Value:
    """One thing that a record is found by; ``recorded`` is the record's."""

    kind: str
    value: str
    record_id: int
    recorded: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What records must be to be found; what is empty does not restrict.

    ``values`` are kinds with what they must be, all of them; times are microseconds since 1970, UTC, ``until`` not
    included; ``text`` stands anywhere in the message, in any case; ``before`` is where the page before ended; each of
    ``accepted`` looks at a record as it was found, and says whether it is meant.
    """

    values: tuple[tuple[str, str], ...] = ()
    since: int = 0
    until: int = 0
    event: str = ""
    transaction: str = ""
    failed: bool = False
    outcomes: tuple[int, ...] = ()
    text: str = ""
    before: Position | None = None
    accepted: tuple[Callable[[Recorded], bool], ...] = ()

    @property
    def terms(self) -> tuple[int, ...]:
        return tuple(term(kind, value) for kind, value in self.values)

    @property
    def is_rare(self) -> bool:
        """Whether the hourly counts can tell where such records lie."""
        return bool(self.event or self.transaction or self.failed or self.outcomes)


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first; ``end`` is where to go on, None where everything was looked through."""

    records: list[Recorded]
    end: Position | None


def term(kind: str, value: str) -> int:
    """What a value is kept as."""
    digest = hashlib.blake2b(f"{kind}\0{value}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def keep_values(connection: sa.Connection, values: Iterable[Value]) -> None:
    """Keep what records are found by; each once."""
    # Two values may have one hash, by chance or because somebody has looked for such.
    rows = list(dict.fromkeys((term(one.kind, one.value), one.recorded, one.record_id) for one in values))
    copy_in(connection, audit_value, ("term", "recorded", "record_id"), rows)


def count_hours(connection: sa.Connection, records: Iterable[Recorded]) -> None:
    """Add records to the hourly counts; to be called once for each."""
    counted = Counter(map(hour_of, records))
    for (hour, event, transaction, outcome), count in sorted(counted.items()):
        key = {"hour": hour, "event": event, "transaction": transaction, "outcome": outcome}
        if not insert_ignoring(connection, audit_hour, **key, count=count):
            same = (audit_hour.c[name] == value for name, value in key.items())
            connection.execute(sa.update(audit_hour).where(*same).values(count=audit_hour.c.count + count))


def hour_of(record: Recorded) -> tuple[int, str, str, int]:
    """Where a record is counted."""
    return record.recorded // HOUR * HOUR, record.event, record.transaction, record.outcome


def hours(connection: sa.Connection) -> dict[tuple[int, str, str, int], int]:
    """All that is counted."""
    hour = audit_hour.c
    rows = connection.execute(sa.select(hour.hour, hour.event, hour.transaction, hour.outcome, hour.count))
    return {(int(at), event, transaction, outcome): int(count) for at, event, transaction, outcome, count in rows}


def count_again(connection: sa.Connection, indexed: int) -> None:
    """Count the records before a leaf anew, where more of them are there than are counted."""
    row = audit_record.c
    hour = (row.recorded // HOUR * HOUR).label("hour")
    kind = (hour, row.event, row.transaction, row.outcome)
    counted = connection.execute(sa.select(*kind, sa.func.count()).where(row.leaf_number < indexed).group_by(*kind))
    before = hours(connection)
    for at, event, transaction, outcome, count in counted.all():
        key = {"hour": int(at), "event": event, "transaction": transaction, "outcome": outcome}
        if before.get((int(at), event, transaction, outcome), 0) >= count:
            continue  # those that were erased stay counted
        if not insert_ignoring(connection, audit_hour, **key, count=count):
            same = (audit_hour.c[name] == value for name, value in key.items())
            connection.execute(sa.update(audit_hour).where(*same).values(count=count))


def kept_of(connection: sa.Connection, values: Sequence[Value]) -> set[tuple[int, int]]:
    """Which of these are kept, as term and record."""
    value, found_ = audit_value.c, set[tuple[int, int]]()
    for start in range(0, len(values), _ASKED):
        asked = [(term(v.kind, v.value), v.recorded, v.record_id) for v in values[start : start + _ASKED]]
        where = sa.tuple_(value.term, value.recorded, value.record_id).in_(asked)
        found_ |= {
            (int(one), int(id_)) for one, id_ in connection.execute(sa.select(value.term, value.record_id).where(where))
        }
    return found_


def valued(connection: sa.Connection, kind: str, value: str) -> int:
    """How many records have a value."""
    where = audit_value.c.term == term(kind, value)
    return int(connection.scalar(sa.select(sa.func.count()).select_from(audit_value).where(where)) or 0)


def found(connection: sa.Connection, wanted: Wanted, most: int) -> list[Recorded]:
    """The newest records that are as wanted, newest first, however long it takes."""
    return page(connection, wanted, most).records


def page(connection: sa.Connection, wanted: Wanted, most: int, seconds: float = float("inf")) -> Page:
    """The newest records that are as wanted; what has been found so far, when the time is over."""
    deadline = time.monotonic() + seconds
    records: list[Recorded] = []
    for rows, end in _steps(connection, wanted, most + 1):
        records += rows
        if len(records) > most:
            last = records[most - 1]
            return Page(records[:most], Position(last.recorded, last.id))
        if time.monotonic() > deadline:
            return Page(records, end)
    return Page(records, None)


Step = tuple[list[Recorded], Position]


def _steps(connection: sa.Connection, wanted: Wanted, most: int) -> Iterator[Step]:
    """What is found, in parts, each with where the looking has come to; more than ``most`` are not asked for."""
    hours = _hours(connection, wanted) if wanted.is_rare else []
    if wanted.values:
        driver, size = _rarest(connection, wanted)
        if wanted.text or size < _FEW or not 0 < sum(count for _, count in hours) < _RARE:
            return _by_value(connection, wanted, driver)
    if hours and not wanted.text:
        return _by_hour(connection, wanted, hours, most)
    if wanted.is_rare and not hours:
        return iter(())
    return _by_time(connection, wanted, _TEXTS if wanted.text else most)


def _by_value(connection: sa.Connection, wanted: Wanted, driver: int) -> Iterator[Step]:
    """Through the records of the rarest of the values."""
    value, place, chunk = audit_value.c, wanted.before, _CHUNK
    while True:
        where = (value.term == driver, *_within(value, wanted, place))
        statement = sa.select(value.recorded, value.record_id).where(*where)
        newest = connection.execute(
            statement.order_by(value.recorded.desc(), value.record_id.desc()).limit(chunk)
        ).all()
        if newest:
            place = Position(*newest[-1])
            there = audit_record.c.id.in_([row.record_id for row in newest])
            yield _read(connection, wanted, [there, *_others(wanted, driver)]), place
        if len(newest) < chunk:
            return
        chunk = min(chunk * 2, 4000)


def _rarest(connection: sa.Connection, wanted: Wanted) -> tuple[int, int]:
    """The value that the fewest records have, and how many; of those that many have, any."""

    def size(term_: int) -> int:
        where = (audit_value.c.term == term_, *_within(audit_value.c, wanted, wanted.before))
        rows = sa.select(audit_value.c.record_id).where(*where).limit(_FEW).subquery()
        return int(connection.scalar(sa.select(sa.func.count()).select_from(rows)) or 0)

    count, term_ = min((size(term_), term_) for term_ in wanted.terms)
    return term_, count


def _others(wanted: Wanted, driver: int | None) -> list[sa.ColumnElement[bool]]:
    """That a record has the other values, too."""
    row, value = audit_record.c, audit_value.c
    return [
        sa.exists(
            sa.select(value.term).where(value.term == one, value.recorded == row.recorded, value.record_id == row.id)
        )
        for one in wanted.terms
        if one != driver
    ]


def _by_hour(connection: sa.Connection, wanted: Wanted, hours: list[tuple[int, int]], most: int) -> Iterator[Step]:
    """Through the hours that hold such records."""
    row, place, others = audit_record.c, wanted.before, _others(wanted, None)
    while hours:
        part = _part(hours, most)
        within = sa.or_(*(sa.and_(row.recorded >= begin, row.recorded < end) for begin, end in _runs(part)))
        while True:
            where = (within, *_within(row, wanted, place), *_is_of(row, wanted))
            statement = sa.select(row.recorded, row.id).where(*where).order_by(row.recorded.desc(), row.id.desc())
            newest = connection.execute(statement.limit(_CHUNK)).all()
            if newest:
                # By their ids: a database would rather begin with the values, of which there are very many here.
                place = Position(*newest[-1])
                yield _read(connection, wanted, [row.id.in_([one.id for one in newest]), *others]), place
            if len(newest) < _CHUNK:
                break
        place = Position(part[-1], 0)


def _part(hours: list[tuple[int, int]], most: int) -> list[int]:
    """Take the next hours: those that hold so many records, and not too many hours."""
    counted, part = 0, list[int]()
    while hours and len(part) < _HOURS and (not part or counted < most):
        hour, count = hours.pop(0)
        part.append(hour)
        counted += count
    return part


def _hours(connection: sa.Connection, wanted: Wanted) -> list[tuple[int, int]]:
    """Hours with records as wanted, newest first, and how many; those with records not counted yet too."""
    hour = audit_hour.c
    where = [*_is_of(hour, wanted), hour.hour > wanted.since - HOUR]
    if wanted.until:
        where.append(hour.hour < wanted.until)
    if wanted.before:
        where.append(hour.hour <= wanted.before.recorded)
    statement = sa.select(hour.hour, sa.func.sum(hour.count)).where(*where).group_by(hour.hour)
    counted = {int(begin): int(count) for begin, count in connection.execute(statement)}
    row, indexed = audit_record.c, position(connection, INDEX) or 0
    older = [row.recorded <= wanted.before.recorded] if wanted.before else []
    for waits in (row.leaf_number.is_(None), row.leaf_number >= indexed):
        late = sa.select(row.recorded // HOUR).where(waits, *older).distinct()
        counted |= {int(n) * HOUR: 1 for n in connection.scalars(late) if int(n) * HOUR not in counted}
    return sorted(counted.items(), reverse=True)


def _runs(hours: Sequence[int]) -> list[tuple[int, int]]:
    """Hours, newest first, as spans without a gap."""
    runs: list[tuple[int, int]] = []
    for hour in hours:
        if runs and runs[-1][0] == hour + HOUR:
            runs[-1] = hour, runs[-1][1]
        else:
            runs.append((hour, hour + HOUR))
    return runs


def _by_time(connection: sa.Connection, wanted: Wanted, chunk: int) -> Iterator[Step]:
    """Through all records; values to be found by are not looked at."""
    row, place = audit_record.c, wanted.before
    while True:
        statement = sa.select(audit_record).where(*_within(row, wanted, place), *_is_of(row, wanted))
        rows = connection.execute(statement.order_by(row.recorded.desc(), row.id.desc()).limit(chunk)).all()
        if rows:
            place = Position(rows[-1].recorded, rows[-1].id)
            yield _with_text(rows, wanted), place
        if len(rows) < chunk:
            return


def _read(connection: sa.Connection, wanted: Wanted, where: Sequence[sa.ColumnElement[bool]]) -> list[Recorded]:
    row = audit_record.c
    statement = sa.select(audit_record).where(*where, *_is_of(row, wanted))
    statement = statement.order_by(row.recorded.desc(), row.id.desc())
    return _with_text(connection.execute(statement).all(), wanted)


def _with_text(rows: Iterable[sa.Row[Any]], wanted: Wanted) -> list[Recorded]:
    read_ = (recorded_of(row, row.leaf_number) for row in rows)
    records = [one for one in read_ if all(accept(one) for accept in wanted.accepted)]
    needle = escape(wanted.text)
    if not needle:
        return records
    if needle.isascii():  # by far the quicker
        data = needle.encode().lower()
        return [one for one in records if data in one.message.lower()]
    needle = needle.casefold()
    return [one for one in records if needle in one.message.decode("utf-8", "replace").casefold()]


def _within(columns: Any, wanted: Wanted, place: Position | None) -> list[sa.ColumnElement[bool]]:
    """The time, in a table that has it and the record's id in one index."""
    id_ = columns.record_id if "record_id" in columns else columns.id
    conditions = list[sa.ColumnElement[bool]]()
    if wanted.since:
        conditions.append(columns.recorded >= wanted.since)
    if wanted.until:
        conditions.append(columns.recorded < wanted.until)
    if place:
        conditions.append(sa.tuple_(columns.recorded, id_) < sa.tuple_(*place))
    return conditions


def _is_of(columns: Any, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    conditions = list[sa.ColumnElement[bool]]()
    if wanted.event:
        conditions.append(columns.event == wanted.event)
    if wanted.transaction:
        conditions.append(columns.transaction == wanted.transaction)
    if wanted.failed:
        conditions.append(columns.outcome > 0)
    if wanted.outcomes:
        conditions.append(columns.outcome.in_(wanted.outcomes))
    return conditions


def by_time(connection: sa.Connection, wanted: Wanted, width: int, most: int) -> dict[int, tuple[int, int]]:
    """How many records as wanted, and how many of them failed, by spans of ``width`` microseconds, whole hours.

    With values to be found by, the newest ``most`` that have the rarest of them; else all, by their hours.  Text is
    not looked for.
    """
    if not wanted.values:
        hour = audit_hour.c
        within = [hour.hour >= wanted.since // HOUR * HOUR, *([hour.hour < wanted.until] if wanted.until else [])]
        return _summed(connection, hour.hour, hour.count, hour.outcome, [*within, *_is_of(hour, wanted)], width)
    (driver, _), value, row = _rarest(connection, wanted), audit_value.c, audit_record.c
    newest = sa.select(value.record_id).where(value.term == driver, *_within(value, wanted, None))
    ids = newest.order_by(value.recorded.desc(), value.record_id.desc()).limit(most).subquery()
    where = [row.id == ids.c.record_id, *_others(wanted, driver), *_is_of(row, wanted)]
    return _summed(connection, row.recorded, sa.literal(1), row.outcome, where, width)


def _summed(
    connection: sa.Connection,
    time_: sa.ColumnElement[int],
    count: sa.ColumnElement[int],
    outcome: sa.ColumnElement[int],
    where: Sequence[sa.ColumnElement[bool]],
    width: int,
) -> dict[int, tuple[int, int]]:
    span = (time_ // width).label("span")
    failed = sa.func.sum(sa.case((outcome > 0, count), else_=0))
    statement = sa.select(span, sa.func.sum(count), failed).where(*where).group_by(span)
    return {int(at) * width: (int(all_), int(bad)) for at, all_, bad in connection.execute(statement)}
