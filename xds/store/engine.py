"""The database connection: SQLite or PostgreSQL, the same promises from both.

SQLite: one writer, WAL, every commit synced.  PostgreSQL: as the server is set, which syncs.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from xds.errors import Unusable
from xds.store.turns import Turns

# SQLSTATE of PostgreSQL: serialization_failure, deadlock_detected.
_BROKEN_OFF = ("40001", "40P01")

# Classes and codes of SQLSTATE: connection exceptions, a server that stops or starts, one that has no place or only
# reads, as a primary does that is none any more.
_AWAY = ("08", "57P", "53300", "25006")
_NO_LOCK = "55P03"

PAUSES = (0.02, 0.1, 0.5)
"""Seconds before a transaction that the database broke off is begun again."""

FRESH_SECONDS = 2.0
"""How long a connection to PostgreSQL is taken to be there without being asked."""

THRESHOLD = "prepare_threshold"
"""psycopg's own: after how many times a statement is prepared."""

CONNECT_SECONDS = 5
"""How long a server of PostgreSQL may take to be reached, unless the URL says otherwise by ``connect_timeout``."""

BUSY_SECONDS, AGAIN_SECONDS = 30.0, 0.001
"""How long a SQLite writer waits for the one before it, and between two looks whether it has ended."""


def make_engine(url: str, *, connections: int = 32) -> sa.Engine:
    """An engine; to be made after the fork, in the process that uses it.

    Raises:
        Unusable: the URL is of neither database, or cannot be read.
    """
    if url.startswith("sqlite:///"):
        return _sqlite(url, connections)
    if url.startswith(("postgresql:", "postgresql+psycopg:", "postgres:")):
        where, given = _postgresql(url)
        engine = sa.create_engine(
            where, pool_size=connections, max_overflow=0, hide_parameters=True, connect_args=given
        )  # fmt: skip
        _asked_after_a_while(engine)
        return engine
    raise Unusable("server.database must be a sqlite:/// or postgresql:// URL")


def _postgresql(url: str) -> tuple[sa.URL, dict[str, Any]]:
    """Where it is, and what the driver is told: ``prepare_threshold=none`` where a pooler gives each transaction
    another connection, and does not keep what was prepared on the last one.

    Raises:
        Unusable: the threshold is no number.
    """
    where = sa.make_url("postgresql+psycopg:" + url.split(":", 1)[1])
    given: dict[str, Any] = {} if "connect_timeout" in where.query else {"connect_timeout": CONNECT_SECONDS}
    threshold = where.query.get(THRESHOLD)
    if threshold is None:
        return where, given
    if threshold != "none" and not (isinstance(threshold, str) and threshold.isdecimal()):
        raise Unusable(f"server.database: {THRESHOLD} must be none, or after how many times a statement is prepared")
    given[THRESHOLD] = None if threshold == "none" else int(threshold)
    return where.difference_update_query([THRESHOLD]), given


def _asked_after_a_while(engine: sa.Engine) -> None:
    """See that a connection is still there, when it was not used for a while.

    Asking each time is a round trip more of every request; one that has just been used is nearly always there, and
    where it is not, all that are kept are let go of.
    """

    @sa.event.listens_for(engine, "checkin")
    def left(_connection: Any, record: Any) -> None:
        record.info["left"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def taken(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("left", time.monotonic()) < FRESH_SECONDS:
            return
        try:
            there = engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            there = False
        if not there:
            raise sa.exc.DisconnectionError  # another is made


def _sqlite(url: str, connections: int) -> sa.Engine:
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,  # rows hold patient data
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        _to_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
            connection.execute(f"PRAGMA {pragma}")
        # LIKE is case-sensitive in stored queries, as it is on PostgreSQL.
        connection.execute("PRAGMA case_sensitive_like=ON")

    _in_turn(engine)
    return engine


def _in_turn(engine: sa.Engine) -> None:
    """Begin transactions, those that write one after the other: SQLite's own waiting is no queue."""
    turns, writing = Turns(), set[int]()
    dialect: Any = engine.dialect
    commit, roll_back = dialect.do_commit, dialect.do_rollback

    def ended(driver_connection: object) -> None:
        if id(driver_connection) in writing:
            writing.remove(id(driver_connection))
            turns.give()

    def then_ended(end: Callable[[Any], None]) -> Callable[[Any], None]:
        def do(connection: Any) -> None:
            try:
                end(connection)
            finally:
                ended(connection.driver_connection)

        return do

    dialect.do_commit, dialect.do_rollback = then_ended(commit), then_ended(roll_back)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql("BEGIN")
            return
        in_turn, driver_connection = turns.take(BUSY_SECONDS), connection.connection.driver_connection
        if in_turn:
            writing.add(id(driver_connection))
        try:
            _begin_to_write(driver_connection)
        except sqlite3.Error as problem:
            ended(driver_connection)
            raise sa.exc.OperationalError("BEGIN IMMEDIATE", None, problem) from None
        except BaseException:
            ended(driver_connection)
            raise

    @sa.event.listens_for(engine, "checkin")
    @sa.event.listens_for(engine, "close")
    @sa.event.listens_for(engine, "invalidate")
    def left(driver_connection: object, *_: object) -> None:
        """Whatever became of its transaction."""
        ended(driver_connection)


def _begin_to_write(connection: Any) -> None:
    """Begin when no other process writes: asked again soon, where SQLite would sleep for longer each time."""
    deadline = time.monotonic() + BUSY_SECONDS
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as problem:
                if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")


def _to_wal(connection: Any) -> None:
    """Write ahead, as it is noted in the file once for all; SQLite does not wait for a lock here as elsewhere."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:  # another process is making its first tables
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def broken_off(problem: BaseException, *, or_lost: bool = False) -> bool:
    """Whether the database ended a transaction for another's sake, and it may succeed when begun again.

    ``or_lost``: or the connection was lost, of a transaction that was not being committed.
    """
    if not isinstance(problem, sa.exc.DBAPIError):
        return False
    return getattr(problem.orig, "sqlstate", None) in _BROKEN_OFF or (or_lost and problem.connection_invalidated)


def away(problem: BaseException) -> bool:
    """Whether the database does not answer now, or has no place: it may be tried again soon."""
    if isinstance(problem, sa.exc.TimeoutError):
        return True
    if not isinstance(problem, sa.exc.DBAPIError):
        return False
    if isinstance(problem.orig, sqlite3.Error):
        code = getattr(problem.orig, "sqlite_errorcode", 0)  # Python's own errors have none
        return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    state = getattr(problem.orig, "sqlstate", None)
    if state is None:  # the driver's own: no connection, or none any more
        return isinstance(problem, sa.exc.OperationalError) or problem.connection_invalidated
    return problem.connection_invalidated or state.startswith(_AWAY)


def has_waited(problem: BaseException) -> bool:
    """Whether somebody else has had a lock for as long as was waited for it."""
    return getattr(getattr(problem, "orig", None), "sqlstate", None) == _NO_LOCK


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that only reads, and sees one state of the database."""
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect() as connection:
        connection = connection.execution_options(reading=True, **level)
        with connection.begin():
            yield connection


def copy_in(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert many rows, the quickest way that the database has."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sa.insert(table), [dict(zip(columns, row, strict=True)) for row in rows])
        return
    names = ", ".join(f'"{name}"' for name in columns)
    cursor = connection.connection.cursor()
    with cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:  # type: ignore[attr-defined]
        for row in rows:
            copy.write_row(row)
