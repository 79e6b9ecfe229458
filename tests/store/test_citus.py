"""Tables and statements keep the rules of Citus; and the check that says so would see it if one did not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tests.builders import ANNA, a_submission
from tests.statements import RECORDER, Recorder
from tests.store.citus import RULES, broken_rules, on_one_machine, plain
from tests.store.databases import Domain
from xds.store.tables import locator, metadata
from xds.store.tables.placing import PLACING, Kind, Placing

DISTRIBUTED = [table for table, where in PLACING.items() if where.is_distributed]


def test_every_table_has_its_place() -> None:
    assert {table.name for table in PLACING} == metadata.tables.keys()
    assert all(where.why for where in PLACING.values() if where.kind is Kind.LOCAL)


NOT_BY_PATIENT = {
    "patient": "an id is unique whatever its key, and a submission locks the row",
    "directive": "who a patient is merged with is asked in the same query, which is recursive",
    "demographics": "is read together with the words of names",
    "patient_word": "anybody may be found by a name",
    "override": "the database numbers them, and they are found by who has broken the glass",
    "locator": "leads from an id to the patient",
    "foreign_association": "leads from another patient's object",
}
"""Tables that have a patient's key and are not distributed by it, and why."""


def test_what_has_a_patient_s_key_is_distributed_by_it_or_there_is_a_reason() -> None:
    others = {
        table.name for table in metadata.sorted_tables
        if "patient_key" in table.c and PLACING[table].kind is not Kind.BY_PATIENT
    }  # fmt: skip
    assert others == NOT_BY_PATIENT.keys()


@pytest.mark.parametrize("table", DISTRIBUTED, ids=lambda table: table.name)
def test_every_unique_key_holds_the_column_that_its_table_is_distributed_by(table: sa.Table) -> None:
    column = PLACING[table].column
    keys = [one for one in table.constraints if isinstance(one, sa.PrimaryKeyConstraint | sa.UniqueConstraint)]
    keys += [one for one in table.indexes if one.unique]  # type: ignore[misc]
    assert keys
    assert [key.name for key in keys if column not in key.columns] == []
    assert table.primary_key.columns, "moves of its parts would stop all writing"


def test_no_table_refers_to_another() -> None:
    """Else only to what is distributed by the same column, or copied everywhere."""
    assert [key for table in metadata.sorted_tables for key in table.foreign_keys] == []


@pytest.mark.parametrize("table", DISTRIBUTED, ids=lambda table: table.name)
def test_nothing_counts_in_a_distributed_table(table: sa.Table) -> None:
    """Numbers that a database gives are of tables on the coordinator."""
    assert table.autoincrement_column is None
    assert not any(isinstance(column.default, sa.Sequence) for column in table.c)


