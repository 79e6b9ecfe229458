"""The house is as its page says: the folders, their order, and nothing loose."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.places import ROOT

PACKAGE = ROOT / "xds"
PAGE = (PACKAGE / "README.md").read_text("utf-8")
LOOSE = {"__init__.py", "__main__.py", "errors.py", "py.typed", "README.md"}
MOST_LINES, A_SCREEN = 400, 60


def contracts() -> dict[str, list[str]]:
    """The layers that imports run down, by the package that they are of."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return {one["containers"][0]: one["layers"] for one in listed if one["type"] == "layers"}


def folders() -> set[str]:
    return {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}


def test_the_page_lists_the_folders_that_there_are_in_the_contract_s_order() -> None:
    told = re.findall(r"^\| `(\w+)/` \|", PAGE, re.MULTILINE)
    assert set(told) == folders()
    assert [layer for layer in contracts()["xds"] if layer in told] == told


def test_the_contract_has_no_exception() -> None:
    assert all(re.fullmatch(r"\w+", layer) for layers in contracts().values() for layer in layers)
    assert {"xds", "xds.audit", "xds.store"} == contracts().keys()


def test_nothing_is_loose() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == LOOSE


def test_the_page_is_a_screen_and_what_it_names_is_there() -> None:
    assert len(PAGE.splitlines()) <= A_SCREEN
    for name in re.findall(r"`((?:[\w.]+/)+[\w.]*)`", PAGE):
        places = [PACKAGE / name, ROOT / name, *(PACKAGE / room / name for room in ("audit", "store"))]
        assert any(place.exists() for place in places), name


def test_the_tests_mirror_the_package() -> None:
    """A room with tests of its own has them under its own name."""
    beside = {
        "bench",
        "cluster",
        "conformance",
        "deploy",
        "faults",
        "fuzz",
        "hostile",
        "journeys",
        "peers",
        "schemas",
        "soak",
        "wsdl",
    }
    ours = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert ours - beside <= folders()


def test_no_file_is_longer_than_one_idea_needs() -> None:
    generated = PACKAGE / "store/migrations/versions"
    long = [p for p in PACKAGE.rglob("*.py") if generated not in p.parents and _lines(p) > MOST_LINES]
    assert long == []


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())
