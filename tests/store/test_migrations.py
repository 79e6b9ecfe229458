"""The tables that migrations make are those that the code uses."""

from __future__ import annotations

from pathlib import Path

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.builders import a_submission
from tests.queries.desks import questions
from xds.errors import Unusable
from xds.store import accounts, deployment, tables
from xds.store.accounts import Account
from xds.store.audit import records
from xds.store.deployment import migrate


def test_migrated_tables_are_those_of_the_code(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: kind != "table" or name in tables.metadata.tables}
        )
        assert compare_metadata(context, tables.metadata) == []


def test_accounts_of_before_are_there_after_and_have_no_second_factor(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        stepped(connection, "0002", down=True)
        connection.execute(sa.text("INSERT INTO account VALUES ('anna', 'auditor', 'x', 3, 1, 2)"))
        assert connection.scalar(sa.text("SELECT failed FROM account")) == 3
        migrate(connection)
        (found,) = accounts.all_of(connection)
    assert found == Account("anna", "auditor", "x")


def stepped(connection: sa.Connection, version: str, *, down: bool = False) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(deployment.__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    (alembic.command.downgrade if down else alembic.command.upgrade)(config, version)


def test_tables_go_back_to_the_version_before_and_forward_again(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        deployment.go_back(connection, "0007")
        assert deployment.version(connection) == "0007"
        assert not sa.inspect(connection).has_table("acknowledged")
        migrate(connection)
        assert deployment.version(connection) == deployment.VERSION


@pytest.mark.parametrize("to", ["0006", "0001", "base", "", "9999", "+1", deployment.VERSION + "0"])
def test_tables_do_not_go_back_further_nor_elsewhere(engine: sa.Engine, to: str) -> None:
    with engine.begin() as connection:
        with pytest.raises(Unusable, match="as far as 0007"):
            deployment.go_back(connection, to)
        assert deployment.version(connection) == deployment.VERSION


def test_tables_are_not_taken_back_from_under_a_node_that_runs_unless_told_to(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        records.here(connection, "a-host")
        with pytest.raises(Unusable, match="nodes of this version run"):
            deployment.go_back(connection, "0007")
        records.not_here(connection, "a-host")
        deployment.go_back(connection, "0007")
        migrate(connection)
        records.here(connection, "a-host")
        deployment.go_back(connection, "0007", even_so=True)


def test_tables_of_another_version_are_not_taken_back(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(Unusable, match="of version 9999"):
            deployment.go_back(connection, "0007")


def test_a_database_that_is_up_to_date_is_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        migrate(connection)


def test_a_database_of_a_later_version_is_refused(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(Unusable, match="later version"):
            migrate(connection)


def test_every_table_of_a_patient_has_the_patient_key_first_and_is_partitioned_by_it(engine: sa.Engine) -> None:
    ours = [t for t in tables.metadata.tables.values() if t.dialect_options["postgresql"]["partition_by"]]
    assert {t.name for t in ours} == {
        "document_entry",
        "document_entry_value",
        "package_value",
        "submission_set",
        "folder",
        "association",
        "directive",
        "demographics",
        "patient_word",
    }
    assert all(next(iter(t.primary_key.columns)).name == "patient_key" for t in ours)
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            count = connection.scalar(sa.text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'folder'::regclass"))
        assert count == tables.PARTITIONS


def test_what_was_registered_before_says_whose_it_is_afterwards(tmp_path: Path) -> None:
    """As entries that are registered now: by the sourceId of their set, and their authors' institutions."""
    with questions(tmp_path) as desk:
        desk.register(a_submission())
        with desk.engine.begin() as connection:
            rows = sa.select(tables.document_entry_value).where(
                tables.document_entry_value.c.attribute.in_(("sourceId", "authorInstitution"))
            )
            before = connection.execute(rows).all()
            stepped(connection, "0003", down=True)
            assert connection.execute(rows).all() == []
            migrate(connection)
            assert {tuple(row) for row in connection.execute(rows)} == {tuple(row) for row in before} != set()
