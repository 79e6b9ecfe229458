"""The statements that objects are found by: one a shape of search, written when it is first asked for.

A search's shape is what it asks about; what it asks for are the parameters of the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from xds.metadata.visible import EVERYTHING, Visible
from xds.store.interface import Criteria, Kind
from xds.store.registry import visibility
from xds.store.registry.visibility import (
    Of,
    Shape,
    having,
    of_by_another_index,
    of_domain,
    of_one,
    of_several,
)
from xds.store.statements import Statement, among
from xds.store.tables import association, document_entry, document_entry_value, folder, package_value, submission_set

TABLES = {
    Kind.DOCUMENT_ENTRY: document_entry,
    Kind.SUBMISSION_SET: submission_set,
    Kind.FOLDER: folder,
    Kind.ASSOCIATION: association,
}

SHAPES, LARGE = 300, 50
"""Searches of different shapes whose statements are kept; the clauses and patterns of one whose are too long for it."""


@dataclass(frozen=True, slots=True)
class _Search:
    """What a search asks about: ``of`` one patient, several, or all of a domain."""

    kind: Kind
    whole: bool
    of: str
    seen: Shape
    latest: bool = False
    statuses: bool = False
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    patterns: tuple[tuple[str, int], ...] = ()
    ranges: tuple[tuple[str, bool, bool], ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The statements of a search, and what they are given: the first ``most`` objects, all, and how many up to that."""

    first: Statement
    every: Statement
    counted: Statement
    given: dict[str, Any]


def finding(
    kind: Kind, domain: str, keys: Sequence[int] | None, criteria: Criteria, seen: Visible, *, whole: bool
) -> Finding:  # fmt: skip
    """How the objects of a kind are found, of patients by their keys or of all, that meet criteria and may be seen."""
    shape, values = visibility.taken_apart(seen)
    search = _Search(
        kind, whole, _whose(keys), shape, criteria.latest and "latest" in TABLES[kind].c, bool(criteria.statuses),
        tuple(name for name, _ in criteria.columns), tuple(name for name, _ in criteria.values),
        tuple((name, len(patterns)) for name, patterns in criteria.patterns),
        tuple((name, range_.from_ is not None, range_.to is not None) for name, range_ in criteria.ranges),
        tuple(name for name, _ in criteria.without),
    )  # fmt: skip
    given = {**of_whom(domain, keys), **values}
    if criteria.statuses:
        given["statuses"] = list(criteria.statuses)
    for place, (_, wanted) in enumerate(criteria.columns):
        given[f"column_{place}"] = list(wanted)
    for place, (_, wanted) in enumerate(criteria.values):
        given[f"value_{place}"] = list(wanted)
    for place, (_, patterns) in enumerate(criteria.patterns):
        for nth, pattern in enumerate(patterns):
            given[f"pattern_{place}_{nth}"] = pattern.replace("\\", "\\\\")
    for place, (_, range_) in enumerate(criteria.ranges):
        ends = {f"from_{place}": range_.from_, f"to_{place}": range_.to}
        given |= {name: end for name, end in ends.items() if end is not None}
    for place, (_, wanted) in enumerate(criteria.without):
        given[f"without_{place}"] = list(wanted)
    first, every, counted = _kept(_statements, _size(search))(search)
    return Finding(first, every, counted, given)


def _size(search: _Search) -> int:
    return sum(map(len, search.seen)) + sum(count for _, count in search.patterns)


def _kept(made: Any, size: int) -> Any:
    """What makes statements, and keeps them unless they are large: memory is bounded by how long they are, too."""
    return made.__wrapped__ if size > LARGE else made


def of_whom(domain: str, keys: Sequence[int] | None) -> dict[str, Any]:
    """The parameters that say which patients are asked about."""
    if keys is None:
        return {"domain": domain}
    return {"key": keys[0]} if len(keys) == 1 else {"keys": list(keys)}


def _whose(keys: Sequence[int] | None) -> str:
    return "domain" if keys is None else "one" if len(keys) == 1 else "several"


_OF: dict[str, Of] = {"domain": of_domain, "one": of_one, "several": of_several}


@lru_cache(SHAPES)
def _statements(search: _Search) -> tuple[Statement, Statement, Statement]:
    table = TABLES[search.kind]
    where = _conditions(search, table, _OF[search.of])
    statement = _selected(table, whole=search.whole).where(*where).order_by(table.c.entry_uuid)
    most = sa.bindparam("most", type_=sa.Integer)
    ids = sa.select(table.c.entry_uuid).where(*where).limit(most).subquery()
    counted = sa.select(sa.func.count()).select_from(ids)
    return Statement(statement.limit(most)), Statement(statement), Statement(counted)


