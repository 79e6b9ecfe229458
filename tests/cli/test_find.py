"""``xds find`` tells apart who has nothing, and who cannot be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import AUTHORITY
from tests.cli.command import Done, xds
from tests.server.test_application import Site, serving
from xds.demo.site import free_port
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.registry import patients

KNOWN, BEFORE, NOBODY = (f"{name}^^^&{AUTHORITY}&ISO" for name in ("known", "before", "nobody"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path) as site:
        with site.application.engine.begin() as connection:
            for one in (KNOWN, BEFORE):
                patients.add(connection, DEFAULT_DOMAIN, PatientId.parse(one))
            patients.merge(connection, DEFAULT_DOMAIN, PatientId.parse(BEFORE), PatientId.parse(KNOWN))
        yield site


def find(site: Site, tmp_path: Path, patient: str, *more: str, own: bool, told: bool = True) -> Done:
    """As the registry's own node, or as a clinic; ``told``: it has a list of the domain's authorities."""
    settings = site.application.settings
    lines = ["[server]", f'data = "{settings.data if own else tmp_path / "clinic"}"']
    if own:
        lines += [f'listen = "{site.url.removeprefix("http://")}"', f'database = "{settings.database_url}"']
    if told:
        lines += [f'[domain]\nassigning_authorities = ["{AUTHORITY}"]']
    config = tmp_path / "find.toml"
    config.write_text("\n".join(lines))
    return xds("find", "--patient", patient, "--registry", f"{site.url}/registry", "--config", config, *more)


@pytest.mark.parametrize(
    ("patient", "own", "told", "code", "said"),
    [
        ("anna", True, True, 3, "not of the form id^^^&oid&ISO"),
        ("anna^^^&1.2.3&DNS", False, False, 3, "not of the form"),
        (NOBODY, True, True, 3, "Unknown patient"),
        (NOBODY, False, True, 0, "No documents, or an unknown patient"),
        ("anna^^^&1.2.9&ISO", True, True, 3, f"Unknown authority: ids of this affinity domain are of {AUTHORITY}"),
        ("anna^^^&1.2.9&ISO", False, True, 3, "Unknown authority"),
        ("anna^^^&1.2.9&ISO", False, False, 0, "No documents, or an unknown patient"),
        (BEFORE, True, True, 3, f"merged into {KNOWN}"),
        (KNOWN, True, True, 0, "The patient is known, and has no document"),
        (KNOWN, False, True, 0, "No documents, or an unknown patient"),
    ],
)
def test_nothing_found_is_told_apart_from_what_cannot_match(
    site: Site, tmp_path: Path, patient: str, own: bool, told: bool, code: int, said: str
) -> None:
    done = find(site, tmp_path, patient, own=own, told=told)
    assert (done.code, said in done.err) == (code, True), done.err
    assert done.out == ("" if code else "0 documents\n")


def test_a_registry_that_refuses_an_unknown_patient_is_exit_code_3(site: Site, tmp_path: Path) -> None:
    site.application.domains[DEFAULT_DOMAIN].actors.registry._refuse_unknown = True
    done = find(site, tmp_path, NOBODY, "--json", own=False)
    assert (done.code, "Unknown patient" in done.err, done.out) == (3, True, "")


def test_a_question_that_matches_is_answered_with_json_alone(site: Site, tmp_path: Path) -> None:
    assert find(site, tmp_path, KNOWN, "--json", own=True).json == []


@pytest.mark.parametrize(
    ("path", "said"),
    [("/console", "no SOAP service.  Addresses end in /registry"), ("/healthz", "no SOAP service.  Addresses end in")],
)
def test_an_address_that_is_no_registry_is_said_to_be_none(site: Site, tmp_path: Path, path: str, said: str) -> None:
    done = xds("find", "--patient", KNOWN, "--registry", site.url + path, "--data", tmp_path / "clinic")
    assert (done.code, said in done.err, done.err.count("\n")) == (1, True, 1), done.err


def test_a_server_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    for command in (("find",), ("fetch", "--to", tmp_path / "got")):
        done = xds(*command, "--patient", KNOWN, "--registry", f"http://127.0.0.1:{free_port()}/registry",
                   "--data", tmp_path / "clinic")  # fmt: skip
        assert (done.code, "nobody answers there.  Is the server running?" in done.err) == (1, True), done.err


def test_lists_that_are_empty_say_so_and_json_is_an_empty_list(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    xds("patient", "add", KNOWN, *data)
    for command, said in (
        (("publications", "list"), "nothing is published here: imaging_source.publish_to is not set\n"),
        (("audit", "forwarding"), "records are sent on to nobody: audit.forward_to is not set\n"),
        (("audit", "report", "unusual"), "no unusual access waits for a decision\n"),
    ):
        assert (xds(*command, *data).out, xds(*command, "--json", *data).json) == (said, [])
