"""The auditor's desk as somebody sees it: signing in, searching, a record, reports, deciding, taking away."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page

from tests.assertions import Claims, an_issuer, signed
from tests.builders import a_submission, an_entry
from tests.endpoints.console.browsing import a_browser, shot
from tests.endpoints.console.test_desk import PASSWORD, seal
from tests.server.test_application import ANNA, Site, of_bytes, serving
from xds.audit.messages.message_xml import read
from xds.endpoints.console.passwords import hashed
from xds.store import accounts
from xds.store.audit import review
from xds.store.tables import audit_record
from xds.wire.xua import header_block

pytestmark = pytest.mark.large

HOUR = 3_600_000_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose log tells of several people, one of them the patient's namesake, and of what went wrong."""
    (tmp_path / "idp.pem").write_bytes(an_issuer().pem)
    settings = f'[xua]\ntrusted = "{tmp_path}/idp.pem"\n[audit]\nenterprise_site_id = "South Clinic"\n'
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, settings) as site:
        engine = site.application.engine
        with engine.begin() as connection:
            accounts.add(connection, "audrey", "auditor", hashed(PASSWORD))
            review.set_vip(connection, str(ANNA), vip=True)
        entry = an_entry(source_patient_info=("PID-5|Meier^Johanna",), **of_bytes(b"one"))
        site.provide(a_submission(entries=[entry]), [b"one"])
        for claims, times in (
            (Claims(), 3),
            (Claims(user="b.kovac", known_as="Branka Kovač", alias=""), 5),
            (Claims(user="er1", known_as="Dr. Igor Novak", purpose="BTG", purpose_text="Break the glass"), 1),
        ):
            site.header_blocks = (header_block(signed(claims)),)
            for _ in range(times):
                site.find()
            site.retrieve(entry.unique_id)
        site.retrieve("1.2.3.4.404")
        site.outcomes()
        with engine.begin() as connection:  # as if it had taken two days
            scattered = audit_record.c.recorded - (audit_record.c.id * 7 % 40) * HOUR
            connection.execute(sa.update(audit_record).values(recorded=scattered))
        seal(site)
        yield site


SEALED = re.compile(r"\?s=[\w-]+$")


def signed_in(page: Page, site: Site, target: str = "/console/audit") -> Page:
    page.goto(site.url + target)
    page.get_by_label("Name").fill("audrey")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**" + target)
    return page


def test_an_auditor_signs_in_searches_and_opens_a_record_by_keyboard(site: Site) -> None:
    with a_browser() as page:
        page.goto(site.url + "/console/audit")
        shot(page, "sign-in")
        page.wait_for_function("document.activeElement.name === 'name'")  # the first field has the focus
        page.keyboard.type("audrey")
        page.keyboard.press("Tab")
        page.wait_for_function("document.activeElement.name === 'password'")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Audit log").wait_for()
        shot(page, "search")
        page.get_by_role("textbox", name="Patient").fill(str(ANNA))
        page.locator("select[name=event]").select_option("ITI-43")
        page.keyboard.press("Tab")
        page.get_by_role("textbox", name="Patient").press("Enter")
        page.wait_for_url(SEALED)
        assert ANNA.id not in page.url
        rows = page.locator("tbody tr")
        assert rows.count() == 3
        assert "Branka Kovač" in page.locator("tbody").inner_text()
        rows.first.get_by_role("link").press("Enter")
        page.get_by_text("✓ Proof: holds").wait_for()
        assert "was asked for by" in page.locator("main").inner_text()
        shot(page, "record")


def test_dragging_over_the_chart_narrows_the_search(site: Site) -> None:
    with a_browser() as page:
        signed_in(page, site)
        bars = page.locator("#chart .plot a")
        first, last = bars.nth(2).bounding_box(), bars.nth(9).bounding_box()
        assert first is not None
        assert last is not None
        page.mouse.move(first["x"] + 2, first["y"] + 50)
        page.mouse.down()
        page.mouse.move(last["x"] + 2, last["y"] + 50, steps=5)
        page.mouse.up()
        page.wait_for_url(SEALED)
        assert page.get_by_role("textbox", name="From").input_value()
        assert page.locator("#chart .plot a").count() <= 9


