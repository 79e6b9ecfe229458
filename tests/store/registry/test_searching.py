"""How objects are found: what a patient with very many of them is asked reads few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, a_submission, an_entry
from tests.store.databases import Domain
from xds.metadata.datatypes import Dtm
from xds.store.deployment import migrate
from xds.store.engine import make_engine
from xds.store.interface import Criteria, Kind, Range
from xds.store.registry.sql_registry import SqlRegistry

DAYS = [f"202603{day:02d}" for day in range(1, 29)]
_FEW = "UPDATE sqlite_stat1 SET stat = '200000 16 1' WHERE idx LIKE '%document_entry%1' OR idx LIKE '%entry_by_%'"
"""As the database sees it: 16 documents of a patient on average, however many this one has."""


@pytest.fixture
def domain(tmp_path: Path) -> Iterator[Domain]:
    """A patient with a document a day, in a database that believes that patients have few."""
    engine = make_engine(f"sqlite:///{tmp_path / 'xds.sqlite'}")
    with engine.begin() as connection:
        migrate(connection)
    domain = Domain(engine)
    domain(lambda store: store.add_patient(ANNA))
    for day in DAYS:
        domain.register(a_submission(entries=[an_entry(creation_time=Dtm(day), service_start_time=Dtm(day))]))
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.exec_driver_sql(_FEW)
    engine.dispose()  # statistics are read when a connection is made
    yield domain
    engine.dispose()


def found(domain: Domain, ranges: tuple[tuple[str, Range], ...]) -> tuple[int, list[str]]:
    """How many entries are found, and how the database looks for them."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, text: str, given: Any, *_: Any) -> None:
        if "document_entry.entry_uuid" in text:
            seen.append((text, given))

    sa.event.listen(domain.engine, "before_cursor_execute", note)
    try:
        with domain.engine.connect() as connection:
            store = SqlRegistry(connection, domain.name)
            entries = store.find(Kind.DOCUMENT_ENTRY, store.chain(ANNA), Criteria(ranges=ranges), 1000)
            (text, given), *_ = seen
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all()
    finally:
        sa.event.remove(domain.engine, "before_cursor_execute", note)
    return len(entries), [row[-1] for row in plan]


@pytest.mark.parametrize(
    ("attribute", "index"),
    [("creation_time", "document_entry_by_creation"), ("service_start_time", "document_entry_by_service")],
)
def test_a_time_of_a_patient_is_looked_for_by_time(domain: Domain, attribute: str, index: str) -> None:
    week = Range("20260302000000", "20260309000000")
    count, plan = found(domain, ((attribute, week),))
    assert count == 7
    assert sum(index in step for step in plan) == 2  # those of the time, and those that say none
    assert not any("autoindex_document_entry_1" in step for step in plan)


def test_with_one_end_open_all_of_the_patients_may_be_read(domain: Domain) -> None:
    count, plan = found(domain, (("creation_time", Range("20260302000000", None)),))
    assert count == len(DAYS) - 1
    assert any("autoindex_document_entry_1" in step for step in plan)
