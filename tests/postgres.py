"""A PostgreSQL of the tests' own, and databases that are used again: making one takes longer than most tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from xds.demo.site import free_port
from xds.store.deployment import migrate
from xds.store.distributing import Distributing
from xds.store.engine import make_engine
from xds.store.tables import metadata
from xds.system.parent import ends_with_us

UNSAFE = ("fsync=off", "full_page_writes=off")
"""For tests: what they write is of no use after a power cut."""


class Server:
    """A server from Debian's package, in a folder that goes away; nothing of it outlives us, unless it is kept.

    Raises:
        FileNotFoundError: Debian's postgresql is not installed.
    """

    def __init__(self, folder: Path | None = None, settings: Sequence[str] = UNSAFE, *, kept: bool = False) -> None:
        """``folder``: to be made, where nobody waits for its name; its path is short, for the socket's sake.

        ``kept``: it stays after ``stop``, and what was there before is gone on with.
        """
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not found:
            raise FileNotFoundError
        self.bins = found[-1]
        # A server refuses to run as root; the package made a user for it.
        self.user = "postgres" if os.getuid() == 0 else None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="xds-pg-"))
        self._kept = kept
        self._folder.mkdir(exist_ok=True)
        if self.user:
            shutil.chown(self._folder, self.user)
        self._port = free_port()
        data, log = self._folder / "data", (self._folder / "log").open("wb")
        if not data.is_dir():
            subprocess.run(
                [self.bins / "initdb", "-D", data, "-A", "trust", "-U", "xds", "-E", "UTF8", "--no-sync"],
                check=True, user=self.user, stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        self._settings = (
            *settings, "listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}", "max_connections=200",
        )  # fmt: skip
        log.close()
        self.start()

    def start(self) -> None:
        """Start it, again where it was stopped and kept."""
        command: list[str | Path] = [self.bins / "postgres", "-D", self._folder / "data", "-p", str(self._port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(part for one in self._settings for part in ("-c", one))],
                user=self.user, stdout=log, stderr=log, cwd="/", preexec_fn=partial(ends_with_us, signal.SIGQUIT),
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"postgresql://xds@127.0.0.1:{self._port}"

    def answers(self) -> bool:
        """Whether it can be asked.

        Raises:
            AssertionError: it has ended.
        """
        assert self._process.poll() is None, (self._folder / "log").read_text()
        return answers(f"{self.url}/postgres")

    def stop(self) -> None:
        """At once, where what it holds is of no use any more; else in order."""
        self._process.send_signal(signal.SIGINT if self._kept else signal.SIGQUIT)
        self._process.wait()
        if not self._kept:
            shutil.rmtree(self._folder, ignore_errors=True)


class Databases:
    """The databases of a server: new ones, and such as have our tables and are emptied when they are given back."""

    def __init__(self, server: str) -> None:
        """``server``: a URL; the database that it names, if it does, is the one that is asked to make others."""
        self.server = server
        self._made: list[str] = []
        self._template = ""
        self._free: list[str] = []
        self._first: dict[sa.Table, list[sa.RowMapping]] = {}  # rows that migrations make
        self._version = ""

    def new(self, template: str = "") -> str:
        """The URL of a new one."""
        name = f"t{uuid.uuid4().hex}"
        self._do(f"CREATE DATABASE {name} TEMPLATE {sa.make_url(template).database if template else 'template0'}")
        self._made.append(name)
        return sa.make_url(self.server).set(database=name).render_as_string(hide_password=False)

    def can(self, condition: str) -> bool:
        """Whether the server, or who is asked here, is as a condition in SQL says."""
        engine = administration(self.server)
        with engine.connect() as connection:
            found = bool(connection.scalar(sa.text(f"SELECT {condition}")))
        engine.dispose()
        return found

    def drop(self) -> None:
        """Leave nothing on a server that is not ours."""
        for name in self._made:
            self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def take(self) -> str:
        """One with our tables, and nothing in them."""
        if self._free:
            return self._free.pop()
        return self.new(self._template or self._migrated())

    def _migrated(self) -> str:
        """The one that others are copied from: that takes a tenth of migrating anew."""
        self._template = self.new()
        engine = make_engine(self._template, connections=1)
        with engine.begin() as connection:
            migrate(connection)
            self._version = str(connection.scalar(_VERSION))
            for table in metadata.sorted_tables:
                if rows := connection.execute(sa.select(table)).mappings().all():
                    self._first[table] = list(rows)
        engine.dispose()
        return self._template

    def give_back(self, url: str) -> None:
        """Empty it for the next; one that is used still is left alone."""
        self._do(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {self._is_of(sa.make_url(url))}")  # noqa: S608  our own name
        engine = make_engine(url, connections=1)
        try:
            with engine.begin() as connection:
                if connection.scalar(_VERSION) != self._version:
                    return  # a test was about other versions
                for table in reversed(metadata.sorted_tables):
                    connection.execute(sa.delete(table))
                for table, rows in self._first.items():
                    connection.execute(sa.insert(table), [dict(row) for row in rows])
                connection.execute(_RESTART)
        except sa.exc.SQLAlchemyError:
            return  # a test has changed more of it than rows
        finally:
            engine.dispose()
        self._free.append(url)

    def _is_of(self, url: sa.URL) -> str:
        """A condition that a connection is to it."""
        return f"datname = '{url.database}'"

    def _do(self, statement: str) -> None:
        engine = administration(self.server)
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text(statement))
        engine.dispose()


class Schemas(Databases):
    """The same in one database, in which Citus is: each is a schema, and its tables are distributed by our command.

    Another database would have no Citus in it, nor be on its other nodes.
    """

    def new(self, template: str = "") -> str:  # noqa: ARG002  a schema cannot be copied
        name = f"t{uuid.uuid4().hex}"
        self._do(f"CREATE SCHEMA {name}")
        self._made.append(name)
        # Its connections are told by their name; what is not ours, as functions that stand in for Citus', is public.
        given = {"options": f"-csearch_path={name},public", "application_name": name}
        return sa.make_url(self.server).update_query_dict(given).render_as_string(hide_password=False)

    def take(self) -> str:
        if self._free:
            return self._free.pop()
        url = self._migrated()
        engine = make_engine(url, connections=2)
        with engine.connect() as connection:
            Distributing(connection, shards=4).run(engine)
        engine.dispose()
        return url

    def drop(self) -> None:
        for name in self._made:
            self._do(f"DROP SCHEMA IF EXISTS {name} CASCADE")

    def _is_of(self, url: sa.URL) -> str:
        return f"application_name = '{url.query['application_name']}'"


def given_databases(url: str) -> Databases:
    """Those of a server that is not ours: XDS_TEST_DATABASE."""
    engine = administration(url)
    with engine.connect() as connection:
        has_citus = connection.scalar(sa.text("SELECT 1 FROM pg_extension WHERE extname = 'citus'"))
    engine.dispose()
    return Schemas(url) if has_citus else Databases(url)


SUPERUSER = "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
"""A condition for ``can``: who may let a database look as if something was in it."""

_VERSION = sa.text("SELECT version_num FROM alembic_version")
_RESTART = sa.text("""
SELECT setval(s.seqrelid::regclass, s.seqstart, false) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
WHERE c.relnamespace = current_schema()::regnamespace
""")


def answers(url: str) -> bool:
    """Whether a database lets somebody in."""
    engine = make_engine(url, connections=1)
    try:
        with engine.connect():
            return True
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()


def administration(server: str) -> sa.Engine:
    """Of what is done to a server itself, in the database that its URL names, or else the one that it always has."""
    url = sa.make_url(server)
    return sa.create_engine(url.set(drivername="postgresql+psycopg", database=url.database or "postgres"))
