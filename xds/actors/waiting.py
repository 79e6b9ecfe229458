"""How many requests of a process wait for other communities at a time: the rest of its threads serve everybody else."""

from __future__ import annotations

import threading
from collections import Counter


class Waiting:
    """So many requests at most, each counted once however many communities it asks.  Safe with threads."""

    def __init__(self, most: int, among: Waiting | None = None) -> None:
        """``among``: those of which these are a part."""
        self._most, self._among = most, among
        self._calls, self._lock = Counter[int](), threading.Lock()

    def enter(self, request: int) -> bool:
        """Count a call of a request, told by its thread; whether it may wait."""
        with self._lock:
            if request not in self._calls and len(self._calls) >= self._most:
                return False
            self._calls[request] += 1
        if self._among is None or self._among.enter(request):
            return True
        self._left(request)
        return False

    def leave(self, request: int) -> None:
        """A call that was counted has ended."""
        self._left(request)
        if self._among is not None:
            self._among.leave(request)

    def _left(self, request: int) -> None:
        with self._lock:
            self._calls[request] -= 1
            if not self._calls[request]:
                del self._calls[request]


class Waits:
    """A process's: half of what serves its short requests may wait, for documents half as many, for images a quarter.

    So retrievals, which take long, leave some to queries; and images, which take longest, some to documents.
    """

    def __init__(self, short_threads: int) -> None:
        """``short_threads``: those that serve short requests, of all peers together."""
        half = max(1, short_threads // 2)
        self.queries = Waiting(half)
        self.retrievals = Waiting(max(1, half // 2), self.queries)
        self.images = Waiting(max(1, half // 4), self.retrievals)