def test_who_saw_a_patient_is_a_page_of_people_with_their_purposes(site: Site) -> None:
    with a_browser() as page:
        signed_in(page, site)
        page.get_by_role("link", name="Who saw a patient").click()
        page.get_by_role("textbox", name="Patient").fill(str(ANNA))
        page.get_by_role("button", name="Report").click()
        first = page.locator("tbody tr").first
        first.wait_for()
        text = page.locator("table").inner_text()
        assert text.index("Branka Kovač") < text.index("Dr. Anna Meier") < text.index("Dr. Igor Novak")
        assert "North Hospital" in text
        assert "Break the glass" in text
        shot(page, "who-saw")
        page.get_by_role("link", name="What somebody saw").click()
        page.get_by_label("Person or system").fill("branka kovač")
        page.get_by_role("button", name="Report").click()
        page.get_by_text(str(ANNA)).wait_for()
        page.get_by_role("link", name="What went wrong").click()
        page.get_by_text("XDSDocumentUniqueIdError").first.wait_for()
        shot(page, "failures")
        page.get_by_role("link", name="Overrides").click()
        page.get_by_text("Dr. Igor Novak").wait_for()


def test_what_is_unusual_waits_for_a_decision_which_is_kept_and_on_record(site: Site) -> None:
    with a_browser() as page:
        signed_in(page, site, "/console/audit/unusual")
        text = page.locator("table").inner_text().lower()
        for reason in ("same surname", "vip", "override"):
            assert reason in text
        shot(page, "unusual")
        row = page.locator("tr", has_text="same surname").first
        count = page.locator("tbody tr").count()
        row.get_by_placeholder("Why").fill("her own sister, agreed")
        row.get_by_role("button", name="justified").click()
        page.wait_for_function(f"document.querySelectorAll('tbody tr').length === {count - 1}")
        page.get_by_role("link", name="What was decided").click()
        page.get_by_text("her own sister, agreed").wait_for()
        assert "audrey" in page.locator("tbody").inner_text()
    with site.application.engine.connect() as connection:
        messages = [read(one) for one in connection.scalars(sa.select(audit_record.c.message))]
    details = [detail.text for one in messages for thing in one.objects for detail in thing.details]
    assert any(text.startswith("decision=justified&reason=same+surname") for text in details)


def test_a_search_is_kept_found_again_and_taken_away(site: Site, tmp_path: Path) -> None:
    with a_browser(dark=True) as page:
        signed_in(page, site)
        page.locator("select[name=outcome]").select_option("failed")
        page.get_by_role("button", name="Search").click()
        page.get_by_label("Keep this search as").fill("Last night")
        page.get_by_role("button", name="Keep", exact=True).click()
        page.goto(site.url + "/console/audit")
        page.get_by_role("link", name="Last night", exact=True).click()
        page.wait_for_url(SEALED)
        shot(page, "search-dark")
        taken = {}
        for form in ("CSV", "JSON lines", "PDF"):
            with page.expect_download() as download:
                page.get_by_role("link", name=form).click()
            download.value.save_as(tmp_path / form)
            taken[form] = (tmp_path / form).read_bytes()
        page.get_by_role("button", name="Forget Last night").click()
        page.get_by_role("button", name="Search").wait_for()
        assert page.get_by_text("Last night").count() == 0
    listed = list(csv.DictReader(taken["CSV"].decode("utf-8-sig").splitlines()))
    lines = [json.loads(line) for line in taken["JSON lines"].splitlines()]
    assert [one["record"] for one in listed] == [one["record"] for one in lines]
    assert {one["outcome"] for one in listed} == {"4"}
    assert lines[0]["message"].startswith("<")
    assert taken["PDF"].startswith(b"%PDF-")


def test_the_desk_works_without_scripts(site: Site) -> None:
    with a_browser(scripts=False) as page:
        signed_in(page, site)
        page.locator("#chart .plot a").last.click()
        page.wait_for_url(SEALED)
        assert page.get_by_role("textbox", name="From").input_value()
