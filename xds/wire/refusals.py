"""What is refused for the sake of others: counted by reason, logged once in a while, and told to who is refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import StrEnum

from xds.wire.now_and_then import NowAndThen

log = logging.getLogger("xds.wire.refusals")

APART_SECONDS = 60.0
"""Between two log lines about the same reason."""

RETRY_SECONDS = 5


class Reason(StrEnum):
    """Why; the label of ``xds_refused``."""

    HEAD = "head"  # of a request: too long, or too many lines
    HANDSHAKES = "handshakes"  # too many are open, and this one was the oldest
    CONNECTIONS = "connections"  # likewise
    PLACES = "places"  # all threads that this peer may have were busy for too long
    MEMORY = "memory"  # of the bodies that are held at once
    STREAMS = "streams"  # of documents or images that are given at once
    QUOTA = "quota"  # of records or bytes that one peer may bring in a day
    DISK = "disk"  # less of it is free than is kept for the audit log
    DATABASE = "database"  # it does not answer
    SLOW = "slow"  # under the least rate, or silent
    TOO_LONG_UNDER_WAY = "too-long-under-way"  # over the longest time for one request


class Refusals:
    """Safe with threads."""

    def __init__(self, count: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._told = count, NowAndThen(APART_SECONDS, clock=clock)

    def __call__(self, reason: Reason, peer: str = "") -> None:
        """Count one more, and tell of it unless that was done a short while ago."""
        if self._count is not None:
            self._count(reason)
        more = self._told.due(reason)
        if more is not None:
            log.warning("peer.refused", extra={"reason": str(reason), "peer": peer, "before": more})


def reply(status: str, body: bytes, *, retry: bool, content_type: str = "text/plain; charset=utf-8") -> bytes:
    """A whole HTTP reply, for who is refused before there was a request to answer."""
    again = f"Retry-After: {RETRY_SECONDS}\r\n" if retry else ""
    return (
        f"HTTP/1.1 {status}\r\nConnection: close\r\n{again}"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


HEAD_TOO_LONG = reply("431 Request Header Fields Too Large", b"the header is too long\n", retry=False)
