"""How many connections each worker of a gunicorn has, so that one leaves new ones to another that has fewer.

Whoever is woken first accepts, and a peer may keep a connection for hours: without this all can be in one worker.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

SLOTS = 256
"""Workers that are told apart; more share a place, and then one connection may go where it need not."""

LEFT, LEFT_SECONDS = 10, 0.001
"""How often a connection is left to another worker, and how long it has each time."""

_ENTRY = struct.Struct("qq")


class Shares:
    """Memory that workers share, to be made before they are forked; each writes its own place only."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * _ENTRY.size)
        self._left = 0  # by this worker, one after the other

    def leaves(self, number: int, count: int) -> bool:
        """Whether a new connection is left to another worker, which has fewer and may be about to take it."""
        if self._left >= LEFT or not self.others_have_fewer(number, count):
            self._left = 0
            return False
        self._left += 1
        time.sleep(LEFT_SECONDS)
        return True

    def note(self, number: int, count: int) -> None:
        """A worker's connections; ``number`` tells it from the others."""
        _ENTRY.pack_into(self._memory, number % SLOTS * _ENTRY.size, os.getpid(), count)

    def others_have_fewer(self, number: int, count: int) -> bool:
        """Whether a living worker beside this one has fewer connections than ``count``."""
        for slot, (pid, its) in enumerate(_ENTRY.iter_unpack(self._memory)):
            if pid and slot != number % SLOTS and its < count and _lives(pid):
                return True
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
