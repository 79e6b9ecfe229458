"""Patients' tables on four databases of PostgreSQL, as partitions that are kept elsewhere (postgres_fdw): what is asked
about one patient goes to one of them.

Only the way is looked at.  Citus does the same by its own planner, and can more; it is not here.  Unique keys cannot be
on tables whose partitions are elsewhere: they are on each of the four.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.builders import ANNA, SOURCE, a_folder, a_submission, an_association, an_entry
from tests.postgres import SUPERUSER, Databases, Schemas
from tests.queries.desks import APPROVED, DEPRECATED, Questions
from tests.store.citus import on_one_machine, plain
from tests.store.databases import Domain
from tests.store.registry.test_visibility import ONLY_NORMAL, OTHER, OWN, seen
from xds.metadata.identifiers import PatientId
from xds.metadata.visible import Clause, Those, Visible
from xds.metadata.vocabulary import AssociationType
from xds.queries import catalogue
from xds.store.engine import make_engine
from xds.store.interface import Criteria, Kind
from xds.store.registry.sql_registry import Taken
from xds.store.tables.placing import PLACING
from xds.store.tables.placing import Kind as Place

NODES, FDW = 4, "postgres_fdw"
TABLES = [table.name for table, where in PLACING.items() if where.kind is Place.BY_PATIENT]
PATIENTS = [replace(ANNA, id=f"p{number}") for number in range(8)]
LISTED = f"('{APPROVED}','{DEPRECATED}')"


@dataclass
class Spread:
    """The database that is asked, the four that have the rows, and what was executed."""

    engine: sa.Engine
    nodes: list[str]
    executed: list[tuple[str, Any]]

    def rows(self, node: str, statement: str) -> list[Any]:
        with psycopg.connect(node) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[arg-type]  our own

    def touched(self, text: str, given: Any) -> set[str]:
        """The nodes that PostgreSQL would ask."""
        with self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            with psycopg.RawCursor(driver) if isinstance(given, tuple) else driver.cursor() as cursor:
                cursor.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {text}", given)
                ((plan,),) = cursor.fetchall()
        return set(re.findall(r"_on_(\d)\b", json.dumps(plan)))

    def of_one_patient(self) -> list[tuple[str, Any]]:
        """What was executed and is about one patient, once for each of them."""
        once: dict[Any, tuple[str, Any]] = {}
        for text, given in self.executed:
            values = given.values() if isinstance(given, dict) else given
            once.setdefault((plain(text), *(value for value in values if isinstance(value, int))), (text, given))
        return [(text, given) for text, given in once.values() if on_one_machine(text)]


@pytest.fixture(scope="module")
def spread(postgres_databases: Databases) -> Iterator[Spread]:
    if isinstance(postgres_databases, Schemas):
        pytest.skip("XDS_TEST_DATABASE has Citus, and does this by itself")
    there = f"EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = '{FDW}')"  # noqa: S608  our own word
    if not postgres_databases.can(f"{SUPERUSER} AND {there}"):
        pytest.skip("the user of XDS_TEST_DATABASE may not make postgres_fdw there, or it is not installed")
    nodes, coordinator = [postgres_databases.take() for _ in range(NODES)], postgres_databases.take()
    engine = make_engine(coordinator)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE EXTENSION {FDW}")
        for number, node in enumerate(nodes):
            where = sa.make_url(node)
            server = f"host '{where.host}', port '{where.port or 5432}', dbname '{where.database}'"
            user = f"user '{where.username}', password '{where.password or ''}'"
            there = f"SERVER node_{number}"
            connection.exec_driver_sql(f"CREATE {there} FOREIGN DATA WRAPPER {FDW} OPTIONS ({server})")
            connection.exec_driver_sql(f"CREATE USER MAPPING FOR CURRENT_USER {there} OPTIONS ({user})")
        for table in TABLES:
            _spread_out(connection, table)
    found = Spread(engine, nodes, [])
    sa.event.listen(engine, "before_cursor_execute", lambda *told: found.executed.append((told[2], told[3])))
    yield found
    engine.dispose()


def _spread_out(connection: sa.Connection, table: str) -> None:
    parts = sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table)")
    for part in connection.scalars(parts, {"table": table}).all():
        connection.exec_driver_sql(f"DROP TABLE {part}")
    connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey")
    for number in range(NODES):
        connection.exec_driver_sql(
            f"CREATE FOREIGN TABLE {table}_on_{number} PARTITION OF {table} "
            f"FOR VALUES WITH (MODULUS {NODES}, REMAINDER {number}) SERVER node_{number} OPTIONS (table_name '{table}')"
        )


@pytest.fixture(scope="module")
def lived(spread: Spread) -> Spread:
    """Every patient has been submitted, found, changed and removed for, by all that the store can be asked."""
    domain = Domain(spread.engine, name="default")
    asking = Questions(spread.engine)
    for patient in PATIENTS:
        domain(lambda store, patient=patient: store.add_patient(patient))
        _live(domain, asking, patient)
    return spread


def _live(domain: Domain, asking: Questions, patient: PatientId) -> None:
    entry, other, folder = an_entry(patient_id=patient), an_entry(patient_id=patient), a_folder(patient_id=patient)
    holds = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, entry.entry_uuid)
    first = domain.register(a_submission(patient=patient, entries=[entry, other], folders=[folder], relations=[holds]))
    newer = an_entry(patient_id=patient)
    replaces = an_association(AssociationType.RPLC, newer.entry_uuid, entry.entry_uuid)
    domain.register(a_submission(patient=patient, entries=[newer], relations=[replaces]))
    _ask(asking, patient, entry.entry_uuid, str(first.submission_set.unique_id), folder.entry_uuid)
    uuids = [entry.entry_uuid, other.entry_uuid]
    (one,) = domain(lambda store: store.documents_by_uuid([other.entry_uuid]))
    (held,) = domain(lambda store: store.folders_by_uuid([folder.entry_uuid]))
    domain(lambda store: store.values_of(one.patient_key, "eventCodeList", uuids))
    domain(lambda store: store.supersede(one))
    domain(lambda store: store.reinstate(one))
    domain(lambda store: store.deprecate([one]))
    domain(lambda store: store.touch_folder(held, "20300102030405"))
    in_folders = Visible(((Clause(True, Those(folders=frozenset({str(folder.unique_id)}))),),))
    for visible in (ONLY_NORMAL, OWN, in_folders):
        for kind in Kind:
            latest = Criteria(latest=True)
            domain(lambda store, v=visible, k=kind, c=latest: seen(store, v).find(k, store.chain(patient), c, 9))
        domain(lambda store, v=visible: seen(store, v).not_theirs([*uuids, folder.entry_uuid]))
    domain(lambda store: store.remove({other.entry_uuid: (Kind.DOCUMENT_ENTRY, one.patient_key)}))


def _ask(asking: Questions, patient: PatientId, entry: str, unique_set: str, folder: str) -> None:
    asking.find(patient)
    asking.find(
        patient, XDSDocumentEntryStatus=LISTED, XDSDocumentEntryEventCodeList="('CT^^1.2.840.10008.2.16.4')",
        XDSDocumentEntryConfidentialityCode="('N^^2.16.840.1.113883.5.25')", XDSDocumentEntryCreationTimeFrom="2020",
        XDSDocumentEntryAuthorPerson="('%R_ntgen%')", XDSDocumentEntryClassCode="('IMAGES^^1.3.6.1.4.1.19376.1.2.6.1')",
    )  # fmt: skip
    study = "1.2.840.1^^^^urn:ihe:iti:xds:2016:studyInstanceUID"
    asking.ask(catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID, XDSDocumentEntryPatientId=f"'{patient}'",
               XDSDocumentEntryStatus=LISTED, XDSDocumentEntryReferenceIdList=f"('{study}')")  # fmt: skip
    asking.ask(catalogue.FIND_SUBMISSION_SETS, XDSSubmissionSetPatientId=f"'{patient}'", XDSSubmissionSetStatus=LISTED,
               XDSSubmissionSetSourceId=f"('{SOURCE}','{OTHER}')", XDSSubmissionSetAuthorPerson="'%'")  # fmt: skip
    asking.ask(catalogue.FIND_FOLDERS, XDSFolderPatientId=f"'{patient}'", XDSFolderStatus=LISTED,
               XDSFolderCodeList="('ONC^^1.2.3.4.11')", XDSFolderLastUpdateTimeFrom="2020")  # fmt: skip
    asking.ask(catalogue.GET_ALL, patientId=f"'{patient}'", XDSDocumentEntryStatus=LISTED,
               XDSSubmissionSetStatus=LISTED, XDSFolderStatus=LISTED)  # fmt: skip
    asking.ask(catalogue.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=f"('{entry}')")
    asking.ask(catalogue.GET_FOLDERS, XDSFolderEntryUUID=f"('{folder}')")
    asking.ask(catalogue.GET_ASSOCIATIONS, uuid=f"('{entry}')")
    asking.ask(catalogue.GET_DOCUMENTS_AND_ASSOCIATIONS, XDSDocumentEntryEntryUUID=f"('{entry}')")
    asking.ask(catalogue.GET_SUBMISSION_SETS, uuid=f"('{entry}','{folder}')")
    asking.ask(catalogue.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId=f"'{unique_set}'")
    asking.ask(catalogue.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=f"'{folder}'")
    asking.ask(catalogue.GET_FOLDERS_FOR_DOCUMENT, XDSDocumentEntryEntryUUID=f"'{entry}'")
    asking.ask(catalogue.GET_RELATED_DOCUMENTS, XDSDocumentEntryEntryUUID=f"'{entry}'",
               AssociationTypes=f"('{AssociationType.RPLC}')")  # fmt: skip


def test_what_is_asked_about_one_patient_goes_to_one_database(lived: Spread) -> None:
    statements = lived.of_one_patient()
    touched = {(text, repr(given)): lived.touched(text, given) for text, given in statements}
    several = {text: nodes for (text, _), nodes in touched.items() if len(nodes) != 1}
    assert several == {}
    assert len({text for text, _ in touched}) >= 30
    assert set.union(*touched.values()) == set(map(str, range(NODES)))
    changing = [text for text, _ in touched if text.startswith(("UPDATE", "DELETE"))]
    assert {text.removeprefix("DELETE FROM ").removeprefix("UPDATE ").split()[0] for text in changing} == {*TABLES}


def test_all_that_the_store_asks_of_a_patient_s_tables_names_patients(lived: Spread) -> None:
    """What is not about one is about several, or reads none of them."""
    others = {text for text in {plain(text) for text, _ in lived.executed} if not on_one_machine(text)}
    reading = {text for text in others if re.search(rf"\b(FROM|UPDATE|JOIN) ({'|'.join(TABLES)})\b", text)}
    assert [text for text in reading if "patient_key" not in text] == []


def test_what_is_asked_about_several_patients_may_go_to_several(lived: Spread) -> None:
    """That the way of a statement is seen at all."""
    domain, asked = Domain(lived.engine, name="default"), len(lived.executed)
    keys = [domain(lambda store, one=one: store.patient_key(one)) for one in PATIENTS]
    domain(lambda store: store.find(Kind.DOCUMENT_ENTRY, keys, Criteria(), 1000))
    text, given = lived.executed[-1]
    assert len(lived.executed) > asked
    assert not on_one_machine(text)
    assert len(lived.touched(text, given)) == NODES


def test_all_rows_of_a_patient_are_on_one_database(lived: Spread) -> None:
    where: dict[int, set[str]] = {}
    for table in TABLES:
        for node in lived.nodes:
            for (key,) in lived.rows(node, f"SELECT DISTINCT patient_key FROM {table}"):  # noqa: S608
                where.setdefault(key, set()).add(node)
    assert len(where) == len(PATIENTS)
    assert {len(nodes) for nodes in where.values()} == {1}
    assert len(set.union(*where.values())) == NODES


def test_what_is_registered_twice_is_refused_by_the_database_that_has_it(lived: Spread) -> None:
    domain = Domain(lived.engine, name="default")
    entry = an_entry(patient_id=PATIENTS[0])
    domain.register(a_submission(patient=PATIENTS[0], entries=[entry]))
    key = domain(lambda store: store.patient_key(PATIENTS[0]))
    assert key is not None
    with pytest.raises(Taken):
        domain(lambda store: store.insert(key, [entry]))
