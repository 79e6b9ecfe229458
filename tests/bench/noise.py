"""How much of the machine others than the benchmark used, by /proc/stat: figures of a busy machine mean little."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.bench.processes import TICKS, cpu_seconds

MOST = 0.05
"""Of the machine that others may use during a row; over it the row is measured again, then marked."""


class Noise:
    """What others use from its making on."""

    def __init__(self) -> None:
        self._started, self._busy, self._ours = time.monotonic(), _busy_seconds(), cpu_seconds(os.getpid())

    def others(self) -> float:
        """Others' share of all cores so far, 0 to 1: user, system and stolen time that is not of our processes.

        Interrupts count for nobody: those of the loopback network are ours, and no process has them.
        """
        seconds = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        busy = _busy_seconds() - self._busy
        ours = cpu_seconds(os.getpid()) - self._ours
        return min(1.0, max(0.0, (busy - ours) / seconds)) if seconds > 0 else 0.0


def _busy_seconds() -> float:
    """User, nice, system and stolen time of all cores since the start of the machine (proc(5))."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, *_ = map(int, fields)
    stolen = int(fields[7]) if len(fields) > 7 else 0
    return (user + nice + system + stolen) / TICKS
