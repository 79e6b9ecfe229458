"""``python -m tests.cluster``: a cluster to look at, until Ctrl-C; or its primary killed so often, with figures."""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from tests.cluster.failover import fail_over, hold
from tests.cluster.region import region


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--kills", metavar="N", type=int, default=0, help="kill the primary N times under load")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of the first kill; each has the next (1)")
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="xds-") as folder, region(Path(folder)) as (engines, made):
        print("nodes        " + "  ".join(node.url for node in made.nodes))
        print(f"database     {engines.database}")
        print(f"replica      {engines.replica}")
        for member in engines.members:
            print(f"{member.name:12} {member.url}  {member.role()}, Patroni at http://127.0.0.1:{member.api}")
        sys.stdout.flush()
        if not options.kills:
            stopping = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stopping.set())
            print("Ctrl-C ends it")
            stopping.wait()
            return 0
        done = [fail_over(engines, made, options.seed + number) for number in range(options.kills)]
        hold(made)
        for what in sorted({one.what for one in done}):
            seconds = sorted(one.outage_seconds for one in done if one.what == what)
            print(f"{what}: {len(seconds)} kills, outage median {statistics.median(seconds):.1f} s, "
                  f"longest {seconds[-1]:.1f} s")  # fmt: skip
        print(", ".join(f"{count:,} {reply}" for reply, count in made.replies.most_common()))
        print("0 acknowledged lost, 0 twice, 0 refused there; the audit logs of both nodes hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
