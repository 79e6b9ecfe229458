"""Peers that could not be authenticated (ITI TF-2: 3.19): each is told of; a flood of one, by its count."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable

Tell = Callable[[str, str], None]
"""Told the peer's address, and why it is a stranger."""

APART_SECONDS = 10.0
"""A peer that fails for the same reason again within this is counted, and told of the next time."""

PEERS = 1000
"""That are remembered."""


def reason_of(problem: BaseException) -> str:
    """Why a TLS handshake failed; empty where nobody tried to be anybody: a port that is looked at, or a lost line."""
    if not isinstance(problem, ssl.SSLError) or isinstance(problem, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ""
    return f"TLS: {getattr(problem, 'reason', None) or type(problem).__name__}"


class Strangers:
    """Safe with threads."""

    def __init__(
        self, tell: Tell, clock: Callable[[], float] = time.monotonic, apart_seconds: float = APART_SECONDS
    ) -> None:
        self._tell, self._clock, self._lock, self._apart = tell, clock, threading.Lock(), apart_seconds
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def failed(self, peer: str, problem: BaseException) -> None:
        """Tell of a handshake that failed."""
        reason = reason_of(problem)
        if reason:
            self.tell(peer, reason)

    def tell(self, peer: str, reason: str) -> None:
        """Tell of a peer, unless that was done a short while ago for the same reason."""
        with self._lock:
            since, more = self._seen.get((peer, reason), (float("-inf"), 0))
            if self._clock() - since < self._apart:
                self._seen[peer, reason] = since, more + 1
                return
            while len(self._seen) >= PEERS:
                self._seen.pop(next(iter(self._seen)))
            self._seen.pop((peer, reason), None)
            self._seen[peer, reason] = self._clock(), 0
        self._tell(peer, f"{reason}, and {more} times before" if more else reason)
