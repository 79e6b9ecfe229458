"""Databases for the tests: SQLite always, PostgreSQL where Debian's package is installed; and what all tests share."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
import sqlalchemy as sa
from hypothesis import settings

from tests.extent import LONG, examples
from tests.needs import missing, told
from tests.postgres import Databases, Server, given_databases
from tests.statements import RECORDER, listen
from xds.endpoints.console import passwords
from xds.store.deployment import migrate
from xds.store.engine import make_engine

# Whether a test is quick is for benchmarks to say: on a busy machine none is.
settings.register_profile("xds", deadline=None, max_examples=examples(30))
settings.load_profile("xds")


def pytest_configure() -> None:
    """Benchmarks take things from here, too, and are not listened to."""
    listen()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """The test fails in which the store has first executed what Citus would refuse."""
    try:
        return (yield)
    finally:
        RECORDER.hold()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist tells which statements it has seen."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["statements"] = sorted(RECORDER.statements)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """And what one has told is counted."""
    RECORDER.statements.update(getattr(node, "workeroutput", {}).get("statements", ()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "postgres" in item.name:
            item.add_marker(pytest.mark.postgres)
        reasons = [mark.kwargs.get("reason", "") for mark in item.iter_markers("skipif")]
        if any("test-long" in reason for reason in reasons) and not item.get_closest_marker("large"):
            raise pytest.UsageError(f"{item.nodeid} waits for make test-long, which runs what is marked large only")
    if LONG:  # only what grows with the time there is: property tests, and what says so of itself
        large = [item for item in items if {"hypothesis", "large"} & {mark.name for mark in item.iter_markers()}]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(large)])
        items[:] = large


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each program that was missing, and how many statements were held to the rules of Citus."""
    if RECORDER.statements:
        terminalreporter.write_line(f"{len(RECORDER.statements)} statements of the store keep the rules of Citus")
    reports = terminalreporter.stats.get("skipped", [])
    for line in told(str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple)):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """A password is compared a thousand times in the tests, and with its real cost in the one that is about that."""
    real = passwords.HASHER
    passwords.HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield
    passwords.HASHER = real


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[Databases]:
    """Of a PostgreSQL of our own, or of the one that XDS_TEST_DATABASE names."""
    if given := os.environ.get("XDS_TEST_DATABASE"):
        databases = given_databases(given)
        yield databases
        databases.drop()
        return
    try:
        server = Server()
    except FileNotFoundError:
        missing("PostgreSQL", "postgresql")
    try:
        wait_for(server.answers)
        yield Databases(server.url)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with our tables, to be copied: that takes a tenth of migrating anew."""
    path = tmp_path_factory.mktemp("template") / "xds.sqlite"
    engine = make_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/xds.sqlite"
    databases: Databases = request.getfixturevalue("postgres_databases")
    return databases.new()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of either kind with our tables."""
    return copied(request, tmp_path)


def copied(request: pytest.FixtureRequest, folder: Path) -> str:
    """A database with our tables, of the kind that the request's parameter names, for as long as its fixture lives."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "xds.sqlite")
        return f"sqlite:///{folder}/xds.sqlite"
    databases: Databases = request.getfixturevalue("postgres_databases")
    url = databases.take()
    request.addfinalizer(lambda: databases.give_back(url))
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A database with our tables."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction in it."""
    with engine.begin() as connection:
        yield connection


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    """Until a callable is true."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to be")
        time.sleep(0.02)
