"""Peers that could not be authenticated (ITI TF-2: 3.19): each is told of; a flood of one, by its count."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from xds.wire.now_and_then import NowAndThen

Tell = Callable[[str, str], None]
"""Told the peer's address, and why it is a stranger."""

APART_SECONDS = 10.0
"""A peer that fails for the same reason again within this is counted, and told of the next time."""


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
        self._tell, self._seen = tell, NowAndThen(apart_seconds, clock=clock)

    def failed(self, peer: str, problem: BaseException) -> None:
        """Tell of a handshake that failed."""
        reason = reason_of(problem)
        if reason:
            self.tell(peer, reason)

    def tell(self, peer: str, reason: str) -> None:
        """Tell of a peer, unless that was done a short while ago for the same reason."""
        more = self._seen.due((peer, reason))
        if more is not None:
            self._tell(peer, f"{reason}, and {more} times before" if more else reason)
