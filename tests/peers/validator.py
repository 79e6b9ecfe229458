"""HAPI FHIR's validator of R4 resources, without a terminology server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers import maven


@dataclass(frozen=True)
class Problem:
    """What HAPI finds wrong, and where."""

    severity: str
    file: str
    place: str
    message: str

    @property
    def is_error(self) -> bool:
        return self.severity in ("error", "fatal")


def problems(project: Path, files: Sequence[Path]) -> list[Problem]:
    """All that is wrong with files of one resource each; ``project`` is where ``maven.build`` has left the validator.

    Raises:
        AssertionError: the validator has not read them all.
    """
    command = maven.command(project, "peers.Validate", *map(str, files))
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=maven.RUN_SECONDS)
    *lines, last = done.stdout.splitlines() or [""]
    assert last == f"end\t{len(files)}", done.stdout[-2000:] + done.stderr[-2000:]
    return [Problem(*line.split("\t", 3)) for line in lines]


def wrong(project: Path, *answers: Path) -> list[str]:
    """What is not valid, once each.  Warnings are not held: they only recommend a code system rather than another."""
    found = (f"{_INDEX.sub('', one.place)}: {one.message}" for one in problems(project, answers) if one.is_error)
    return sorted(set(found))


_INDEX = re.compile(r"\[\d+]|/\*.*?\*/")
