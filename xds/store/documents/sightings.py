"""What sweeps have found that no row names, and since when: by a clock that nobody sets.

Bytes are put before the row that names them.  How old they are by the time of day, which is set, and of another machine
where the store is, says nothing sure: what was put a second ago would be taken for a relict.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from bisect import bisect_left

SWEEP_SECONDS = 3600
"""For so long what no row names is left alone."""


_SHIFT, _SHELVES = 56, 256
"""Marks are of 64 bits, and lie by the first eight of them."""


def _shelves() -> list[array[int]]:
    return [array("Q") for _ in range(_SHELVES)]


def elapsed() -> float:
    """Seconds, from some time on."""
    return time.monotonic()


class Sightings:
    """Of one process.  A process that is new has seen nothing, and removes nothing for a while.

    Eight bytes are kept of each, however many there are: of a look that was long enough ago, until another one is.
    """

    def __init__(self) -> None:
        self._before, self._at = _shelves(), float("-inf")

    def look(self, now: float | None = None) -> Look:
        """A look at all that no row names; with ``now`` as ``Look`` has it."""
        return Look(self, now)

    def has(self, mark: int) -> bool:
        """Whether it was seen, and long enough ago."""
        shelf = self._before[mark >> _SHIFT]
        place = bisect_left(shelf, mark)
        seen = place < len(shelf) and shelf[place] == mark
        return seen and elapsed() - self._at >= SWEEP_SECONDS

    def keep(self, marks: list[array[int]]) -> None:
        """What a look has seen, where the last one that is kept is long enough ago."""
        if elapsed() - self._at >= SWEEP_SECONDS:
            for place, shelf in enumerate(marks):
                marks[place] = array("Q", sorted(shelf))  # one after the other: a list of all would be long
            self._before, self._at = marks, elapsed()


class Look:
    """One look; it counts when it has ended."""

    def __init__(self, sightings: Sightings, now: float | None) -> None:
        """``now``: old is what was put long enough before that, by the store's own word."""
        self._sightings, self._now, self._marks = sightings, now, _shelves()

    def is_old(self, name: str, put: float) -> bool:
        """Whether it was there long ago already, and was not put since; ``put`` is when it was put last."""
        if self._now is not None:
            return put < self._now - SWEEP_SECONDS
        mark = int.from_bytes(hashlib.blake2b(f"{name} {put!r}".encode(), digest_size=8).digest(), "big")
        self._marks[mark >> _SHIFT].append(mark)
        return self._sightings.has(mark)

    def end(self) -> None:
        """All was looked at."""
        if self._now is None:
            self._sightings.keep(self._marks)
