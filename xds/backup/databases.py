"""A database as it is at one moment, in a file; and from such a file again.

SQLite by its own online backup.  PostgreSQL by pg_dump and pg_restore of the server's version or a later one; or its
whole server by pg_basebackup, which reads its files instead of its rows: for a database that takes long to dump.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from xds.backup.layout import CHUNK_BYTES, POSTGRESQL, SERVER, SQLITE, Manifest
from xds.backup.sealing import Recipients, chunks_of
from xds.errors import Unusable
from xds.store.audit.records import head
from xds.store.deployment import nodes_run, noted, version
from xds.store.engine import make_engine, reading
from xds.store.tables import document
from xds.system.durable import sync_file, sync_folder

_ROWS = sa.select(document.c.sha256, document.c.size).distinct().order_by(document.c.sha256)


@dataclass(frozen=True, slots=True)
class Moment:
    """A database at one moment: its numbered audit records, its tables' version, and where to ask it for more.

    ``is_later``: it is asked just after what was written, which has so many records at least.
    """

    records: int
    tables: str
    connection: sa.Connection
    is_later: bool = False


def documents(connection: sa.Connection) -> Iterator[tuple[str, int]]:
    """SHA-256 and size of each document, once, in their order."""
    rows = connection.execution_options(stream_results=True, yield_per=1000).execute(_ROWS)
    yield from ((row.sha256, int(row.size)) for row in rows)


def kind_of(url: str) -> str:
    """The name of the file that a database becomes in a backup."""
    return SQLITE if url.startswith("sqlite") else POSTGRESQL


@contextmanager
def kept(engine: sa.Engine, recipients: Recipients, folder: Path, workspace: Path, name: str = "") -> Iterator[Moment]:
    """Write a database into a folder; and what it was at that moment, for as long as is asked.

    ``workspace``: for what is written in clear on the way.  ``name``: SERVER, or what is usual.

    Raises:
        Unusable: pg_dump is not there, or does not do it.
        OSError: it cannot be written.
    """
    name = name or kind_of(str(engine.url))
    target = folder / recipients.name(name)
    if name == SQLITE:
        plain = workspace / ".database"
        try:
            _copy_sqlite(str(engine.url.database), plain)
            recipients.write(chunks_of(plain), target)
            copied = sa.create_engine(f"sqlite:///{plain}")
            with copied.connect() as connection:
                yield _moment(connection)
            copied.dispose()
        finally:
            plain.unlink(missing_ok=True)
        return
    if name == SERVER:
        # Its log of what was written meanwhile comes with it at the end: wal_keep_size says for how long it is there.
        base = [program("pg_basebackup"), "--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast"]
        with reading(engine) as connection:
            least = head(connection)
        recipients.write(_said([*base, "--no-password"], engine.url, as_a_copy=True), target)
        with reading(engine) as connection:
            yield replace(_moment(connection), records=least, is_later=True)
        return
    with reading(engine) as connection:
        snapshot = str(connection.scalar(sa.select(sa.func.pg_export_snapshot())))
        dump = [program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
        recipients.write(_said(dump, engine.url), target)
        yield _moment(connection)


def _moment(connection: sa.Connection) -> Moment:
    tables = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return Moment(head(connection), str(tables), connection)


def _copy_sqlite(database: str, target: Path) -> None:
    source = sqlite3.connect(f"{Path(database).absolute().as_uri()}?mode=rw", uri=True)
    copy = sqlite3.connect(target)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without what was written ahead
    finally:
        copy.close()
        source.close()


def _said(command: list[str], url: sa.URL, *, as_a_copy: bool = False) -> Iterator[bytes]:
    """What a program of PostgreSQL's writes, of a database; nobody sees the password among what it is given.

    ``as_a_copy``: it asks for the whole server, as a replica does.

    Raises:
        Unusable: it ends otherwise than well.
    """
    with tempfile.TemporaryFile() as told:  # a pipe that nobody reads meanwhile would stop it
        which = [] if as_a_copy else [f"--dbname={url.database}"]
        called, known = [*command, *which], {**os.environ, **_told(url)}
        with subprocess.Popen(called, stdout=subprocess.PIPE, stderr=told, env=known) as process:  # nosec B603
            assert process.stdout is not None  # noqa: S101
            while chunk := process.stdout.read(CHUNK_BYTES):
                yield chunk
        told.seek(0)
        lines = told.read().decode(errors="replace").strip().splitlines()
    if process.returncode:
        raise Unusable(f"{Path(command[0]).name}: {lines[-1] if lines else 'it failed'}")


_ASKED = {
    "user": "PGUSER",
    "password": "PGPASSWORD",  # nosec B105
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}  # fmt: skip
"""Parts of a URL's query, and what PostgreSQL's programs call them."""


def _told(url: sa.URL) -> dict[str, str]:
    """Where a database is, and who asks, as PostgreSQL's programs read it from their environment."""
    more = url.query.get("host", ())
    hosts = [url.host or ""] if url.host else [*((more,) if isinstance(more, str) else more)]
    ports = [str(url.port)] if url.port else [port for _, _, port in (one.partition(":") for one in hosts)]
    said = {
        "PGHOST": ",".join(one.partition(":")[0] for one in hosts), "PGPORT": ",".join(ports),
        "PGUSER": url.username or "", "PGPASSWORD": str(url.password or ""),
        **{name: str(url.query[key]) for key, name in _ASKED.items() if key in url.query},
    }  # fmt: skip
    return {name: value for name, value in said.items() if value.strip(",")}


