"""Patients of the affinity domain, by their identifiers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from xds.metadata.identifiers import Oid, PatientId
from xds.store.acknowledged import concerns_everybody
from xds.store.interface import Survivor
from xds.store.statements import Asked, Statement, among, at_once, insert_ignoring
from xds.store.tables import patient
from xds.store.tables.base import Id

DEPTH = 1000
"""Patients that may be merged one into the other; a circle, which no merge makes, would end here."""


_into = patient.alias("into")
_IS = Statement(sa.select(
    patient.c.patient_key, patient.c.merged_into,
    sa.exists(sa.select(_into.c.patient_key).where(_into.c.merged_into == patient.c.patient_key)).label("surviving"),
).where(
    patient.c.domain == sa.bindparam("domain"), patient.c.authority == sa.bindparam("authority"),
    patient.c.id == sa.bindparam("id"),
))  # fmt: skip


def _chain_statement() -> sa.Select[Any]:
    own = sa.select(patient.c.patient_key, patient.c.merged_into, sa.literal(0).label("depth"))
    whole = own.where(patient.c.patient_key == sa.bindparam("key", type_=Id)).cte("chain", recursive=True)
    whole = whole.union_all(
        sa.select(patient.c.patient_key, patient.c.merged_into, whole.c.depth + 1).where(
            patient.c.merged_into == whole.c.patient_key, whole.c.depth < DEPTH
        )
    )
    return sa.select(whole.c.patient_key).order_by(whole.c.depth, whole.c.patient_key)


def _survivors_statement() -> sa.Select[Any]:
    own = sa.select(patient.c.patient_key.label("began"), *patient.c, sa.literal(0).label("depth"))
    whole = own.where(among(patient.c.patient_key, "keys"), patient.c.merged_into.is_not(None)).cte(
        "survivors", recursive=True
    )
    whole = whole.union_all(
        sa.select(whole.c.began, *patient.c, whole.c.depth + 1).where(
            patient.c.patient_key == whole.c.merged_into, whole.c.depth < DEPTH
        )
    )
    columns = (whole.c.began, whole.c.patient_key, whole.c.id, whole.c.authority)
    return sa.select(*columns).where(whole.c.merged_into.is_(None))


_LOCK = Statement(
    sa.select(patient.c.patient_key).where(patient.c.patient_key == sa.bindparam("key", type_=Id)).with_for_update()
)
# In their order, as rows are locked when they come: nobody waits in a circle.
_LOCK_EACH = Statement(
    sa.select(patient.c.patient_key)
    .where(among(patient.c.patient_key, "keys"))
    .order_by(patient.c.patient_key)
    .with_for_update()
)
_CHAIN, _SURVIVORS = Statement(_chain_statement()), Statement(_survivors_statement())


_seen: WeakKeyDictionary[sa.Engine, dict[tuple[str, PatientId], int]] = WeakKeyDictionary()

REMEMBERED = 20_000
"""Patients of one database whose keys are remembered: of a patient who was committed it never changes."""


def remembered(connection: sa.Connection, domain: str, patient_id: PatientId) -> int | None:
    """The key of a patient, if this process has seen it; whether they are active still is not known by that."""
    return _seen.get(connection.engine, {}).get((domain, patient_id))


def forget(connection: sa.Connection, domain: str, patient_id: PatientId) -> None:
    """Let go of a patient's key."""
    _seen.get(connection.engine, {}).pop((domain, patient_id), None)


def remember(connection: sa.Connection, domain: str, patient_id: PatientId, key: int) -> None:
    """Keep a patient's key in mind."""
    seen = _seen.setdefault(connection.engine, {})
    if len(seen) >= REMEMBERED:
        seen.clear()
    seen[domain, patient_id] = key


def key_of(connection: sa.Connection, domain: str, patient_id: PatientId) -> int | None:
    """The key of an active patient; None when unknown or merged away."""
    row = _IS.first(connection, domain=domain, authority=patient_id.authority, id=patient_id.id)
    return None if row is None or row.merged_into is not None else int(row.patient_key)


def chain(connection: sa.Connection, domain: str, patient_id: PatientId) -> Sequence[int]:
    """The keys that stand for an active patient: its own first, then of all merged into it; else none."""
    statement, given = known(domain, patient_id)
    return keys_of_known(connection, statement.rows(connection, **given))


def known(domain: str, patient_id: PatientId) -> Asked:
    """What asks for a patient, with what it is given."""
    return _IS, {"domain": domain, "authority": patient_id.authority, "id": patient_id.id}


def keys_of_known(connection: sa.Connection, rows: Sequence[Any]) -> Sequence[int]:
    """The keys of the patient that ``known`` has found."""
    if not rows or rows[0].merged_into is not None:
        return []
    (row,) = rows
    # Nearly nobody has others merged into them, and then that is all there is to ask.
    return [int(key) for key in _CHAIN.values(connection, key=row.patient_key)] if row.surviving else [row.patient_key]


def chain_of_merged(connection: sa.Connection, domain: str, patient_id: PatientId) -> Sequence[int]:
    """The keys that stand for whoever goes on for a patient who was merged away; of others none."""
    statement, given = known(domain, patient_id)
    rows = statement.rows(connection, **given)
    survivor = next(iter(survivors(connection, [int(row.patient_key) for row in rows]).values()), None)
    return [] if survivor is None else chain(connection, domain, survivor.patient_id)


