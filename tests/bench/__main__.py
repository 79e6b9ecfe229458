"""``python -m tests.bench``: measure, print, and write as JSON."""

from __future__ import annotations

import argparse
import importlib
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

from tests.bench import figures
from tests.bench.figures import Broken, Missing, Result, Skipped
from tests.bench.run import Run

BUSY = 0.5
"""A load average over this is worth saying."""

# Name, module and what it measures, in the order of the design.
BENCHMARKS = {
    "iti-42": ("registering", "ITI-42 over HTTP against the raw driver"),
    "iti-18": ("querying", "ITI-18 against the SQL alone, its growth, and a patient with many documents"),
    "iti-41": ("uploading", "ITI-41 of 1 GiB against read, hash, write and sync"),
    "retrieve": ("downloading", "ITI-43 of 2 GiB and RAD-69 of 5,000 instances against nginx and SHA-256"),
    "wado": ("wado", "WADO-RS of 5,000 instances beside Orthanc's"),
    "manifest": ("manifests", "a manifest of 10,000 instances, written and read"),
    "audit": ("auditing", "what recording and signing cost, and verifying"),
    "audit-receive": ("receiving", "audit records received by syslog"),
    "audit-search": ("audit_searching", "how long the desk searches a large audit log"),
    "bulk": ("bulk", "bulk load against PostgreSQL COPY"),
}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:15}{what}" for name, (_, what) in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks; all when none is named")
    parser.add_argument("--quick", action="store_true", help="a minute instead of six; smaller sizes")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there, too")
    parser.add_argument("--documents", metavar="N", type=int, default=0, help="documents of iti-18 (100000)")
    parser.add_argument("--records", metavar="N", type=int, default=0, help="records of audit-search (1000000)")
    parsed = parser.parse_args(given)
    unknown = [name for name in parsed.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    parsed.records = parsed.records or (20_000 if parsed.quick else 1_000_000)
    parsed.documents = parsed.documents or (10_000 if parsed.quick else 100_000)
    return parsed


def measured(bench: Run, name: str) -> list[Result]:
    """One benchmark's figures; what cannot be measured is said and does not stop the others."""
    results: list[Result] = []
    try:
        for result in importlib.import_module(f"tests.bench.{BENCHMARKS[name][0]}").run(bench):
            results.append(result)
    except Missing as missing:
        results.append(Skipped(name, str(missing)))
    except Broken as broken:
        results.append(Skipped(name, f"BROKEN: {broken}"))
    except Exception:
        traceback.print_exc()
        results.append(Skipped(name, "BROKEN: see above"))
    return results


def main(given: list[str] | None = None) -> int:
    """Exit code 0 if everything could be measured, whatever was reached; 1 if something broke."""
    options = arguments(given)
    signal.signal(signal.SIGTERM, _stopped)
    results: list[Result] = []
    # The path must be short (socket names) and the folder open to PostgreSQL's user.
    folder = Path(tempfile.mkdtemp(prefix="xds-bench-"))
    folder.chmod(0o711)
    begun, load_average = time.monotonic(), os.getloadavg()[0]
    if load_average > BUSY:
        print(
            f"load average {load_average:.1f}: something else runs here, which the figures suffer from", file=sys.stderr
        )
    try:
        with ExitStack() as stack:
            bench = Run(folder, options.quick, options.documents, stack, options.records)
            for name in options.names or BENCHMARKS:
                started = time.monotonic()
                print(f"{name}: {BENCHMARKS[name][1]} …", file=sys.stderr, end=" ", flush=True)
                results += measured(bench, name)
                print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        figures.table(results)
        if options.json:
            seconds = round(time.monotonic() - begun, 1)
            facts = {"quick": options.quick, "documents": options.documents, "seconds": seconds}
            figures.write(options.json, results, load_average, **facts)
    return int(any(isinstance(r, Skipped) and r.reason.startswith("BROKEN") for r in results))


def _stopped(number: int, frame: object) -> NoReturn:
    """Told to stop: everything is cleaned up on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
