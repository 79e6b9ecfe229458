"""What happens often and is told now and then: at once, and then with how often it was meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Lock

MOST = 1000
"""Things that are remembered; the one that was told first is forgotten."""


class NowAndThen:
    """Each thing apart.  Safe with threads."""

    def __init__(self, apart_seconds: float, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._apart, self._most, self._clock = apart_seconds, most, clock
        self._lock, self._told = Lock(), dict[Hashable, tuple[float, int]]()

    def due(self, thing: Hashable) -> int | None:
        """Once more: how often it was since it was told last, where it is to be told now; else None."""
        with self._lock:
            since, more = self._told.get(thing, (float("-inf"), 0))
            if self._clock() - since < self._apart:
                self._told[thing] = since, more + 1
                return None
            self._told.pop(thing, None)
            while len(self._told) >= self._most:
                self._told.pop(next(iter(self._told)))
            self._told[thing] = self._clock(), 0
            return more

    def __len__(self) -> int:
        return len(self._told)
