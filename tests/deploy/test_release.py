"""A release is what installs and starts from nothing, under every Python that it says it is for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deploy import release
from tests.extent import LONG


def test_every_python_of_the_classifiers_is_looked_for() -> None:
    found = release.pythons()
    assert list(found) == ["3.11", "3.12", "3.13"]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found[here] or here not in found


@pytest.mark.large
@pytest.mark.skipif(not LONG, reason="a release installs everything anew, once a Python: make test-long")
def test_a_release_is_installed_and_started_by_every_python_that_is_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(tmp_path) == 0
    told = json.loads(next(tmp_path.glob("*.release.json")).read_text())
    assert told["pythons"][f"3.{sys.version_info.minor}"] == "installs, starts, answers"
    assert not [said for said in told["pythons"].values() if said.startswith("not ready")]
    assert {path.suffix for path in tmp_path.iterdir()} == {".whl", ".gz", ".json"}
    assert "Python 3.11" in capsys.readouterr().out


@pytest.mark.large
@pytest.mark.skipif(not LONG, reason="it makes a virtual environment, ten seconds: make test-long")
def test_what_does_not_install_is_said(tmp_path: Path) -> None:
    (tmp_path / "xds-0.1.0-py3-none-any.whl").write_bytes(b"no wheel")
    assert "wheel" in release.tried(sys.executable, tmp_path / "xds-0.1.0-py3-none-any.whl", tmp_path).lower()
