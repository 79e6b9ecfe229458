"""The worker, and what it tells now and then of the threads and connections that peers share."""

from __future__ import annotations

import time
from typing import Any, TypeAlias

from xds.wire.worker import Worker

TELL_SECONDS = 1.0

Used: TypeAlias = tuple[str, int, int, int]
"""What it is of, how many are taken, of how many, and who waits for one."""


class TellingWorker(Worker):
    """Tells the application's ``note_places``, in the event loop: it costs no request anything."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._told = float("-inf")
        super().__init__(*args, **kwargs)

    def murder_pending(self) -> None:
        """Once in a while, beside what it is for."""
        super().murder_pending()
        note, now = getattr(self.app, "note_places", None), time.monotonic()
        if note is not None and now >= self._told + TELL_SECONDS:
            self._told = now
            note(self._used())

    def _used(self) -> list[Used]:
        lanes = (
            (lane.name, lane.places.total - lane.places.free, lane.places.total, lane.waiting) for lane in self.lanes
        )
        return [*lanes, ("connections", self.nr_conns, self.worker_connections, 0)]
