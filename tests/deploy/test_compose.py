"""The compose file is one by the Compose Specification, and what it names is there.  It is not started."""

from __future__ import annotations

import copy
import ipaddress
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from tests.places import ROOT
from xds.settings.configuration import load
from xds.settings.sections import Settings

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SCHEMA = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
GIVEN = {"XDS_PUBLIC_URL": "https://xds.example.org:8443", "XDS_REPOSITORY_OID": "1.2.3", "XDS_HOME_COMMUNITY": "1.2.4",
         "XDS_ASSIGNING_AUTHORITY": "1.2.5"}  # fmt: skip
"""Of its file .env; passwords are «secret»."""


def refused(compose: dict[str, Any]) -> list[str]:
    checker = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
    return [error.message for error in checker.iter_errors(compose)]


def test_compose_is_what_the_specification_says() -> None:
    assert refused(COMPOSE) == []


def test_a_key_that_there_is_not_would_be_seen() -> None:
    spoilt = copy.deepcopy(COMPOSE)
    spoilt["services"]["node1"]["readonly"] = spoilt["services"]["node1"].pop("read_only")
    assert any("readonly" in one for one in refused(spoilt))


def settings(service: str) -> Settings:
    """Of a node, as its process reads them."""
    said = COMPOSE["services"][service]["environment"]
    variables = {name: re.sub(r"\$\{(\w+):[?-][^}]*\}", lambda one: GIVEN.get(one[1], "secret"), value)
                 for name, value in said.items() if name.startswith("XDS_")}  # fmt: skip
    return load(None, variables).settings


def test_its_nodes_are_one_deployment_and_differ_in_their_names_and_data_only() -> None:
    nodes = [COMPOSE["services"][name] for name in ("node1", "node2")]
    one, other = (settings(name) for name in ("node1", "node2"))
    assert one.audit.source_id != other.audit.source_id
    assert (one.server, one.repository, one.domain, one.s3) == (other.server, other.repository, other.domain, other.s3)
    assert one.server.database.startswith("postgresql://")
    assert one.server.documents.startswith("s3://")
    assert one.repository.unique_id == GIVEN["XDS_REPOSITORY_OID"]
    assert nodes[0]["volumes"] != nodes[1]["volumes"]


def test_only_the_proxy_is_believed_and_reached_from_elsewhere() -> None:
    services = COMPOSE["services"]
    assert settings("node1").server.proxies == (services["proxy"]["networks"]["front"]["ipv4_address"],)
    assert {name for name, one in services.items() if one.get("ports")} == {"proxy", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in services["grafana"]["ports"])


def test_no_other_container_is_given_the_address_of_the_proxy() -> None:
    (pool,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    proxy = ipaddress.ip_address(COMPOSE["services"]["proxy"]["networks"]["front"]["ipv4_address"])
    assert proxy in ipaddress.ip_network(pool["subnet"])
    assert proxy not in ipaddress.ip_network(pool["ip_range"])


def mounted() -> Iterator[str]:
    for service in COMPOSE["services"].values():
        yield from (one.partition(":")[0] for one in service.get("volumes", ()) if one.startswith("./"))


@pytest.mark.parametrize("path", sorted(set(mounted())))
def test_what_it_mounts_is_there_or_is_the_sites_own(path: str) -> None:
    assert (DEPLOY / path).is_file() or path.startswith("./pki/")


def test_prometheus_asks_both_nodes_by_names_that_they_answer_to() -> None:
    asked = yaml.safe_load((DEPLOY / "prometheus/compose.yml").read_text("utf-8"))["scrape_configs"]
    targets = [target for job in asked for one in job["static_configs"] for target in one["targets"]]
    assert [target.partition(":")[0] for target in targets] == list(settings("node1").server.hosts)
