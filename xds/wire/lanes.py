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

    def __init__(self, name: str, threads: int, share: float) -> None:
        """``threads``: as many as a peer may keep busy that is alone."""
        self.places = Places.alone(threads, share)
        self.pool = ThreadPoolExecutor(self.places.total, name)
        self.pressed = False  # somebody has waited for long
        self._waiting: OrderedDict[str, deque[_Waiting[T]]] = OrderedDict()

    def enter(self, peer: str, who: T, start: Callable[[], None]) -> None:
        """Start a request now, or when a place is the peer's."""
        if peer not in self._waiting and self.places.enter(peer):
            start()
            return
        self._waiting.setdefault(peer, deque()).append(_Waiting(who, start, time.monotonic()))

    def leave(self, peer: str) -> None:
        """A request of the peer's has ended: others may start."""
        self.places.leave(peer)
        while started := next((waiting for waiting in self._waiting if self.places.enter(waiting)), None):
            one = self._waiting[started].popleft()
            self._waiting.move_to_end(started)
            self._forget(started)
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
                yield queue.popleft().who
            self._forget(peer)

    def _forget(self, peer: str) -> None:
        if not self._waiting[peer]:
            del self._waiting[peer]
