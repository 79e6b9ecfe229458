"""Indexes of large tables come to be while others write."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.bench import loading
from tests.bench.documents import of_a_province
from tests.store.databases import at_once
from tests.store.test_migrations import stepped
from xds.store import indexes, tables
from xds.store.deployment import migrate

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""SQLite has one writer: it makes an index at once."""

NAME = "document_entry_by_creation"


@pytest.fixture
def large(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """One of the version before, whose table is large, migrated."""
    monkeypatch.setattr(indexes, "SMALL", 10)
    with engine.begin() as connection:
        stepped(connection, "0007", down=True)
    loading.load(engine.url.render_as_string(hide_password=False), of_a_province(0, 60, first_patient=0))
    with engine.begin() as connection:
        migrate(connection)
    return engine


def serves(engine: sa.Engine) -> bool:
    """Whether every partition has its part of the index, and so all of it is of use."""
    valid = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    with engine.connect() as connection:
        return bool(connection.scalar(valid, {"name": NAME}))


def test_a_large_table_s_index_is_made_a_partition_at_a_time(large: sa.Engine) -> None:
    assert not serves(large)
    assert indexes.build(large) == 2 * tables.PARTITIONS
    assert serves(large)
    assert indexes.build(large) == 0
    with large.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: kind != "table" or name in tables.metadata.tables}
        )
        assert compare_metadata(context, tables.metadata) == []


def test_a_small_table_s_index_is_there_at_once(engine: sa.Engine) -> None:
    assert serves(engine)
    assert indexes.build(engine) == 0


def test_others_write_while_an_index_is_made(large: sa.Engine) -> None:
    """Who has begun to write holds the table as a writer does, and an index of the usual kind would wait for it."""
    with large.begin() as writing:
        writing.execute(sa.text("UPDATE document_entry SET status = status"))
        building = threading.Thread(target=indexes.build, args=(large,))
        building.start()
        with large.begin() as another:
            another.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
            another.execute(sa.text("INSERT INTO document_entry_value VALUES (1, 'a', 'b', 'c')"))
            another.execute(sa.text("LOCK TABLE document_entry IN ROW EXCLUSIVE MODE"))
    building.join()
    assert serves(large)


def test_two_nodes_that_start_at_once_make_an_index_between_them(large: sa.Engine) -> None:
    made = at_once([lambda: indexes.build(large)] * 2, threads=2)
    assert sorted(made) == [0, 2 * tables.PARTITIONS]  # type: ignore[type-var]
    assert serves(large)


def test_an_index_that_was_interrupted_is_made_anew(large: sa.Engine) -> None:
    partition = f"{NAME}_0"
    with large.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        (first,) = alone.scalars(sa.text("SELECT min(relname) FROM pg_class WHERE relname ~ '^document_entry_p?0+$'"))
        alone.exec_driver_sql(f'CREATE INDEX "{partition}" ON "{first}" (patient_key)')
        alone.exec_driver_sql(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{partition}'::regclass")  # noqa: S608  our own name
    indexes.build(large)
    assert serves(large)
