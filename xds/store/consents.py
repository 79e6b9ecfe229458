"""What patients want, and who has broken the glass, as it is kept: every version for ever."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from xds.store.acknowledged import concerns_everybody
from xds.store.audit.records import now_microseconds
from xds.store.statements import Statement, among
from xds.store.tables import directive, override, patient


@dataclass(frozen=True, slots=True)
class Kept:
    """A version of a directive: as JSON, who set it, and when (microseconds)."""

    patient_key: int
    id: str
    version: int
    text: str
    changed: int
    changed_by: str
    latest: bool = True


def any_at_all(connection: sa.Connection) -> bool:
    """Whether any patient has ever said anything."""
    return connection.scalar(sa.select(sa.literal(1)).select_from(directive).limit(1)) is not None


def _family_statement() -> sa.Select[Any]:
    """Built once: it is asked in every query of a patient.  ``keys``: theirs."""
    up = sa.select(patient.c.patient_key, patient.c.merged_into)
    rising = up.where(among(patient.c.patient_key, "keys")).cte("rising", recursive=True)
    rising = rising.union(up.where(patient.c.patient_key == rising.c.merged_into))
    roots = sa.select(rising.c.patient_key.label("root"), rising.c.patient_key).where(rising.c.merged_into.is_(None))
    falling = roots.cte("falling", recursive=True)
    falling = falling.union(
        sa.select(falling.c.root, patient.c.patient_key).where(patient.c.merged_into == falling.c.patient_key)
    )
    return sa.select(falling.c.root, falling.c.patient_key)


_of_them = sa.select(directive).where(among(directive.c.patient_key, "keys"))
_in_order = _of_them.order_by(directive.c.changed, directive.c.version)
_family = _family_statement().subquery()
_FAMILIES, _DIRECTIVES, _LATEST = map(
    Statement, (_family_statement(), _in_order, _in_order.where(directive.c.latest))
)  # fmt: skip
_WANTED = Statement(
    sa.select(_family.c.root, _family.c.patient_key, directive.c.directive).select_from(
        _family.outerjoin(directive, sa.and_(directive.c.patient_key == _family.c.patient_key, directive.c.latest))
    )
)


def wanted(connection: sa.Connection, patient_keys: Collection[int]) -> list[tuple[tuple[int, ...], list[str]]]:
    """What patients want now: of each, all keys that it is kept under, and its directives as JSON."""
    if not patient_keys:
        return []
    keys: dict[int, set[int]] = {}
    texts: dict[int, list[str]] = {}
    for root, key, text in _WANTED.rows(connection, keys=list(patient_keys)):
        keys.setdefault(int(root), set()).add(int(key))
        texts.setdefault(int(root), []).extend([text] if text else ())
    return [(tuple(sorted(keys[root])), texts[root]) for root in keys]


def families(connection: sa.Connection, patient_keys: Collection[int]) -> list[tuple[int, ...]]:
    """Of patients all keys that each is kept under: its own, and of those who are merged with it."""
    if not patient_keys:
        return []
    found: dict[int, set[int]] = {}
    for root, key in _FAMILIES.rows(connection, keys=list(patient_keys)):
        found.setdefault(int(root), set()).add(int(key))
    return [tuple(sorted(keys)) for keys in found.values()]


def of(connection: sa.Connection, patient_keys: Collection[int], *, every_version: bool = False) -> Sequence[Kept]:
    """The directives of patients, as they are now or in every version, from the first on."""
    statement = _DIRECTIVES if every_version else _LATEST
    rows = statement.rows(connection, keys=list(patient_keys)) if patient_keys else ()
    return [
        Kept(int(row.patient_key), row.id, row.version, row.directive, row.changed, row.changed_by, row.latest)
        for row in rows
    ]


def held(connection: sa.Connection, patient_keys: Collection[int], *, every_version: bool = False) -> Sequence[Kept]:
    """The directives of patients under whatever keys each is kept, likewise."""
    keys = {key for family in families(connection, patient_keys) for key in family}
    return of(connection, keys, every_version=every_version)


def with_any(connection: sa.Connection, domain: str, most: int) -> list[int]:
    """The patients of a domain that have directives; at most so many, and one more where there are more."""
    keys = sa.select(directive.c.patient_key).join(patient, patient.c.patient_key == directive.c.patient_key)
    return [int(key) for key in connection.scalars(keys.where(patient.c.domain == domain).distinct().limit(most + 1))]


def keep(connection: sa.Connection, patient_key: int, text: str, who: str, id_: str = "") -> Kept:
    """Keep a directive, or another version of one."""
    before = 0
    if id_:
        mine = (directive.c.patient_key == patient_key, directive.c.id == id_)
        before = int(connection.scalar(sa.select(sa.func.max(directive.c.version)).where(*mine)) or 0)
        connection.execute(sa.update(directive).where(*mine).values(latest=False))
    concerns_everybody(connection)
    kept = Kept(patient_key, id_ or str(uuid.uuid4()), before + 1, text, now_microseconds(), who)
    connection.execute(sa.insert(directive).values(
        patient_key=patient_key, id=kept.id, version=kept.version, latest=True, directive=text,
        changed=kept.changed, changed_by=who,
    ))  # fmt: skip
    return kept


@dataclass(frozen=True, slots=True)
class Broken:
    """A glass that somebody broke: for whom, by whom, why, and for how long (microseconds)."""

    id: int
    patient_key: int
    person: str
    person_name: str
    organisation: str
    purpose: str
    reason: str
    begun: int
    ends: int
    reviewed: int | None = None
    reviewed_by: str = ""


def break_glass(connection: sa.Connection, broken: Broken) -> int:
    """Keep that somebody has broken the glass; return its number."""
    values = {name: getattr(broken, name) for name in Broken.__slots__ if name != "id"}
    concerns_everybody(connection)
    result = connection.execute(sa.insert(override).values(**values))
    key = result.inserted_primary_key
    assert key is not None  # noqa: S101  of a single row there is one
    return int(key[0])


def broken_by(connection: sa.Connection, persons: Collection[str], now: int) -> list[Broken]:
    """Whose glass is broken now by one of these, who are one person."""
    row = override.c
    where = (row.person.in_(persons), row.begun <= now, row.ends > now)
    return [_broken(one) for one in connection.execute(sa.select(override).where(*where))]


def all_broken(connection: sa.Connection, *, most: int, before: int = 0, unreviewed: bool = False) -> list[Broken]:
    """Overrides, the newest first; ``before``: those of smaller numbers."""
    row = override.c
    where: list[sa.ColumnElement[bool]] = [sa.true()]
    if before:
        where.append(row.id < before)
    if unreviewed:
        where.append(row.reviewed.is_(None))
    statement = sa.select(override).where(*where).order_by(row.id.desc()).limit(most)
    return [_broken(one) for one in connection.execute(statement)]


def review(connection: sa.Connection, number: int, who: str) -> bool:
    """Note that somebody has looked at an override; whether it was the first time."""
    mine = (override.c.id == number, override.c.reviewed.is_(None))
    done = connection.execute(
        sa.update(override).where(*mine).values(reviewed=now_microseconds(), reviewed_by=who)
    )  # fmt: skip
    return bool(done.rowcount)


def untold(connection: sa.Connection, most: int = 100) -> list[Broken]:
    """Overrides that the alert hook has not taken yet."""
    statement = sa.select(override).where(override.c.told.is_(None)).order_by(override.c.id).limit(most)
    return [_broken(one) for one in connection.execute(statement)]


def told(connection: sa.Connection, number: int) -> None:
    """Note that the alert hook has taken an override."""
    connection.execute(sa.update(override).where(override.c.id == number).values(told=now_microseconds()))


def _broken(row: sa.Row[Any]) -> Broken:
    found: Mapping[Any, Any] = row._mapping
    return Broken(**{name: found[name] for name in Broken.__slots__})
