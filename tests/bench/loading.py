"""Many documents into a registry's tables, past the server: built by processes beside the one that writes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

from tests.bench import rows
from tests.bench.documents import Document
from tests.bench.templates import rows_of
from xds.system.parent import ends_with_us

BATCH = 5_000
"""Submissions that are built, and written, at once."""

SAID_SECONDS = 10.0
"""How often it is said how far the loading is."""

Batch = Sequence[tuple[Document, int]]
"""Documents, each with its patient's key."""

Rows = dict[str, list[tuple[Any, ...]]]
"""Rows by where they go."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load took, in all its runs: until everything was committed, and until it was vacuumed and on disk."""

    documents: int
    writing_seconds: float
    seconds: float


def load(url: str, documents: Sequence[Document]) -> Loaded:
    """Write the documents' submissions and make their patients known; what follows such a load is done, too.

    One that was stopped goes on behind its last commit.
    """
    keys = rows.add_patients(url, 1 + max(one.patient for one in documents))
    batches = _batches(documents, keys)
    with _Progress(url, documents[0].number) as progress:
        written = write(url, _said(_built(batches[progress.batches :]), progress.batches), progress)
    return Loaded(len(documents), written.writing_seconds, written.seconds)


class _Progress:
    """How far a load is, committed with each of its batches; gone when it has ended."""

    def __init__(self, url: str, first: int) -> None:
        self._url, self._first, self.batches, self.seconds = url, first, 0, 0.0

    def __enter__(self) -> Self:
        with rows.raw(self._url) as (connection, _):
            connection.execute(
                "CREATE TABLE IF NOT EXISTS bench_progress (first bigint, batches bigint, seconds float)"
            )
            asked = f"SELECT batches, seconds FROM bench_progress WHERE first = {self._first}"  # noqa: S608
            for batches, seconds in connection.execute(asked).fetchall():
                self.batches, self.seconds = batches, seconds
            connection.commit()
        return self

    def note(self, cursor: Any, seconds: float) -> None:
        """A batch more, after so many seconds of this run."""
        self.batches += 1
        cursor.execute(f"DELETE FROM bench_progress WHERE first = {self._first}")  # noqa: S608
        values = f"({self._first}, {self.batches}, {self.seconds + seconds})"
        cursor.execute(f"INSERT INTO bench_progress VALUES {values}")  # noqa: S608

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            with rows.raw(self._url) as (connection, _):
                connection.execute("DROP TABLE bench_progress")
                connection.commit()


def built(documents: Sequence[Document], keys: Sequence[int]) -> list[Rows]:
    """All rows of documents, whose patients have these keys, in memory."""
    return list(_built(_batches(documents, keys)))


def _batches(documents: Sequence[Document], keys: Sequence[int]) -> list[Batch]:
    paired = [(one, keys[one.patient]) for one in documents]
    return [paired[start : start + BATCH] for start in range(0, len(paired), BATCH)]


def write(url: str, batches: Iterable[Rows], progress: _Progress | None = None) -> Loaded:
    """Write rows, a commit a batch, and do what follows a load: statistics, and what is written is on disk."""
    began, documents = time.perf_counter(), 0
    before = progress.seconds if progress else 0.0
    with rows.raw(url) as (connection, dialect):
        cursor = connection.cursor()
        if dialect == "sqlite":
            cursor.execute("PRAGMA synchronous=OFF")
            cursor.execute("PRAGMA cache_size=-1000000")
        for made in batches:
            cursor.execute(rows.begin(dialect))
            for where, listed in made.items():
                rows.put(cursor, dialect, where, listed)
            if progress:
                progress.note(cursor, time.perf_counter() - began)
            cursor.execute("COMMIT")
            documents += BATCH
        writing = before + time.perf_counter() - began
        if dialect == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute("ANALYZE")
        else:
            connection.autocommit = True
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
    os.sync()  # or what is measured waits for the disk with what is still to be written
    return Loaded(documents, writing, before + time.perf_counter() - began)


def size_bytes(url: str) -> int:
    """Of a PostgreSQL's database, indexes and all."""
    with rows.raw(url) as (connection, _):
        return int(connection.execute("SELECT pg_database_size(current_database())").fetchone()[0])


def _said(batches: Iterable[Rows], first: int) -> Iterator[Rows]:
    """The same, saying on the way how many documents are loaded where that takes long."""
    said = time.monotonic()
    for count, batch in enumerate(batches, first):
        if time.monotonic() > said + SAID_SECONDS:
            said = time.monotonic()
            print(f"{count * BATCH:,}", file=sys.stderr, end=" ", flush=True)
        yield batch


def _built(batches: Sequence[Batch]) -> Iterator[Rows]:
    """The rows of each batch in turn."""
    if len(batches) <= 2:  # sooner done than processes are started
        yield from map(_build, batches)
        return
    processes, ahead = os.cpu_count() or 1, deque[Future[Rows]]()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for batch in batches:
            ahead.append(pool.submit(_build, batch))
            if len(ahead) > processes:  # no further, or memory fills with rows
                yield ahead.popleft().result()
        yield from (one.result() for one in ahead)


def _build(batch: Batch) -> Rows:
    ends_with_us()
    made: Rows = {}
    for one, key in batch:
        for where, values in rows_of(one, key):
            made.setdefault(where, []).append(values)
    return made
