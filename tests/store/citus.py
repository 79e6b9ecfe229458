"""The rules of Citus, held without it: a statement is parsed (sqlglot), and told which of them it breaks.

They are those of Citus 13 and 14, by its source and its own regression tests; where it can do something only in another
way than on one machine (it then asks for a subquery first, and sends what it found on), that is allowed here.  A rule
that Citus has relaxed since, or that it has only for some statements, is held as it was, and for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from xds.store.tables.placing import PLACING, Kind, Placing

RULES = {
    "understood": "what is executed can be judged, and so it can be parsed",
    "keys stay": "no UPDATE changes the column that a table is distributed by",
    "conflict targets": "ON CONFLICT names the column that a table is distributed by, or nothing",
    "functions": "what changes a distributed table calls no function in WHERE, SET or ON CONFLICT that may vary",
    "joins": "distributed tables are joined by the columns that they are distributed by, and with no others",
    "recursion": "no recursive query reads a distributed table, unless all of it is on one machine",
    "row locks": "FOR UPDATE and FOR SHARE lock rows on one machine, and never in a table that is copied everywhere",
    "grouping": "no GROUPING SETS, CUBE or ROLLUP over several machines",
    "copies": "what is copied everywhere is not written while others write what is distributed",
    "triggers": "no trigger",
    "sessions": "nothing is left to a session: temporary tables, LISTEN, its locks and settings, prepared statements",
}
"""Each by its name, as it is named where it is broken."""

BY_NAME = {table.name: where for table, where in PLACING.items()}

NEVER_VARY = frozenset(("AND", "OR", "CAST", "CASE", "IF", "COALESCE", "LENGTH", "LOWER", "UPPER", "EXISTS", "ANY"))
"""Functions, and what sqlglot takes for some, that have one result for the same arguments for ever."""

PLAIN = re.compile(
    r"(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET LOCAL|LOCK TABLE|COMMENT|ALTER|DROP|TRUNCATE|EXPLAIN|ANALYZE|VACUUM"
    r"|SHOW|CREATE TABLE|CREATE( UNIQUE)? INDEX)\b", re.IGNORECASE
)  # fmt: skip
"""What touches no rows, or is said by an operator; Citus passes it on, or does it as PostgreSQL does."""

_OF_A_SESSION = re.compile(
    r"(LISTEN|UNLISTEN|NOTIFY|PREPARE|EXECUTE|DEALLOCATE|DECLARE|DISCARD|SET(?! LOCAL)|RESET)\b"
    r"|CREATE (GLOBAL |LOCAL )?TEMP(ORARY)? ",
    re.IGNORECASE,
)
_LOCK_OF_A_SESSION = re.compile(r"pg_(try_)?advisory_(un)?lock(_shared|_all)?", re.IGNORECASE)
_TRIGGER = re.compile(r"CREATE( OR REPLACE)?( CONSTRAINT)? TRIGGER\b", re.IGNORECASE)
_NAMED = re.compile(r"%\((\w+)\)s")
_ONE = r"(?:%\(\w+\)s|\$\d+|NULL|DEFAULT)(?:::[\w ]+(?:\[\])?)?"
_LIST = re.compile(rf"\bIN \(({_ONE})(?:, {_ONE})+\)")
_ROWS = re.compile(rf"(\({_ONE}(?:, {_ONE})*\))(?:, \({_ONE}(?:, {_ONE})*\))+")


def plain(text: str) -> str:
    """A statement as it is for a list, or rows, of any length, its parameters numbered in their order."""
    text = _ROWS.sub(r"\1", _LIST.sub(r"IN (\1)", " ".join(text.split())))
    numbers: dict[str, int] = {}
    named = _NAMED.sub(lambda match: f"${numbers.setdefault(match[1], len(numbers) + 1)}", text)
    return named.replace("%%", "%") if numbers else named


def broken_rules(text: str, placing: Mapping[str, Placing] = BY_NAME) -> dict[str, str]:
    """The rules that a statement breaks, each with how."""
    text = plain(text)
    if _TRIGGER.match(text):
        return {"triggers": "a trigger is made"}
    if _OF_A_SESSION.match(text):
        return {"sessions": "it is the session's"}
    if PLAIN.match(text):
        return {}
    try:
        trees = sqlglot.parse(text, read="postgres")
    except SqlglotError as problem:
        return {"understood": str(problem).splitlines()[0]}
    found: dict[str, str] = {}
    for tree in trees:
        if tree is not None:
            found |= dict(_Statement(tree, placing).broken())
    return found


def on_one_machine(text: str) -> bool:
    """Whether a statement reads distributed tables, and all that it reads is on the machine of one value."""
    return _on_one_machine(plain(text))


@cache
def _on_one_machine(text: str) -> bool:
    return all(_Statement(tree, BY_NAME).is_routed for tree in sqlglot.parse(text, read="postgres") if tree is not None)


@dataclass
class _Level:
    """A query, or what changes a table, without the queries inside it."""

    node: exp.Expression
    parent: _Level | None
    tables: dict[str, Placing] = field(default_factory=dict)  # of ours, by alias
    sources: set[str] = field(default_factory=set)  # all aliases
    has_queries: bool = False  # in the place of tables
    equal: list[tuple[tuple[str, str], Any]] = field(default_factory=list)  # column of alias: a value, or a column

    @property
    def distributed(self) -> dict[str, Placing]:
        return {alias: where for alias, where in self.tables.items() if where.is_distributed}

    @property
    def others(self) -> dict[str, Placing]:
        return {alias: where for alias, where in self.tables.items() if where.kind is Kind.LOCAL}

    def value(self, alias: str) -> str | None:
        """What the column is compared with by which a table is distributed, itself or by another's that equals it."""
        seen, queue = set(), [(alias, self.tables[alias].column)]
        while queue:
            column = queue.pop()
            seen.add(column)
            for one, other in self.equal:
                for mine, its in ((one, other), (other, one)):
                    if mine == column and isinstance(its, str):
                        return its
                    if mine == column and isinstance(its, tuple) and its not in seen:
                        queue.append(its)
        return None

    def is_joined(self, alias: str, others: Iterable[tuple[str, Placing]]) -> bool:
        """Whether a table's own column equals that of another one."""
        mine = (alias, self.tables[alias].column)
        wanted = {(other, where.column) for other, where in others if where == self.tables[alias]}
        return any((one == mine and other in wanted) or (other == mine and one in wanted) for one, other in self.equal)


