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
"""Who starts after such a part of ``queue_seconds`` has hardly waited.  A flood begins when for so long nobody did who
started, and is over when for so long everybody did."""


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
        self.is_flooded = False
        self._otherwise: float | None = None  # since when those who start show the contrary of it
        self._started = -math.inf  # when the last one did

    @property
    def waiting(self) -> int:
        """Requests that have not started."""
        return sum(map(len, self._waiting.values()))

    def enter(self, peer: str, who: T, start: Callable[[], None]) -> bool:
        """Start a request now, or when a place is the peer's; False when it may not even wait."""
        if peer not in self._waiting and self.places.enter(peer):
            self._note(0.0)
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
            # Who only waits for one of their own places, while there are others, tells of no flood.
            self._note(0.0 if self.places.free else time.monotonic() - one.since)
            if started in self._waiting:
                self._waiting.move_to_end(started)
            one.start()

    def keeps_waiting(self, seconds: float) -> bool:
        """Whether somebody has waited longer, and could not have started beside what others have."""
        before = time.monotonic() - seconds
        return not self.places.free and any(queue[0].since < before for queue in self._waiting.values())

    def _note(self, waited: float) -> None:
        """See by somebody who starts whether there is a flood: more comes than can be done, and it is no burst.

        Then nobody waits for long: what is carried out is carried out soon, and the rest is told to come again
        (controlled delay: RFC 8289 goes by the time that was waited, too).  Where nobody starts at all, as while the
        disk or the database stands still, nobody is turned away for it.
        """
        now, late = time.monotonic(), waited >= min(self.queue_seconds, self.wait_seconds) * SOON
        lull, self._started = now - self._started > FLOOD_SECONDS and not late, now
        if self.queue_seconds >= self.wait_seconds or late == self.is_flooded:
            self._otherwise = None
        elif lull or (self._otherwise is not None and now - self._otherwise > FLOOD_SECONDS):
            self.is_flooded, self._otherwise = late, None
        elif self._otherwise is None:
            self._otherwise = now

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
