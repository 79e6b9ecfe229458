"""One unit of work: what a request writes, in one database transaction, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from xds.metadata.visible import FULL, Access
from xds.store.acknowledged import EVERYBODY, counting
from xds.store.documents.folder import DocumentTable
from xds.store.engine import away, has_waited, reading
from xds.store.grouping import Batches, Group, Unit
from xds.store.interface import Blobs
from xds.store.registry.sql_registry import SqlRegistry, locking
from xds.store.replicas import Replicas
from xds.store.statements import Asked, at_once, commit_with
from xds.wire.peers import served

SETTLE_SECONDS, AGAIN_SECONDS = 20.0, 0.2
"""How long a database that was lost at a commit is waited for, and between two tries."""


class NotKnown(Exception):
    """A database was lost at a commit, and did not come back in time to say whether it has done it."""


class Database:
    """A deployment's database and document store, as one process sees them."""

    def __init__(
        self, engine: sa.Engine, blobs: Blobs, domain: str, repository_unique_id: str,
        shared: Group | Batches | None = None, replicas: Replicas | None = None, *, counts: bool = False,
    ) -> None:  # fmt: skip
        """``shared``: units of work share commits, or those that only record something do; each has its own without.

        ``replicas`` answer what peers ask, where these or other nodes' do: it is counted (``counts``) what peers are
        acknowledged.
        """
        self.engine, self.blobs = engine, blobs
        self.group = shared if isinstance(shared, Group) else None
        self.batches = shared if isinstance(shared, Batches) else None
        self.domain, self.repository_unique_id = domain, repository_unique_id
        self.replicas, self.counts = replicas, counts

    def work(self, access: Access = FULL) -> Work:
        """A unit of work, in which the registry has what somebody may see and change."""
        return Work(self, access)


class Work:
    """A transaction that begins when it is first written in, and ends where its owner says."""

    def __init__(self, database: Database, access: Access = FULL) -> None:
        self.database, self.access = database, access
        self._connection: sa.Connection | None = None
        self._unit: Unit | None = None
        self.touched: dict[str, set[int]] = {}
        """Documents that were deprecated, removed or given another version, by uniqueId, with their patients' keys."""
        self.locked: set[str] = set()

    @property
    def connection(self) -> sa.Connection:
        if self._connection is None:
            if self.database.group is not None:
                self._unit = self.database.group.join()
                self._connection = self._unit.connection
            else:
                self._connection = self.database.engine.connect()
                self._connection.begin()
        return self._connection

    @property
    def has_begun(self) -> bool:
        """Whether anything has been written."""
        return self._connection is not None

    @property
    def registry(self) -> SqlRegistry:
        """The registry, to be written in this unit of work."""
        return SqlRegistry(
            self.connection, self.database.domain, access=self.access, touched=self.touched, locked=self.locked
        )

    @property
    def documents(self) -> DocumentTable:
        """The repository's rows, to be written in this unit of work."""
        return DocumentTable(self.connection, self.database.repository_unique_id)

    @contextmanager
    def reading(self) -> Iterator[tuple[SqlRegistry, DocumentTable]]:
        """Registry and repository as they are now, to be read only."""
        with reading(self.database.engine) as connection:
            yield self._read(connection)

    @contextmanager
    def asking(self) -> Iterator[tuple[SqlRegistry, DocumentTable]]:
        """The same for a query: as they were when the peer that asks was last acknowledged something, or later."""
        replicas = self.database.replicas
        if replicas is None:
            with self.reading() as both:
                yield both
            return
        with replicas.reading(served()) as connection:
            yield self._read(connection)

    def _read(self, connection: sa.Connection) -> tuple[SqlRegistry, DocumentTable]:
        return (
            SqlRegistry(connection, self.database.domain, seen=self.access, access=self.access),
            DocumentTable(connection, self.database.repository_unique_id),
        )

    @contextmanager
    def apart(self) -> Iterator[DocumentTable]:
        """The repository's rows in a transaction of its own, committed at its end.

        Not while this unit of work has begun to write: SQLite has one writer.
        """
        assert self._connection is None  # noqa: S101  a fault of ours, found by any test
        with self.database.engine.begin() as connection:
            yield DocumentTable(connection, self.database.repository_unique_id)
            if self.database.counts:
                at_once(connection, counting())

    def commit(
        self, *last: Asked, is_there: Callable[[sa.Connection], bool] | None = None, counts: bool = True
    ) -> None:  # fmt: skip
        """Write the last of it, and make it durable.

        ``is_there``: looks whether it is, when the connection was lost meanwhile and nobody knows; ``counts``: it is
        something that the peer may look for.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it is not, and nothing of it is there.
            NotKnown: the database has not come back for long enough to say.
        """
        if self._connection is not None and self.database.counts and counts:
            everybody = (counting(EVERYBODY),) if self.touched else ()  # what was withdrawn is seen by nobody
            last = (counting(), *everybody, *last)
        connection = self.connection if last else self._connection
        if self._unit is not None:
            at_once(self._unit.connection, *last)
            self._unit.commit()
        elif connection is not None:
            try:
                commit_with(connection, *last)
            except BaseException as problem:
                # Whether it has a transaction open now is not known: it is not used again.
                connection.invalidate()
                if is_there is None or not away(problem) or not self._is_settled(is_there):
                    raise
        self.close()

    def _is_settled(self, is_there: Callable[[sa.Connection], bool]) -> bool:
        """Whether what was being committed is there, once nobody can be committing it any more.

        Whoever still is, at the other end of the lost connection, has what this one has locked by name.  Of what has
        locked nothing so it can only be said that it is there.

        Raises:
            NotKnown: the database does not say.
        """
        self._connection = None
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            left = deadline - time.monotonic()
            try:
                with self.database.engine.begin() as connection:
                    if self.locked:
                        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(left * 1000))}")
                        at_once(connection, *locking(sorted(self.locked)))
                    if is_there(connection):
                        return True
                if self.locked:
                    return False
            except sa.exc.SQLAlchemyError as problem:
                if not (away(problem) or has_waited(problem)):
                    raise NotKnown from None
            if left <= 0:
                raise NotKnown
            time.sleep(AGAIN_SECONDS)

    def close(self) -> None:
        """Undo what was not committed."""
        self.touched.clear()
        self.locked.clear()
        if self._unit is not None:
            self._unit.close()
        elif self._connection is not None:
            self._connection.close()
        self._connection = self._unit = None
