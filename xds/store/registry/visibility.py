"""A filter of documents (``metadata/visible.py``) in SQL, so that counts and limits are of what passes.

What a filter asks is its shape, and stands in the statement; which values it asks for are parameters of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from xds.metadata.visible import MULTIPLE, NOTHING, SINGLE, SMALL, Those, Visible
from xds.metadata.vocabulary import AssociationType
from xds.store.statements import among, either_database, not_among
from xds.store.tables import association, document_entry, document_entry_value, folder, patient, submission_set
from xds.store.tables.base import Id

Of: TypeAlias = Callable[[Any], sa.ColumnElement[bool]]
"""What says that a column of keys is of the patients who are asked about."""

Asks: TypeAlias = tuple[bool, tuple[str, ...], tuple[str, ...], tuple[str, ...], bool, bool]
"""A clause without its values: whether it permits; single, any_of and only by attribute; folders; patients."""

Shape: TypeAlias = tuple[tuple[Asks, ...], ...]
"""A filter without its values."""

_REQUIRED = frozenset(("confidentialityCode",))
"""What every entry has a value of (ITI TF-3: Table 4.2.3.2-1)."""

_entry, _value = document_entry.c, document_entry_value.c


def of_one(column: Any) -> sa.ColumnElement[bool]:
    """Of the patient whose key is given as ``key``: an equality says to the planner that it is one."""
    found: sa.ColumnElement[bool] = column == sa.bindparam("key", type_=Id)
    return found


def of_several(column: Any) -> sa.ColumnElement[bool]:
    """Of the patients whose keys are given as ``keys``."""
    return among(column, "keys")


def of_domain(column: Any) -> sa.ColumnElement[bool]:
    """Of any patient of the affinity domain that is given as ``domain``."""
    found: sa.ColumnElement[bool] = column.in_(
        sa.select(patient.c.patient_key).where(patient.c.domain == sa.bindparam("domain"))
    )
    return found


def of_by_another_index(of: Of, patient_key: Any) -> Any:
    """The same for a search that another index serves better than the one by patient alone.

    SQLite knows how many rows patients have on average, and takes the patient who has very many for one of these.
    """
    return either_database(sqlite=of(_without_index(patient_key)), other=of(patient_key))


def _without_index(column: Any) -> Any:
    """A column as SQLite looks for it in no index (SQLite query planner: unary +)."""
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def taken_apart(visible: Visible) -> tuple[Shape, Mapping[str, list[Any]]]:
    """The shape of a filter, and the values that it asks for by the names of the parameters."""
    return (_taken_apart if visible.size <= SMALL else _taken_apart.__wrapped__)(visible)


@lru_cache(2000)
def _taken_apart(visible: Visible) -> tuple[Shape, Mapping[str, list[Any]]]:
    shape = tuple(tuple(_asks(clause.permit, clause.those) for clause in part) for part in visible.parts)
    values = (found for part in visible.parts for clause in part for found in _values(clause.those))
    return shape, {f"seen_{number}": sorted(found) for number, found in enumerate(values)}


def _asks(permit: bool, those: Those) -> Asks:
    names = (tuple(name for name, _ in wanted) for wanted in (those.single, those.any_of, those.only))
    return (permit, *names, bool(those.folders), bool(those.patients))  # type: ignore[return-value]


def _values(those: Those) -> Iterator[frozenset[Any]]:
    for wanted in (those.single, those.any_of, those.only):
        yield from (values for _, values in wanted)
    if those.folders:
        yield those.folders
    if those.patients:
        yield those.patients


def conditions(shape: Shape, of: Of) -> list[sa.ColumnElement[bool]]:
    """What a row of ``document_entry``, of these patients, meets when it passes; one condition a part."""
    names = (f"seen_{number}" for number in count())
    return [_part([(asks[0], _those(asks, of, names)) for asks in part]) for part in shape]


def package_conditions(table: sa.Table, shape: Shape, of: Of) -> list[sa.ColumnElement[bool]]:
    """What a row of ``submission_set`` or ``folder`` meets when it may be seen.

    It holds no documents, or one that passes: a package of what is withheld would tell of it.
    """
    if not shape:
        return []
    row = association.c
    member = (of(row.patient_key), row.type == AssociationType.HAS_MEMBER)
    mine = of(_entry.patient_key)
    held = sa.select(row.source).where(*member, row.target.in_(sa.select(_entry.entry_uuid).where(mine)))
    seen = sa.select(_entry.entry_uuid).where(mine, *conditions(shape, of))
    showing = sa.select(row.source).where(*member, row.target.in_(seen))
    column = table.c.entry_uuid
    empty = sa.false() if shape == _NONE else column.not_in(held)
    return [sa.or_(empty, column.in_(showing))]


_NONE = taken_apart(NOTHING)[0]


def own_sets(visible: Visible) -> sa.ColumnElement[bool]:
    """What a row of ``submission_set`` meets when it may be changed: it is told by its sourceId."""
    return sa.and_(sa.true(), *(_own_part(part) for part in visible.parts))


def _own_part(part: Any) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = sa.false()
    for clause in reversed(part):
        those = clause.those
        sources = dict(those.any_of).get("sourceId")
        only_sources = sources is not None and those == Those(any_of=(("sourceId", sources),))
        mine: sa.ColumnElement[bool] = (
            sa.true() if those.every
            else submission_set.c.source_id.in_(sorted(sources)) if only_sources and sources
            else sa.false()
        )  # fmt: skip
        found = sa.or_(mine, found) if clause.permit else sa.and_(sa.not_(mine), found)
    return found


def _part(clauses: list[tuple[bool, sa.ColumnElement[bool]]]) -> sa.ColumnElement[bool]:
    """The clauses from the last to the first: each decides what fits it, and leaves the rest to those after it."""
    found: sa.ColumnElement[bool] = sa.false()
    for permit, those in reversed(clauses):
        found = sa.or_(those, found) if permit else sa.and_(sa.not_(those), found)
    return found


def _those(asks: Asks, of: Of, names: Iterator[str]) -> sa.ColumnElement[bool]:
    _, single, any_of, only, folders, patients = asks
    met: list[sa.ColumnElement[bool]] = [among(_entry[_known(name, SINGLE)], next(names)) for name in single]
    met += [_has(of, name, among(_value.value, next(names))) for name in any_of]
    met += [each for name in only for each in _only(of, name, next(names))]
    if folders:
        met.append(_held(of, next(names)))
    if patients:
        met.append(among(_entry.patient_key, next(names)))
    return sa.and_(sa.true(), *met)


def _only(of: Of, attribute: str, name: str) -> list[sa.ColumnElement[bool]]:
    other = sa.not_(_has(of, attribute, not_among(_value.value, name)))
    return [other] if attribute in _REQUIRED else [other, _has(of, attribute, sa.true())]


def _has(of: Of, attribute: str, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return having(document_entry, document_entry_value, of, _known(attribute, MULTIPLE), condition)


def having(
    table: sa.Table, values: sa.Table, of: Of, attribute: str, condition: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """What a row meets whose object has, in the table of values, one of an attribute that meets a condition."""
    # By what has the value, not whether each object has it: SQLite would look at all values again for every object.
    of_it = (of(values.c.patient_key), values.c.attribute == attribute, condition)
    return table.c.entry_uuid.in_(sa.select(values.c.entry_uuid).where(*of_it))


def _held(of: Of, name: str) -> sa.ColumnElement[bool]:
    row = association.c
    folders = sa.select(folder.c.entry_uuid).where(of(folder.c.patient_key), among(folder.c.unique_id, name))
    member = (of(row.patient_key), row.type == AssociationType.HAS_MEMBER, row.status == "Approved")
    return _entry.entry_uuid.in_(sa.select(row.target).where(*member, row.source.in_(folders)))


def _known(attribute: str, among_: tuple[str, ...]) -> str:
    assert attribute in among_, attribute  # noqa: S101  a fault of ours, found by any test
    return attribute
