"""Programs that tests need beside Python: in CI they are there, elsewhere it is said at the end which are not."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest

CI = os.environ.get("CI") == "true"

_MISSING = "is not installed; Debian's package: "


def missing(program: str, packages: str) -> NoReturn:
    """Skip a test whose program is not there; in CI fail it.

    ``packages``: those of Debian that bring it.
    """
    reason = f"{program} {_MISSING}{packages}"
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


def path_of(program: str) -> str | None:
    """Where a program is, also one that only an administrator's PATH has; None where it is not."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def needed(program: str, packages: str, title: str = "") -> str:
    """The path of a program; where it is not, see ``missing``.  ``title``: what people call it."""
    found = path_of(program)
    if found is None:
        missing(title or program, packages)
    return found


def told(reasons: Iterable[str]) -> list[str]:
    """A line for each program that was missing: how many tests were skipped for it, and what brings it."""
    counted = Counter(reason for reason in reasons if _MISSING in reason)
    lines = []
    for reason, count in counted.most_common():
        program, _, packages = reason.removeprefix("Skipped: ").partition(f" {_MISSING}")
        lines.append(f"{count} tests were skipped without {program}: apt-get install {packages}")
    return lines
