"""Threads for requests of one kind, and the peers that share them."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from xds.wire.places import Places

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    who: T
    start: Callable[[], None]
    since: float


class Lane(Generic[T]):
    """Requests start as their peers have places; the others wait, and peers that wait take turns.

    For the event loop's thread alone.
    """

    def __init__(self, name: str, threads: int, share: float, waiting: Places) -> None:
        """``threads``: as many as a peer may keep busy that is alone; ``waiting``: places to wait, of several lanes."""
        self.name, self.places = name, Places.alone(threads, share)
        self.pool = ThreadPoolExecutor(self.places.total, name)
        self.pressed = False  # somebody has waited for long
        self._places_to_wait = waiting
        self._waiting: OrderedDict[str, deque[_Waiting[T]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Requests that have not started."""
        return sum(map(len, self._waiting.values()))

    def enter(self, peer: str, who: T, start: Callable[[], None]) -> bool:
        """Start a request now, or when a place is the peer's; False when it may not even wait."""
        if peer not in self._waiting and self.places.enter(peer):
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
            if started in self._waiting:
                self._waiting.move_to_end(started)
            one.start()

    def keeps_waiting(self, seconds: float) -> bool:
        """Whether somebody has waited longer, and could not have started beside what others have."""
        before = time.monotonic() - seconds
        return not self.places.free and any(queue[0].since < before for queue in self._waiting.values())

    def is_pressed_by(self, peer: str) -> bool:
        """Whether others wait for what this peer has: more than one place."""
        return self.pressed and self.places.held(peer) > 1

    def overdue(self, seconds: float) -> Iterator[T]:
        """Who has waited longer, and waits no more."""
        before = time.monotonic() - seconds
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
