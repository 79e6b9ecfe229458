"""Who may be connected to a listener: so many at once, a share for each peer; when it is full the idle give way.

Peers are told apart by a key: of the certificate's public key, else the address.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from xds.wire.now_and_then import NowAndThen

LEAST_SECONDS = 1.0
"""How long a connection must have been silent before it gives way to another."""

APART_SECONDS = 10.0
"""Between two lines of the log about what is refused; all of it is counted."""


class Place:
    """A connection's; ``end`` breaks the connection off."""

    def __init__(self, key: str, end: Callable[[], None], now: float) -> None:
        self.key, self.end, self.since = key, end, now
        self.is_busy = False
        """Something is done for it, so that it does not give way."""


class Places:
    """Safe with threads."""

    def __init__(self, most: int, each: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``most`` at once, ``each`` of one peer."""
        self._most, self._each, self._clock = most, each, clock
        self._lock, self._taken = threading.Lock(), dict[Place, None]()  # the oldest first

    def take(self, key: str, end: Callable[[], None]) -> Place | None:
        """A place, perhaps that of an idle one, which is ended; none where there is none to be had.

        A peer that has its share makes room itself.  Otherwise one of the peer that has the most does: whoever has one
        only, and says little, does not lose it to a crowd.
        """
        with self._lock:
            counts = Counter(place.key for place in self._taken)
            gone = None
            if counts[key] >= self._each or len(self._taken) >= self._most:
                gone = self._idlest(counts, key if counts[key] >= self._each else "")
                if gone is None:
                    return None
                del self._taken[gone]
            place = Place(key, end, self._clock())
            self._taken[place] = None
        if gone is not None:
            gone.end()
        return place

    def _idlest(self, counts: Counter[str], key: str) -> Place | None:
        until = self._clock() - LEAST_SECONDS
        idle = (one for one in self._taken if one.since <= until and not one.is_busy and key in ("", one.key))
        return min(idle, key=lambda one: (-counts[one.key], one.since), default=None)

    def heard(self, place: Place) -> None:
        """It has said something."""
        place.since = self._clock()

    def leave(self, place: Place) -> None:
        with self._lock:
            self._taken.pop(place, None)

    def __len__(self) -> int:
        return len(self._taken)


class Refusals:
    """Connections that are refused, or give way: counted, and told of in the log now and then."""

    def __init__(self, listener: str, count: Callable[[str, str], None] = lambda _listener, _reason: None) -> None:
        """``count`` is told the listener and the reason of each."""
        self._listener, self._count = listener, count
        self._log = logging.getLogger(f"xds.wire.{listener}")
        self._told = NowAndThen(APART_SECONDS)

    def tell(self, peer: str, reason: str) -> None:
        self._count(self._listener, reason)
        more = self._told.due(reason)
        if more is not None:
            extra = {"peer": peer, "reason": reason, "more": more}
            self._log.warning(f"{self._listener}.too_many_connections", extra=extra)
