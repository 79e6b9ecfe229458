"""``xds demo`` before it begins anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from xds import cli
from xds.demo import images
from xds.errors import Unusable


def test_without_the_images_it_says_what_to_install_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PACKAGE", "no_such_package")
    done = CliRunner().invoke(cli.commands, ["demo", "--data", str(tmp_path / "demo")])
    assert isinstance(done.exception, Unusable)
    assert str(done.exception) == "the demonstration's images are not installed: pip install 'xds[demo]'"
    assert done.output == ""
    assert not (tmp_path / "demo").exists()
