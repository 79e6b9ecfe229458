"""What the image leaves out is what no node needs: every module is there but those of an extra that it has not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.places import ROOT

COMPILED = """
import sys
import slim
for one in (*slim.EXTRAS, *sys.argv[1:]):
    sys.modules[one] = None  # as if it were not installed
slim.compiled()
print("xds.wire.soap" in sys.modules, "xds.wire.spans" in sys.modules)
"""


@pytest.mark.parametrize(("also", "code", "said"), [([], 0, "True False\n"), (["lxml"], 1, "")])
def test_without_the_extras_every_other_module_is_imported_and_nothing_else_may_be_missing(
    also: list[str], code: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, *also], cwd=ROOT / "deploy", env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, said), done.stderr
