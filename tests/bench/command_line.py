"""What the command line costs before it does anything: help, version, and being used wrongly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.run import ROOT, Run
from xds.cli import COMMANDS

QUICK, SMALL = Reach("≤", 0.3, "s"), Reach("≤", 45, "MB")


def run(bench: Run) -> Iterator[Result]:
    """The slowest and the largest of all of them, each the best of a few."""
    every = {"--help": 0, "--version": 0, "nonsense": 2, "serve --nonsense": 2}
    every |= {f"{command} --help": 0 for command in COMMANDS}
    if bench.smoke:
        every = {given: every[given] for given in ("--help", "--version", "audit --help", "nonsense")}
    rounds = bench.of(5, 3, 1)
    times, memory = dict[str, float](), dict[str, float]()
    for given, code in every.items():
        seen = [_run(["-m", "xds", *given.split()], code) for _ in range(rounds)]
        times[given], memory[given] = min(one for one, _ in seen), min(one for _, one in seen)
    idle = min(_run(["-c", "import click"], 0)[0] for _ in range(rounds))
    slowest, largest = max(times, key=lambda one: times[one]), max(memory, key=lambda one: memory[one])
    note = f"of {len(every)}, best of {rounds}; python that imports click {idle:.2f} s"
    yield judged("command line: slowest answer", "s", times[slowest], None, QUICK, note=f"xds {slowest}; {note}")
    yield judged("command line: most memory", "MB", memory[largest], None, SMALL, note=f"xds {largest}")


def _run(given: list[str], code: int) -> tuple[float, float]:
    """Seconds, and the most memory in MB.

    Raises:
        Broken: it ended otherwise than with this code.
    """
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *given], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise Broken(f"{Path(sys.executable).name} {' '.join(given)} ended with {process.returncode}, not {code}")
    return seconds, usage.ru_maxrss * 1024 / 1e6
