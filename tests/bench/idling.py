"""A node at rest: its memory, what its processes share counted once, and how soon it is ready."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Reach, Result, judged
from tests.bench.processes import tree
from tests.bench.run import Run
from tests.conftest import wait_for

NODES = {
    "all actors": (["registry", "repository", "imaging-source"], Reach("≤", 150, "MB")),
    "registry alone": (["registry"], Reach("≤", 100, "MB")),
}
READY = Reach("≤", 1.5, "s")
AT_REST_PERCENT = 2
"""By how much memory may still grow in a second of a node at rest."""


def run(bench: Run) -> Iterator[Result]:
    """Proportional set size of all processes together, and seconds until /readyz says so."""
    for name, (actors, small) in NODES.items():
        ready = list[float]()
        for _ in range(bench.of(5, 3, 1)):
            site = bench.new_server(server={"actors": actors})
            started = time.perf_counter()
            with bench.serving(site):
                ready.append(time.perf_counter() - started)
                seen = _at_rest(site.pid)
                processes = len(tree(site.pid))
        note = f"PSS of {processes} processes"
        yield judged(f"idle, {name}: memory", "MB", seen / 1e6, None, small, note=note)
        yield judged(f"idle, {name}: ready", "s", min(ready), None, READY, note=f"best of {len(ready)}")


def _at_rest(pid: int) -> int:
    """Bytes, once they do not grow any more."""
    seen = [0]

    def is_at_rest() -> bool:
        time.sleep(1)
        seen.append(proportional(pid))
        return seen[-1] <= seen[-2] * (1 + AT_REST_PERCENT / 100)

    wait_for(is_at_rest)
    return seen[-1]


def proportional(root: int, kinds: Sequence[str] = ("Pss",)) -> int:
    """Bytes of memory of a process and all below it: what several share is counted once."""
    return sum(shares(root, kinds).values())


def shares(root: int, kinds: Sequence[str] = ("Pss",)) -> dict[int, int]:
    """The same, each process's part by its number (proc(5), smaps_rollup).

    ``kinds``: of which lines of that file.  What files back is shared with whoever else on the machine has them open,
    and so changes with what others do.
    """
    found, wanted = dict[int, int](), tuple(f"{kind}:" for kind in kinds)
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has ended meanwhile
        found[pid] = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))
    return found
