"""Signing in, and the auditor's desk: who may see what, and that each look and each try is on record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html import escape, unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
import sqlalchemy as sa

from tests.builders import AUTHORITY, a_submission, an_entry
from tests.server.test_application import ANNA, Site, of_bytes, serving
from xds.audit.log.sequencer import Sequencer
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message_xml import read
from xds.audit.messages.parties import Party
from xds.endpoints.console import auditing
from xds.endpoints.console.passwords import hashed
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN, Loaded
from xds.store import accounts
from xds.store.audit import records as store
from xds.store.audit import review
from xds.store.audit.records import now_microseconds
from xds.store.audit.review import Unusual
from xds.store.registry import patients
from xds.store.tables import audit_record, session

PASSWORD = "correct horse battery"


class Browser:
    """Keeps cookies, follows redirects, and fills in forms."""

    def __init__(self, site: Site) -> None:
        self.site, self.cookies = site, CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.cookies))

    def got(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Status, page, and the address it ended at."""
        request = Request(self.site.url + path, urlencode(form).encode() if form is not None else None)  # noqa: S310
        try:
            with self._opener.open(request) as reply:
                return reply.status, reply.read().decode(), reply.url.removeprefix(self.site.url)
        except HTTPError as problem:
            return problem.code, problem.read().decode(), (problem.url or "").removeprefix(self.site.url)

    def sign_in(self, name: str, password: str = PASSWORD, target: str = "/console/audit") -> tuple[int, str, str]:
        page = self.got(f"/console/sign-in?next={quote(target)}")[1]
        return self.got("/console/sign-in", hidden(page) | {"name": name, "password": password})


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A site with an auditor, a viewer, and a few records that are sealed."""
    with serving(database_url, tmp_path) as site:
        engine = site.application.engine
        with engine.begin() as connection:
            accounts.add(connection, "anna", "auditor", hashed(PASSWORD))
            accounts.add(connection, "vera", "viewer", hashed(PASSWORD))
        site.provide(a_submission(entries=[an_entry(**of_bytes(b"one"))]), [b"one"])
        site.find()
        seal(site)
        yield site


def seal(site: Site) -> None:
    sequencer = Sequencer(site.application.engine, Loaded(site.application.settings, {}))
    sequencer.step()
    sequencer.close()


def sign_ins(site: Site) -> list[tuple[str, int]]:
    """Who signed in or out, or tried, and the outcome."""
    columns = sa.select(audit_record.c.message, audit_record.c.outcome).where(audit_record.c.event == "110114")
    with site.application.engine.connect() as connection:
        rows = connection.execute(columns.order_by(audit_record.c.id)).all()
    return [(re.findall(rb'UserID="([^"]*)"', row.message)[0].decode(), row.outcome) for row in rows]


@pytest.mark.parametrize("path", ["/console/audit", "/console/audit/1", "/console/patients", "/console/studies"])
def test_a_stranger_is_led_to_the_sign_in(site: Site, path: str) -> None:
    status, page, ended = Browser(site).got(path)
    assert (status, ended) == (200, f"/console/sign-in?next={quote(path, safe='')}")
    assert "ITI-18" not in page


def test_an_auditor_signs_in_and_sees_who_did_what(site: Site) -> None:
    status, page, ended = Browser(site).sign_in("anna")
    assert (status, ended) == (200, "/console/audit")
    assert "ITI-18" in page
    assert str(ANNA).replace("&", "&amp;") in page
    assert sign_ins(site) == [("anna", 0)]


def test_a_session_cookie_is_for_this_site_alone_and_out_of_reach_of_scripts(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    (cookie,) = [one for one in browser.cookies if one.name == "xds-session"]
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Strict"
    with site.application.engine.connect() as connection:
        assert connection.scalar(sa.select(session.c.token)) != cookie.value


def test_a_viewer_does_not_see_the_log_nor_an_auditor_the_images(site: Site) -> None:
    viewer, auditor = Browser(site), Browser(site)
    assert viewer.sign_in("vera")[0] == 403
    auditor.sign_in("anna")
    assert auditor.got("/console/patients")[0] == 403


@pytest.mark.parametrize(("name", "recorded"), [("anna", "anna"), ("my password in the wrong field", "unknown")])
def test_a_wrong_password_is_refused_and_on_record_without_what_was_typed(site: Site, name: str, recorded: str) -> None:
    status, page, _ = Browser(site).sign_in(name, "wrong")
    assert status == 403
    assert "name or the password is wrong" in page
    assert sign_ins(site) == [(recorded, 4)]


def test_who_signs_in_again_has_one_session(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    browser.sign_in("anna")
    with site.application.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(session)) == 1


def test_another_page_of_the_browser_signs_out_though_the_form_was_shown_again(site: Site) -> None:
    browser = Browser(site)
    page = browser.sign_in("anna")[1]
    browser.got("/console/sign-in")
    assert browser.got("/console/sign-in/out", hidden(page))[0] == 200
    assert "/console/sign-in" in browser.got("/console/audit")[2]


@pytest.mark.parametrize("path", ["/console/audit?patient=%00", "/console/audit/99999999999999999999999",
                                  "/console/audit?before=99999999999999999999-1"])  # fmt: skip
def test_what_no_form_sends_breaks_nothing(site: Site, path: str) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    assert browser.got(path)[0] in (200, 400, 404)
    assert browser.sign_in("an\0na")[0] == 403


@pytest.mark.parametrize(
    "asked", ["since=gestern", "until=2026-13-01", "since=2026-03-02&until=2026-03-01", "before=x"]
)
@pytest.mark.parametrize("page", ["", "/export.csv", "/export.pdf", "/reports/failures", "/reports/overrides"])
def test_a_time_that_cannot_be_read_shows_and_gives_nothing(site: Site, page: str, asked: str) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    status, text, _ = browser.got(f"/console/audit{page}?{asked}")
    assert (status, "ITI-18" in re.sub(r"<option.*?</option>", "", text)) == (400, False)
    assert 'role="alert"' in text


@pytest.mark.parametrize(("text", "width"), [
    ("2026-03-01", 86_400), ("2026-03-01T08:00", 60), ("2026-03-01 08:00", 60), ("2026-03-01 08:00:30", 1),
    ("2026-03-01T08:00:30Z", 1), ("2026-03-01 08:00 UTC", 60),
])  # fmt: skip
def test_times_are_read_as_the_desk_shows_them(text: str, width: int) -> None:
    at, found = auditing.time_of(text)
    assert (found, datetime.fromtimestamp(at / 1e6, UTC).date().isoformat()) == (width * 1_000_000, "2026-03-01")


def test_a_report_of_the_last_days_says_so_and_leads_to_the_same_records(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    site.retrieve("1.2.3.404")
    seal(site)
    page = browser.got("/console/audit/reports/failures")[1]
    (since,) = re.findall(r'name="since" value="(\d{4}-\d\d-\d\d)"', page)
    (link,) = re.findall(r'<a href="([^"]*)">See the records', page)
    assert f'name="since" value="{since}"' in browser.got(unescape(link))[1]


def test_what_is_for_another_role_is_refused_and_on_record(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("vera")
    for path in ("/console/audit/1", "/console/audit/export.csv"):
        assert browser.got(path)[0] == 403
    with site.application.engine.connect() as connection:
        messages = list(connection.scalars(sa.select(audit_record.c.message).where(audit_record.c.event == "110113")))
    alerts = [message for message in map(read, messages) if message.event.type_codes[0].code == "110132"]
    assert [(one.participants[0].user_id, int(one.event.outcome), one.objects[0].id) for one in alerts[-2:]] == [
        ("vera", 4, "urn:xds:page:/console/audit/1"), ("vera", 4, "urn:xds:page:/console/audit/export.csv"),
    ]  # fmt: skip


def test_what_cannot_be_seen_in_a_record_is_shown(site: Site) -> None:
    browser, domain = Browser(site), site.application.domains[DEFAULT_DOMAIN]
    browser.sign_in("anna")
    event = AuditEvent(domain.events.node, "110112", "E", ("ITI-18", "x"), *[Party("x", "y")] * 2)
    event.about_patient("\u202e321^^^&1.2.3&ISO")
    domain.events.record(event)
    with site.application.engine.connect() as connection:
        id_ = connection.scalar(sa.select(sa.func.max(audit_record.c.id)))
    page, record = (browser.got(path)[1] for path in ("/console/audit", f"/console/audit/{id_}"))
    for text in (page, record):
        assert "[U+202E]321" in text
        assert "\u202e" not in re.sub(r'(value|href)="[^"]*"', "", text)


def test_a_record_is_taken_away_byte_for_byte(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    with site.application.engine.connect() as connection:
        (id_, message) = connection.execute(sa.select(audit_record.c.id, audit_record.c.message)).first()  # type: ignore[misc]
    assert browser.got(f"/console/audit/{id_}/message")[:2] == (200, message.decode())
    assert browser.got("/console/audit/999999/message")[0] == 404


@pytest.mark.parametrize(("path", "status"), [("/console/nowhere", 404), ("/console/audit/searches", 405)])
def test_what_is_not_there_is_a_page_in_the_console_and_a_line_elsewhere(site: Site, path: str, status: int) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    found, page, _ = browser.got(path)
    assert (found, "<h1>Nothing here</h1>" in page) == (status, True)
    assert browser.got("/nowhere")[:2] == (404, "There is nothing at this address.\n")


def test_who_saw_a_patient_is_told_of_all_ids_that_were_merged(site: Site) -> None:
    other = PatientId("anna-2", AUTHORITY)
    with site.application.engine.begin() as connection:
        patients.add(connection, DEFAULT_DOMAIN, other)
        patients.merge(connection, DEFAULT_DOMAIN, ANNA, other)
    browser = Browser(site)
    browser.sign_in("anna")
    form = {"to": "/console/audit/reports/patient", "patient": str(other)}
    page = browser.got("/console/find", form)[1]
    assert f"Covers <code>{escape(str(other))}</code>. Also known as" in page
    assert "ITI-18" in page
    assert "also known as" in browser.got("/console/find", form | {"to": "/console/audit"})[1]


def test_records_that_came_later_are_told_of_on_the_day_that_they_are_of(site: Site) -> None:
    domain = site.application.domains[DEFAULT_DOMAIN]
    event = AuditEvent(domain.events.node, "110112", "E", ("ITI-18", "x"), *[Party("late", "y")] * 2)
    event.started = int(datetime(2026, 3, 1, 8, tzinfo=UTC).timestamp() * 1e6)
    (made,) = event.records()
    with site.application.engine.begin() as connection:
        store.record(connection, [replace(made, recorded=now_microseconds(), origin="tcp 192.0.2.1")])
    seal(site)
    browser = Browser(site)
    browser.sign_in("anna")
    page = browser.got("/console/find", {"to": "/console/audit", "since": "2026-03-01", "until": "2026-03-01"})[1]
    (link,) = re.findall(r'href="([^"]*)">1 of 2026-03-01<', page)
    assert "of 2026-03-01 08:00:00" in browser.got(unescape(link))[1]


def test_a_decision_stands_and_what_is_sent_after_a_session_is_said_to_be_lost(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    one = Unusual(1, "p", "P", "", str(ANNA), "vip", "", 1)
    with site.application.engine.begin() as connection:
        review.note(connection, [one])
        (kept,) = review.unusual(connection)
    token = hidden(browser.got("/console/audit")[1])["token"]
    form = {"token": token, "to": "/console/audit/unusual"}
    assert browser.got(f"/console/audit/unusual/{kept.id}", form | {"decision": "misuse", "note": "first"})[0] == 200
    assert browser.got(f"/console/audit/unusual/{kept.id}", form | {"decision": "justified", "note": "2"})[0] == 409
    with site.application.engine.connect() as connection:
        (decided,) = review.unusual(connection, decided=True)
        messages = [read(one) for one in connection.scalars(sa.select(audit_record.c.message))]
    assert (decided.decision, decided.note) == ("misuse", "first")
    details = [detail.text for one in messages for thing in one.objects for detail in thing.details]
    assert [text for text in details if "note=" in text] == ["decision=misuse&reason=vip&record=1&note=first"]
    other = Browser(site)
    _, page, ended = other.got(f"/console/audit/unusual/{kept.id}", form | {"decision": "justified"})
    assert "next=%2Fconsole%2Faudit%2Funusual" in ended
    assert "was not kept" in page


def test_a_form_that_came_from_elsewhere_is_refused(site: Site) -> None:
    browser = Browser(site)
    browser.got("/console/sign-in")
    given = {"token": "forged", "name": "anna", "password": PASSWORD}
    assert browser.got("/console/sign-in", given)[0] == 400
    assert sign_ins(site) == []


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/console", "/\\evil.example", "/elsewhere"])
def test_signing_in_leads_to_no_other_site(site: Site, target: str) -> None:
    assert Browser(site).sign_in("anna", target=target)[2] == "/console"


def test_who_signs_out_is_a_stranger_again(site: Site) -> None:
    browser = Browser(site)
    page = browser.sign_in("anna")[1]
    browser.got("/console/sign-in/out", hidden(page))
    assert "/console/sign-in" in browser.got("/console/audit")[2]
    assert sign_ins(site) == [("anna", 0), ("anna", 0)]


@pytest.mark.parametrize("changes", [
    {"seen": now_microseconds() - (accounts.IDLE_SECONDS + 1) * 1_000_000},
    {"started": now_microseconds() - (accounts.LONGEST_SECONDS + 1) * 1_000_000},
])  # fmt: skip
def test_a_session_ends_unused_and_in_any_case(site: Site, changes: dict[str, int]) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    with site.application.engine.begin() as connection:
        connection.execute(sa.update(session).values(**changes))
    assert "/console/sign-in" in browser.got("/console/audit")[2]


def test_an_account_that_is_removed_has_no_session_left(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    with site.application.engine.begin() as connection:
        accounts.remove(connection, "anna")
    assert "/console/sign-in" in browser.got("/console/audit")[2]


def test_each_look_at_the_log_is_in_the_log(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    browser.got("/console/audit/1")
    used = sa.select(sa.func.count()).where(audit_record.c.event == "110101")
    with site.application.engine.connect() as connection:
        assert connection.scalar(used) == 2


def test_a_record_is_shown_in_plain_words_with_its_proof(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    page = browser.got("/console/audit/1")[1]
    assert "✓ Proof: holds: record 0 of" in page
    assert "&lt;AuditMessage" in page
    with site.application.engine.begin() as connection:
        message = connection.scalar(sa.select(audit_record.c.message).where(audit_record.c.id == 1))
        bent = sa.update(audit_record).where(audit_record.c.id == 1).values(message=message.replace(b"anna", b"bert"))
        connection.execute(bent)
    assert "✗ Proof: DOES NOT HOLD" in browser.got("/console/audit/1")[1]
    assert browser.got("/console/audit/999")[0] == 404


def test_the_log_is_searched_by_patient_and_drawn_by_day(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    page = browser.got(f"/console/audit?patient={quote(str(ANNA))}&event=ITI-18")[1]
    assert page.count('<tr><td class="day">') == 1
    today = datetime.now(UTC).date().isoformat()
    assert re.search(rf'aria-label="{today}T\d\d:00: 1 records, 0 failed"', page)
    # What can find nothing is no search without results: it is said to be none (and so is a report).
    nobody = f"nobody^^^&{AUTHORITY}&ISO"
    for path in ("/console/audit?", "/console/audit/reports/patient?"):
        for given, why in (
            ("nobody", "This is no patient id"),
            (nobody, "Unknown patient"),
            ("a^^^&1.9&ISO", "Unknown auth"),
        ):
            status, page, _ = browser.got(f"{path}patient={quote(given)}")
            assert (status, why in page, "No record" in page) == (400, True, False)
    assert "No record meets this" in browser.got(f"/console/audit?patient={quote(str(ANNA))}&event=ITI-57")[1]
    assert "A time is written as" in browser.got("/console/audit?since=yesterday")[1]


def test_what_is_taken_away_says_that_it_is_the_newest_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(site)
    browser.sign_in("anna")
    monkeypatch.setitem(auditing._EXPORTS, "csv", ("text/csv", 2))
    with browser._opener.open(f"{site.url}/console/audit/export.csv") as reply:
        assert reply.headers["Content-Disposition"] == 'attachment; filename="audit-newest-2.csv"'
        assert len(reply.read().splitlines()) == 3
    with browser._opener.open(f"{site.url}/console/audit/export.csv?event=ITI-18") as reply:
        assert reply.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    assert browser.got("/console/audit/export.exe")[0] == 404


def test_a_search_that_takes_too_long_to_be_taken_away_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.endpoints.console.desk.TAKEN_SECONDS", 0.0)
    browser = Browser(site)
    browser.sign_in("anna")
    assert browser.got("/console/audit/export.csv?text=nothing+has+this")[0] == 503


def test_what_somebody_looks_at_in_the_console_is_on_record_with_their_name(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("vera", target="/console/patients")
    assert browser.got(f"/console/patients?patient={quote(str(ANNA))}")[0] == 200
    columns = sa.select(audit_record.c.message, audit_record.c.transaction).order_by(audit_record.c.id.desc()).limit(2)
    with site.application.engine.connect() as connection:
        rows = connection.execute(columns).all()
    assert {row.transaction for row in rows} == {"ITI-18"}
    for row in rows:  # the consumer's and the registry's
        assert b'UserID="vera" UserIsRequestor="true"' in row.message
    site.find()
    with site.application.engine.connect() as connection:
        newest = connection.scalar(sa.select(audit_record.c.message).order_by(audit_record.c.id.desc()).limit(1))
    assert b"vera" not in newest
