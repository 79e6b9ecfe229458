"""A patient by name: everybody who may be meant, nobody whom nothing may be told of, and each look on record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT
from tests.endpoints.console.browsing import a_browser
from tests.endpoints.console.visiting import got, sign_in
from tests.server.test_application import Site, serving
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.metadata.demographics import Address, Demographics, PersonName
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.registry import patients
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import audit_record

MUELLER = PersonName("Müller", "Anna Maria")
ANNAS = Demographics((MUELLER, PersonName("Schmidt", "Anna")), "19561127", "F", address=Address(city="Köln"))
BERTS = Demographics((PersonName("Müller", "<b>Bert</b>"),), "1980", "M")


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site that knows who Anna and Bert are."""
    with serving(database_url, tmp_path) as site:
        with site.application.engine.begin() as connection:
            store = SqlRegistry(connection, DEFAULT_DOMAIN)
            for who, said in ((ANNA, ANNAS), (BERT, BERTS)):
                store.add_patient(who)
                store.keep_demographics(said, who)
        yield site


def page(site: Site, **asked: str) -> tuple[int, str]:
    return got(site, f"/console/patients/find?{urlencode(asked)}")


def looked_at(site: Site) -> list[str]:
    """Whose identity is on record as looked at."""
    statement = sa.select(audit_record.c.patient_id).where(audit_record.c.event == "110110").order_by(audit_record.c.id)
    with site.application.engine.connect() as connection:
        return list(connection.scalars(statement))


def test_everybody_who_may_be_meant_is_shown_with_what_tells_them_apart(site: Site) -> None:
    status, shown = page(site, name="mueller")
    assert status == 200
    assert "2 patients who may be meant" in shown
    assert re.search(r"Müller, Anna Maria.*also Schmidt, Anna.*1956-11-27.*female.*Köln.*anna", shown, re.DOTALL)
    assert "&lt;b&gt;Bert" in shown
    assert sorted(looked_at(site)) == [str(ANNA), str(BERT)]


def test_a_name_leads_to_the_studies_of_the_patient_by_an_address_that_tells_nothing(site: Site) -> None:
    shown = page(site, name="müller an")[1]
    address = re.search(r'href="(/console/patients\?[^"]+)"', shown)
    assert address is not None
    assert "anna" not in address[1]
    assert "A patient&#39;s studies" in got(site, address[1])[1] or "A patient's studies" in got(site, address[1])[1]


@pytest.mark.parametrize("born", ["1956-11-27", "19561127", "1956-11", "1956"])
def test_the_birth_date_narrows_it_down(site: Site, born: str) -> None:
    shown = page(site, name="müller", born=born)[1]
    assert "1 patient who may be meant" in shown
    assert "Anna Maria" in shown


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({}, 200, "Find a patient"),
        ({"name": "schulze"}, 200, "Nobody is known by this name"),
        ({"name": "m"}, 400, "2 letters"),
        ({"born": "1956"}, 400, "2 letters"),
        ({"name": "müller", "born": "56"}, 400, "1956-11-27"),
        ({"name": "x" * 5000}, 200, "Nobody is known by this name"),
        ({"name": "mü\0ller <script>"}, 200, "Nobody is known by this name"),
    ],
)
def test_what_finds_nobody_says_why(site: Site, asked: dict[str, str], status: int, said: str) -> None:
    found = page(site, **asked)
    assert found[0] == status
    assert said in found[1]
    assert "<script>" not in found[1]
    assert looked_at(site) == []


def test_of_whom_nothing_may_be_told_nobody_hears(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path, '[policy]\nmode = "enforce"\n') as site:
        with site.application.engine.begin() as connection:
            store = SqlRegistry(connection, DEFAULT_DOMAIN)
            for who, said in ((ANNA, ANNAS), (BERT, BERTS)):
                store.add_patient(who)
                store.keep_demographics(said, who)
            key = patients.key_of(connection, DEFAULT_DOMAIN, BERT)
            assert key is not None
            set_directive(connection, key, Directive(permit=False), "pia")
        status, shown = page(site, name="müller")
        assert status == 200
        assert "Anna Maria" in shown
        assert "Bert" not in shown
        assert looked_at(site) == [str(ANNA)]


def test_it_is_for_those_who_look_at_studies(site: Site) -> None:
    assert got(site, "/console/patients/find?name=m%C3%BCller", role="auditor")[0] == 403


def test_where_feeds_names_are_not_kept_there_is_no_such_page(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path, "[registry]\ndemographics = false\n") as site:
        assert got(site, "/console/patients/find")[0] == 404
        assert "by name" not in got(site, "/console/patients")[1]


def test_in_a_browser_a_patient_is_found_and_chosen(site: Site) -> None:
    with a_browser() as browser:
        sign_in(browser, site)
        browser.goto(f"{site.url}/console/patients")
        browser.get_by_role("link", name="find them by name").click()
        browser.get_by_label("Name, or how its words begin").fill("muller")
        browser.get_by_label("Born, if known").fill("1956")
        browser.get_by_role("button", name="Find").click()
        assert "name=" not in browser.url
        browser.get_by_role("link", name="Müller, Anna Maria").click()
        assert browser.get_by_role("heading", name="A patient's studies").is_visible()
        assert PatientId.parse(browser.get_by_label("Patient id").input_value()) == ANNA
