"""How much of a disk is kept free: taking in stops before it is full, so that the audit log goes on, which is last."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from shutil import disk_usage

log = logging.getLogger("xds.system.disk")

LOOK_SECONDS = 2.0
"""How long it is taken for true what was seen."""

LOW = "less of the disk is free than is kept for the audit log"


class Reserve:
    """Of the disks that folders are on.  Safe with threads: two may look at once, and see the same."""

    def __init__(self, least_bytes: int, *folders: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """``least_bytes``: to be kept free of each; 0: nothing is."""
        self.least_bytes, self._folders, self._clock = least_bytes, folders, clock
        self._looked, self._low = float("-inf"), False

    def is_low(self, *, anew: bool = False) -> bool:
        """Whether less is free of any; ``anew``: as it is just now, for who is filling it."""
        now = self._clock()
        if self.least_bytes and (anew or now - self._looked >= LOOK_SECONDS):
            low = self.free_bytes() < self.least_bytes
            if low != self._low:
                log.error("disk.low" if low else "disk.enough", extra={"least_bytes": self.least_bytes})
            self._looked, self._low = now, low
        return self._low

    def free_bytes(self) -> int:
        """Of the disk of which least is free; of one that cannot be seen nobody says that it is full."""
        found = list[int]()
        for folder in self._folders:
            try:
                found.append(disk_usage(folder).free)
            except OSError:
                continue
        return min(found, default=self.least_bytes)
