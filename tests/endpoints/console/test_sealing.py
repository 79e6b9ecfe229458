"""Addresses that tell nothing of whom a page is about."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.endpoints.console.test_desk import PASSWORD, Browser, hidden, seal
from tests.server.test_application import ANNA, Site, serving
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.parties import Party
from xds.endpoints.console.auditing import NAMED
from xds.endpoints.console.passwords import hashed
from xds.endpoints.console.sealing import BYTES, MORE_BYTES, Sealer, TooLong
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store import accounts
from xds.store.deployment import console_key

SEALER = Sealer(lambda: bytes(range(64)))
PATH = "/console/audit"


def sealed_in(address: str) -> str:
    return address.partition("?s=")[2]


@given(st.dictionaries(st.sampled_from(("patient", "user", "text")), st.text(min_size=1, max_size=200), min_size=1))
def test_an_address_opens_to_what_was_asked_for(asked: dict[str, str]) -> None:
    address = SEALER.address(PATH, asked)
    assert re.fullmatch(r"/console/audit\?s=[\w-]+", address)
    readable = {key: text.encode("utf-8", "replace").decode() for key, text in asked.items()}
    assert SEALER.opened(sealed_in(address)) == readable


def test_the_same_question_has_the_same_address_and_none_asks_for_nothing() -> None:
    assert SEALER.address(PATH, {"patient": "a"}) == SEALER.address(PATH, {"user": "", "patient": "a"})
    assert SEALER.address(PATH, {"patient": "a"}) != SEALER.address(PATH, {"patient": "b"})
    assert SEALER.address(PATH, {"patient": ""}) == PATH


def test_what_no_address_has_room_for_is_refused() -> None:
    with pytest.raises(TooLong):
        SEALER.address(PATH, {"text": "x" * (BYTES + MORE_BYTES)})
    assert len(SEALER.address(PATH, {"text": "x" * (BYTES + MORE_BYTES - 11)})) < 4000


@given(st.text(max_size=100))
def test_an_address_that_somebody_made_up_opens_to_nothing(text: str) -> None:
    assert SEALER.opened(text) is None


def test_another_key_opens_nothing_and_a_changed_address_neither() -> None:
    sealed = sealed_in(SEALER.address(PATH, {"patient": "a"}))
    assert Sealer(lambda: os.urandom(64)).opened(sealed) is None
    for at in range(len(sealed) - 1):
        other = "A" if sealed[at] != "A" else "B"
        assert SEALER.opened(sealed[:at] + other + sealed[at + 1 :]) is None


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path) as site:
        with site.application.engine.begin() as connection:
            accounts.add(connection, "anna", "auditor", hashed(PASSWORD))
            accounts.add(connection, "vera", "viewer", hashed(PASSWORD))
        site.find()
        seal(site)
        yield site


def test_all_processes_of_a_deployment_have_one_key(site: Site) -> None:
    first = console_key(site.application.engine)
    assert (len(first), console_key(site.application.engine)) == (64, first)


def test_a_form_leads_to_an_address_that_tells_nothing_and_no_link_of_its_page_does(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    for page_of in (PATH, f"{PATH}/reports/patient"):
        status, page, ended = browser.got("/console/find", {"to": page_of, "patient": str(ANNA), "since": ""})
        assert status == 200
        assert re.fullmatch(rf"{page_of}\?s=[\w-]+", ended)
        assert f'value="{ANNA}"'.replace("&", "&amp;") in page
        addresses = map(unescape, re.findall(r'(?:href|src|action)="([^"]*)"', page))
        assert [one for one in addresses if ANNA.id in one or str(ANNA.authority) in one] == []
    record = re.findall(rf"{PATH}/\d+", browser.got("/console/find", {"to": PATH, "patient": str(ANNA)})[1])[0]
    assert str(ANNA).replace("&", "&amp;") in browser.got(record)[1]
    assert ANNA.id not in "".join(re.findall(r'href="([^"]*)"', browser.got(record)[1]))


@pytest.mark.parametrize("form", [
    {"to": "/console\rX", "patient": "x"}, {"to": "/console\u2028", "patient": "x"},
    {"to": "https://evil.example/", "patient": "x"}, {"to": "//evil.example/", "patient": "x"}, {"patient": "x"},
])  # fmt: skip
def test_a_form_leads_to_pages_of_the_console_alone(site: Site, form: dict[str, str]) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    assert browser.got("/console/find", form)[2].startswith("/console?s=")


def test_who_has_not_signed_in_is_led_to_the_sign_in_and_on_to_the_page(site: Site) -> None:
    ended = Browser(site).got("/console/find", {"to": PATH, "patient": str(ANNA)})[2]
    assert ended == "/console/sign-in?next=%2Fconsole%2Faudit"


@pytest.mark.parametrize("address", [f"{PATH}?s=nonsense", f"{PATH}?s=", "/console/patients?s=%00"])
def test_an_address_that_is_none_is_said_so(site: Site, address: str) -> None:
    browser = Browser(site)
    browser.sign_in("anna" if "audit" in address else "vera")
    status, page, _ = browser.got(address)
    assert (status, "not one that was made here" in page) in ((400, True), (403, False))


def test_what_is_too_long_to_be_searched_for_is_said_so(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    for text in ("x" * 3000, '"' * 1500):
        status, page, _ = browser.got("/console/find", {"to": PATH, "text": text})
        assert (status, "too long" in page) == (400, True)
    token = hidden(browser.got(PATH)[1])["token"]
    query = urlencode(dict.fromkeys((*NAMED, "text"), '"' * 300))
    kept = {"token": token, "name": "long", "query": query}
    assert browser.got("/console/audit/searches", kept)[0] == 400


def test_a_page_shows_values_that_no_link_has_room_for(site: Site) -> None:
    event = AuditEvent(
        site.application.domains[DEFAULT_DOMAIN].events.node, "110112", "E", ("ITI-18", "x"), *[Party("x", "y")] * 2
    )
    event.about_patient("\U0001f600" * 900)
    site.application.domains[DEFAULT_DOMAIN].events.record(event)
    browser = Browser(site)
    browser.sign_in("anna")
    number = re.findall(rf"{PATH}/\d+", browser.got(PATH)[1])[0]
    assert browser.got(number)[0] == 200
    kept = {"to": PATH, **dict.fromkeys(("patient", "user", "organisation", "study", "source"), "😀" * 75)}
    # That is nobody's id, which the page says; all else of it is searched for.
    status, page, _ = browser.got("/console/find", kept)
    assert (status, "This is no patient id" in page) == (400, True)
    assert browser.got("/console/find", kept | {"patient": ""})[0] == 200
