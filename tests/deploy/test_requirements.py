"""What a node runs with is told apart from what tests need, is known by its hashes, and is in the SBOM."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.extent import size

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(r"([a-z0-9-]+)==([^ \\;]+)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")


def pins(file: str) -> dict[str, str]:
    lines = (line for line in (ROOT / file).read_text("utf-8").splitlines() if line and not line.startswith("#"))
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def brought() -> set[str]:
    """What ``pip install xds`` brings, by the packages' own word, on any Python that xds runs on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found, waiting = set[tuple[str, frozenset[str]]](), [Requirement(one) for one in project["dependencies"]]
    while waiting:
        one = waiting.pop()
        key = (normal(one.name), frozenset(one.extras))
        if key in found:
            continue
        found.add(key)
        try:
            requires = distribution(one.name).requires or []
        except PackageNotFoundError:
            continue  # of another Python than this one
        for wanted in map(Requirement, requires):
            if wanted.marker is None or any(_holds(wanted, extra) for extra in ("", *one.extras)):
                waiting.append(wanted)
    return {name for name, _ in found}


def _holds(wanted: Requirement, extra: str) -> bool:
    assert wanted.marker is not None
    environments = ({**default_environment(), "python_version": version, "python_full_version": f"{version}.0",
                     "extra": extra} for version in ("3.11", "3.12", "3.13"))  # fmt: skip
    return any(wanted.marker.evaluate(dict(one)) for one in environments)


def test_constraints_are_exactly_what_a_node_runs_with() -> None:
    assert set(pins("constraints.txt")) == brought()
    assert not set(pins("constraints.txt")) & set(pins("constraints-dev.txt"))


def test_the_container_s_requirements_are_the_constraints_by_hash_and_name_no_index() -> None:
    text = (ROOT / "deploy" / "requirements.txt").read_text("utf-8")
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    found = list(ENTRY.finditer(body))
    assert "".join(one[0] for one in found) == body  # nothing else, no address of an index either
    assert {one[1]: one[2] for one in found} == pins("constraints.txt"), "run make lock"
    container = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
    assert "--require-hashes -r deploy/requirements.txt" in container
    assert "--no-deps ." in container


@pytest.mark.large
@pytest.mark.filterwarnings("ignore")
def test_the_sbom_names_everything_a_node_runs_with_and_is_the_same_each_time(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two")[: size(1, 2)]:  # the maker takes its time; make sbom makes another in CI
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, ROOT / "deploy" / "sbom.py", tmp_path / name], check=True, capture_output=True)
        (file,) = (tmp_path / name).iterdir()
        made.append(file.read_bytes())
    assert len(set(made)) == 1
    bom = json.loads(made[0])
    assert (bom["bomFormat"], bom["metadata"]["component"]["name"]) == ("CycloneDX", "xds")
    assert {one["name"]: one["version"] for one in bom["components"]} == pins("constraints.txt")
    assert all(one["externalReferences"][0]["hashes"] for one in bom["components"])
    assert str(ROOT).encode() not in made[0]