def test_numbers_that_a_database_gives_are_large() -> None:
    dialect = postgresql.psycopg.dialect()
    counted = [column for table in metadata.sorted_tables for column in table.c if column.autoincrement is True]
    assert counted
    assert {column.type.compile(dialect) for column in counted} == {"BIGINT"}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_no_table_has_a_trigger(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        triggers = sa.text(
            "SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace"
        )
        assert connection.scalars(triggers).all() == []


# What the store executes.


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_what_the_store_executes_is_seen_however_it_does(engine: sa.Engine) -> None:
    """By itself, several at once in a pipeline, and by SQLAlchemy."""
    with RECORDER.collecting() as seen:
        domain = Domain(engine)
        domain(lambda store: store.add_patient(ANNA))
        submission = domain.register(a_submission())
        (entry,) = domain(lambda store: store.documents_by_uuid([submission.document_entries[0].entry_uuid]))
        domain(lambda store: store.deprecate([entry]))
    for part in (
        "INSERT INTO patient", "FOR UPDATE", "pg_advisory_xact_lock", "INSERT INTO document_entry ",
        "INSERT INTO locator", "FROM document_entry WHERE", "UPDATE document_entry SET",
    ):  # fmt: skip
        assert any(part in one for one in seen), part
    assert seen <= RECORDER.statements


def test_what_a_test_executes_itself_is_not_the_store_s() -> None:
    recorder = Recorder()
    engine = sa.create_engine("postgresql+psycopg://nowhere")
    connection = sa.Connection.__new__(sa.Connection)
    connection.dialect, connection.engine = engine.dialect, engine
    recorder.executed(connection, None, "DELETE FROM document_entry")
    assert recorder.statements == set()


ROUTED = "SELECT entry_uuid FROM document_entry WHERE document_entry.patient_key = $1"
VALUE = "SELECT v.entry_uuid FROM document_entry_value v WHERE v.patient_key = $1"


@pytest.mark.parametrize(
    "statement",
    [
        ROUTED,
        f"{ROUTED} AND entry_uuid NOT IN ({VALUE})",
        f"{ROUTED} FOR UPDATE",
        "SELECT type, count(*) FROM association a WHERE a.patient_key = $1 GROUP BY GROUPING SETS (type, status)",
        "SELECT d.hash FROM document_entry AS d JOIN association a ON a.patient_key = d.patient_key AND a.source = $2",
        "SELECT d.hash FROM document_entry d, association a WHERE d.patient_key = $1 AND a.patient_key = $1",
        "SELECT 1 FROM document_entry d WHERE EXISTS (SELECT 1 FROM folder f WHERE f.patient_key = d.patient_key)",
        "SELECT hash FROM document_entry WHERE patient_key IN (SELECT patient_key FROM patient WHERE domain = $1)",
        "SELECT id FROM patient WHERE patient_key IN (SELECT patient_key FROM locator WHERE id = ANY ($1::TEXT[]))",
        "SELECT size FROM audit_head WHERE id = 1 FOR UPDATE",
        "SELECT pg_advisory_xact_lock(hashtextextended(i.id, 0)) FROM unnest($1::TEXT[]) WITH ORDINALITY AS i(id, n)",
        "UPDATE document_entry SET status = 'Deprecated' WHERE patient_key = $1 AND entry_uuid = $2",
        "INSERT INTO locator (domain, id, kind, nth) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        "INSERT INTO locator (domain, id) VALUES ($1, $2) ON CONFLICT (domain, id) DO UPDATE SET kind = excluded.kind",
        "WITH into_folder AS (INSERT INTO folder (patient_key) SELECT x.patient_key FROM json_to_recordset($1::JSON) "
        "AS x(patient_key BIGINT)) SELECT 1",
        "WITH RECURSIVE up AS (SELECT patient_key, merged_into FROM patient WHERE patient_key = $1 UNION ALL SELECT "
        "p.patient_key, p.merged_into FROM patient p JOIN up ON p.patient_key = up.merged_into) SELECT * FROM up",
        "UPDATE audit_record SET leaf_number = n.nth FROM (SELECT id, row_number() OVER (ORDER BY id) AS nth FROM "
        "audit_record) AS n WHERE audit_record.id = n.id",
        "SET LOCAL lock_timeout = 100",
        "LOCK TABLE apart IN SHARE ROW EXCLUSIVE MODE",
    ],
)  # fmt: skip
def test_what_keeps_the_rules_is_found_to(statement: str) -> None:
    assert broken_rules(statement) == {}


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("understood", "SELEKT 1 FROM document_entry"),
        ("keys stay", "UPDATE document_entry SET patient_key = $2 WHERE patient_key = $1"),
        ("keys stay", "INSERT INTO locator (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = $2"),
        ("conflict targets", "INSERT INTO locator (domain, id) VALUES ($1, $2) ON CONFLICT (domain, kind) DO NOTHING"),
        ("functions", "DELETE FROM locator WHERE id = $1 AND random() < 0.5"),
        ("functions", "UPDATE document SET since = clock_timestamp() WHERE document_unique_id = $1"),
        ("functions", "INSERT INTO locator (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET nth = gen_random_uuid()"),
        ("joins", "SELECT d.hash FROM document_entry d JOIN association a ON a.source = d.entry_uuid"),
        ("joins", "SELECT d.hash FROM document_entry d, association a WHERE d.patient_key = $1 AND a.patient_key = $2"),
        ("joins", "SELECT d.hash FROM document_entry d JOIN patient p ON p.patient_key = d.patient_key"),
        ("joins", "SELECT l.id FROM locator l JOIN document d ON d.document_unique_id = l.id"),
        ("joins", "SELECT 1 FROM document_entry d WHERE EXISTS (SELECT 1 FROM folder f WHERE f.status = d.status)"),
        ("joins", "SELECT 1 FROM patient p WHERE EXISTS (SELECT 1 FROM folder f WHERE f.patient_key = p.patient_key)"),
        ("joins", "SELECT d.hash FROM document_entry d JOIN (SELECT patient_key FROM patient) p USING (patient_key)"),
        ("joins", "UPDATE patient SET id = d.hash FROM document_entry d WHERE d.patient_key = patient.patient_key"),
        ("joins", "DELETE FROM audit_open WHERE id IN (SELECT entry_uuid FROM folder)"),
        ("recursion", "WITH RECURSIVE up AS (SELECT patient_key FROM patient) SELECT * FROM folder WHERE patient_key "
         "IN (SELECT patient_key FROM up)"),
        ("row locks", "SELECT entry_uuid FROM document_entry WHERE entry_uuid = $1 FOR UPDATE"),
        ("row locks", "SELECT entry_uuid FROM document_entry WHERE patient_key = ANY ($1::BIGINT[]) FOR SHARE"),
        ("grouping", "SELECT type, count(*) FROM association GROUP BY ROLLUP (type, status)"),
        ("grouping", "SELECT type, count(*) FROM association GROUP BY CUBE (type, status)"),
        ("grouping", "SELECT type, count(*) FROM association GROUP BY GROUPING SETS (type, status)"),
        ("triggers", "CREATE TRIGGER t AFTER INSERT ON patient FOR EACH ROW EXECUTE FUNCTION f()"),
        ("sessions", "CREATE TEMP TABLE t (id int)"),
        ("sessions", "LISTEN submissions"),
        ("sessions", "SET lock_timeout = 100"),
        ("sessions", "SELECT pg_advisory_lock(1)"),
        ("sessions", "SELECT pg_try_advisory_lock(1)"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_found_by_it(rule: str, statement: str) -> None:
    assert rule in RULES
    assert list(broken_rules(statement)) == [rule]


COPIED = {"code": Placing(Kind.REFERENCE), "folder": Placing(Kind.BY_PATIENT, "patient_key")}


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("copies", "UPDATE code SET name = $1 WHERE id = $2"),
        ("copies", "INSERT INTO code (id) VALUES ($1)"),
        ("row locks", "SELECT name FROM code WHERE id = $1 FOR SHARE"),
    ],
)
def test_what_is_copied_everywhere_is_neither_written_nor_locked(rule: str, statement: str) -> None:
    assert list(broken_rules(statement, COPIED)) == [rule]
    assert broken_rules("SELECT f.unique_id FROM folder f JOIN code ON code.id = f.status", COPIED) == {}


