"""Tables put on several machines by Citus, as ``tables.placing`` says: ``xds db distribute``.

Citus could not be run where this was written.  Its functions are called as its documentation and its source say; the
tests call others that stand in for them, and that refuse what Citus would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from xds.errors import Unusable
from xds.store import indexes
from xds.store.deployment import NODE_SECONDS, VERSION, nodes_run, version
from xds.store.tables.placing import PLACING, Kind, Placing

SHARDS = 32
"""Parts of each table that is distributed, which machines share among them: as many as Citus makes by itself."""

_EXTENSION = sa.text("SELECT extversion FROM pg_extension WHERE extname = 'citus'")
_GROUP = sa.text("SELECT groupid FROM pg_dist_local_group")
_NODES = sa.text("SELECT count(*) FROM citus_get_active_worker_nodes()")
_PLACED = sa.text("""
SELECT c.relname AS name, p.partmethod::text AS method, p.repmodel::text AS model, p.colocationid AS together,
  CASE WHEN p.partmethod = 'h' THEN column_to_column_name(p.logicalrelid, p.partkey) END AS column
FROM pg_dist_partition p JOIN pg_class c ON c.oid = p.logicalrelid
WHERE c.relnamespace = current_schema()::regnamespace
""")
# What Citus distributes is a table, or one with partitions that are tables themselves, however they are told apart.
_SHAPES = sa.text("""
SELECT c.relname AS name, c.relkind::text AS kind, part.relname AS part, part.relkind::text AS part_kind
FROM pg_class c
LEFT JOIN pg_inherits h ON h.inhparent = c.oid
LEFT JOIN pg_class part ON part.oid = h.inhrelid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY (CAST(:names AS text[]))
AND c.relkind IN ('r', 'p', 'f')
ORDER BY 1, 3
""")
_TRIGGERS = sa.text("""
SELECT c.relname AS name, t.tgname AS trigger FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
AND c.relname = ANY (CAST(:names AS text[]))
ORDER BY 1, 2
""")
_DISTRIBUTE = sa.text("""
SELECT create_distributed_table(
  CAST(:name AS regclass), :column, colocate_with => :together, shard_count => CAST(:shards AS int)
)
""")
_COPY = sa.text("SELECT create_reference_table(CAST(:name AS regclass))")
# Rows that were there before stay where they were, too, unseen, until this is said.
_LEAVE = sa.text("SELECT truncate_local_data_after_distributing_table(CAST(:name AS regclass))")

Tell = Callable[["Step"], None]
"""Told of each step when it is done."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a table: ``together`` names the one whose parts its own lie beside, if any does."""

    name: str
    placing: Placing
    shards: int = 0
    together: str = ""
    done: bool = False  # before this

    def __str__(self) -> str:
        if self.placing.kind is Kind.LOCAL:
            return f"{self.name}: on the coordinator, since {self.placing.why}"
        by = f"distributed by {self.placing.column}" if self.placing.is_distributed else "copied to every node"
        if self.done:
            return f"{self.name}: {by}, before this"
        if self.together:
            return f"{self.name}: {by}, beside {self.together}"
        return f"{self.name}: {by}, in {self.shards} parts" if self.shards else f"{self.name}: {by}"


class Distributing:
    """The tables of one database, on Citus' coordinator."""

    def __init__(
        self, connection: sa.Connection, shards: int = SHARDS, placing: Mapping[sa.Table, Placing] = PLACING,
        *, even_so: bool = False,
    ) -> None:  # fmt: skip
        """See what there is to be done; nothing is changed.

        ``even_so``: although nodes run; they wait for each table, and then go on.

        Raises:
            Unusable: it cannot be done here, and what is to be done first.
        """
        self._placing = {table.name: where for table, where in placing.items()}
        _see_that_it_is_citus(connection)
        _see_that_it_is_ready(connection, even_so=even_so)
        self.steps = self._planned(connection, shards)
        to_do = [step.name for step in self.steps if step.placing.kind is not Kind.LOCAL and not step.done]
        _see_that_citus_takes(connection, to_do)

    def _planned(self, connection: sa.Connection, shards: int) -> Sequence[Step]:
        found = {row.name: row for row in connection.execute(_PLACED)}
        beside = next((name for name, where in self._placing.items() if name in found and _of_patient(where)), "")
        steps = []
        for name, where in self._placing.items():
            row = found.get(name)
            if row is not None:
                _see_that_it_is_so(name, where, row)
            together = beside if _of_patient(where) and name != beside else ""
            if row is not None and together and row.together != found[beside].together:
                raise Unusable(
                    f"{name} is distributed by {where.column} apart from {beside}: SELECT "
                    f"update_distributed_table_colocation('{name}', colocate_with => '{beside}'), then this again"
                )
            done = row is not None and where.kind is not Kind.LOCAL
            steps.append(Step(name, where, shards if where.is_distributed else 0, together, done))
            if _of_patient(where):
                beside = beside or name
        return steps

    def run(self, engine: sa.Engine, tell: Tell = lambda _: None) -> None:
        """Distribute what is not, a table a transaction: where it is broken off it may be begun again.

        Raises:
            Unusable: Citus refuses; what was done stays done.
        """
        for step in self.steps:
            if step.placing.kind is not Kind.LOCAL:
                if not step.done:
                    _said(engine, step.name, *_statement(step))
                _said(engine, step.name, _LEAVE, {"name": step.name})
            tell(step)


