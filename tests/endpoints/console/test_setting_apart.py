"""The page of what is set apart: who may see it, what it shows, and that a decision is made once, with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints.console.browsing import a_browser, shot
from tests.endpoints.console.test_desk import PASSWORD, Browser, hidden
from tests.endpoints.console.visiting import sign_in
from tests.endpoints.dicomweb.test_store import as_bytes, body, posted
from tests.hostile.test_set_apart import REASON, not_its_own, of_another, sent, undecided
from tests.imaging.images import a_rejection_note, an_instance
from tests.server.test_application import Site, serving
from xds.endpoints.console.passwords import hashed
from xds.store import accounts

PATH = "/console/apart"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with Anna's study, one against it, and people of every role."""
    (tmp_path / "images").mkdir()
    text = f'[imaging_source]\nfolder = "{tmp_path}/images"\nstow_rs = true\n'
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, text) as site:
        with site.application.engine.begin() as connection:
            for role in ("operator", "administrator", "viewer", "auditor", "privacy-officer"):
                accounts.add(connection, role, role, hashed(PASSWORD))
        assert posted(site, body(as_bytes(an_instance(1, StudyDescription="CT Thorax"))))[0] == 200
        sent(site, of_another(StudyDescription="CT Schädel"))
        yield site


def signed_in(site: Site, name: str = "operator") -> Browser:
    browser = Browser(site)
    assert browser.sign_in(name, target="/console")[0] == 200
    return browser


def decided(browser: Browser, number: int, page: str = "", **form: str) -> tuple[int, str]:
    page = page or browser.got(PATH)[1]
    said = {"decision": "discard", "reason": REASON, **hidden(page), **form}
    return browser.got(f"{PATH}/{number}", said)[:2]


@pytest.mark.parametrize(
    ("name", "status"),
    [("operator", 200), ("administrator", 200), ("viewer", 403), ("auditor", 403), ("privacy-officer", 403)],
)
def test_only_an_operator_or_administrator_sees_and_decides_what_is_set_apart(
    site: Site, name: str, status: int
) -> None:
    browser = signed_in(site, name)
    assert browser.got(PATH)[0] == status
    token = hidden(browser.got("/console")[1])["token"]
    if status == 403:
        assert browser.got(f"{PATH}/1", {"token": token, "decision": "discard", "reason": "x", "last": "1"})[0] == 403
        assert undecided(site) == (1, 1)
    assert (PATH in browser.got("/console")[1]) == (status == 200)


def test_both_patients_are_shown_with_what_differs_and_what_can_be_done(site: Site) -> None:
    page = unescape(signed_in(site).got(PATH)[1])
    for text in ("Other Otto", "P2", "2000-01-01", "Müller Anna", "4711", "1956-11-27", "CT Thorax", "CT Schädel"):
        assert text in page
    assert page.count("differs") == 6  # name, id and birth date, on both sides
    assert 'value="take"' not in page
    assert "cannot be taken in: of another patient than the study shows" in page


def test_a_decision_with_a_reason_is_made_and_a_second_is_told_of_it(site: Site) -> None:
    browser = signed_in(site)
    page = browser.got(PATH)[1]
    status, wrong = decided(browser, 1, page, reason=" ")
    assert (status, "needs a reason" in wrong, undecided(site)) == (400, True, (1, 1))
    status, wrong = decided(browser, 1, page, decision="take")
    assert (status, "cannot be taken in" in wrong, REASON in unescape(wrong), undecided(site)) == (
        400, True, True, (1, 1),
    )  # fmt: skip
    assert decided(browser, 1, page)[0] == 200
    assert undecided(site) == (0, 0)
    status, told = decided(browser, 1, page)
    assert (status, "before you" in told) == (409, True)
    assert "Nothing waits" in browser.got(PATH)[1]
    every = unescape(browser.got(f"{PATH}?all=1")[1])
    assert ("Thrown away" in every, REASON in every, "operator, " in every) == (True, True, True)


def test_what_another_sender_sent_is_taken_in(site: Site) -> None:
    not_its_own(site)
    sent(site, an_instance(5))
    browser = signed_in(site)
    page = browser.got(PATH)[1]
    assert 'value="take"' in page
    assert decided(browser, 2, page, decision="take", last="2")[0] == 200
    assert undecided(site) == (1, 1)


@pytest.mark.parametrize("form", [{"token": ""}, {"token": "x"}, {"decision": "burn"}, {"last": "0"}, {"last": "x"}])
def test_a_form_that_is_not_ours_decides_nothing(site: Site, form: dict[str, str]) -> None:
    assert decided(signed_in(site), 1, **form)[0] == 400
    assert undecided(site) == (1, 1)


@pytest.mark.parametrize("number", ["0", "77", str(2**63), "x"])
def test_a_case_that_is_not_there_is_not_found(site: Site, number: Any) -> None:
    assert decided(signed_in(site), number)[0] == 404


def test_earlier_cases_are_on_pages_of_their_own(site: Site) -> None:
    for number in range(52):
        sent(site, of_another(PatientID=f"P{number + 10}"))
    browser = signed_in(site)
    page = browser.got(PATH)[1]
    assert page.count('<form class="decide"') == 50
    assert browser.got(f"{PATH}?before=4")[1].count('<form class="decide"') == 3
    assert browser.got(f"{PATH}?before={2**70}")[0] == 200


@pytest.mark.large
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_an_operator_throws_one_away_and_takes_one_in_by_keyboard(site: Site, dark: bool) -> None:
    not_its_own(site)
    sent(site, a_rejection_note("1.2.3.100.1.1"))
    with a_browser(dark=dark) as page:
        sign_in(page, site, "operator")
        page.goto(site.url + PATH)
        page.get_by_role("heading", name="Set apart").wait_for()
        shot(page, f"set-apart-{'dark' if dark else 'light'}")
        page.get_by_label("Reason for case 2").focus()
        page.keyboard.type("the ward's archive sends it for the modality")
        page.keyboard.press("Enter")  # decides nothing: both of what it might are for good
        page.keyboard.press("Tab")
        page.wait_for_function("document.activeElement.value === 'take'")
        assert undecided(site) == (2, 2)
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelectorAll('form.decide').length === 1")
        page.get_by_label("Reason for case 1").fill(REASON)
        page.get_by_role("button", name="Throw away case 1").click()
        page.get_by_text("Nothing waits for a decision.").wait_for()
        page.get_by_role("link", name="All of them").click()
        page.get_by_text("Taken in").first.wait_for()
        shot(page, f"set-apart-decided-{'dark' if dark else 'light'}")
        page.set_viewport_size({"width": 390, "height": 844})
        shot(page, f"set-apart-narrow-{'dark' if dark else 'light'}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert undecided(site) == (0, 0)
