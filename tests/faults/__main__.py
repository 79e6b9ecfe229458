"""``python -m tests.faults``: so many histories of faults, and what they found."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.conftest import wait_for
from tests.faults.running import run
from tests.postgres import Databases, Server


def _one(seed: int) -> tuple[int, str, Counter[str], list[str]]:
    server = Server()
    try:
        wait_for(server.answers)
        done = run(seed, server, Databases(server.url))
        return seed, "", done.told.counted, done.faults
    except AssertionError as problem:
        return seed, f"seed {seed}: {problem or traceback.format_exc()}", Counter(), []
    finally:
        server.stop()


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--histories", metavar="N", type=int, default=20, help="how many (20)")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of the first (1); each has the next")
    parser.add_argument("--at-once", metavar="N", type=int, default=2, help="how many at the same time (2)")
    options = parser.parse_args(given)
    began, failed, counted, faults = time.monotonic(), list[int](), Counter[str](), Counter[str]()
    with ProcessPoolExecutor(options.at_once) as pool:
        seeds = range(options.seed, options.seed + options.histories)
        for seed, problem, done, made in pool.map(_one, seeds):
            counted += done
            faults += Counter(one.partition(",")[0] for one in made)
            if problem:
                failed.append(seed)
                print(problem, flush=True)
            print(f"\r{seed - options.seed + 1} of {options.histories}", end="", file=sys.stderr, flush=True)
    print(f"{options.histories} histories from seed {options.seed} in {time.monotonic() - began:.0f} s: "
          f"{', '.join(f'{count:,} {number}' for number, count in sorted(counted.items()))} done")  # fmt: skip
    print(f"faults: {', '.join(f'{count} × {what}' for what, count in faults.most_common())}")
    print(f"{len(failed)} failed" + (f": seeds {', '.join(map(str, failed))}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
