"""One PostgreSQL database for all of these tests: emptied before each, because making one takes longer than a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.postgres import Databases
from xds.store.engine import make_engine
from xds.store.tables import metadata

USED = [
    table
    for table in metadata.sorted_tables
    if table.name.startswith("audit_")
    or table.name in ("document", "publication", "study_patient", "locator", "patient", "acknowledged")
]


@pytest.fixture(scope="session")
def shared_postgres(postgres_databases: Databases) -> str:
    return postgres_databases.new()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/xds.sqlite"
    return str(request.getfixturevalue("shared_postgres"))


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A database with the tables of the audit log, and nothing in them."""
    engine = make_engine(database_url)
    metadata.create_all(engine, USED)
    with engine.begin() as connection:
        for table in USED:
            connection.execute(sa.delete(table))
    yield engine
    engine.dispose()
