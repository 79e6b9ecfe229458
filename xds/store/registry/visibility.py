"""A filter of documents (``metadata/visible.py``) in SQL, so that counts and limits are of what passes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa

from xds.metadata.visible import MULTIPLE, SINGLE, Part, Those, Visible
from xds.metadata.vocabulary import AssociationType
from xds.store.tables import association, document_entry, document_entry_value, folder, submission_set

Keys: TypeAlias = Sequence[int] | sa.Select[Any] | sa.BindParameter[Any]
"""Patients' keys, or a statement or parameter that gives them."""

_REQUIRED = frozenset(("confidentialityCode",))
"""What every entry has a value of (ITI TF-3: Table 4.2.3.2-1)."""

BOUND = "seen_keys"
_BOUND: sa.BindParameter[Any] = sa.bindparam(BOUND, expanding=True)

_entry, _value = document_entry.c, document_entry_value.c


def conditions(visible: Visible, keys: Keys) -> list[sa.ColumnElement[bool]]:
    """What a row of ``document_entry``, of these patients, meets when it passes; one condition a part."""
    return [_part(part, keys) for part in visible.parts]


@lru_cache(2000)
def bound(visible: Visible) -> tuple[sa.ColumnElement[bool], ...]:
    """The same of patients whose keys are given as the parameter ``seen_keys``; built once, for many queries."""
    return tuple(conditions(visible, _BOUND))


def package_conditions(table: sa.Table, visible: Visible, keys: Keys) -> list[sa.ColumnElement[bool]]:
    """What a row of ``submission_set`` or ``folder`` meets when it may be seen.

    It holds no documents, or one that passes: a package of what is withheld would tell of it.
    """
    if visible.everything:
        return []
    row = association.c
    member = (of(row.patient_key, keys), row.type == AssociationType.HAS_MEMBER)
    mine = of(_entry.patient_key, keys)
    held = sa.select(row.source).where(*member, row.target.in_(sa.select(_entry.entry_uuid).where(mine)))
    seen = sa.select(_entry.entry_uuid).where(mine, *conditions(visible, keys))
    showing = sa.select(row.source).where(*member, row.target.in_(seen))
    column = table.c.entry_uuid
    empty = sa.false() if visible.nothing else column.not_in(held)
    return [sa.or_(empty, column.in_(showing))]


def own_sets(visible: Visible) -> sa.ColumnElement[bool]:
    """What a row of ``submission_set`` meets when it may be changed: it is told by its sourceId."""
    return sa.and_(sa.true(), *(_own_part(part) for part in visible.parts))


def _own_part(part: Part) -> sa.ColumnElement[bool]:
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


def _part(part: Part, keys: Keys) -> sa.ColumnElement[bool]:
    """The clauses from the last to the first: each decides what fits it, and leaves the rest to those after it."""
    found: sa.ColumnElement[bool] = sa.false()
    for clause in reversed(part):
        those = _those(clause.those, keys)
        found = sa.or_(those, found) if clause.permit else sa.and_(sa.not_(those), found)
    return found


def _those(those: Those, keys: Keys) -> sa.ColumnElement[bool]:
    met: list[sa.ColumnElement[bool]] = [_entry[_known(a, SINGLE)].in_(sorted(w)) for a, w in those.single]
    met += [_has(keys, attribute, _value.value.in_(sorted(wanted))) for attribute, wanted in those.any_of]
    met += [met_ for only in those.only for met_ in _only(keys, only)]
    if those.folders:
        met.append(_held(keys, those.folders))
    if those.patients:
        met.append(_entry.patient_key.in_(sorted(those.patients)))
    return sa.and_(sa.true(), *met)


def _only(keys: Keys, only: tuple[str, frozenset[str]]) -> Sequence[sa.ColumnElement[bool]]:
    attribute, wanted = only
    other = sa.not_(_has(keys, attribute, _value.value.not_in(sorted(wanted))))
    return (other,) if attribute in _REQUIRED else (other, _has(keys, attribute, sa.true()))


def _has(keys: Keys, attribute: str, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return having(document_entry, document_entry_value, keys, _known(attribute, MULTIPLE), condition)


def having(
    table: sa.Table, values: sa.Table, keys: Keys, attribute: str, condition: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """What a row meets whose object has, in the table of values, one of an attribute that meets a condition."""
    # By what has the value, not whether each object has it: SQLite would look at all values again for every object.
    of_it = (of(values.c.patient_key, keys), values.c.attribute == attribute, condition)
    return table.c.entry_uuid.in_(sa.select(values.c.entry_uuid).where(*of_it))


def _held(keys: Keys, unique_ids: Collection[str]) -> sa.ColumnElement[bool]:
    row = association.c
    folders = sa.select(folder.c.entry_uuid).where(
        of(folder.c.patient_key, keys), folder.c.unique_id.in_(sorted(unique_ids))
    )
    member = (of(row.patient_key, keys), row.type == AssociationType.HAS_MEMBER, row.status == "Approved")
    return _entry.entry_uuid.in_(sa.select(row.target).where(*member, row.source.in_(folders)))


def _known(attribute: str, among: Sequence[str]) -> str:
    assert attribute in among, attribute  # noqa: S101  a fault of ours, found by any test
    return attribute


def of(column: Any, keys: Keys) -> sa.ColumnElement[bool]:
    """Of these patients.  One key, nearly always: an equality says so to the planner."""
    found: sa.ColumnElement[bool] = (
        column == keys[0] if isinstance(keys, Sequence) and len(keys) == 1 else column.in_(keys)
    )
    return found