def _statement(step: Step) -> tuple[sa.TextClause, dict[str, Any]]:
    if step.placing.kind is Kind.REFERENCE:
        return _COPY, {"name": step.name}
    given = {"name": step.name, "column": step.placing.column, "together": step.together or "none"}
    # How many parts it has is said by the table that it lies beside.
    return _DISTRIBUTE, {**given, "shards": None if step.together else step.shards}


def _said(engine: sa.Engine, name: str, statement: sa.TextClause, given: Mapping[str, Any]) -> None:
    try:
        with engine.begin() as connection:
            connection.execute(statement, given)
    except sa.exc.DBAPIError as problem:
        why = getattr(getattr(problem.orig, "diag", None), "message_primary", None) or type(problem.orig).__name__
        raise Unusable(f"{name}: Citus refuses: {why}; mend it and run this again, it goes on from there") from None


def _of_patient(where: Placing) -> bool:
    return where.kind is Kind.BY_PATIENT


def _see_that_it_is_citus(connection: sa.Connection) -> None:
    """
    Raises:
        Unusable: it is not, or not its coordinator, or the only one of its nodes.
    """
    if connection.dialect.name == "sqlite":
        raise Unusable("the database is SQLite, which is on one machine: set server.database to PostgreSQL with Citus")
    if connection.scalar(_EXTENSION) is None:
        raise Unusable(
            "the database has no extension citus: on every node install Citus, name it first in "
            "shared_preload_libraries, restart, and say CREATE EXTENSION citus in this database"
        )
    if connection.scalar(_GROUP) != 0:
        raise Unusable("server.database is a worker of Citus: set it to the coordinator")
    if not connection.scalar(_NODES):
        raise Unusable("Citus has no worker yet: SELECT citus_add_node('HOST', 5432) for each, then this again")


def _see_that_it_is_ready(connection: sa.Connection, *, even_so: bool) -> None:
    """
    Raises:
        Unusable: the tables are not of this version, or not finished, or nodes run.
    """
    found = version(connection)
    if found != VERSION:
        raise Unusable(f"the tables are of version {found or 'none'}, not {VERSION}: xds db upgrade, then this again")
    if waiting := indexes.unfinished(connection):
        raise Unusable(f"indexes are still to be made ({', '.join(waiting)}): xds db upgrade, then this again")
    if nodes_run(connection) and not even_so:
        raise Unusable(
            f"nodes run, or were killed within the last {NODE_SECONDS} s, and would wait for each table; stop them, or "
            "say --even-so"
        )


def _see_that_citus_takes(connection: sa.Connection, names: Sequence[str]) -> None:
    """
    Raises:
        Unusable: a table is not there, or is what Citus does not distribute.
    """
    found = connection.execute(_SHAPES, {"names": list(names)}).all()
    missing = {*names} - {row.name for row in found}
    if missing:
        raise Unusable(f"{min(missing)} is not there: it was taken away by hand; restore from a backup")
    for row in found:
        if row.kind == "f" or row.part_kind == "f":
            raise Unusable(
                f"{row.part or row.name} is a foreign table, which Citus does not distribute: bring its rows back into "
                "a table of this database first"
            )
        if row.part_kind == "p":
            raise Unusable(f"{row.part}, a partition of {row.name}, has partitions itself, which Citus does not take")
        if row.kind == "p" and row.part is None:
            raise Unusable(f"{row.name} has no partitions: attach them again, or restore from a backup")
    for row in connection.execute(_TRIGGERS, {"names": list(names)}):
        raise Unusable(f"{row.name} has the trigger {row.trigger}, which Citus does not take: drop it first")


def _see_that_it_is_so(name: str, where: Placing, row: Any) -> None:
    """
    Raises:
        Unusable: Citus has the table otherwise.
    """
    is_so = {
        Kind.LOCAL: row.method == "n" and row.model != "t",  # Citus may know of a local table
        Kind.REFERENCE: row.method == "n" and row.model == "t",
    }.get(where.kind, row.method == "h" and row.column == where.column)
    if not is_so:
        how = f"distributed by {row.column}" if row.method == "h" else "distributed in another way"
        raise Unusable(f"{name} is {how} already: SELECT undistribute_table('{name}'), then this again")
