"""``python -m tests.peers``: IPF's journey through a fresh ``xds serve``; a line a step, and 1 if one failed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.conftest import wait_for
from tests.peers import maven
from tests.peers.site import Visit, visit
from tests.peers.validator import wrong

OUTCOMES = ("ok", "FAILED")
YEARS = "date=ge2000-01-01&date=le2100-01-01"


class Steps:
    """What was tried: a line each, counted."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def take(self, outcome: str, name: str) -> None:
        self.counted[outcome] += 1
        print(outcome, name, flush=True)

    def holds(self, name: str, sentence: bool, seen: object = "") -> None:
        self.take("ok" if sentence else "FAILED", name if sentence else f"{name}: {seen}")


def main() -> int:
    if not maven.is_there():
        print("Java and Maven are not installed: apt-get install default-jdk maven", file=sys.stderr)
        return 2
    ipf, hapi = maven.build("ipf"), maven.build("hapi")
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="xds-peers-") as folder:
        for secure in (False, True):
            print("over mutual TLS" if secure else "over HTTP")
            with visit(Path(folder) / ("tls" if secure else "http"), secure=secure) as site:
                journey(ipf, site, steps)
                records(hapi, site, steps)
    print(f"{steps.counted['ok']} steps ok, {steps.counted['FAILED']} failed")
    return 1 if steps.counted["FAILED"] else 0


def journey(project: Path, site: Visit, steps: Steps) -> None:
    """IPF's own steps, as they go."""
    command = maven.command(project, "peers.Journey", str(site.told), properties=site.java)
    ended = False
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as java:
        assert java.stdout is not None
        for line in java.stdout:
            outcome, _, name = line.rstrip("\n").partition(" ")
            ended = ended or outcome == "end"
            if outcome in OUTCOMES:
                steps.take(outcome, name)
    steps.holds("the journey comes to its end", ended and java.returncode == 0, f"exit code {java.returncode}")


def records(project: Path, site: Visit, steps: Steps) -> None:
    """What is on record of it: IPF's own records too, the log whole, and each of them valid by HAPI."""

    def sent() -> bool:
        return "entry" in json.loads(site.get(f"/fhir/AuditEvent?{YEARS}&source=ipf"))

    try:
        wait_for(sent, 30)
        steps.holds("ITI-20 IPF's own audit records are stored", True)
    except AssertionError:
        steps.holds("ITI-20 IPF's own audit records are stored", False, "there are none")
    answer = site.served.folder / "events.json"
    answer.write_bytes(site.get(f"/fhir/AuditEvent?{YEARS}&_count=1000"))
    problems = wrong(project, answer)
    steps.holds("ITI-81 each record is a valid AuditEvent by HAPI's validator", not problems, "; ".join(problems))
    command = [sys.executable, "-m", "xds", "audit", "verify", "--config", str(site.served.config)]
    verified = subprocess.run(command, capture_output=True, text=True)
    steps.holds("the audit log verifies", verified.returncode == 0, verified.stderr)


if __name__ == "__main__":
    sys.exit(main())
