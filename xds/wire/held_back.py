"""Who was turned away in a flood, and is told so in a moment.

Who is told at once asks again at once, and what it takes to read and refuse that is taken from those who are served: a
connection that waits for its reply costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")

LEAST_SECONDS, MOST_SECONDS = 0.5, 1.5
"""Each is held for another time between these: who came together does not come back together."""

GOLDEN = 0.6180339887
"""The fractions of its multiples lie evenly between 0 and 1, however many there are."""


class HeldBack(Generic[T]):
    """Those who wait for their refusal.  For the event loop's thread alone."""

    def __init__(self, tell: Callable[[T, bytes], object], most: int) -> None:
        """``most``: of them; before there are more, the next one is told."""
        self._tell, self._most = tell, most
        self._those: list[tuple[float, int, T, bytes]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._those)

    def add(self, who: T, said: bytes) -> None:
        """Hold one back that is to be told this."""
        if len(self._those) >= self._most:
            self._tell_next()
        number = next(self._numbers)
        seconds = LEAST_SECONDS + (MOST_SECONDS - LEAST_SECONDS) * (number * GOLDEN % 1)
        heappush(self._those, (time.monotonic() + seconds, number, who, said))

    def take(self) -> tuple[T, bytes] | None:
        """The one whose time is up first, and what they are to be told; they are held back no more."""
        if not self._those:
            return None
        _, _, who, said = heappop(self._those)
        return who, said

    def tell_due(self, *, everybody: bool = False) -> None:
        """Tell those whose time is up."""
        now = time.monotonic()
        while self._those and (everybody or self._those[0][0] <= now):
            self._tell_next()

    def _tell_next(self) -> None:
        taken = self.take()
        if taken is not None:
            self._tell(*taken)