class _Statement:
    def __init__(self, tree: exp.Expression, placing: Mapping[str, Placing]) -> None:
        self.tree, self._placing = tree, placing
        self._ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
        self.levels = list(self._found(tree))

    def _found(self, tree: exp.Expression) -> Iterator[_Level]:
        by_node: dict[int, _Level] = {}
        for node in tree.walk():
            if isinstance(node, exp.Select | exp.Update | exp.Delete | exp.Insert):
                level = by_node[id(node)] = _Level(node, by_node.get(id(_above(node))))
                yield level
            elif isinstance(node, exp.Table) and id(_above(node)) in by_node:
                level = by_node[id(_above(node))]
                alias = node.alias_or_name
                level.sources.add(alias)
                if node.name in self._placing and node.name not in self._ctes:
                    level.tables[alias] = self._placing[node.name]
            elif isinstance(node, exp.Subquery) and isinstance(node.parent, exp.From | exp.Join):
                by_node[id(_above(node))].has_queries = True
        for level in by_node.values():
            level.equal = list(_equalities(level))

    @cached_property
    def is_routed(self) -> bool:
        """Whether all that is read or changed is distributed by one column, and that one equals one value."""
        found = [(level.value(alias), where) for level in self.levels for alias, where in level.distributed.items()]
        local = any(level.others for level in self.levels)
        return bool(found) and not local and len({*found}) == 1 and found[0][0] is not None

    @property
    def has_distributed(self) -> bool:
        return any(level.distributed for level in self.levels)

    def broken(self) -> Iterator[tuple[str, str]]:
        if isinstance(self.tree, exp.Command):
            yield "understood", self.tree.sql()[:60]
            return
        if any(_LOCK_OF_A_SESSION.fullmatch(name) for name in _functions(self.tree)):
            yield "sessions", "it takes a lock for as long as the session lasts"
        for level in self.levels:
            if isinstance(level.node, exp.Insert | exp.Update | exp.Delete):
                yield from self._changes(level)
            yield from self._locks(level)
            if not self.is_routed:
                yield from self._joins(level)
        if self.has_distributed and not self.is_routed:
            if any(with_.args.get("recursive") for with_ in self.tree.find_all(exp.With)):
                yield "recursion", "WITH RECURSIVE"
            if any(self.tree.find_all(exp.GroupingSets, exp.Cube, exp.Rollup)):
                yield "grouping", "GROUPING SETS, CUBE or ROLLUP"

    def _changes(self, level: _Level) -> Iterator[tuple[str, str]]:
        table = level.node.find(exp.Table)
        where = self._placing.get(table.name) if table else None
        if where is None or table is None:
            return
        if where.kind is Kind.REFERENCE:
            yield "copies", table.name
        if not where.is_distributed:
            if not isinstance(level.node, exp.Insert) and self.has_distributed:
                yield "joins", f"{table.name}, which is not distributed, is changed by what is"
            return
        conflict = level.node.args.get("conflict")
        is_update = isinstance(level.node, exp.Update)
        set_ = level.node.expressions if is_update else conflict.expressions if conflict else []
        if any(isinstance(one, exp.EQ) and one.this.name == where.column for one in set_):
            yield "keys stay", f"{table.name}.{where.column}"
        if conflict is not None:
            keys = {key.name for key in conflict.args.get("conflict_keys") or ()}
            if conflict.args.get("constraint") or (keys and where.column not in keys):
                yield "conflict targets", f"{table.name}, not by {where.column}"
        held = (*set_, level.node.args.get("where"), conflict)
        varying = {name for part in held if part is not None for name in _functions(part)} - NEVER_VARY
        if varying:
            yield "functions", ", ".join(sorted(varying))

    def _locks(self, level: _Level) -> Iterator[tuple[str, str]]:
        if not level.node.args.get("locks"):
            return
        if any(where.kind is Kind.REFERENCE for where in level.tables.values()):
            yield "row locks", "of a table that is copied everywhere"
        if level.distributed and not self.is_routed:
            yield "row locks", f"{', '.join(level.distributed)}, not by one value"

    def _joins(self, level: _Level) -> Iterator[tuple[str, str]]:
        mine = level.distributed
        if mine and (level.others or level.has_queries):
            yield "joins", f"{', '.join(mine)} with {', '.join(level.others) or 'a query'}"
        if len(mine) > 1:
            for alias in mine:
                rest = [(other, where) for other, where in mine.items() if other != alias]
                if not level.is_joined(alias, rest):
                    yield "joins", f"{alias} with {', '.join(other for other, _ in rest)}"
        for outer in _outer(level):
            seen = {column.table for column in _columns(level)} & outer.sources - level.sources
            between = [(alias, outer.tables[alias]) for alias in seen if alias in outer.tables]
            if not between or not (mine or any(where.is_distributed for _, where in between)):
                continue
            if not mine or not all(level.is_joined(alias, between) for alias in mine):
                yield "joins", f"{', '.join(level.tables)} with {', '.join(alias for alias, _ in between)} around it"


