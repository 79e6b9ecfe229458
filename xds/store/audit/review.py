"""What auditors review: accesses by people, which of them are unusual and what was decided, and searches they keep."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from xds.metadata.identifiers import PatientId
from xds.store.audit.records import now_microseconds
from xds.store.registry.compression import unpack
from xds.store.statements import insert_ignoring
from xds.store.tables import audit_access, audit_unusual, audit_vip, document_entry, patient, saved_search

DAY = 86_400_000_000
"""Microseconds."""

PERSON, PATIENT = 200, 256
"""Characters that are kept, so that an index can hold both."""

DECISIONS = ("justified", "follow up", "misuse")
SEARCHES = 50
"""That one account may keep."""

_ENTRIES = 5  # of a patient, to learn their names from


@dataclass(frozen=True, slots=True)
class Access:
    """A person's access to a patient's data, by one record; ``recorded`` in microseconds since 1970, UTC."""

    recorded: int
    record_id: int
    person: str
    known_as: str
    role: str
    organisation: str
    patient_id: str


@dataclass(frozen=True, slots=True)
class Unusual:
    """Something to be looked at: the accesses of a person on a day, for a reason.  ``decision`` is empty until one is.

    ``patient_id`` is empty where it is about all that they did on the day.
    """

    day: int
    person: str
    known_as: str
    organisation: str
    patient_id: str
    reason: str
    detail: str
    record_id: int
    count: int = 1
    decision: str = ""
    note: str = ""
    decided_by: str = ""
    decided: int = 0
    id: int = 0


def keep_accesses(connection: sa.Connection, accesses: Iterable[Access]) -> None:
    """Keep accesses, each once."""
    rows = {(a.record_id, a.person[:PERSON], a.patient_id[:PATIENT]): a for a in accesses}
    values = [
        dataclasses.asdict(access) | {
            "person": person, "patient_id": patient_id, "known_as": access.known_as[:512], "role": access.role[:128],
            "organisation": access.organisation[:512],
        }
        for (_, person, patient_id), access in rows.items()
    ]  # fmt: skip
    if values:
        connection.execute(sa.insert(audit_access), values)


def patient_names(connection: sa.Connection, patient_id: str) -> set[str]:
    """What a patient is called in the newest documents about them: PID-5 of sourcePatientInfo."""
    try:
        given = PatientId.parse(patient_id)
    except ValueError:
        return set()
    keys = sa.select(patient.c.patient_key).where(patient.c.authority == given.authority, patient.c.id == given.id)
    entry, names = document_entry.c, set[str]()
    for key in connection.scalars(keys):
        newest = sa.select(entry.ebxml).where(entry.patient_key == key).order_by(entry.creation_time.desc())
        for stored in connection.scalars(newest.limit(_ENTRIES)):
            found = re.findall(r">PID-5\|([^<]*)<", unpack(bytes(stored)).decode("utf-8", "replace"))
            names |= {html.unescape(name) for name in found}
    return names


def is_vip(connection: sa.Connection, patient_id: str) -> bool:
    where = audit_vip.c.patient_id == patient_id
    return connection.scalar(sa.select(audit_vip.c.patient_id).where(where)) is not None


def set_vip(connection: sa.Connection, patient_id: str, *, vip: bool) -> bool:
    """Have every access to a patient looked at, or no more; whether that is a change."""
    if vip:
        return insert_ignoring(connection, audit_vip, patient_id=patient_id[:512])
    return bool(connection.execute(sa.delete(audit_vip).where(audit_vip.c.patient_id == patient_id)).rowcount)


def vips(connection: sa.Connection) -> list[str]:
    return list(connection.scalars(sa.select(audit_vip.c.patient_id).order_by(audit_vip.c.patient_id)))


def note(connection: sa.Connection, found: Iterable[Unusual]) -> None:
    """Keep what is unusual; what is noted already of the day counts one more, and a decision on it stands."""
    for one in found:
        values = dataclasses.asdict(one)
        del values["id"]
        values |= {
            "person": one.person[:PERSON], "patient_id": one.patient_id[:PATIENT], "known_as": one.known_as[:512],
            "organisation": one.organisation[:512], "detail": one.detail[:256],
        }  # fmt: skip
        if not insert_ignoring(connection, audit_unusual, **values):
            same = (audit_unusual.c[key] == values[key] for key in ("day", "person", "patient_id", "reason"))
            connection.execute(sa.update(audit_unusual).where(*same).values(count=audit_unusual.c.count + 1))


def unusual(connection: sa.Connection, *, decided: bool = False, before: int = 0, most: int = 100) -> list[Unusual]:
    """What is to be decided, or was, newest first."""
    table = audit_unusual.c
    where = [table.decision != "" if decided else table.decision == ""]
    if before:
        where.append(table.id < before)
    rows = connection.execute(sa.select(audit_unusual).where(*where).order_by(table.id.desc()).limit(most))
    return [Unusual(**dict(row._mapping)) for row in rows]


def open_count(connection: sa.Connection) -> int:
    """How much waits for a decision."""
    where = audit_unusual.c.decision == ""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(audit_unusual).where(where)) or 0)


class Decided(Exception):
    """Somebody has decided before."""


def decide(connection: sa.Connection, id_: int, decision: str, note_: str, who: str) -> Unusual | None:
    """Keep a decision; what was decided on, None if there is none.

    Raises:
        Decided: it was decided before, and that stands.
    """
    table = audit_unusual
    values = {"decision": decision, "note": note_[:2000], "decided_by": who[:64], "decided": now_microseconds()}
    update = sa.update(table).where(table.c.id == id_, table.c.decision == "").values(**values)
    changed = connection.execute(update).rowcount
    row = connection.execute(sa.select(table).where(table.c.id == id_)).first()
    if row is not None and not changed:
        raise Decided
    return None if row is None else Unusual(**dict(row._mapping))


@dataclass(frozen=True, slots=True)
class Busy:
    """How many patients' data a person has accessed on a day; ``record_id`` is of the first."""

    person: str
    known_as: str
    role: str
    organisation: str
    patients: int
    record_id: int


def busy(connection: sa.Connection, day: int) -> list[Busy]:
    """Everybody who accessed something on a day."""
    table = audit_access.c
    named = (table.person, *(sa.func.max(one) for one in (table.known_as, table.role, table.organisation)))
    counted = (sa.func.count(table.patient_id.distinct()), sa.func.min(table.record_id))
    where = (table.recorded >= day * DAY, table.recorded < (day + 1) * DAY)
    rows = connection.execute(sa.select(*named, *counted).where(*where).group_by(table.person))
    return [Busy(*tuple(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class Saved:
    """A search that somebody keeps; ``query`` as in its address."""

    id: int
    name: str
    query: str


def searches(connection: sa.Connection, account: str) -> Sequence[Saved]:
    table = saved_search.c
    rows = connection.execute(
        sa.select(table.id, table.name, table.query).where(table.account == account).order_by(table.name)
    )
    return [Saved(*row) for row in rows]


def save_search(connection: sa.Connection, account: str, name: str, query: str) -> bool:
    """Keep a search, in the place of one of the same name; False if there are too many."""
    table = saved_search.c
    connection.execute(sa.delete(saved_search).where(table.account == account, table.name == name[:100]))
    if len(searches(connection, account)) >= SEARCHES:
        return False
    return insert_ignoring(connection, saved_search, account=account, name=name[:100], query=query[:4000])


def forget_search(connection: sa.Connection, account: str, id_: int) -> None:
    connection.execute(sa.delete(saved_search).where(saved_search.c.account == account, saved_search.c.id == id_))
