"""What the guides say is done as they say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.guides import FOLDER, Reader, blocks


def followed(name: str, reader: Reader) -> None:
    """Do all that a guide says."""
    try:
        for block in blocks((FOLDER / f"{name}.md").read_text("utf-8")):
            reader.do(block)
    finally:
        reader.leave()


@pytest.mark.parametrize("name", ["ehr"])
def test_a_guide_does_what_it_says(name: str, tmp_path: Path) -> None:
    followed(name, Reader(tmp_path / name))