def test_each_rule_is_one_that_a_statement_is_held_to_here() -> None:
    tests = (test_what_breaks_a_rule_is_found_by_it, test_what_is_copied_everywhere_is_neither_written_nor_locked)
    marks = [mark for test in tests for mark in test.pytestmark]  # type: ignore[attr-defined]
    tried = {rule for mark in marks for rule, _ in mark.args[1]}
    assert tried == RULES.keys()


def test_a_test_fails_that_executes_what_breaks_a_rule() -> None:
    recorder = Recorder()
    recorder._broken.append("the store breaks a rule")
    with pytest.raises(AssertionError, match="breaks a rule"):
        recorder.hold()
    recorder.hold()  # and no other after it


@pytest.mark.parametrize(
    ("statement", "one"),
    [
        (ROUTED, True),
        (f"{ROUTED} AND entry_uuid IN ({VALUE})", True),
        (f"{ROUTED} AND entry_uuid IN ({VALUE.replace('$1', '$2')})", False),
        ("SELECT 1 FROM document_entry WHERE patient_key = ANY ($1::BIGINT[])", False),
        ("SELECT 1 FROM document_entry WHERE patient_key = $1 OR entry_uuid = $2", False),
        ("SELECT 1 FROM patient WHERE patient_key = $1", False),
    ],
)
def test_it_is_told_what_is_on_one_machine(statement: str, one: bool) -> None:
    assert on_one_machine(statement) is one


def test_a_statement_is_the_same_whatever_its_lists_are() -> None:
    def written(*uuids: str) -> str:
        statement = sa.select(locator.c.kind).where(locator.c.id.in_(uuids), locator.c.domain == "d")
        compiled = statement.compile(dialect=postgresql.psycopg.dialect(), compile_kwargs={"render_postcompile": True})
        return plain(str(compiled))

    assert written("a", "b", "c") == written("a", "b") == written("a")
    assert "$2" in written("a")
