"""What processes use, read from /proc: CPU time and memory, with all their children."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                children.setdefault(int(_stat(int(path.name))[1]), []).append(int(path.name))
            except (OSError, IndexError):
                continue  # it has ended meanwhile
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(*roots: int) -> float:
    """What these trees have used so far; those of their processes that have ended are counted by their parents."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                total += sum(map(int, _stat(pid)[11:15]))  # utime, stime, cutime, cstime
            except (OSError, IndexError):
                continue
    return total / TICKS


def resident(pid: int | str = "self", field: str = "VmRSS") -> int:
    """Bytes of memory of one process now, or at its peak (``VmHWM``)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak(pid: int | str = "self") -> None:
    """Begin the peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass(slots=True)
class Used:
    """What was used between two moments."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    growth_bytes: int = 0

    @property
    def growth_mb(self) -> float:
        return self.growth_bytes / 1e6


@contextmanager
def used(server: int, *beside: int) -> Iterator[Used]:
    """CPU of a server's tree and of others beside it; peak memory of the server's tree above its start."""
    before = {pid: resident(pid) for pid in tree(server)}
    for pid in before:
        forget_peak(pid)
    result, cpu, started = Used(), cpu_seconds(server, *beside), time.perf_counter()
    yield result
    result.seconds = time.perf_counter() - started
    result.cpu_seconds = cpu_seconds(server, *beside) - cpu
    result.growth_bytes = sum(max(0, resident(pid, "VmHWM") - before.get(pid, 0)) for pid in tree(server))
