"""Threads for requests of one kind, and the peers that share them."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from xds.wire.places import Places

T = TypeVar("T")

SOON, FLOOD_SECONDS = 0.5, 1.0
"""Who starts after such a part of ``queue_seconds`` has hardly waited; and for how long nobody has in a flood."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    who: T
    start: Callable[[], None]
    since: float


class Lane(Generic[T]):
    """Requests start as their peers have places; the others wait, and peers that wait take turns.

    For the event loop's thread alone.
    """

    def __init__(
        self, name: str, threads: int, share: float, waiting: Places, *, wait_seconds: float = 30.0,
        queue_seconds: float = math.inf,
    ) -> None:  # fmt: skip
        """``threads``: as many as a peer may keep busy that is alone; ``waiting``: places to wait, of several lanes.

        ``wait_seconds``: as long as may be waited; ``queue_seconds``: instead, where it is less, in a flood.
        """
        self.wait_seconds, self.queue_seconds = wait_seconds, queue_seconds
        self.name, self.places = name, Places.alone(threads, share)
        self.pool = ThreadPoolExecutor(self.places.total, name)
        self.pressed = False  # somebody has waited for long
        self._places_to_wait = waiting
        self._waiting: OrderedDict[str, deque[_Waiting[T]]] = OrderedDict()
        self._late: float | None = None  # since when all who start have waited

    @property
    def waiting(self) -> int:
        """Requests that have not started."""
        return sum(map(len, self._waiting.values()))

    def enter(self, peer: str, who: T, start: Callable[[], None]) -> bool:
        """Start a request now, or when a place is the peer's; False when it may not even wait."""
        if peer not in self._waiting and self.places.enter(peer):
            self._late = None
            start()
            return True
        if not self._places_to_wait.enter(peer):
            return False
        self._waiting.setdefault(peer, deque()).append(_Waiting(who, start, time.monotonic()))
        return True

    def leave(self, peer: str) -> None:
        """A request of the peer's has ended: others may start."""
        self.places.leave(peer)
        while started := next((waiting for waiting in self._waiting if self.places.enter(waiting)), None):
            one = self._next(started)
            now = time.monotonic()
            if now - one.since < self.queue_seconds * SOON:
                self._late = None
            elif self._late is None:
                self._late = now
            if started in self._waiting:
                self._waiting.move_to_end(started)
            one.start()

    def keeps_waiting(self, seconds: float) -> bool:
        """Whether somebody has waited longer, and could not have started beside what others have."""
        before = time.monotonic() - seconds
        return not self.places.free and any(queue[0].since < before for queue in self._waiting.values())

    @property
    def is_flooded(self) -> bool:
        """Whether everybody who has started for a while had waited: more comes than can be done, and it is no burst.

        Then nobody waits for long: what is carried out is carried out soon, and the rest is told at once to come again
        (controlled delay: RFC 8289 goes by the time that was waited, too).  Where nobody starts at all, as while the
        disk or the database stands still, nobody is turned away for it.
        """
        if self._late is None or self.queue_seconds >= self.wait_seconds:
            return False
        return time.monotonic() - self._late > FLOOD_SECONDS

    def is_pressed_by(self, peer: str) -> bool:
        """Whether others wait for what this peer has: more than one place."""
        return self.pressed and self.places.held(peer) > 1

    def overdue(self) -> Iterator[T]:
        """Who has waited for longer than may be, and waits no more."""
        before = time.monotonic() - (self.queue_seconds if self.is_flooded else self.wait_seconds)
        for peer, queue in list(self._waiting.items()):
            while queue and queue[0].since < before:
                yield self._next(peer).who

    def _next(self, peer: str) -> _Waiting[T]:
        """The first of a peer's that wait; it waits no more."""
        queue = self._waiting[peer]
        one = queue.popleft()
        if not queue:
            del self._waiting[peer]
        self._places_to_wait.leave(peer)
        return one
