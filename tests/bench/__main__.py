"""``python -m tests.bench``: measure, print, and write as JSON and as a page."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from tests.bench import figures, page
from tests.bench.benchmarks import GROUPS, ROWS, chosen
from tests.bench.figures import Broken, Curve, Figure, Missing, Result, Skipped
from tests.bench.noise import MOST, Noise
from tests.bench.run import Run, Size

TRIES = 3
"""How often a row is measured while others use too much of the machine."""


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:15}{row.what}" for name, row in ROWS.items())
    groups = "\n".join(f"  {name:15}{', '.join(rows)}" for name, rows in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, epilog=f"benchmarks:\n{listed}\nseveral:\n{groups}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks; all when none is named")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const=Size.QUICK, help="smaller sizes")
    size.add_argument(
        "--smoke", dest="size", action="store_const", const=Size.SMOKE,
        help="a second each, to see that everything runs: what gives no figure fails",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    parser.add_argument("--page", metavar="FILE", type=Path, help="write a page with tables and curves there")
    parser.add_argument("--documents", metavar="N", type=int, default=0, help="documents of a registry (100000)")
    parser.add_argument("--rounds", metavar="N", type=int, default=1, help="measure each row so often: medians (1)")
    parser.add_argument(
        "--keep", metavar="FOLDER", type=Path, help="where the large registry stays, so that its load can go on"
    )
    parser.add_argument(
        "--records", metavar="N", type=int, default=0, help="records of audit-search and audit-verify (1000000)"
    )
    parsed = parser.parse_args(given)
    try:
        parsed.names = chosen(parsed.names)
    except KeyError as unknown:
        parser.error(f"no benchmark is called {unknown.args[0]}; there are {', '.join([*ROWS, *GROUPS])}")
    parsed.size = parsed.size or Size.FULL
    small = {Size.FULL: (100_000, 1_000_000), Size.QUICK: (20_000, 20_000), Size.SMOKE: (2_000, 2_000)}[parsed.size]
    parsed.documents, parsed.records = parsed.documents or small[0], parsed.records or small[1]
    return parsed


def measured(bench: Run, name: str) -> list[Result]:
    """One benchmark's figures; what cannot be measured is said and does not stop the others."""
    results: list[Result] = []
    try:
        results += ROWS[name].measure(bench)
    except Missing as missing:
        results.append(Skipped(name, str(missing)))
    except Broken as broken:
        results.append(Skipped(name, f"BROKEN: {broken}"))
    except Exception:
        traceback.print_exc()
        results.append(Skipped(name, "BROKEN: see above"))
    if not any(isinstance(result, Figure) for result in results) and bench.smoke:
        results.append(Skipped(name, "BROKEN: no figure came of it"))
    return [result if isinstance(result, Curve) else dataclasses.replace(result, row=name) for result in results]


def quietly(bench: Run, name: str, rounds: int = 1) -> list[Result]:
    """The same, again while others used too much of the machine; of all tries the quietest, marked if it was none.

    Of several rounds the medians.
    """
    tries: list[tuple[float, list[Result]]] = []
    for _ in range(1 if bench.smoke else TRIES - 1 + rounds):
        noise = Noise()
        results = measured(bench, name)
        tries.append((noise.others(), results))
        if sum(others <= MOST for others, _ in tries) >= rounds:
            break
        if not bench.smoke and tries[-1][0] > MOST:
            print(f"(others used {tries[-1][0]:.0%}) ", file=sys.stderr, end="", flush=True)
    quietest = sorted(tries, key=lambda one: one[0])[:rounds]
    others = quietest[-1][0]
    medians = figures.medians([results for _, results in quietest])
    if others <= MOST:
        return medians
    return [dataclasses.replace(one, noisy=others) if isinstance(one, Figure) else one for one in medians]


def main(given: list[str] | None = None) -> int:
    """Exit code 0 if everything could be measured, whatever was reached; 1 if something broke."""
    options = arguments(given)
    signal.signal(signal.SIGTERM, _stopped)
    results: list[Result] = []
    # The path must be short (socket names) and the folder open to PostgreSQL's user.
    folder = Path(tempfile.mkdtemp(prefix="xds-bench-"))
    folder.chmod(0o711)
    if options.keep:
        options.keep.mkdir(mode=0o711, parents=True, exist_ok=True)
    begun, load_average = time.monotonic(), os.getloadavg()[0]
    try:
        with ExitStack() as stack:
            bench = Run(folder, options.size, options.documents, stack, options.records, options.keep)
            for name in options.names:
                started = time.monotonic()
                print(f"{name}: {ROWS[name].what} … ", file=sys.stderr, end="", flush=True)
                results += quietly(bench, name, options.rounds)
                print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (figures.lines if options.size is Size.SMOKE else figures.table)(results)
        told = figures.as_json(
            results, load_average, size=options.size.value, documents=options.documents, records=options.records,
            rounds=options.rounds, seconds=round(time.monotonic() - begun, 1),
        )  # fmt: skip
        if options.json:
            figures.write(options.json, told)
        if options.page:
            page.write(options.page, told)
    return int(any(isinstance(r, Skipped) and (r.reason.startswith("BROKEN") or bench.smoke) for r in results))


def _stopped(number: int, frame: object) -> NoReturn:
    """Told to stop: everything is cleaned up on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
