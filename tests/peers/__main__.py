"""``python -m tests.peers``: IPF's journey through a fresh ``xds serve``; a line a step, and 1 if one failed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.hl7.test_v3 import ii, interaction
from tests.peers import maven
from tests.peers.site import Visit, visit
from tests.peers.validator import wrong
from xds.metadata.identifiers import PatientId

OUTCOMES = ("ok", "FAILED")
MESSAGE_ID = 'extension="m17"'  # of interaction(); each message has one of its own
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
    ipf, ipf_v3, hapi = (maven.build(project) for project in ("ipf", "ipf_v3", "hapi"))
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="xds-peers-") as folder:
        for secure in (False, True):
            print("over mutual TLS" if secure else "over HTTP")
            with visit(Path(folder) / ("tls" if secure else "http"), secure=secure) as site:
                journey(ipf, site, steps)
                feed_v3(ipf_v3, site, steps)
                records(hapi, site, steps)
    print(f"{steps.counted['ok']} steps ok, {steps.counted['FAILED']} failed")
    return 1 if steps.counted["FAILED"] else 0


def journey(project: Path, site: Visit, steps: Steps) -> None:
    """IPF's SOAP and HL7 v2."""
    run(maven.command(project, "peers.Journey", str(site.told), properties=site.java), "the journey", steps)


def feed_v3(project: Path, site: Visit, steps: Steps) -> None:
    """ITI-44 by IPF: what is acknowledged, and what is refused."""
    messages = {
        "CA=a message that adds a patient": interaction(ids=ii(PatientId("v3", AUTHORITY))),
        "CA=a message that revises one": interaction("PRPA_IN201302UV02", ids=ii(PatientId("v3", AUTHORITY))),
        "CE=a message without a patient id": interaction(ids=""),
    }
    expected = []
    for told, message in messages.items():
        code, _, title = told.partition("=")
        file = site.served.folder / title
        file.write_text(message.replace(MESSAGE_ID, 'extension="MESSAGE"'), "utf-8")
        expected.append(f"{code}={file}")
    address = f"127.0.0.1:{site.served.port}/registry?secure={str(site.context is not None).lower()}"
    run(maven.command(project, "peers.FeedV3", address, *expected, properties=site.java), "the feed by HL7 v3", steps)


def run(command: Sequence[str], title: str, steps: Steps) -> None:
    """Java's steps, as they go; that it ends well is one more."""
    ended = False
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as java:
        assert java.stdout is not None
        for line in java.stdout:
            outcome, _, name = line.rstrip("\n").partition(" ")
            ended = ended or outcome == "end"
            if outcome in OUTCOMES:
                steps.take(outcome, name)
    steps.holds(f"{title} comes to its end", ended and java.returncode == 0, f"exit code {java.returncode}")


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
