"""The page of what is merged: who may see it, how far each source is, and what a person is to decide."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from tests.endpoints.console.browsing import a_browser, shot
from tests.endpoints.console.test_desk import PASSWORD, Browser
from tests.endpoints.console.visiting import sign_in
from tests.server.test_application import Site, serving
from xds.endpoints.console.merging import to_do
from xds.endpoints.console.passwords import hashed
from xds.store import accounts
from xds.store.merging import Became, Ledger, Looked, Merged

PATH = "/console/merges"
NOBODY = "nobody has said who the patient is here"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site that merges south and east, and people of every role."""
    text = (
        '[merges.south]\nregistry = "http://127.0.0.1:9/registry"\n[merges.east]\nregistry = "http://127.0.0.1:9/r"\n'
    )
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, text) as site:
        with site.application.engine.begin() as connection:
            for role in ("operator", "administrator", "viewer", "auditor", "privacy-officer"):
                accounts.add(connection, role, role, hashed(PASSWORD))
        yield site


def merged(site: Site, left: int = 7) -> None:
    """South: of three years of entries so many wait."""
    with site.application.engine.begin() as connection:
        ledger = Ledger(connection, "south")
        ledger.list_patients(["secret-1^^^&1.2&ISO", "secret-2^^^&1.2&ISO"])
        ledger.note_patient("secret-1^^^&1.2&ISO", "anna^^^&1.3&ISO", Looked.EVEN, "", 1_790_000_000_000_000)
        state = Looked.WAITING if left else Looked.EVEN
        ledger.note_patient("secret-2^^^&1.2&ISO", "", state, NOBODY if left else "", 1_790_000_000_000_000)
        for number in range(360):
            month = f"{2023 + number % 36 // 12}{number % 12 + 1:02}"
            waits = number < left
            ledger.keep([
                Merged(
                    f"urn:uuid:{number:08}-0000-4000-8000-000000000000", "secret-1^^^&1.2&ISO", "DE", f"1.2.{number}",
                    Became.WAITING if waits else Became.COPIED, NOBODY if waits else "", "x", "" if waits else "x",
                    size=1_000_000, month=month,
                )
            ])  # fmt: skip


def signed_in(site: Site, name: str = "operator") -> Browser:
    browser = Browser(site)
    assert browser.sign_in(name, target="/console")[0] == 200
    return browser


@pytest.mark.parametrize(
    ("name", "status"),
    [("operator", 200), ("administrator", 200), ("viewer", 403), ("auditor", 403), ("privacy-officer", 403)],
)
def test_only_an_operator_or_administrator_sees_what_is_merged(site: Site, name: str, status: int) -> None:
    browser = signed_in(site, name)
    assert browser.got(PATH)[0] == status
    assert (PATH in browser.got("/console")[1]) == (status == 200)


def test_it_says_how_much_is_here_and_what_to_do_about_the_rest_and_names_no_patient(site: Site) -> None:
    merged(site)
    page = unescape(signed_in(site).got(PATH)[1])
    assert "353 of 360 objects are here as they are there" in page
    assert NOBODY in page
    assert to_do(Became.WAITING, NOBODY) in page
    assert "secret" not in page
    assert "360.0 MB" in page


def test_what_is_all_here_is_said_to_be_so_and_what_was_never_asked_too(site: Site) -> None:
    merged(site, left=0)
    page = unescape(signed_in(site).got(PATH)[1])
    assert "All of it is here" in page
    assert "Begin with xds merge survey east" in " ".join(page.replace("<code>", "").replace("</code>", "").split())


@pytest.mark.parametrize("state", [Became.INVALID, Became.WAITING, Became.CONFLICT, Became.GONE])
def test_there_is_something_to_do_about_whatever_is_left(state: Became) -> None:
    assert to_do(state, "something that nobody has thought of")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_how_far_each_source_is(site: Site, dark: bool) -> None:
    merged(site)
    with a_browser(dark=dark) as page:
        sign_in(page, site, "operator")
        page.goto(site.url + PATH)
        page.get_by_role("heading", name="south").wait_for()
        assert page.locator(".bars .plot b").count() == 36
        assert page.get_by_role("progressbar").get_attribute("value") == "353"
        shot(page, f"merges-{'dark' if dark else 'light'}")
