"""Before an examination is scheduled: what may make it needless stands first; nothing is shown that is withheld."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT, a_submission
from tests.endpoints.console.browsing import a_browser
from tests.endpoints.console.visiting import got, sign_in
from tests.rules.test_relevant_priors import HEAD, TODAY, made
from tests.server.test_application import Site, serving
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.registry import patients
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import audit_record

CHEST_CT = {"patient": str(ANNA), "modality": "CT", "part": "chest", "day": f"{TODAY}"}


def with_priors(site: Site) -> Site:
    """Where Anna has a CT of her chest, of nine days before the first of December, and two more examinations."""
    with site.application.engine.begin() as connection:
        patients.add(connection, DEFAULT_DOMAIN, ANNA)
        patients.add(connection, DEFAULT_DOMAIN, BERT)
        registry = site.application.domains[DEFAULT_DOMAIN].actors.registry
        store = SqlRegistry(connection, DEFAULT_DOMAIN)
        for entry in (made(), made("MR", HEAD, days=20), made("MR", days=400)):
            registry.register(a_submission(entries=[entry]), store)
    return site


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path) as site:
        yield with_priors(site)


def page(site: Site, **changes: str) -> tuple[int, str]:
    return got(site, f"/console/priors?{urlencode(CHEST_CT | changes)}")


def test_what_may_make_it_needless_is_said_first_in_a_sentence(site: Site) -> None:
    status, shown = page(site)
    assert status == 200
    assert re.search(r"Look first</strong>: A CT of the same part was made 9 days earlier at General Hospital", shown)
    assert "2 of 3 studies, newest first" in shown
    assert shown.index("may make it needless") < shown.index("the same region</td>")
    assert f"{TODAY.replace(month=11, day=22)}" in shown


def test_the_form_alone_asks_nobody(site: Site) -> None:
    before = looked(site)
    status, shown = got(site, "/console/priors")
    assert (status, "Before it is scheduled" in shown, looked(site)) == (200, True, before)
    assert page(site)[0] == 200
    assert looked(site) > before


def looked(site: Site) -> int:
    with site.application.engine.connect() as connection:
        where = audit_record.c.transaction == "ITI-18"
        return int(connection.scalar(sa.select(sa.func.count()).select_from(audit_record).where(where)) or 0)


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"patient": "anna"}, 400, "This is no patient id: not of the form"),
        ({"part": "CHESST<script>"}, 400, "is no body part"),
        ({"modality": "", "part": ""}, 200, "Say what is ordered"),
        ({"day": "1.12.2026"}, 400, "2026-11-30"),
        ({"modality": "US", "part": "KNEE"}, 200, "Nothing was examined before that matters"),
        ({"modality": "QQ"}, 400, "is no modality of DICOM"),
        ({"modality": "XA"}, 200, "Nothing of the last time makes it needless"),
        ({"patient": str(BERT)}, 200, "known, and has no"),
        ({"patient": str(ANNA).replace("anna", "nobody")}, 200, "Unknown patient"),
        ({"part": "x" * 5000}, 400, "is no body part"),
    ],
)
def test_what_cannot_be_answered_says_why(site: Site, changes: dict[str, str], status: int, said: str) -> None:
    got_status, shown = page(site, **changes)
    assert (got_status, said in shown) == (status, True), shown
    assert "<script>" not in shown


def test_what_the_patient_withholds_makes_nothing_needless(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path, '[policy]\nmode = "enforce"\n') as site:
        with_priors(site)
        with site.application.engine.begin() as connection:
            key = patients.key_of(connection, DEFAULT_DOMAIN, ANNA)
            assert key is not None
            set_directive(connection, key, Directive(permit=False), "pia")
        shown = page(site)[1]
        assert "needless" not in shown
        assert "General Hospital" not in shown


def test_it_is_for_those_who_look_at_studies(site: Site) -> None:
    assert got(site, "/console/priors", role="auditor")[0] == 403


def test_a_scheduler_comes_to_it_from_a_patients_studies_and_reads_it(site: Site) -> None:
    with a_browser() as browser:
        sign_in(browser, site)
        browser.goto(f"{site.url}/console/patients")
        browser.get_by_label("Patient id").fill(str(ANNA))
        browser.get_by_role("button", name="Find").click()
        browser.get_by_role("link", name="Before another examination is scheduled").click()
        assert browser.get_by_label("Patient id").input_value() == str(ANNA)
        browser.get_by_label("What is ordered").select_option("CT")
        browser.get_by_label("Body part").fill("CHEST")
        browser.get_by_label("For", exact=True).fill(f"{TODAY}")
        browser.get_by_role("button", name="Look").click()
        assert "Look first" in browser.get_by_role("status").inner_text()
        assert "anna" not in browser.url
