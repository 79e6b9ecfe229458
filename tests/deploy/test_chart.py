"""The Helm chart names what there is, and values that make no sense are refused.

Here its values are held to their schema, and its files are read; ``test_chart_by_helm.py`` has helm write it.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.helm import CHART, VALUES, merged
from xds import __version__
from xds.settings.sections import Settings, flat

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))


def spoilt(path: str, value: object) -> dict[str, Any]:
    """The defaults with one value changed."""
    values = json.loads(json.dumps(DEFAULTS))
    *sections, last = path.split(".")
    part = values
    for section in sections:
        part = part[section]
    part[last] = value
    return dict(values)


def refusals(values: dict[str, Any]) -> list[str]:
    checker = jsonschema.Draft7Validator(SCHEMA)
    return [".".join(map(str, error.absolute_path)) for error in checker.iter_errors(values)]


def test_the_values_are_what_their_schema_says() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert refusals(DEFAULTS) == []
    assert set(SCHEMA["properties"]) == {*DEFAULTS, "global"}


@pytest.mark.parametrize(("path", "value"), [
    ("replicas", 0), ("replicas", "2"), ("image.tag", "latest"), ("publicUrl", "xds.example.org"),
    ("actors", ["regsitry"]), ("actors", []), ("oids.repository", "1.2.x"), ("database.secret", "Not A Name"),
    ("documents", "/srv/documents"), ("s3.endpoint", "store:8333"), ("proxy.certificate", "apache"),
    ("storage.size", "20 GB"), ("service.port", 80_000), ("graceSeconds", 5), ("autoscaling.cpuPercent", 0),
])  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused(path: str, value: object) -> None:
    assert [one.removesuffix(".0") for one in refusals(spoilt(path, value))] == [path]


@pytest.mark.parametrize("name", sorted(VALUES))
def test_the_values_of_a_site_are_taken(name: str) -> None:
    assert refusals(merged(DEFAULTS, **VALUES[name])) == []


def test_who_believes_everybody_is_refused() -> None:
    assert refusals(spoilt("proxy.networks", ["0.0.0.0/0"])) == ["proxy.networks.0"]


def test_a_value_that_there_is_not_is_refused() -> None:
    assert refusals(spoilt("replica", 2)) == [""]
    assert refusals(spoilt("database.url", "postgresql://xds")) == ["database"]


def test_the_chart_names_only_settings_that_exist() -> None:
    known = {f"XDS_{name.replace('.', '_').upper()}" for name, _ in flat(Settings())}
    used = {
        name for path in (CHART / "templates").iterdir() for name in re.findall(r"name: (XDS_\w+)", path.read_text())
    }
    assert used
    assert used <= known


def test_the_chart_is_of_the_version_of_xds() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == __version__
