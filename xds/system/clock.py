"""The clock that records and checkpoints are told by, held against a time server and against itself.

IHE ITI TF-1: 7 (Consistent Time); RFC 5905.  What is wrong is an alert in the audit log, once until it is right again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import ntplib

log = logging.getLogger("xds.system.clock")

JUMP_SECONDS = 2.0
"""A clock that has gone so much more or less far than time has passed was set."""

SECONDS = 3.0
"""The longest that a time server is waited for."""


class Jumps:
    """Notices when the clock is set.  ``wall`` and ``steady`` are seconds of the clock, and of time that passes."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._difference = wall() - steady()

    def since_last(self) -> float:
        """By how many seconds the clock was set since this was asked last; 0 if it was not."""
        difference = self._wall() - self._steady()
        jump, self._difference = difference - self._difference, difference
        return jump if abs(jump) > JUMP_SECONDS else 0.0


class Checked:
    """Compares the clock with a time server's, HOST or HOST:PORT, again and again."""

    def __init__(self, server: str, most_seconds: float, alert: Callable[[str], None]) -> None:
        host, _, port = server.partition(":")
        self._host, self._port, self._most, self._alert = host, int(port or 123), most_seconds, alert
        self._wrong = False

    def step(self) -> float | None:
        """How many seconds the clock is behind the server's; None if that does not answer."""
        try:
            answer = ntplib.NTPClient().request(self._host, version=4, port=self._port, timeout=SECONDS)
        except (ntplib.NTPException, OSError) as problem:
            log.warning("clock.not_checked", extra={"server": self._host, "reason": type(problem).__name__})
            return None
        offset = float(answer.offset)
        wrong = abs(offset) > self._most
        if wrong and not self._wrong:
            self._alert(f"the clock is {offset:+.3f} s from that of the time server {self._host}")
        self._wrong = wrong
        return offset