def _conditions(search: _Search, table: sa.Table, of: Of) -> list[Any]:
    values = document_entry_value if table is document_entry else package_value
    by_time = _indexed_ranges(search, table)
    whose = of_by_another_index(of, table.c.patient_key) if by_time else of(table.c.patient_key)
    where: list[Any] = [whose, *_seen(table, search.seen, of)]
    if search.latest:
        where.append(table.c.latest)
    if search.statuses:
        where.append(among(table.c.status, "statuses"))
    where += [among(table.c[column], f"column_{place}") for place, column in enumerate(search.columns)]
    for place, attribute in enumerate(search.values):
        where.append(having(table, values, of, attribute, among(values.c.value, f"value_{place}")))
    for place, (attribute, patterns) in enumerate(search.patterns):
        likes = (values.c.value.like(sa.bindparam(f"pattern_{place}_{n}"), escape="\\") for n in range(patterns))
        where.append(having(table, values, of, attribute, sa.or_(*likes)))
    for place, (attribute, from_, to) in enumerate(search.ranges):
        column = table.c[attribute]
        within = [column >= sa.bindparam(f"from_{place}")] if from_ else []
        within += [column < sa.bindparam(f"to_{place}")] if to else []
        # An entry without the attribute is not excluded by it (ITI TF-2: 3.18.4.1.2.3.7.1).  Both ends stand beside
        # each other, so that an index by patient and time serves either half.
        if within:
            mine = [of(table.c.patient_key)] if attribute in by_time else []
            where.append(sa.or_(sa.and_(*mine, *within), sa.and_(*mine, column.is_(None))))
    for place, attribute in enumerate(search.without):
        where.append(sa.not_(having(table, values, of, attribute, among(values.c.value, f"without_{place}"))))
    return where


def _indexed_ranges(search: _Search, table: sa.Table) -> frozenset[str]:
    """The attributes of which a time with both ends is asked for, and that have an index by patient."""
    if table is not document_entry or search.of == "domain":
        return frozenset()
    indexed = {index.columns[1].name for index in table.indexes if len(index.columns) == 2}
    return frozenset(name for name, from_, to in search.ranges if from_ and to and name in indexed)


_READ = (
    "patient_key", "entry_uuid", "unique_id", "logical_id", "version", "status", "object_type", "format_code", "hash",
    "size", "repository_unique_id", "type", "source", "target",
)  # fmt: skip
"""What is read of an object's row, beside whether it is the latest version, and its ebXML."""


def _selected(table: sa.Table, *, whole: bool) -> sa.Select[Any]:
    columns: list[Any] = [table.c[name] for name in _READ if name in table.c]
    if "latest" in table.c:
        columns.append(sa.type_coerce(table.c.latest, sa.Integer).label("latest"))  # as it is: no row is gone through
    return sa.select(*columns, table.c.ebxml if whole else sa.null().label("ebxml"))


def _seen(table: sa.Table, shape: Shape, of: Of) -> list[sa.ColumnElement[bool]]:
    if table is association:
        return []
    if table is document_entry:
        return visibility.conditions(shape, of)
    return visibility.package_conditions(table, shape, of)


@lru_cache(SHAPES)
def _at(kind: Kind, whole: bool, of: str, shape: Shape) -> Statement:
    table, whose = TABLES[kind], _OF[of]
    mine = (whose(table.c.patient_key), among(table.c.entry_uuid, "uuids"))
    return Statement(_selected(table, whole=whole).where(*mine, *_seen(table, shape, whose)))


def at(
    connection: sa.Connection, kind: Kind, keys: Sequence[int], uuids: Sequence[str], seen: Visible = EVERYTHING,
    *, whole: bool = True,
) -> list[Any]:  # fmt: skip
    """The rows of these objects of a kind, of patients by their keys, that may be seen."""
    shape, values = visibility.taken_apart(seen)
    statement = _kept(_at, sum(map(len, shape)))(kind, whole, _whose(keys), shape)
    found: list[Any] = statement.rows(connection, uuids=list(uuids), **of_whom("", keys), **values)
    return found


@lru_cache(SHAPES)
def touching(whole: bool) -> tuple[Statement, Statement]:
    """Associations of patients by ``keys`` whose source, and whose target, is one of ``uuids``."""
    by_end = (
        _selected(association, whole=whole).where(of_several(association.c.patient_key), among(end, "uuids"))
        for end in (association.c.source, association.c.target)
    )
    source, target = map(Statement, by_end)
    return source, target
