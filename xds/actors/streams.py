"""How many replies with documents are under way at once, so that slow consumers never starve the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable

from xds.errors import ErrorCode, Finding, Refused


class Streams:
    """Places for streams, in one process."""

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)

    def enter(self) -> Callable[[], None]:
        """Take a place; return what gives it back.

        Raises:
            Refused: all are taken (ITI TF-3: Table 4.2.4.1-2, XDSRepositoryBusy).
        """
        if not self._places.acquire(blocking=False):
            rule = "as many documents as are given at once are under way; try again"
            raise Refused([Finding(ErrorCode.REPOSITORY_BUSY, rule)])
        return self._places.release
