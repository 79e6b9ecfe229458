"""What is deployed says what the code does."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

from xds.cli.example import example
from xds.settings.access import ConsentPolicy, Sender
from xds.settings.configuration import load
from xds.settings.federation import Community
from xds.settings.merging import Merge
from xds.settings.sections import NamedDomain, Settings, flat

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_example_settings_are_the_settings() -> None:
    assert (DEPLOY / "settings.example.toml").read_text("utf-8") == example()


def test_the_example_is_good_as_it_is_and_with_every_line_in_force(tmp_path: Path) -> None:
    file = tmp_path / "xds.toml"
    file.write_text(example(), "utf-8")
    assert load(file, {}).settings == Settings()
    in_force = re.sub(r"^# (\w+ = |\[\w+\.\w+\])", r"\1", example(), flags=re.MULTILINE)
    file.write_text(in_force, "utf-8")
    loaded = load(file, {})
    entries = {
        "domains": {"north": NamedDomain()}, "senders": {"pacs": Sender()}, "communities": {"south": Community()},
        "merges": {"east": Merge()},
    }  # fmt: skip
    assert loaded.settings == replace(Settings(), **entries, consent_policies={"withdrawn": ConsentPolicy()})  # type: ignore[arg-type]
    assert set(loaded.sources) == set(dict(flat(loaded.settings)))


def test_every_setting_says_what_it_is() -> None:
    for line in example().splitlines():
        if re.match(r"# \w+ = ", line):
            assert "  # " in line, line


def test_the_container_does_not_run_as_root() -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    assert re.search(r"^USER (?!0\b|root\b)\S+$", text, re.MULTILINE)


def test_the_container_has_everything_that_the_wheel_takes_from_beside_the_package() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["deploy/guides"] == "xds/guides"
    copied = re.findall(r"^COPY (\S+) \1$", (DEPLOY / "Containerfile").read_text("utf-8"), re.MULTILINE)
    assert set(included) <= set(copied)


def test_compose_names_only_settings_that_exist() -> None:
    known = {f"XDS_{name.replace('.', '_').upper()}" for name, _ in flat(Settings())}
    used = set(re.findall(r"^\s+(XDS_[A-Z_]+):", (DEPLOY / "compose.yaml").read_text("utf-8"), re.MULTILINE))
    assert used
    assert used <= known


def test_the_example_is_toml() -> None:
    assert set(tomllib.loads(example())) >= {"server", "repositories", "imaging_sources"}