def program(name: str) -> str:
    """The newest of PostgreSQL's programs of a name.

    Raises:
        Unusable: there is none.
    """
    debians = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda one: float(one.parts[4]))
    found = str(debians[-1]) if debians else shutil.which(name)
    if not found:
        raise Unusable(f"{name} is not installed (Debian's package: postgresql-client)")
    return found


def files_of(url: str) -> list[Path]:
    """The files that a database of SQLite may have."""
    path = url.removeprefix("sqlite:///")
    return [Path(f"{path}{end}") for end in ("", "-wal", "-shm", "-journal")]


def empty(url: str) -> None:
    """See that there is no database yet, or nothing in it.

    Raises:
        Unusable: there is.
    """
    if kind_of(url) == SQLITE:
        for path in files_of(url):  # what was written ahead of another would be read into this one
            if path.exists():
                raise Unusable(f"{path} is there already: a backup is brought back into an empty database")
        return
    engine = make_engine(url, connections=1)
    try:
        if sa.inspect(engine).get_table_names():
            raise Unusable("server.database has tables already: a backup is brought back into an empty database")
    except sa.exc.SQLAlchemyError as problem:
        raise Unusable(f"server.database does not answer: {type(problem).__name__}") from None
    finally:
        engine.dispose()


def is_back(engine: sa.Engine, manifest: Manifest, unique_id: str) -> None:
    """See that a server of PostgreSQL has been brought back, and has what the backup has.

    ``unique_id``: of the deployment's repository.

    Raises:
        Unusable: it does not answer, has something else, or is in use.
    """
    rule = "xds restore --postgresql DIR unpacks it; start PostgreSQL on that"
    try:
        with reading(engine) as connection:
            if version(connection) != manifest.tables or noted(connection, "repository.unique_id") != unique_id:
                raise Unusable(f"server.database has not what is in the backup: {rule}")
            if head(connection) < manifest.records:
                raise Unusable(f"server.database is older than the backup: {rule}")
            if nodes_run(connection):
                raise Unusable("server.database is in use by nodes that run, or did within the last minute")
    except sa.exc.SQLAlchemyError as problem:
        raise Unusable(f"server.database does not answer ({type(problem).__name__}): {rule}") from None


def unpack(file: Path, target: Path) -> None:
    """Make the folder of a server of PostgreSQL, which is empty or not there, from such a file.

    Raises:
        Unusable: it has something in it, or cannot be made.
    """
    try:
        target.mkdir(mode=0o700, exist_ok=True)
        if any(target.iterdir()):
            raise Unusable(f"{target} has something in it already: a server comes back into an empty folder")
        target.chmod(0o700)
        with tarfile.open(file, "r|") as tar:
            tar.extractall(target, filter="data")
    except (OSError, tarfile.TarError) as problem:
        raise Unusable(f"{target}: {problem}") from None


def put_back(file: Path, url: sa.URL) -> None:
    """Make a database, which is empty, from such a file.

    Raises:
        Unusable: pg_restore does not do it.
    """
    if kind_of(str(url)) == SQLITE:
        path = Path(str(url.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, path)
        path.chmod(0o600)
        sync_file(path)
        sync_folder(path.parent)
        return
    restore = [program("pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    for _ in _said([*restore, str(file)], url):
        pass
