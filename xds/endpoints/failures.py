"""Records of failures that one peer may bring about in a minute; after these they are counted, in one record.

Who sends nonsense as fast as it can would else fill the audit log, and hide in it what it is really after.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xds.store.audit.records import Recorded

log = logging.getLogger("xds.endpoints.failures")

WINDOW_SECONDS = 60.0

PEERS = 10_000
"""That are remembered; the one that was seen first is forgotten."""

Tell = Callable[[str, str], None]
"""Records what is said of a peer."""


@dataclass(slots=True)
class _Window:
    since: float
    seen: int = 0


class Failures:
    """Safe with threads.  ``tell`` makes the one record: when counting begins, and when the minute is over."""

    def __init__(self, most: int, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._tell, self._clock = most, tell, clock
        self._lock, self._windows = threading.Lock(), dict[str, _Window]()

    def kept(self, peer: str, records: Sequence[Recorded]) -> Sequence[Recorded]:
        """The records of a request of a peer's that failed, or none where it is counted only."""
        with self._lock:
            window = self._windows.get(peer)
            if window is None or self._clock() - window.since >= WINDOW_SECONDS:
                while len(self._windows) >= PEERS:
                    self._windows.pop(next(iter(self._windows)))
                window = self._windows[peer] = _Window(self._clock())
            window.seen += 1
            begins = window.seen == self._most + 1
        if window.seen <= self._most:
            return records
        if begins:
            said = f"more than {self._most} failures within a minute: from here on they are counted"
            self._later(0.0, self._said, peer, said)
            self._later(WINDOW_SECONDS, self._over, peer, window)
        return ()

    def _later(self, seconds: float, what: Callable[..., None], *given: object) -> None:
        """In a thread: whoever asks may hold the database's only place to write."""
        timer = threading.Timer(seconds, what, given)
        timer.daemon = True
        timer.start()

    def _over(self, peer: str, window: _Window) -> None:
        self._said(peer, f"{window.seen - self._most} more failures were counted within a minute")

    def _said(self, peer: str, text: str) -> None:
        log.warning("audit.failures_counted", extra={"peer": peer, "said": text})
        try:
            self._tell(peer, text)
        except Exception:
            log.exception("audit.not_recorded")
