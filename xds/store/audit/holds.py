"""Legal holds: records that are kept whatever their time; and rows of records that are erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from xds.store.audit.records import Recorded, now_microseconds, recorded_of
from xds.store.audit.search import term
from xds.store.registry import patients
from xds.store.tables import audit_access, audit_cursor, audit_hold, audit_record, audit_value


@dataclass(frozen=True, slots=True)
class Hold:
    """Of a patient, of a time, of both, or of everything; times in microseconds since 1970, UTC, 0 for none."""

    made_by: str
    reason: str
    patient_id: str = ""
    since: int = 0
    until: int = 0
    made: int = 0
    released: int = 0
    released_by: str = ""
    id: int = 0


def _alone(connection: sa.Connection) -> None:
    """Nobody makes a hold while records are erased, nor the other way round; SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7802)"))


def add(connection: sa.Connection, hold: Hold) -> int:
    """Make a hold; its id."""
    _alone(connection)
    values = {
        "made": now_microseconds(), "made_by": hold.made_by[:256], "reason": hold.reason,
        "patient_id": hold.patient_id[:512], "since": hold.since, "until": hold.until, "released": 0, "released_by": "",
    }  # fmt: skip
    (id_,) = connection.execute(sa.insert(audit_hold).values(**values).returning(audit_hold.c.id)).one()
    return int(id_)


def release(connection: sa.Connection, id_: int, who: str) -> Hold | None:
    """End a hold; None if there is none of the id that holds."""
    table = audit_hold
    where = (table.c.id == id_, table.c.released == 0)
    found = connection.execute(sa.select(table).where(*where)).first()
    if found is None:
        return None
    values = {"released": now_microseconds(), "released_by": who[:256]}
    connection.execute(sa.update(table).where(*where).values(**values))
    return Hold(**dict(found._mapping))


def all_of(connection: sa.Connection, *, active: bool) -> list[Hold]:
    where = [audit_hold.c.released == 0] if active else []
    rows = connection.execute(sa.select(audit_hold).where(*where).order_by(audit_hold.c.id))
    return [Hold(**dict(row._mapping)) for row in rows]


def holding(connection: sa.Connection, first: int, end: int, *, to_erase: bool = False) -> Hold | None:
    """A hold on one of the records from leaf ``first`` to ``end``, not included.

    ``to_erase``: no other is made until the transaction ends.
    """
    if to_erase:
        _alone(connection)
    row, value = audit_record.c, audit_value.c
    for hold in all_of(connection, active=True):
        where = [row.leaf_number >= first, row.leaf_number < end]
        if hold.since:
            where.append(row.recorded >= hold.since)
        if hold.until:
            where.append(row.recorded < hold.until)
        if hold.patient_id:
            ids = patients.aliases(connection, hold.patient_id)  # those merged with them, too
            of_patient = sa.select(value.record_id).where(value.term.in_([term("patient", one) for one in ids]))
            where.append(sa.or_(row.patient_id.in_(ids), row.id.in_(of_patient)))
        if connection.scalar(sa.select(row.id).where(*where).limit(1)) is not None:
            return hold
    return None


def least_position(connection: sa.Connection, names: Sequence[str]) -> int:
    """How far everybody of these has come that goes through the records; 0 where one has not begun."""
    table = audit_cursor.c
    rows_ = connection.execute(sa.select(table.name, table.position).where(table.name.in_(names)))
    found = {str(name): int(position) for name, position in rows_}
    return min(found.get(name, 0) for name in names)


def rows(connection: sa.Connection, first: int, end: int) -> list[Recorded]:
    """The rows of some leaves."""
    where = (audit_record.c.leaf_number >= first, audit_record.c.leaf_number < end)
    found = connection.execute(sa.select(audit_record).where(*where).order_by(audit_record.c.leaf_number))
    return [recorded_of(row, row.leaf_number) for row in found]


def erase_rows(connection: sa.Connection, records: Sequence[Recorded], values: Sequence[tuple[int, int, int]]) -> None:
    """Erase records, and what they are found by: ``values`` are term, time and id of each."""
    value = audit_value.c
    if values:
        names = ("t", "r", "i")
        where = (
            value.term == sa.bindparam("t"),
            value.recorded == sa.bindparam("r"),
            value.record_id == sa.bindparam("i"),
        )
        connection.execute(sa.delete(audit_value).where(*where), [dict(zip(names, one, strict=True)) for one in values])
    for start in range(0, len(records), 500):
        part = records[start : start + 500]
        ids, times = [one.id for one in part], [one.recorded for one in part]
        access = audit_access.c
        within = (access.recorded >= min(times), access.recorded <= max(times), access.record_id.in_(ids))
        connection.execute(sa.delete(audit_access).where(*within))
        connection.execute(sa.delete(audit_record).where(audit_record.c.id.in_(ids)))
