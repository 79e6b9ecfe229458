"""``xds db distribute``: which of Citus' functions it calls, and what it refuses before it calls any.

Citus itself is not here: others stand in for its functions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli.command import Done, xds
from tests.postgres import SUPERUSER, Databases, Schemas
from tests.store.standing_in import calls, stand_in
from tests.store.test_migrations import stepped
from xds.errors import Unusable
from xds.store.deployment import VERSION
from xds.store.distributing import Distributing
from xds.store.engine import make_engine
from xds.store.tables import document_entry, metadata, peer
from xds.store.tables.placing import PLACING, Kind, Placing

pytestmark = pytest.mark.postgres

OF_PATIENTS = [table.name for table, where in PLACING.items() if where.kind is Kind.BY_PATIENT]
WHOLE = [
    *(f"distribute {name} by patient_key beside {'document_entry' if n else 'none'} in {'' if n else '32'}"
      for n, name in enumerate(OF_PATIENTS)),
    "distribute locator by id beside none in 32",
    "distribute foreign_association by target beside none in 32",
    "distribute document by document_unique_id beside none in 32",
]  # fmt: skip


@pytest.fixture
def citus(postgres_databases: Databases) -> Iterator[sa.Engine]:
    """A database with our tables, and functions that stand in for Citus'; nobody else gets it afterwards."""
    if isinstance(postgres_databases, Schemas):
        pytest.skip("XDS_TEST_DATABASE has Citus itself, or what stands in for it, for all of these tests")
    if not postgres_databases.can(SUPERUSER):
        pytest.skip("the user of XDS_TEST_DATABASE is no superuser, who lets a database look as if Citus was in it")
    engine = make_engine(postgres_databases.take())
    with engine.begin() as connection:
        stand_in(connection)
    yield engine
    engine.dispose()


def distribute(engine: sa.Engine, *arguments: str, folder: Path) -> Done:
    config = folder / "xds.toml"
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    config.write_text(f'[server]\ndata = "{folder / "data"}"\ndatabase = "{url}"\n')
    return xds("db", "distribute", "--config", config, *arguments)


