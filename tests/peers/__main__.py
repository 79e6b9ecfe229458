"""``python -m tests.peers``: IPF's journey through a fresh ``xds serve``; a line a step, and 1 if one failed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.peers import maven
from tests.peers.site import site_for_ipf

OUTCOMES = ("ok", "FAILED")


def main() -> int:
    if not maven.is_there():
        print("Java and Maven are not installed: apt-get install default-jdk maven", file=sys.stderr)
        return 2
    project = maven.build("ipf")
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="xds-peers-") as folder:
        counted += journey(project, Path(folder))
    print(f"{counted['ok']} steps ok, {counted['FAILED']} failed")
    return 1 if counted["FAILED"] else 0


def journey(project: Path, folder: Path) -> Counter[str]:
    """Run the journey, print its steps, and count them."""
    counted: Counter[str] = Counter()

    def step(outcome: str, name: str) -> None:
        counted[outcome] += 1
        print(outcome, name, flush=True)

    with site_for_ipf(folder) as properties:
        command = maven.command(project, "peers.Journey", str(properties))
        ended = False
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as java:
            assert java.stdout is not None
            for line in java.stdout:
                outcome, _, name = line.rstrip("\n").partition(" ")
                ended = ended or outcome == "end"
                if outcome in OUTCOMES:
                    step(outcome, name)
        step("ok" if ended and java.returncode == 0 else "FAILED", "the journey comes to its end")
    return counted


if __name__ == "__main__":
    sys.exit(main())
