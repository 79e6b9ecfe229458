"""The processes of this server: what each is called, and what it uses.  Linux: proc(5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PREFIX, _LONGEST = "xds ", 15
"""Of a name in ``/proc/PID/comm``, which ``top`` and ``ps -o comm`` show."""

_PAGE_BYTES, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")

_supervisor = 0


@dataclass(frozen=True, slots=True)
class Process:
    """A living process: what it is, the memory that it has to itself or shares, and the time that it has computed."""

    title: str
    resident_bytes: int
    cpu_seconds: float


def supervise() -> None:
    """To be called by the process that starts the others, before it does."""
    global _supervisor
    _supervisor = os.getpid()
    call("supervisor")


def call(title: str) -> None:
    """Give this process, and those that it starts, a name: the first word of its title."""
    try:
        Path("/proc/self/comm").write_text(f"{_PREFIX}{title.split()[0]}"[:_LONGEST])
    except OSError:  # a /proc that is read-only
        return


def running() -> Iterator[Process]:
    """All of this server's; none where nobody supervises."""
    waiting = [_supervisor] if _supervisor else []
    while waiting:
        pid = waiting.pop()
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:  # it has just ended
            continue
        waiting.extend(map(int, children))
        title = name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else "other"
        yield Process(title, int(fields[21]) * _PAGE_BYTES, (int(fields[11]) + int(fields[12])) / _TICKS)