def called(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return calls(connection)


def change(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_patients_tables_lie_beside_each_other_what_is_found_by_an_id_by_that(citus: sa.Engine, tmp_path: Path) -> None:
    done = distribute(citus, folder=tmp_path)
    assert (done.code, done.err) == (0, "")
    names = [call.split()[1] for call in WHOLE]
    # What was there before is left of each, once it is distributed.
    assert called(citus) == [one for call, name in zip(WHOLE, names, strict=True) for one in (call, f"leave {name}")]
    lines = done.out.splitlines()
    assert len(lines) == len(metadata.tables)
    assert "document_entry: distributed by patient_key, in 32 parts" in lines
    assert "folder: distributed by patient_key, beside document_entry" in lines
    assert "audit_head: on the coordinator, since the audit log has one order, kept by the lock of one row" in lines


def test_what_is_done_is_not_done_again(citus: sa.Engine, tmp_path: Path) -> None:
    distribute(citus, folder=tmp_path)
    before = called(citus)
    change(
        citus,
        "CREATE FUNCTION its() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER its AFTER TRUNCATE ON locator EXECUTE FUNCTION its()",
    )  # fmt: skip  Citus puts one there
    done = distribute(citus, folder=tmp_path)
    assert done.code == 0
    assert "locator: distributed by id, before this" in done.out.splitlines()
    assert {call.split()[0] for call in called(citus)[len(before) :]} == {"leave"}


def test_what_was_broken_off_goes_on_from_there(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
           "IF NEW.call LIKE 'distribute folder%%' THEN RAISE EXCEPTION 'worker-1 is gone'; END IF; RETURN NEW; END $$",
           "CREATE TRIGGER stop BEFORE INSERT ON stood_in FOR EACH ROW EXECUTE FUNCTION stop()")  # fmt: skip
    done = distribute(citus, folder=tmp_path)
    assert done.code == 1
    assert "folder: Citus refuses: worker-1 is gone; mend it and run this again, it goes on from there" in done.err
    before = called(citus)
    assert before[-1] == "leave submission_set"
    change(citus, "DROP TRIGGER stop ON stood_in")
    assert distribute(citus, folder=tmp_path).code == 0
    distributed = [call for call in called(citus) if call.startswith("distribute")]
    assert distributed == WHOLE


def test_what_would_be_done_is_said_and_not_done(citus: sa.Engine, tmp_path: Path) -> None:
    dry = distribute(citus, "--dry-run", "--shards", "8", folder=tmp_path)
    assert dry.code == 0
    assert "document: distributed by document_unique_id, in 8 parts" in dry.out.splitlines()
    steps = distribute(citus, "--dry-run", "--json", folder=tmp_path).json
    assert {step["table"] for step in steps} == metadata.tables.keys()
    assert {"table": "folder", "place": "by patient", "column": "patient_key", "beside": "document_entry", "why": "",
            "done_before": False} in steps  # fmt: skip
    assert called(citus) == []


def test_what_is_copied_everywhere_is(citus: sa.Engine) -> None:
    """No table is, so far."""
    placing = {peer: Placing(Kind.REFERENCE)}
    with citus.connect() as connection:
        Distributing(connection, placing=placing).run(citus)
    with citus.connect() as connection:
        assert [step.done for step in Distributing(connection, placing=placing).steps] == [True]
    assert called(citus) == ["copy peer", "leave peer"]


def test_parts_of_a_table_are_a_number_that_makes_sense(citus: sa.Engine, tmp_path: Path) -> None:
    for wrong in ("0", "-1", "1025", "many"):
        assert distribute(citus, "--shards", wrong, folder=tmp_path).code == 2
    assert called(citus) == []


def unlike(engine: sa.Engine, folder: Path, said: str) -> None:
    """It is refused, in a line that says what to do, and nothing was called."""
    done = distribute(engine, folder=folder)
    assert done.code == 1
    assert said in done.err
    assert done.err.count("\n") == 1
    assert [call for call in called(engine) if not call.startswith("before")] == []


def test_without_the_extension_nothing_is_done(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "DELETE FROM pg_extension WHERE extname = 'citus'")
    unlike(citus, tmp_path, "CREATE EXTENSION citus in this database")


def test_at_a_worker_nothing_is_done(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "UPDATE pg_dist_local_group SET groupid = 3")
    unlike(citus, tmp_path, "server.database is a worker of Citus: set it to the coordinator")


def test_without_workers_nothing_is_done(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "DELETE FROM stood_in_nodes")
    unlike(citus, tmp_path, "SELECT citus_add_node('HOST', 5432)")


def test_tables_of_another_version_are_left_alone(citus: sa.Engine, tmp_path: Path) -> None:
    with citus.begin() as connection:
        stepped(connection, "0008", down=True)
    unlike(citus, tmp_path, f"the tables are of version 0008, not {VERSION}: xds db upgrade")


def test_indexes_that_are_not_finished_are_finished_first(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'document_entry_by_creation'::regclass")
    unlike(citus, tmp_path, "indexes are still to be made (document_entry_by_creation): xds db upgrade")


def test_nodes_are_stopped_first_unless_they_may_wait(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, f"INSERT INTO audit_node VALUES ('elsewhere', {time.time_ns() // 1000})")  # noqa: S608
    assert distribute(citus, "--dry-run", folder=tmp_path).code == 0
    unlike(citus, tmp_path, "stop them, or say --even-so")
    assert distribute(citus, "--even-so", folder=tmp_path).code == 0


PARTITIONED = "FOR VALUES WITH (MODULUS 16, REMAINDER 0)"


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["CREATE FOREIGN DATA WRAPPER none", "CREATE SERVER far FOREIGN DATA WRAPPER none",
          "ALTER TABLE document_entry DROP CONSTRAINT document_entry_pkey",
          f"CREATE FOREIGN TABLE far_0 PARTITION OF document_entry {PARTITIONED} SERVER far"],
         "far_0 is a foreign table, which Citus does not distribute"),
        ([f"CREATE TABLE parted_0 PARTITION OF document_entry {PARTITIONED} PARTITION BY HASH (patient_key)"],
         "parted_0, a partition of document_entry, has partitions itself, which Citus does not take"),
    ],
)  # fmt: skip
def test_partitions_that_citus_does_not_take_are_named(
    citus: sa.Engine, tmp_path: Path, statements: list[str], said: str
) -> None:
    with citus.connect() as connection:
        first = "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'document_entry'::regclass"
        partition = connection.scalar(sa.text(first))
    change(citus, f"DROP TABLE {partition}", *statements)
    unlike(citus, tmp_path, said)


