"""Functions that stand in for those of Citus, which is not to be had here: they note that they were called, and refuse
what Citus refuses, by its documentation and its source.  No table is moved anywhere.
"""

from __future__ import annotations

import sqlalchemy as sa

EXTENSION = """
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
SELECT 990001, 'citus', oid, 'public'::regnamespace, false, '13.0-1' FROM pg_roles WHERE rolname = current_user
"""

_FUNCTIONS = """
CREATE SCHEMA citus;
CREATE TYPE citus.distribution_type AS ENUM ('hash', 'range', 'append');
CREATE TABLE public.pg_dist_partition (
  logicalrelid regclass PRIMARY KEY, partmethod "char", partkey text, colocationid int, repmodel "char"
);
CREATE TABLE public.pg_dist_local_group (groupid int);
INSERT INTO public.pg_dist_local_group VALUES (0);
CREATE TABLE public.stood_in (nth serial, call text);
CREATE TABLE public.stood_in_nodes (node_name text, node_port bigint);
INSERT INTO public.stood_in_nodes VALUES ('worker-1', 5432), ('worker-2', 5432);

CREATE FUNCTION public.citus_get_active_worker_nodes() RETURNS SETOF public.stood_in_nodes
LANGUAGE sql AS 'SELECT * FROM public.stood_in_nodes';

CREATE FUNCTION public.column_to_column_name(table_name regclass, column_var_text text) RETURNS text
LANGUAGE sql AS 'SELECT column_var_text';

CREATE FUNCTION public.stood_in_may_be(table_name regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM public.pg_dist_partition WHERE logicalrelid = table_name) THEN
    RAISE EXCEPTION 'table "%" is already distributed', table_name;
  ELSIF EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = table_name AND NOT tgisinternal) THEN
    RAISE EXCEPTION 'cannot distribute relation "%" because it has triggers', table_name;
  END IF;
END $$;

CREATE FUNCTION public.create_distributed_table(
  table_name regclass, distribution_column text, distribution_type citus.distribution_type DEFAULT 'hash',
  colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  attribute smallint;
  beside int;
BEGIN
  PERFORM public.stood_in_may_be(table_name);
  SELECT attnum INTO STRICT attribute FROM pg_attribute WHERE attrelid = table_name AND attname = distribution_column;
  IF shard_count IS NOT NULL AND colocate_with NOT IN ('none', 'default') THEN
    RAISE EXCEPTION 'Cannot use colocate_with with a table and shard_count at the same time';
  ELSIF EXISTS (
    SELECT 1 FROM pg_index WHERE indrelid = table_name AND indisunique AND NOT attribute = ANY (indkey::smallint[])
  ) THEN
    RAISE EXCEPTION 'cannot create constraint on "%"', table_name;
  ELSIF EXISTS (
    SELECT 1 FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
    WHERE inhparent = table_name AND part.relkind <> 'r'
  ) THEN
    RAISE EXCEPTION 'distributing multi-level partitioned tables is not supported';
  END IF;
  IF colocate_with IN ('none', 'default') THEN
    SELECT coalesce(max(colocationid), 0) + 1 INTO beside FROM public.pg_dist_partition;
  ELSE
    SELECT colocationid INTO STRICT beside FROM public.pg_dist_partition WHERE logicalrelid = colocate_with::regclass;
  END IF;
  INSERT INTO public.pg_dist_partition
  SELECT one, 'h', distribution_column, beside, 's' FROM (
    SELECT table_name AS one UNION ALL SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = table_name
  ) AS it;
  INSERT INTO public.stood_in (call)
  VALUES (format('distribute %s by %s beside %s in %s', table_name, distribution_column, colocate_with, shard_count));
END $$;

CREATE FUNCTION public.create_reference_table(table_name regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM public.stood_in_may_be(table_name);
  IF EXISTS (SELECT 1 FROM pg_class WHERE oid = table_name AND relkind = 'p') THEN
    RAISE EXCEPTION 'distributing partitioned tables in only supported for hash-distributed tables';
  END IF;
  INSERT INTO public.pg_dist_partition VALUES (table_name, 'n', NULL, 1000, 't');
  INSERT INTO public.stood_in (call) VALUES (format('copy %s', table_name));
END $$;

CREATE FUNCTION public.truncate_local_data_after_distributing_table(table_name regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM public.pg_dist_partition WHERE logicalrelid = table_name) THEN
    RAISE EXCEPTION 'supplied parameter is not a distributed relation';
  END IF;
  INSERT INTO public.stood_in (call) VALUES (format('leave %s', table_name));
END $$;
"""


def stand_in(connection: sa.Connection) -> None:
    """Let a database look as if Citus was in it, to whoever asks as we do; by a superuser."""
    cursor = connection.connection.cursor()  # the driver takes each % for a parameter's, where there are any
    for statement in (_FUNCTIONS, EXTENSION):
        cursor.execute(statement)


def calls(connection: sa.Connection) -> list[str]:
    """What was called, in its order."""
    return list(connection.scalars(sa.text("SELECT call FROM public.stood_in ORDER BY nth")))


if __name__ == "__main__":  # python -m tests.store.standing_in postgresql://…: to try XDS_TEST_DATABASE with it
    import sys

    from xds.store.engine import make_engine

    with make_engine(sys.argv[1]).begin() as made:
        stand_in(made)