def _above(node: exp.Expression) -> exp.Expression | None:
    """The query, or the change, that something is a part of."""
    return node.find_ancestor(exp.Select, exp.Update, exp.Delete, exp.Insert)


def _outer(level: _Level) -> Iterator[_Level]:
    while level.parent is not None:
        level = level.parent
        yield level


def _columns(level: _Level) -> Iterator[exp.Column]:
    """What a query names itself, not what queries inside it do."""
    return (column for column in level.node.find_all(exp.Column) if _above(column) is level.node)


def _equalities(level: _Level) -> Iterator[tuple[tuple[str, str], Any]]:
    """What must be equal for a row to be found: columns, each of an alias, with values or with one another."""
    args = level.node.args
    conditions = [args["where"].this] if args.get("where") else []
    joins = [join for join in level.node.find_all(exp.Join) if _above(join) is level.node]
    conditions += [join.args["on"] for join in joins if join.args.get("on") is not None and not join.side]
    for condition in conditions:
        for one in condition.flatten() if isinstance(condition, exp.And) else [condition]:
            one = one.unnest()
            if isinstance(one, exp.EQ):
                left, right = (_side(level, side) for side in (one.left, one.right))
                if isinstance(left, tuple) and right is not None:
                    yield left, right
                elif isinstance(right, tuple) and left is not None:
                    yield right, left


def _side(level: _Level, side: exp.Expression) -> tuple[str, str] | str | None:
    """A column of an alias; a value, as it is written; none where it is something else."""
    while isinstance(side, exp.Cast | exp.Paren):
        side = side.this
    if isinstance(side, exp.Column):
        alone = next(iter(level.tables), "") if len(level.sources) == 1 else ""
        return side.table or alone, side.name
    return side.sql() if isinstance(side, exp.Parameter | exp.Placeholder | exp.Literal) else None


def _functions(part: exp.Expression) -> Iterator[str]:
    for one in part.find_all(exp.Func):
        yield one.name if isinstance(one, exp.Anonymous) else one.sql_name()
