"""The README leads to what is there, its pictures are small, and it says of others only what it has a source for."""

from __future__ import annotations

import re

import pytest

from tests.deploy.guides import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_what_the_readme_leads_to_is_there(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("picture", re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README))
def test_a_picture_is_small(picture: str) -> None:
    assert (ROOT / picture).stat().st_size < 150_000


def test_each_cell_about_another_has_a_source_or_says_that_nothing_is_known() -> None:
    table = [line for line in README.partition("## Beside others")[2].splitlines() if line.startswith("|")][2:]
    sources = set(re.findall(r"^(\d+)\. ", README, re.MULTILINE))
    for line in table:
        what, _, *others = (cell.strip() for cell in line.strip("|").split("|"))
        assert len(others) == 4, what
        for cell in others:
            named = set(re.findall(r"\[(\d+)\]", cell))
            assert named <= sources, what
            assert named or cell == "not known", f"{what}: {cell}"
