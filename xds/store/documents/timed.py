"""A store of documents, and what it is told of how long it takes and of what it does not do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa

from xds.store.interface import Blobs
from xds.wire.spool import Spooled

Told: TypeAlias = Callable[[str, float, bool], None]
"""Told an operation, the seconds that it took, and whether it was done."""


class Timed:
    """The same store."""

    def __init__(self, blobs: Blobs, told: Told) -> None:
        self._blobs, self._told = blobs, told

    @property
    def staging(self) -> Path:
        return self._blobs.staging

    @property
    def seals(self) -> bool:
        return self._blobs.seals

    def put(self, spooled: Spooled) -> None:
        with self._timed("put"):
            self._blobs.put(spooled)

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        return self._read(self._blobs.chunks(sha256, size_bytes))

    def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:
        return self._read(self._blobs.unchecked(sha256, size_bytes, start))

    def _read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The bytes; the time is that until the first come, since the rest goes as fast as they are taken."""
        with self._timed("read"):
            first = next(chunks, None)
        if first is None:
            return
        yield first
        started = time.monotonic()
        try:
            yield from chunks
        except Exception:
            self._told("read", time.monotonic() - started, False)
            raise

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        with self._timed("look"):
            return self._blobs.holding(wanted)

    def names(self) -> Iterator[str]:
        return self._blobs.names()

    def listed(self) -> Iterator[tuple[str, float]]:
        return self._blobs.listed()

    def answers(self) -> tuple[bool, ...]:
        started = time.monotonic()
        found = self._blobs.answers()
        self._told("look", time.monotonic() - started, all(found))
        return found

    def remove(self, sha256: str, before: float = inf) -> bool:
        with self._timed("remove"):
            return self._blobs.remove(sha256, before)

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:
        with self._timed("sweep"):
            return self._blobs.sweep(engine, now)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        started, done = time.monotonic(), False
        try:
            yield
            done = True
        finally:
            self._told(operation, time.monotonic() - started, done)
