"""Signing in: who guesses is kept out and nobody else, each failure once on record and then counted, second factors."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.cookiejar import Cookie
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import argon2
import pyotp
import pytest
import sqlalchemy as sa

from tests.endpoints.console.test_desk import PASSWORD, Browser, hidden, sign_ins
from tests.endpoints.console.visiting import got, session
from tests.server.test_application import Site, serving
from xds.audit.messages.message_xml import read
from xds.endpoints.console import passwords
from xds.endpoints.console.desk import Desk, KeptOut, NoSecondFactor, _neighbourhood
from xds.endpoints.console.passwords import Busy, hashed
from xds.endpoints.console.signing_in import COOKIE
from xds.settings.sections import ROLES
from xds.store import accounts, tries
from xds.store.tables import audit_record, sign_in_try

HERE, STRANGER = "10.1.2.3", "192.0.2.66"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with serving(database_url, tmp_path) as site:
        with site.application.engine.begin() as connection:
            accounts.add(connection, "anna", "auditor", hashed(PASSWORD))
            accounts.add(connection, "vera", "viewer", hashed(PASSWORD))
        yield site


def desk(site: Site, *second_factor: str) -> Desk:
    events = site.application.domains["default"].events
    return Desk(site.application.engine, events.node, events.record, second_factor)


WRONG = "wrong"


def tried(site: Site, name: str, password: str = WRONG, address: str = STRANGER, code: str = "") -> bool:
    return bool(desk(site).sign_in(name, password, address, code=code))


def said(site: Site) -> list[tuple[str, str, str]]:
    """Of each record of a sign-in: who, from where, and why not."""
    columns = sa.select(audit_record.c.message).where(audit_record.c.event == "110114").order_by(audit_record.c.id)
    with site.application.engine.connect() as connection:
        found = [read(message) for message in connection.scalars(columns)]
    return [
        (one.participants[0].user_id, one.participants[0].network_access_point_id, one.event.outcome_description)
        for one in found
    ]


def later(site: Site, seconds: int) -> None:
    """What was noted, as so long ago."""
    earlier = seconds * 1_000_000
    names = ("failed_at", "closed_until", "recorded_at")
    with site.application.engine.begin() as connection:
        connection.execute(sa.update(sign_in_try).values({name: sign_in_try.c[name] - earlier for name in names}))


# F14: closed until there is an account.


@pytest.mark.parametrize("path", ["", "/", "/studies", "/patients", "/audit", "/guides", "/manifests/1/2/tree"])
def test_without_any_account_every_page_is_closed_and_says_by_which_command_the_first_is_made(
    database_url: str, tmp_path: Path, path: str
) -> None:
    with serving(database_url, tmp_path) as site:
        _, page, ended = Browser(site).got(f"/console{path}")
        assert ended.startswith("/console/sign-in")
        assert "xds user add NAME --role" in page


@pytest.mark.parametrize(("role", "may"), [
    ("viewer", True), ("operator", True), ("administrator", True), ("auditor", False), ("privacy-officer", False),
])  # fmt: skip
def test_images_are_for_those_who_work_with_them(site: Site, role: str, may: bool) -> None:
    assert role in ROLES
    assert got(site, "/console/patients", role=role)[0] == (200 if may else 403)


@pytest.mark.parametrize("page", ["consents", "overrides"])
def test_consents_and_overrides_are_for_the_privacy_officer_alone(site: Site, page: str) -> None:
    found = {role: got(site, f"/console/{page}", role=role)[0] for role in ROLES}
    assert {role for role, status in found.items() if status != 403} == {"privacy-officer"}


# F21: limits by address and account.


def test_who_guesses_is_kept_out_and_whose_password_it_is_signs_in_from_elsewhere(site: Site) -> None:
    for _ in range(tries.TRIES):
        assert not tried(site, "anna")
    assert not tried(site, "anna", PASSWORD)
    assert tried(site, "anna", PASSWORD, HERE)
    later(site, tries.CLOSED_SECONDS + 1)
    assert tried(site, "anna", PASSWORD)


def test_in_a_browser_too_the_right_password_does_not_help_until_the_time_is_over(site: Site) -> None:
    browser = Browser(site)
    for _ in range(tries.TRIES):
        browser.sign_in("anna", "wrong")
    assert browser.sign_in("anna")[0] == 403
    later(site, tries.CLOSED_SECONDS + 1)
    assert browser.sign_in("anna")[0] == 200


def test_an_address_that_tries_many_names_is_kept_out_without_its_passwords_being_compared(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(tries.OF_ADDRESS):
        assert not tried(site, f"name {number}")
    monkeypatch.setattr(passwords, "right", lambda *_: pytest.fail("compared"))
    with pytest.raises(KeptOut):
        tried(site, "anna", PASSWORD)
    later(site, tries.CLOSED_SECONDS + 1)
    monkeypatch.undo()
    assert tried(site, "anna", PASSWORD)


def test_who_has_signed_in_from_an_address_before_still_does_when_it_is_closed_for_others(site: Site) -> None:
    """All who come through one proxy have one address."""
    assert tried(site, "vera", PASSWORD)
    for number in range(tries.OF_ADDRESS):
        tried(site, f"name {number}")
    with pytest.raises(KeptOut):
        tried(site, "anna", PASSWORD)
    assert tried(site, "vera", PASSWORD)


def test_tries_that_are_not_looked_at_write_nothing_for_a_while(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    here = desk(site)
    for number in range(tries.OF_ADDRESS):
        here.sign_in(f"name {number}", WRONG, STRANGER)
    with pytest.raises(KeptOut):
        here.sign_in("anna", PASSWORD, STRANGER)
    written = len(said(site))
    monkeypatch.setattr(site.application.engine, "begin", lambda: pytest.fail("written"))
    for _ in range(50):
        with pytest.raises(KeptOut):
            here.sign_in("anna", PASSWORD, STRANGER)
    monkeypatch.undo()
    assert len(said(site)) == written
    assert here._held == {STRANGER: 50}


def test_guesses_from_everywhere_leave_an_account_open_to_where_somebody_has_signed_in_by_it(site: Site) -> None:
    assert tried(site, "anna", PASSWORD, HERE)
    for number in range(tries.OF_ACCOUNT):
        assert not tried(site, "anna", address=f"192.0.2.{number}")
    assert not tried(site, "anna", PASSWORD, "198.51.100.7")
    assert tried(site, "anna", PASSWORD, HERE)


def test_wrong_passwords_are_forgotten_after_a_day(site: Site) -> None:
    for _ in range(tries.TRIES - 1):
        tried(site, "anna")
    later(site, 25 * 3600)
    tried(site, "anna")
    assert tried(site, "anna", PASSWORD)


@pytest.mark.parametrize(("one", "other", "same"), [
    ("2001:db8::1", "2001:db8::ffff:1", True), ("2001:db8::1", "2001:db8:0:1::1", False),
    ("::ffff:192.0.2.1", "192.0.2.1", True), ("192.0.2.1", "192.0.2.2", False), ("a socket", "a socket", True),
])  # fmt: skip
def test_what_somebody_has_to_themselves_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (_neighbourhood(one) == _neighbourhood(other)) is same


def test_no_more_is_noted_than_there_is_room_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "MOST", 10)
    for number in range(30):
        tried(site, "nobody", address=f"192.0.2.{number}")
    assert site.count(sign_in_try) <= 12


def test_an_account_that_is_changed_while_its_password_is_compared_lets_nobody_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def right(*_: str) -> bool:
        with site.application.engine.begin() as connection:
            accounts.set_password(connection, "anna", "another")
        return True

    monkeypatch.setattr(passwords, "right", right)
    assert Browser(site).sign_in("anna")[0] == 403


def test_a_password_that_cannot_be_compared_counts_as_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bool:
        raise argon2.exceptions.VerificationError("Memory allocation error")

    monkeypatch.setattr(argon2.PasswordHasher, "verify", fails)
    for _ in range(tries.TRIES):
        assert Browser(site).sign_in("anna")[0] == 500
    assert site.count(sign_in_try) == 0


# F21: a bounded number at once.


def test_what_nobodys_password_is_compared_with_is_made_once_however_many_come_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, hasher = list[str](), passwords.HASHER

    class Slow:
        def hash(self, password: str) -> str:
            made.append(password)
            time.sleep(0.1)  # as long as it takes, in which others come
            return hasher.hash(password)

    monkeypatch.setattr(passwords, "HASHER", Slow())
    passwords._made.cache_clear()
    threads = [threading.Thread(target=passwords.nobodys) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_of_one_address_one_password_is_compared_and_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    places, begun, go_on = passwords.Places(), threading.Semaphore(0), threading.Event()

    def takes(address: str) -> None:
        with places.place(address):
            begun.release()
            go_on.wait(20)

    first = threading.Thread(target=takes, args=(STRANGER,))
    first.start()
    assert begun.acquire(timeout=20)
    waits = threading.Thread(target=takes, args=(STRANGER,))
    waits.start()
    while not places._waiting:
        time.sleep(0.01)
    with pytest.raises(Busy), places.place(STRANGER):
        pass
    with places.place(HERE):  # another's is not kept waiting by it
        pass
    go_on.set()
    for thread in (first, waits):
        thread.join()


def test_many_who_sign_in_at_once_are_asked_to_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_SECONDS", 0.01)
    with passwords._PLACES.place("127.0.0.1"):
        status, page, _ = Browser(site).sign_in("anna")
    assert (status, "Many people are signing in" in page) == (503, True)
    assert sign_ins(site) == []


# F21: the first failure is on record, and then how many there were.


def test_of_a_hundred_failures_a_few_are_on_record_with_how_many_there_were(site: Site) -> None:
    here = desk(site)
    for _ in range(100):
        try:
            here.sign_in("anna", WRONG, STRANGER)
        except KeptOut:
            continue
    assert {one[:2] for one in said(site)} == {("anna", STRANGER), ("unknown", STRANGER)}
    assert [why for *_, why in said(site)][:2] == [
        "the name or the password is wrong", f"the name or the password is wrong; {tries.TRIES - 2} more before",
    ]  # fmt: skip
    assert here.sign_in("vera", PASSWORD, HERE)
    later(site, tries.SUMMARY_SECONDS + 1)
    assert here.sign_in("vera", PASSWORD, HERE)
    found = [why for *_, why in said(site) if why]
    assert len(found) <= 6
    counted = sum(int(more) for why in found for more in re.findall("[0-9]+", why))
    assert counted + sum("times" not in why for why in found) == 100, found


def test_what_was_counted_before_the_right_password_is_on_record_with_it(site: Site) -> None:
    for _ in range(3):
        tried(site, "anna")
    assert tried(site, "anna", PASSWORD)
    assert [why for *_, why in said(site)] == [
        "the name or the password is wrong", "the name or the password is wrong: 2 times more", "",
    ]  # fmt: skip


def test_what_was_typed_as_a_name_is_nowhere(site: Site) -> None:
    tried(site, "my password in the wrong field")
    assert said(site) == [("unknown", STRANGER, "the name or the password is wrong")]
    with site.application.engine.connect() as connection:
        assert "my password" not in str(connection.execute(sa.select(sign_in_try)).all())


# Second factors.


def a_secret(site: Site, name: str = "anna") -> pyotp.TOTP:
    secret = pyotp.random_base32()
    with site.application.engine.begin() as connection:
        assert accounts.set_second_factor(connection, name, secret)
    return pyotp.TOTP(secret)


def test_an_account_with_a_second_factor_needs_its_code_and_takes_each_once(site: Site) -> None:
    totp = a_secret(site)
    code, earlier = totp.now(), totp.at(int(time.time()) - 30)
    assert not tried(site, "anna", PASSWORD, HERE)
    assert not tried(site, "anna", PASSWORD, HERE, code="000000" if code != "000000" else "111111")
    assert not tried(site, "anna", "wrong", HERE, code=code)
    assert tried(site, "anna", PASSWORD, HERE, code=f"{code[:3]} {code[3:]}")
    assert not tried(site, "anna", PASSWORD, HERE, code=code)
    assert not tried(site, "anna", PASSWORD, HERE, code=earlier)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "٠٠٠٠٠٠", "12 34", "abcdef", "-12345"])
def test_what_is_no_code_is_wrong(site: Site, code: str) -> None:
    a_secret(site)
    assert not tried(site, "anna", PASSWORD, HERE, code=code)


def test_codes_are_guessed_no_oftener_than_passwords(site: Site) -> None:
    totp = a_secret(site)
    for _ in range(tries.TRIES):
        assert not tried(site, "anna", PASSWORD, code="000000")
    assert not tried(site, "anna", PASSWORD, code=totp.now())


def test_where_a_role_must_have_a_second_factor_an_account_without_one_is_not_let_in_and_told_so(site: Site) -> None:
    auditors = desk(site, "auditor")
    with pytest.raises(NoSecondFactor):
        auditors.sign_in("anna", PASSWORD, HERE)
    assert said(site)[-1] == ("anna", HERE, "a second factor is required")
    assert auditors.sign_in("vera", PASSWORD, HERE)
    assert auditors.sign_in("anna", PASSWORD, HERE, code=a_secret(site).now())


def test_the_form_asks_for_the_code(site: Site) -> None:
    totp, browser = a_secret(site), Browser(site)
    page = browser.got("/console/sign-in?next=/console/audit")[1]
    form = hidden(page) | {"name": "anna", "password": PASSWORD, "code": totp.now()}
    assert browser.got("/console/sign-in", form)[2] == "/console/audit"


def test_who_is_vouched_for_by_a_provider_has_their_second_factor_there(site: Site) -> None:
    with site.application.engine.begin() as connection:
        accounts.add(connection, "olga", "auditor", "")
        assert not accounts.set_second_factor(connection, "olga", pyotp.random_base32())


# F28: forms and cookies.


def test_a_form_of_another_session_is_no_form_of_ours_whatever_cookie_somebody_has_planted(site: Site) -> None:
    anna, vera = Browser(site), Browser(site)
    vera.sign_in("vera", target="/console/patients")
    foreign = hidden(anna.sign_in("anna")[1])
    page = vera.got("/console/patients")[1]
    plant(vera, "xds-form", foreign["token"])
    assert vera.got("/console/sign-in/out", {"token": foreign["token"]})[0] == 400
    assert vera.got("/console/sign-in/out", {"token": ""})[0] == 400
    assert vera.got("/console/patients")[0] == 200
    assert vera.got("/console/sign-in/out", hidden(page))[0] == 200


def plant(browser: Browser, name: str, value: str) -> None:
    host = "127.0.0.1"
    cookie = Cookie(
        0, name, value, None, False, host, True, False, "/console", True, False, None, False, None, None, {}
    )
    browser.cookies.set_cookie(cookie)


@pytest.mark.parametrize(("headers", "status"), [
    ({"Sec-Fetch-Site": "cross-site"}, 400), ({"Sec-Fetch-Site": "same-site"}, 400),
    ({"Origin": "https://evil.example"}, 400), ({"Origin": "null"}, 400), ({"Origin": "OURS"}, 403), ({}, 403),
])  # fmt: skip
def test_a_form_on_another_site_signs_nobody_in(site: Site, headers: dict[str, str], status: int) -> None:
    with urlopen(f"{site.url}/console/sign-in") as reply:  # noqa: S310
        cookie, page = reply.headers["Set-Cookie"].partition(";")[0], reply.read().decode()
    given = {key: value.replace("OURS", site.url) for key, value in headers.items()}
    data = f"token={hidden(page)['token']}&name=anna&password=wrong".encode()
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{site.url}/console/sign-in", data, {"Cookie": cookie, **given}))  # noqa: S310
    assert refused.value.code == status


@pytest.mark.parametrize(("settings", "headers"), [
    ('[server]\npublic_url = "https://xds.example"\n', {}), ("", {"X-Forwarded-Proto": "https"}),
])  # fmt: skip
def test_by_https_cookies_are_named_so_that_no_neighbouring_host_can_set_them(
    database_url: str, tmp_path: Path, settings: str, headers: dict[str, str]
) -> None:
    with serving(database_url, tmp_path, settings) as site:
        token = session(site)
        with urlopen(Request(f"{site.url}/console/sign-in", headers=headers)) as reply:  # noqa: S310
            cookie = reply.headers["Set-Cookie"]
        assert re.match("__Host-xds-form=[^;]+; Secure; HttpOnly; Path=/; SameSite=Strict$", cookie)
        for name, ended in ((f"__Host-{COOKIE}", "/console/patients"), (COOKIE, "/console/sign-in")):
            asked = Request(  # noqa: S310
                f"{site.url}/console/patients", headers={**headers, "Cookie": f"{name}={token}"}
            )  # fmt: skip
            with urlopen(asked) as reply:  # noqa: S310
                assert reply.url.removeprefix(site.url).startswith(ended)


def test_on_loopback_without_tls_cookies_have_plain_names(site: Site) -> None:
    with urlopen(f"{site.url}/console/sign-in") as reply:  # noqa: S310
        assert re.match("xds-form=[^;]+; HttpOnly; Path=/console; SameSite=Strict$", reply.headers["Set-Cookie"])


@pytest.mark.parametrize("path", ["/dicomweb/studies", "/fhir/metadata", "/", "/metrics", "/healthz"])
def test_no_address_outside_the_console_takes_the_cookie_for_a_sign_in(
    database_url: str, tmp_path: Path, path: str
) -> None:
    (tmp_path / "images").mkdir()
    with serving(database_url, tmp_path, f'[imaging_source]\nfolder = "{tmp_path}/images"\n') as site:
        cookie = {"Cookie": f"{COOKIE}={session(site)}"}
        try:
            urlopen(Request(site.url + path, headers=cookie)).close()  # noqa: S310
        except HTTPError as problem:
            assert problem.code == 404
        with site.application.engine.connect() as connection:
            assert not any(b"vera" in one for one in connection.scalars(sa.select(audit_record.c.message)))


def test_changing_an_account_by_hand_ends_its_sessions(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    a_secret(site)
    assert browser.got("/console/audit")[2].startswith("/console/sign-in")
