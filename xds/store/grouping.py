"""Units of work that come at the same time share one commit: what it costs to be durable is paid once for all.

On SQLite, which has one writer: each unit is a savepoint of one transaction, taken by turns.  A unit that fails is
undone alone.  A transaction is committed when nobody waits for a turn, or enough is in it; a unit is done when that
commit is.

On PostgreSQL units that lock patients stay alone: in another's transaction one would hold its locks for longer and in
another order; what locks nothing, the audit records of queries, is inserted together.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from xds.store.statements import Asked, commit_with
from xds.store.turns import Turns

MOST, SECONDS = 64, 0.05
"""Units of one commit; for how long a transaction takes in others before it is committed."""

WAIT_SECONDS = 60.0
"""How long a unit waits for its turn: as long as many others take that each wait for another process."""


class _Batch:
    """A transaction that is open, and who is told when it is committed."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection, self.begun, self.units = connection, time.monotonic(), 0
        self.driver: Any = connection.connection.driver_connection
        self.done: Future[None] = Future()

    def execute(self, text: str) -> None:
        """What ends or begins a unit.

        Raises:
            sqlalchemy.exc.OperationalError: the database does not do it.
        """
        try:
            self.driver.execute(text)
        except sqlite3.Error as problem:
            raise sa.exc.OperationalError(text, None, problem) from None


class Unit:
    """One unit of work in a shared transaction: to be committed or closed, once."""

    def __init__(self, group: Group, batch: _Batch) -> None:
        self._group, self._batch, self._open = group, batch, True
        batch.execute("SAVEPOINT unit")

    @property
    def connection(self) -> sa.Connection:
        return self._batch.connection

    def commit(self) -> None:
        """Return when it is durable.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it is not; nothing of it is there.
        """
        assert self._open  # noqa: S101  a fault of ours
        self._open = False
        try:
            self._batch.execute("RELEASE unit")
        except BaseException as problem:
            self._group.leave(self._batch, broken=problem)
            raise
        self._batch.units += 1
        self._group.leave(self._batch)
        self._batch.done.result()

    def close(self) -> None:
        """Undo it, unless it is committed."""
        if not self._open:
            return
        self._open = False
        try:
            self._batch.driver.execute("ROLLBACK TO unit")
            self._batch.execute("RELEASE unit")
        except BaseException as problem:  # the database has ended the whole transaction
            self._group.leave(self._batch, broken=problem)
        else:
            self._group.leave(self._batch)


class Group:
    """The shared transactions of one engine.  Safe with threads."""

    def __init__(self, engine: sa.Engine, *, most: int = MOST, seconds: float = SECONDS) -> None:
        self._engine, self._most, self._seconds = engine, most, seconds
        self._turns, self._lock, self._waiting = Turns(), threading.Lock(), 0
        self._batch: _Batch | None = None

    def join(self) -> Unit:
        """Begin a unit of work, when it is one's turn.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database cannot be written, or others have kept it for too long.
        """
        self._count(1)
        try:
            in_turn = self._turns.take(WAIT_SECONDS)
        finally:
            self._count(-1)
        if not in_turn:
            self._end_what_was_left_to_us()
            raise sa.exc.TimeoutError("the database is being written by others")
        try:
            batch = self._batch = self._batch or self._begun()
            return Unit(self, batch)
        except BaseException as problem:
            try:
                if self._batch is not None:
                    self._end(self._batch, broken=problem)
            finally:
                self._turns.give()
            raise

    def _end_what_was_left_to_us(self) -> None:
        """Who leaves may see somebody wait who gives up just then: then whichever of the two is last commits."""
        if self._batch is not None and not self._waits() and self._turns.take(0):
            try:
                if self._batch is not None:
                    self._end(self._batch, broken=None)
            finally:
                self._turns.give()

    def leave(self, batch: _Batch, *, broken: BaseException | None = None) -> None:
        """End one's turn; the last who is waited for by nobody commits for all."""
        try:
            broken = broken or _lost(batch)
            if broken is not None or self._is_full(batch):
                self._end(batch, broken=broken)
        finally:
            self._turns.give()
        self._end_what_was_left_to_us()

    def _is_full(self, batch: _Batch) -> bool:
        late = time.monotonic() - batch.begun > self._seconds
        return late or batch.units >= self._most or not self._waits()

    def _waits(self) -> bool:
        with self._lock:
            return self._waiting > 0

    def _end(self, batch: _Batch, *, broken: BaseException | None) -> None:
        """Commit for all, or undo all: each of them hears which it was, whatever else goes wrong."""
        self._batch = None
        try:
            try:
                (batch.connection.rollback if broken is not None else batch.connection.commit)()
            except BaseException as problem:
                broken = problem
                batch.connection.invalidate()  # whether it has a transaction open is not known
            finally:
                batch.connection.close()
        finally:
            if broken is None:
                batch.done.set_result(None)
            else:
                batch.done.set_exception(broken)

    def _begun(self) -> _Batch:
        connection = self._engine.connect()
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return _Batch(connection)

    def _count(self, more: int) -> None:
        with self._lock:
            self._waiting += more


def _lost(batch: _Batch) -> BaseException | None:
    """What has ended the transaction before its commit: SQLite does that of itself when a disk is full."""
    return (
        None
        if batch.driver.in_transaction
        else sa.exc.OperationalError("", None, Exception("the transaction was lost"))
    )


@dataclass(slots=True)
class _Waiting:
    rows: Sequence[Asked]
    done: Future[None] = field(default_factory=Future)
    leads: bool = False


class Batches:
    """Rows that lock nothing: what comes while others are being committed goes in the next commit.  Safe with threads.

    Whoever comes when nobody commits does so for all that wait, and then lets the first who has come meanwhile do it.
    """

    def __init__(self, engine: sa.Engine, commit: Callable[..., None] = commit_with) -> None:
        self._engine, self._commit_with, self._lock = engine, commit, threading.Condition()
        self._waiting: list[_Waiting] = []
        self._led = False

    def add(self, rows: Sequence[Asked]) -> None:
        """Return when they are durable.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: they are not, or nobody knows, as the connection was lost at the commit.
        """
        mine = _Waiting(rows)
        with self._lock:
            self._waiting.append(mine)
            if not self._led:
                self._led = mine.leads = True
            else:
                self._lock.wait_for(lambda: mine.leads or mine.done.done())
        if mine.leads:
            self._lead()
        mine.done.result()

    def _lead(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            self._commit(batch)
        finally:
            with self._lock:
                self._led = bool(self._waiting)
                if self._led:
                    self._waiting[0].leads = True
                self._lock.notify_all()

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            self._write([row for one in batch for row in one.rows])
        except BaseException as problem:
            # Of what is wrong with rows themselves only who has sent them hears; nothing else is tried again: it may
            # have been committed, and nobody who comes later is to wait for as many tries.
            if len(batch) > 1 and isinstance(problem, sa.exc.IntegrityError | sa.exc.DataError):
                for one in batch:
                    self._commit([one])
                return
            for one in batch:
                one.done.set_exception(problem)
            return
        for one in batch:
            one.done.set_result(None)

    def _write(self, rows: Sequence[Asked]) -> None:
        with self._engine.connect() as connection:
            self._commit_with(connection, *rows)
