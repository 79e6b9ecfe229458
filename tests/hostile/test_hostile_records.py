"""Audit records by which a peer would reach whoever reads them: the desk, what it gives to take away, the terminal."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from urllib.parse import quote
from urllib.request import Request

import pytest

from tests.cli.command import xds
from tests.endpoints.console.test_desk import PASSWORD, Browser
from tests.server.test_application import Site, serving
from xds.audit.log.sequencer import Sequencer
from xds.endpoints.audit_received import received
from xds.endpoints.console.passwords import hashed
from xds.settings.sections import Loaded
from xds.store import accounts
from xds.store.audit import records as store

SCRIPT = "<script>alert(1)</script>"
HEAD = b"<85>1 2026-11-29T10:00:00Z host app 1 IHE+RFC-3881 - "


def a_record(
    *, source: str = "hospital-b", user: str = "dr.b", patient: str = "anna^^^&1.2.3.4.5&ISO", event: str = "110112",
    said: str = "Query", time: str = "2026-11-29T10:00:00Z", outcome: str = "0", why: str = "", more: str = "",
) -> bytes:  # fmt: skip
    """A message that a peer has written."""

    def attribute(text: str) -> str:
        return re.sub(r"[\x00-\x1f]", lambda found: f"&#{ord(found[0])};", html.escape(text))

    user, source, patient, said = map(attribute, (user, source, patient, said))
    reason = f"<EventOutcomeDescription>{attribute(why)}</EventOutcomeDescription>" if why else ""
    return (
        HEAD
        + (
            f'<AuditMessage><EventIdentification EventActionCode="E" EventDateTime="{time}"'
            f' EventOutcomeIndicator="{outcome}">'
            f'<EventID csd-code="{event}" codeSystemName="DCM" originalText="{said}"/>'
            f'<EventTypeCode csd-code="ITI-18" codeSystemName="IHE Transactions" originalText="Query"/>{reason}'
            f'</EventIdentification><ActiveParticipant UserID="{user}" UserName="{user}" UserIsRequestor="true"'
            ' NetworkAccessPointID="10.0.0.1" NetworkAccessPointTypeCode="2"><RoleIDCode csd-code="110153"'
            f' codeSystemName="DCM" originalText="Source"/></ActiveParticipant><AuditSourceIdentification'
            f' AuditSourceID="{source}"/><ParticipantObjectIdentification ParticipantObjectID="{patient}"'
            ' ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1"><ParticipantObjectIDTypeCode csd-code="2"'
            ' codeSystemName="RFC-3881" originalText="Patient Number"/></ParticipantObjectIdentification>'
            f"{more}</AuditMessage>"
        ).encode()
    )


CROWD = '<ParticipantObjectIdentification ParticipantObjectID="p{}^^^&amp;1.2&amp;ISO" ParticipantObjectTypeCode="1"/>'
RECORDS = [
    a_record(user=SCRIPT, patient=SCRIPT, source=SCRIPT, said=SCRIPT, outcome="8", why=SCRIPT),
    a_record(user="=cmd|'/C calc'!A0", patient="+1+1", source="@SUM(1)", said="-2+3", why='=HYPERLINK("http://evil")'),
    a_record(user="\uff1dcmd|calc", patient="\t=1", source=" =1"),
    a_record(user="\u202etxt.exe\u200b", source="a\u2028b", said="\r\n2026 FAKE LINE ERROR", why="x\ny"),
    *(a_record(time=time) for time in (
        "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00-23:59", "1969-01-01T00:00:00Z")),
    a_record(outcome="999999999999"), a_record(event="", said=""), HEAD + b"<AuditMessage/>",
    HEAD + b"\xff\xfe\x00 not utf-8 \x80", b"\0" * 100, b"<85>1 \xff\xff", b"<85>1 - - - - - [" + b"\\" * 4000,
    HEAD + b"<a>" * 100_000, HEAD + b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><AuditMessage>&e;</AuditMessage>",
    a_record(user="x" * 200_000), a_record(patient="p" * 100_000), a_record(source="\U0001f4a9" * 100),
    a_record(user="\x1b[2J\x1b]0;owned\x07"), a_record(more="".join(CROWD.format(n) for n in range(25_000))),
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that has been sent them all, with an auditor."""
    folder = tmp_path_factory.mktemp("records")
    (folder / "data").mkdir()
    with serving(f"sqlite:///{folder}/data/xds.sqlite", folder) as made:  # where the commands look for it
        with made.application.engine.begin() as connection:
            accounts.add(connection, "anna", "auditor", hashed(PASSWORD))
            store.record(connection, [received(one, "tcp 192.0.2.1", ours="xds") for one in RECORDS])
        sequencer = Sequencer(made.application.engine, Loaded(made.application.settings, {}))
        sequencer.step()
        sequencer.close()
        yield made


@pytest.fixture(scope="module")
def auditor(site: Site) -> Browser:
    browser = Browser(site)
    assert browser.sign_in("anna")[0] == 200
    return browser


PAGES = [
    "/console/audit", "/console/audit?text=script", f"/console/audit?patient={quote(SCRIPT)}", "/console/audit/unusual",
    "/console/audit/reports/failures", "/console/audit/reports/person", "/console/audit?s=AAAA",
    "/console/audit?since=9999-12-31&until=9999-12-31", "/console/audit?since=0001-01-01", "/console/audit?before=x",
    "/console/audit/99999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_no_page_of_the_desk_fails_or_runs_what_a_record_holds(auditor: Browser, path: str) -> None:
    status, page, _ = auditor.got(path)
    assert status in (200, 400, 404)
    assert SCRIPT not in page
    assert "\u202e" not in re.sub(r'(value|href)="[^"]*"', "", page)


def test_each_record_has_its_page(auditor: Browser) -> None:
    for number in range(1, len(RECORDS) + 1):
        status, page, _ = auditor.got(f"/console/audit/{number}")
        assert (status, number) == (200, number)
        assert SCRIPT not in page


def test_a_table_to_take_away_holds_no_formula(auditor: Browser) -> None:
    with auditor._opener.open(Request(f"{auditor.site.url}/console/audit/export.csv")) as reply:  # noqa: S310
        rows = list(csv.reader(io.StringIO(reply.read().decode("utf-8-sig"))))
    assert len(rows) > len(RECORDS)
    for cell in (cell for row in rows for cell in row):
        assert not re.match("[\t\r]|\\s*[=+@\uff1d\uff0b\uff20]|\\s*[-\uff0d]\\D", cell)


@pytest.mark.parametrize("form", ["pdf", "jsonl"])
def test_they_are_taken_away_whole(auditor: Browser, form: str) -> None:
    with auditor._opener.open(Request(f"{auditor.site.url}/console/audit/export.{form}")) as reply:  # noqa: S310
        data = reply.read()
    assert data.startswith(b"%PDF-") if form == "pdf" else len(data.splitlines()) > len(RECORDS)


def test_nothing_of_them_moves_a_terminal(site: Site, auditor: Browser) -> None:
    data = site.application.settings.server.data
    for number in range(1, len(RECORDS) + 1):
        done = xds("audit", "show", str(number), "--data", data)
        assert done.code == 0
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u2028\u202e]", done.out)
    assert xds("audit", "list", "--data", data).code == 0


def test_the_log_verifies_with_them_in_it(site: Site, auditor: Browser) -> None:
    assert xds("audit", "verify", "--data", site.application.settings.server.data).code == 0
