"""Indexes of tables that are large already: made while others go on writing, a partition at a time (PostgreSQL).

A migration makes the index of the partitioned table alone, which takes no time and serves nobody yet; it serves when
every partition has its own.  What was interrupted is made anew.
"""

from __future__ import annotations

import logging
import time

import sqlalchemy as sa

log = logging.getLogger("xds.store.indexes")

SMALL = 10_000
"""Rows up to which an index is made at once, with its table locked: that takes no time either."""

_GUARD = sa.text("SELECT pg_try_advisory_xact_lock(7802)")
"""Tried, and not waited for: who makes an index waits for every statement that runs, and so for one that waits."""

AGAIN_SECONDS = 0.5

_UNFINISHED = sa.text("""
SELECT parent.relname AS name, pg_get_indexdef(parent.oid) AS definition, owner.relname AS owner
FROM pg_index i
JOIN pg_class parent ON parent.oid = i.indexrelid
JOIN pg_class owner ON owner.oid = i.indrelid
WHERE parent.relkind = 'I' AND NOT i.indisvalid AND parent.relnamespace = current_schema()::regnamespace
ORDER BY 1
""")
_PARTITIONS = sa.text("""
SELECT part.relname FROM pg_inherits h JOIN pg_class part ON part.oid = h.inhrelid
WHERE h.inhparent = to_regclass(:owner)
AND NOT EXISTS (
  SELECT 1 FROM pg_index mine JOIN pg_inherits up ON up.inhrelid = mine.indexrelid
  WHERE mine.indrelid = part.oid AND up.inhparent = to_regclass(:name)
)
ORDER BY 1
""")
_BROKEN = sa.text("""
SELECT 1 FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relname = :name AND c.relnamespace = current_schema()::regnamespace AND NOT i.indisvalid
""")
_THERE = sa.text("SELECT to_regclass(:name) IS NOT NULL")


def is_large(connection: sa.Connection, table: str) -> bool:
    """Whether an index of the table is better made while others write."""
    if connection.dialect.name == "sqlite":
        return False
    some = sa.select(sa.literal(1)).select_from(sa.table(table)).offset(SMALL).limit(1)
    return connection.scalar(some) is not None


def unfinished(connection: sa.Connection) -> list[str]:
    """The indexes that serve nobody yet."""
    return [] if connection.dialect.name == "sqlite" else [row.name for row in connection.execute(_UNFINISHED)]


def build(engine: sa.Engine) -> int:
    """Make what migrations have left to be made; return how many indexes of partitions that were.

    Nobody waits for it: a node that starts does it before it serves, and those that run go on.
    """
    if engine.dialect.name == "sqlite":
        return 0
    with engine.connect() as connection:
        if not unfinished(connection):
            return 0
    made = 0
    with engine.connect() as guard:
        while not guard.scalar(_GUARD):  # another node that starts makes them
            guard.rollback()
            time.sleep(AGAIN_SECONDS)
        with engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            for name, definition, owner in alone.execute(_UNFINISHED).all():
                columns = definition.partition(" USING ")[2]
                for partition in alone.scalars(_PARTITIONS, {"owner": owner, "name": name}).all():
                    _of_partition(alone, name, partition, columns)
                    made += 1
                log.info("index.made", extra={"index": name})
    return made


def _of_partition(connection: sa.Connection, name: str, partition: str, columns: str) -> None:
    own = f"{name}_{partition.rpartition('_')[2]}"
    if connection.scalar(_BROKEN, {"name": own}):
        connection.exec_driver_sql(f'DROP INDEX CONCURRENTLY "{own}"')
    if not connection.scalar(_THERE, {"name": own}):
        connection.exec_driver_sql(f'CREATE INDEX CONCURRENTLY "{own}" ON "{partition}" USING {columns}')
    connection.exec_driver_sql(f'ALTER INDEX "{name}" ATTACH PARTITION "{own}"')