def locking(patient_keys: Iterable[int]) -> list[Asked]:
    """What lets no other submission of these patients run until the commit, on PostgreSQL, in the order of all.

    One statement, however many there are: thousands may have been merged into one.
    """
    ordered = sorted(set(patient_keys))
    return [(_LOCK_EACH, {"keys": ordered})] if len(ordered) > 1 else [(_LOCK, {"key": key}) for key in ordered]


def named(connection: sa.Connection, patient_keys: Collection[int]) -> Sequence[PatientId]:
    """What the patients of these keys are called, by authority and id."""
    statement = sa.select(patient.c.id, patient.c.authority).where(patient.c.patient_key.in_(patient_keys))
    rows = connection.execute(statement.order_by(patient.c.authority, patient.c.id))
    return [PatientId(row.id, Oid(row.authority)) for row in rows]


def survivors(connection: sa.Connection, patient_keys: Collection[int]) -> dict[int, Survivor]:
    """Who goes on for those of the keys that are merged away."""
    return {
        int(row.began): Survivor(int(row.patient_key), PatientId(row.id, Oid(row.authority)))
        for row in _SURVIVORS.rows(connection, keys=list(patient_keys))
    }


def aliases(connection: sa.Connection, text: str) -> list[str]:
    """What a patient, named by a CX, is and was called in any affinity domain, each merged id too; that name first."""
    found = {text: None}
    try:
        patient_id = PatientId.parse(text)
    except ValueError:
        return [text]
    where = (patient.c.authority == patient_id.authority, patient.c.id == patient_id.id)
    for domain, key in connection.execute(sa.select(patient.c.domain, patient.c.patient_key).where(*where)).all():
        survivor = survivors(connection, [key]).get(key)
        keys = chain(connection, domain, survivor.patient_id if survivor else patient_id)
        found |= dict.fromkeys(map(str, named(connection, keys)))
    return list(found)


def add(connection: sa.Connection, domain: str, patient_id: PatientId) -> bool:
    """Make a patient known; whether it was new."""
    return insert_ignoring(connection, patient, domain=domain, authority=patient_id.authority, id=patient_id.id)


class NotMerged(Exception):
    """Two patients that cannot be merged; the message says why, without naming them."""


def merge(connection: sa.Connection, domain: str, subsumed: PatientId, surviving: PatientId) -> None:
    """Let one patient go on as another; rows keep their keys, and queries follow.

    Both are active before, so that no circle can come to be.

    Raises:
        NotMerged: they are one, or one of them is unknown or merged away already (ITI TF-2: 3.8.4.2.3).
    """
    if subsumed == surviving:
        raise NotMerged("a patient cannot be merged with itself")
    keys = [key_of(connection, domain, one) for one in (subsumed, surviving)]
    for known in sorted(key for key in keys if key is not None):  # in one order everywhere: nobody waits in a circle
        lock(connection, known)
    # Another merge may have come first; and whoever has come to be meanwhile is not locked.
    locked, keys = keys, [key_of(connection, domain, one) for one in (subsumed, surviving)]
    for key, before, which in zip(keys, locked, ("subsumed", "surviving"), strict=True):
        if key is None or before is None:
            raise NotMerged(f"the {which} patient is unknown, or merged away already")
    connection.execute(sa.update(patient).where(patient.c.patient_key == keys[0]).values(merged_into=keys[1]))
    concerns_everybody(connection)  # what either wants is asked of both


def unmerge(connection: sa.Connection, domain: str, subsumed: PatientId) -> PatientId:
    """Undo a merge: the patient stands for itself again, with all that was merged into it; return the other.

    Raises:
        NotMerged: it is not merged away.
    """
    row = connection.execute(sa.select(patient).where(_is(domain, subsumed)).with_for_update()).first()
    if row is None or row.merged_into is None:
        raise NotMerged("the patient is unknown, or not merged away")
    other = connection.execute(sa.select(patient).where(patient.c.patient_key == row.merged_into)).one()
    connection.execute(sa.update(patient).where(patient.c.patient_key == row.patient_key).values(merged_into=None))
    concerns_everybody(connection)
    return PatientId(other.id, Oid(other.authority))


def merges(connection: sa.Connection, domain: str) -> Sequence[tuple[PatientId, PatientId]]:
    """Every merge: who is subsumed, and by whom."""
    into = patient.alias("into")
    statement = (
        sa.select(
            patient.c.id, patient.c.authority, into.c.id.label("into_id"), into.c.authority.label("into_authority")
        )
        .join(into, patient.c.merged_into == into.c.patient_key)
        .where(patient.c.domain == domain)
        .order_by(into.c.authority, into.c.id, patient.c.authority, patient.c.id)
    )
    return [
        (PatientId(row.id, Oid(row.authority)), PatientId(row.into_id, Oid(row.into_authority)))
        for row in connection.execute(statement)
    ]


def _is(domain: str, patient_id: PatientId) -> sa.ColumnElement[bool]:
    return sa.and_(
        patient.c.domain == domain, patient.c.authority == patient_id.authority, patient.c.id == patient_id.id
    )


def lock(connection: sa.Connection, patient_key: int) -> None:
    """Let no other submission of this patient run until the commit (SQLite has one writer anyway)."""
    if connection.dialect.name != "sqlite":
        at_once(connection, *locking([patient_key]))


def all_of(connection: sa.Connection, domain: str) -> Sequence[PatientId]:
    """Every active patient, by authority and id."""
    rows = connection.execute(
        sa.select(patient.c.id, patient.c.authority)
        .where(patient.c.domain == domain, patient.c.merged_into.is_(None))
        .order_by(patient.c.authority, patient.c.id)
    )
    return [PatientId(row.id, Oid(row.authority)) for row in rows]
