"""The units of systemd are understood by it, keep to its own list of what to shut, and still let the server run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.needs import needed
from tests.places import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
MOST_EXPOSED = 2.0
"""Of systemd-analyze security: from 0 to 10, which is a service with no setting of this kind."""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = needed("systemd-analyze", "systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_a_unit(unit: Path, tmp_path: Path) -> None:
    for one in UNITS:
        text = re.sub("^ExecStart=.*", "ExecStart=/bin/true", one.read_text("utf-8"), flags=re.MULTILINE)
        (tmp_path / one.name).write_text(text)
    done = analyze("verify", "--man=no", tmp_path / unit.name)
    said = [line for line in done.stderr.splitlines() if unit.stem in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_a_service_is_exposed_at_most_by_2(unit: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED * 10:.0f}", unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def calls(name: str) -> set[str]:
    """Those of a system call filter's group, and of the groups in it."""
    found = set[str]()
    for line in map(str.strip, analyze("syscall-filter", name).stdout.splitlines()[1:]):
        if line and not line.startswith("#"):
            found |= calls(line) if line.startswith("@") else {line}
    return found


# What a server does of what a filter for services takes for unusual: strace has seen it.
WANTED = {
    "chown",
    "fchown",
    "flock",
    "fcntl",
    "fdatasync",
    "statfs",
    "prctl",
    "clone3",
    "prlimit64",
    "sched_getaffinity",
}


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_what_a_service_calls_is_not_filtered(unit: Path) -> None:
    allowed = set[str]()
    for words in re.findall("^SystemCallFilter=(.*)", unit.read_text("utf-8"), re.MULTILINE):
        named = set[str]().union(*map(calls, words.removeprefix("~").split()))
        allowed = allowed - named if words.startswith("~") else allowed | named
    assert allowed >= WANTED


def test_the_timer_starts_the_backup() -> None:
    assert {path.name for path in UNITS} == {"xds.service", "xds-backup.service", "xds-backup.timer"}
    stop = re.search("^TimeoutStopSec=(.*)", (ROOT / "deploy/systemd/xds.service").read_text("utf-8"), re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) >= 90  # server.stop_seconds twice over: of the web's processes, and of the images'