def test_a_table_without_its_partitions_is_named(citus: sa.Engine, tmp_path: Path) -> None:
    with citus.connect() as connection:
        parts = connection.scalars(sa.text(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'folder'::regclass"
        )).all()  # fmt: skip
    change(citus, *(f"ALTER TABLE folder DETACH PARTITION {part}" for part in parts))
    unlike(citus, tmp_path, "folder has no partitions")


def test_a_table_that_is_gone_is_named(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "DROP TABLE foreign_association")
    unlike(citus, tmp_path, "foreign_association is not there")


def test_a_trigger_is_named(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
           "CREATE TRIGGER mine BEFORE INSERT ON locator FOR EACH ROW EXECUTE FUNCTION nothing()")  # fmt: skip
    unlike(citus, tmp_path, "locator has the trigger mine, which Citus does not take: drop it first")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("create_distributed_table('folder', 'entry_uuid')", "folder is distributed by entry_uuid already"),
        ("create_distributed_table('audit_head', 'id')", "audit_head is distributed by id already"),
        ("create_reference_table('patient')", "patient is distributed in another way already"),
        ("create_distributed_table('folder', 'patient_key'), create_distributed_table('association', 'patient_key')",
         "association is distributed by patient_key apart from folder"),
    ],
)  # fmt: skip
def test_what_is_distributed_otherwise_is_named(citus: sa.Engine, tmp_path: Path, before: str, said: str) -> None:
    change(citus, f"SELECT {before}", "UPDATE stood_in SET call = 'before'")
    unlike(citus, tmp_path, said)


def test_what_lies_beside_what_was_distributed_by_hand_does_so(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "SELECT create_distributed_table('folder', 'patient_key')")
    assert distribute(citus, folder=tmp_path).code == 0
    assert "distribute document_entry by patient_key beside folder in " in called(citus)


def test_a_table_that_citus_refuses_is_said_without_what_is_in_it(citus: sa.Engine, tmp_path: Path) -> None:
    change(citus, "ALTER TABLE locator ADD CONSTRAINT one UNIQUE (domain, entry_uuid)")
    done = distribute(citus, folder=tmp_path)
    assert done.code == 1
    assert 'locator: Citus refuses: cannot create constraint on "locator"' in done.err
    assert called(citus)[-1] == "leave association"


def test_sqlite_is_on_one_machine(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/xds.sqlite")
    with engine.connect() as connection, pytest.raises(Unusable, match="SQLite, which is on one machine"):
        Distributing(connection)
    engine.dispose()


def test_the_partitions_that_there_are_are_those_that_citus_takes(citus: sa.Engine) -> None:
    """Its own tests distribute what is partitioned by HASH already; each part of a table then has these partitions."""
    with citus.connect() as connection:
        Distributing(connection, shards=4).run(citus)
        rows = connection.execute(sa.text("SELECT count(*) FROM pg_dist_partition")).scalar()
    assert rows == sum(1 + 16 * (table.name in OF_PATIENTS) for table, where in PLACING.items() if where.is_distributed)
    assert document_entry.name in OF_PATIENTS
