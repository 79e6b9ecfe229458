"""What the command line costs before it does anything: help, version, and being used wrongly."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.run import ROOT, Run
from xds.cli import COMMANDS

# The most memory since the program was loaded; what a parent is told holds the parent's own, too.
_MEASURED = """
import atexit, sys
def tell():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    open(told, "w").write(line.split()[1])
told = sys.argv.pop()
atexit.register(tell)
sys.argv[0] = "xds"
{program}
"""
QUICK, SMALL = Reach("≤", 0.3, "s"), Reach("≤", 45, "MB")


def run(bench: Run) -> Iterator[Result]:
    """The slowest and the largest of all of them, each the best of a few."""
    every = {"--help": 0, "--version": 0, "nonsense": 2, "serve --nonsense": 2}
    every |= {f"{command} --help": 0 for command in COMMANDS}
    if bench.smoke:
        every = {given: every[given] for given in ("--help", "--version", "audit --help", "nonsense")}
    rounds, told = bench.of(5, 3, 1), bench.new_folder("memory") / "told"
    times, memory = dict[str, float](), dict[str, float]()
    for given, code in every.items():
        seen = [_run("from xds.cli import main; main()", given.split(), code, told) for _ in range(rounds)]
        times[given], memory[given] = min(one for one, _ in seen), min(one for _, one in seen)
    idle = min(_run("import click", [], 0, told)[0] for _ in range(rounds))
    slowest, largest = max(times, key=lambda one: times[one]), max(memory, key=lambda one: memory[one])
    note = f"of {len(every)}, best of {rounds}; python that imports click {idle:.2f} s"
    yield judged("command line: slowest answer", "s", times[slowest], None, QUICK, note=f"xds {slowest}; {note}")
    yield judged("command line: most memory", "MB", memory[largest], None, SMALL, note=f"xds {largest}")


def _run(program: str, given: list[str], code: int, told: Path) -> tuple[float, float]:
    """Seconds, and the most memory in MB.

    Raises:
        Broken: it ended otherwise than with this code.
    """
    command = [sys.executable, "-c", _MEASURED.format(program=program), *given, str(told)]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    if done.returncode != code:
        raise Broken(f"xds {' '.join(given)} ended with {done.returncode}, not {code}")
    return seconds, int(told.read_text()) * 1024 / 1e6
