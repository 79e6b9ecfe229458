"""Connections to PostgreSQL that were lost are made anew, and nobody is asked each time whether one still is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from xds.errors import Unusable
from xds.store import engine as engines
from xds.store.engine import make_engine
from xds.store.statements import Statement

ONE = Statement(sa.select(sa.literal(1).label("one")))
OWN = Statement(sa.select(sa.func.pg_backend_pid().label("pid")))


only_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""SQLite has no server that connections are lost to."""


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = make_engine(database_url, connections=2)
    yield engine
    engine.dispose()


def ended(engine: sa.Engine) -> None:
    """The connection that was used last is ended by the server, as by its restart."""
    with engine.connect() as mine, sa.create_engine(engine.url).connect() as other:
        (pid,) = OWN.values(mine)
        mine.rollback()
        other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


@only_postgres
def test_a_connection_that_was_not_used_for_a_while_is_asked_and_made_anew(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRESH_SECONDS", 0.0)
    ended(engine)
    with engine.connect() as connection:
        assert ONE.values(connection) == [1]


@only_postgres
def test_of_connections_that_are_lost_all_are_made_anew_after_the_first_is_noticed(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRESH_SECONDS", 1e9)
    ended(engine)
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError) as lost:
        ONE.rows(connection)
    assert lost.value.connection_invalidated
    for _ in range(3):
        with engine.connect() as connection:
            assert ONE.values(connection) == [1]


@only_postgres
def test_one_that_has_just_been_used_is_not_asked(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.dialect, "do_ping", lambda _connection: pytest.fail("it was asked"))
    for _ in range(3):
        with engine.connect() as connection:
            assert ONE.values(connection) == [1]


def with_threshold(url: str, threshold: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}prepare_threshold={threshold}"


@only_postgres
@pytest.mark.parametrize(("threshold", "prepared"), [("none", 0), ("0", 1), ("1000", 0)])
def test_what_is_prepared_is_as_the_url_says(database_url: str, threshold: str, prepared: int) -> None:
    """A pooler that gives each transaction another connection does not know what was prepared on the last."""
    engine = make_engine(with_threshold(database_url, threshold), connections=1)
    try:
        with engine.connect() as connection:
            for _ in range(10):
                ONE.rows(connection)
            count = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar()
            assert (count > 0) == (prepared > 0)  # type: ignore[operator]
    finally:
        engine.dispose()


@only_postgres
@pytest.mark.parametrize("threshold", ["often", "-1", "1&prepare_threshold=2"])
def test_a_threshold_that_is_no_number_is_no_setting(database_url: str, threshold: str) -> None:
    with pytest.raises(Unusable, match="prepare_threshold"):
        make_engine(with_threshold(database_url, threshold))


def test_an_error_of_pythons_own_is_not_taken_for_a_database_that_is_away() -> None:
    problem = sqlite3.ProgrammingError("a fault of ours")
    assert engines.away(sa.exc.ProgrammingError("", None, problem)) is False
