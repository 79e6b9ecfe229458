"""What is made of files follows them, and outlives a file that is half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xds.wire.fresh import Fresh


def test_it_is_made_anew_when_a_file_changes_and_only_then(tmp_path: Path) -> None:
    file, made = tmp_path / "one", list[str]()
    file.write_text("a")

    def make() -> str:
        made.append(file.read_text())
        if made[-1] == "bad":
            raise OSError
        return made[-1]

    fresh = Fresh(make, [str(file), None, str(tmp_path / "another")])
    assert [fresh.get(), fresh.get()] == ["a", "a"]
    file.write_text("bad")
    assert [fresh.get(), fresh.get()] == ["a", "a"]
    (tmp_path / "new").write_text("c")
    os.replace(tmp_path / "new", file)  # noqa: PTH105
    assert fresh.get() == "c"
    assert made == ["a", "bad", "c"]


def test_what_could_never_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Fresh((tmp_path / "none").read_bytes, []).get()
