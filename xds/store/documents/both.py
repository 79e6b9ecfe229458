"""Two stores of documents as one, while documents move from one to the other (``moving.py``).

What is put goes into the first.  A document is in either, or in both: its name is its content, so it is the same.
Every node of a deployment knows both before any of them writes into the new one: ``server.documents_also``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path

import sqlalchemy as sa

from xds.store.documents.folder import Damaged, NotReachable, Unread, verified
from xds.store.interface import Blobs
from xds.wire.spool import CHUNK_BYTES, Spooled


class Both:
    """The store that is written into, and the one that is read from beside it."""

    def __init__(self, first: Blobs, also: Blobs) -> None:
        self.first, self.also = first, also

    @property
    def staging(self) -> Path:
        return self.first.staging

    @property
    def seals(self) -> bool:
        return self.first.seals

    def put(self, spooled: Spooled) -> None:
        self.first.put(spooled)

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes, checked on the way; where the first store has them damaged they are the other one's.

        Of what is long and in both, some would have been given out before that is seen: it is read twice.
        """
        other, given = Both(self.also, self.first), False
        if size_bytes > CHUNK_BYTES and self._is_damaged_in_first(sha256, size_bytes):
            yield from verified(other.unchecked(sha256, size_bytes), sha256)
            return
        try:
            for chunk in verified(self.unchecked(sha256, size_bytes), sha256):
                given = True
                yield chunk
        except Unread:
            raise
        except Damaged:
            if given:
                raise
            yield from verified(other.unchecked(sha256, size_bytes), sha256)

    def _is_damaged_in_first(self, sha256: str, size_bytes: int) -> bool:
        """Whether both seem to have it, and the first gives back something else."""
        try:
            if not all(store.holding([(sha256, size_bytes)]) == [True] for store in (self.first, self.also)):
                return False
            for _ in self.first.chunks(sha256, size_bytes):
                pass
        except NotReachable:
            return False
        except Damaged:
            return True
        return False

    def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:
        """The bytes from whichever store has them; where one of them ends too early the other goes on.

        The first is looked into again at the end: the document may have been moved meanwhile.
        """
        problems = list[Damaged]()
        for store in (self.first, self.also, self.first):
            try:
                for chunk in store.unchecked(sha256, size_bytes, start):
                    start += len(chunk)
                    yield chunk
            except Damaged as problem:
                problems.append(problem)
            else:
                return
        raise next((one for one in problems if isinstance(one, Unread)), problems[0])

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        found, unreachable = [False] * len(wanted), False
        for store in (self.first, self.also, self.first):
            absent = [number for number, there in enumerate(found) if not there]
            if not absent:
                break
            try:
                for number, there in zip(absent, store.holding([wanted[number] for number in absent]), strict=True):
                    found[number] = there
            except NotReachable:
                unreachable = True
        if unreachable and not all(found):
            raise NotReachable
        return found

    def names(self) -> Iterator[str]:
        """Of what is in both, twice: who moves millions does not keep them in memory."""
        yield from self.first.names()
        yield from self.also.names()

    def listed(self) -> Iterator[tuple[str, float]]:
        yield from self.first.listed()
        yield from self.also.listed()

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:
        try:
            removed = self.first.sweep(engine, now)
        finally:
            also = self.also.sweep(engine, now)
        return removed + also

    def answers(self) -> tuple[bool, ...]:
        return (*self.first.answers(), *self.also.answers())

    def remove(self, sha256: str, before: float = inf) -> bool:
        gone = self.first.remove(sha256, before)
        return self.also.remove(sha256, before) and gone
