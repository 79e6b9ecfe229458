"""Databases for the tests on a server that is not ours (XDS_TEST_DATABASE): made there, emptied, and taken away."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, a_submission
from tests.postgres import SUPERUSER, Databases, Schemas, administration, given_databases
from tests.store.databases import Domain
from tests.store.standing_in import calls, stand_in
from xds.store.engine import make_engine
from xds.store.tables import document_entry

pytestmark = pytest.mark.postgres


def lived_in(url: str) -> int:
    """Somebody is registered; how many entries there are."""
    engine = make_engine(url)
    domain = Domain(engine)
    domain(lambda store: store.add_patient(ANNA))
    domain.register(a_submission())
    count = domain.rows(sa.select(sa.func.count()).select_from(document_entry))[0][0]
    engine.dispose()
    return int(count)


@pytest.fixture
def somewhere(postgres_databases: Databases) -> str:
    if isinstance(postgres_databases, Schemas):
        pytest.skip("XDS_TEST_DATABASE has Citus: there this is done for all of these tests")
    return postgres_databases.new()


def names(url: str, of: str) -> set[str]:
    engine = administration(url)
    with engine.connect() as connection:
        found = set(connection.scalars(sa.text(of)))
    engine.dispose()
    return found


def test_databases_are_made_beside_the_one_that_is_named_and_taken_away(somewhere: str) -> None:
    of = "SELECT datname::text FROM pg_database"
    before = names(somewhere, of)
    given = given_databases(f"{somewhere}?application_name=tests")
    first = given.take()
    assert first.endswith("?application_name=tests")
    assert lived_in(first) == 1
    given.give_back(first)
    assert given.take() == first
    assert lived_in(first) == 1  # it was emptied
    assert names(somewhere, of) > before
    given.drop()
    assert names(somewhere, of) == before


def test_where_citus_is_each_is_a_schema_whose_tables_are_distributed(
    somewhere: str, postgres_databases: Databases
) -> None:
    if not postgres_databases.can(SUPERUSER):
        pytest.skip("the user of XDS_TEST_DATABASE is no superuser, who lets a database look as if Citus was in it")
    engine = make_engine(somewhere)
    with engine.begin() as connection:
        stand_in(connection)
    given = given_databases(somewhere)
    first, second = given.take(), given.take()
    assert (lived_in(first), lived_in(first), lived_in(second)) == (1, 2, 1)
    given.give_back(first)
    assert given.take() == first
    assert lived_in(first) == 1
    with engine.connect() as connection:
        done = [call for call in calls(connection) if call.startswith("distribute document_entry ")]
    assert done == ["distribute document_entry by patient_key beside none in 4"] * 2
    given.drop()
    assert {
        name for name in names(somewhere, "SELECT nspname::text FROM pg_namespace") if name.startswith("t")
    } == set()
    engine.dispose()
