"""Help and wrong use cost nothing: commands import what they use when they run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xds.audit.search.reports import REPORTS
from xds.cli import COMMANDS
from xds.cli.reporting import KINDS

HEAVY = ("sqlalchemy", "lxml", "pydicom", "zeep", "spyne", "cryptography", "rich", "flask", "numpy", "requests")
_ASK = """
import sys
from xds.cli import commands
code = 0
try:
    commands.main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(sorted(set({heavy}) & sys.modules.keys()), code)
"""
EVERY = [["--help"], ["--version"], ["nonsense"], *([name, "--help"] for name in COMMANDS)]


@pytest.mark.parametrize("given", [*EVERY, ["serve", "--nonsense"], ["audit", "verify", "--help"]], ids=" ".join)
def test_what_only_explains_imports_nothing_that_works(given: list[str]) -> None:
    command = [sys.executable, "-c", _ASK.format(heavy=HEAVY), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"[] {2 if given[-1].endswith('nonsense') else 0}"


def test_every_report_that_there_is_can_be_asked_for() -> None:
    assert [*REPORTS, "unusual"] == list(KINDS)
