"""The database goes away, also in a commit: what is acknowledged is there, what is not is wholly absent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, a_submission, an_entry, symbolic
from tests.cutting import Cuttable, cuttable
from tests.server.test_application import Site, of_bytes, serving
from xds.access.gate import NotPermitted
from xds.ebxml import lcm, rs
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.metadata.submission import Submission
from xds.store import work
from xds.store.engine import make_engine
from xds.store.tables import audit_record, document_entry, submission_set
from xds.transactions.iti42_register_document_set_b import TRANSACTION as ITI_42
from xds.wire.addressing import request_headers
from xds.wire.client import Faulted
from xds.wire.soap import around

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""SQLite is a file: nothing is between."""


@pytest.fixture
def way(database_url: str) -> Iterator[Cuttable]:
    port = sa.make_url(database_url).port
    assert port is not None
    with cuttable(port) as way:
        yield way


@pytest.fixture
def site(database_url: str, way: Cuttable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(work, "SETTLE_SECONDS", 3.0)
    url = sa.make_url(database_url).set(port=way.port).render_as_string(hide_password=False)
    with ExitStack() as stack:
        site = stack.enter_context(serving(url, tmp_path))
        registered(site, a_submission())  # the patient is known, and what is looked at once is
        yield site
        way.away = False


def registered(site: Site, submission: Submission) -> Status:
    body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(symbolic(submission))))
    return rs.read_response(site.send("/registry", ITI_42.action, [body], mtom=False).body)[0]


def kept(database_url: str) -> list[int]:
    """How many submission sets, entries and records of ITI-42 there are."""
    engine = make_engine(database_url, connections=1)
    with engine.connect() as connection:
        whats = (
            sa.select(sa.func.count()).select_from(submission_set),
            sa.select(sa.func.count()).select_from(document_entry),
            sa.select(sa.func.count()).select_from(audit_record).where(
                audit_record.c.transaction == "ITI-42", audit_record.c.outcome == 0
            ),
        )  # fmt: skip
        found = [int(connection.scalar(what) or 0) for what in whats]
    engine.dispose()
    return found


def is_commit(said: bytes, past: bytes) -> bool:
    """Whether it is the commit of something with its audit record, and not the end of what only reads."""
    return b"COMMIT\0" in said and b"<AuditMessage" in past[past.rfind(b"BEGIN") :] + said


def cuts_the_first_commit(way: Cuttable, becomes: str) -> threading.Event:
    cut = threading.Event()

    def heard(said: bytes, past: bytes) -> str:
        if is_commit(said, past) and not cut.is_set():
            cut.set()
            return becomes
        return "on"

    way.heard = heard
    return cut


def test_a_commit_whose_answer_is_lost_is_looked_up_and_acknowledged(
    site: Site, way: Cuttable, database_url: str
) -> None:
    before = kept(database_url)
    cut = cuts_the_first_commit(way, "unanswered")
    assert registered(site, a_submission()) is Status.SUCCESS
    assert cut.is_set()
    assert kept(database_url) == [count + 1 for count in before]


def test_a_commit_that_does_not_arrive_is_done_once_more(site: Site, way: Cuttable, database_url: str) -> None:
    before, submission = kept(database_url), a_submission()
    cut = cuts_the_first_commit(way, "lost")
    assert registered(site, submission) is Status.SUCCESS
    assert cut.is_set()
    assert kept(database_url) == [count + 1 for count in before]


def test_a_commit_that_never_arrives_is_refused_and_can_be_sent_again(
    site: Site, way: Cuttable, database_url: str
) -> None:
    before, submission = kept(database_url), a_submission()
    cut = list[bytes]()

    def heard(said: bytes, past: bytes) -> str:
        if is_commit(said, past) and b"INSERT INTO" in past[past.rfind(b"BEGIN") :] + said:  # not what looks it up
            cut.append(said)
            return "lost"
        return "on"

    way.heard = heard
    with pytest.raises(Faulted, match="XDSRegistryBusy: the database does not answer, and nothing was changed"):
        registered(site, submission)
    assert len(cut) == 2
    assert kept(database_url) == before
    way.heard = lambda *_: "on"
    assert registered(site, submission) is Status.SUCCESS
    assert kept(database_url) == [count + 1 for count in before]


def test_what_is_refused_is_not_carried_out_when_the_record_of_its_refusal_is_lost(
    site: Site, way: Cuttable, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denies(*_: object, **__: object) -> None:
        raise NotPermitted("you may not")

    monkeypatch.setattr(site.application.gate, "ask", denies)
    before = kept(database_url)
    assert registered(site, a_submission()) is Status.FAILURE
    cut = cuts_the_first_commit(way, "lost")
    with pytest.raises(Faulted, match="nothing was changed"):
        registered(site, a_submission())
    assert cut.is_set()
    assert kept(database_url) == before


@pytest.mark.parametrize("becomes", ["lost", "unanswered"])
def test_a_query_is_on_record_once_at_most(site: Site, way: Cuttable, database_url: str, becomes: str) -> None:
    site.find()
    cut = cuts_the_first_commit(way, becomes)
    with pytest.raises(Faulted, match="XDSRegistryBusy"):
        site.find()
    assert cut.is_set()
    engine = make_engine(database_url, connections=1)
    with engine.connect() as connection:
        asked = sa.select(sa.func.count()).select_from(audit_record).where(audit_record.c.transaction == "ITI-18")
        assert connection.scalar(asked) == (1 if becomes == "lost" else 2)
    engine.dispose()


def test_a_document_whose_commit_is_cut_off_is_acknowledged_only_if_it_can_be_fetched(
    site: Site, way: Cuttable, database_url: str
) -> None:
    for becomes in ("unanswered", "lost"):
        content = becomes.encode()
        entry = an_entry(**of_bytes(content))
        cut = cuts_the_first_commit(way, becomes)
        submission = symbolic(a_submission(entries=[entry]))
        assert rs.read_response(site.provide(submission, [content]).body)[0] is Status.SUCCESS
        (spooled,) = site.retrieve(entry.unique_id).contents.values()
        assert spooled.path.read_bytes() == content
        site.outcomes()  # once the stream is on record
        assert cut.is_set()


def test_who_comes_while_the_database_is_away_is_told_when_to_come_again(site: Site, way: Cuttable) -> None:
    way.go_away()
    head, tail = around(request_headers(ITI_42.action, f"{site.url}/registry", "urn:uuid:1"))
    body = head + etree.tostring(lcm.write_submit_objects(to_ebxml.submission(symbolic(a_submission())))) + tail
    headers = {"Content-Type": "application/soap+xml"}
    reply = requests.post(f"{site.url}/registry", body, headers=headers, timeout=60)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
    assert b"XDSRegistryBusy: the database does not answer, and nothing was changed" in reply.content
    with pytest.raises(Faulted, match="XDSRegistryBusy"):
        site.find(ANNA)
    way.away = False
    assert registered(site, a_submission()) is Status.SUCCESS


def test_a_commit_after_which_the_database_stays_away_is_told_to_be_unknown(
    site: Site, way: Cuttable, database_url: str
) -> None:
    before = kept(database_url)

    def heard(said: bytes, past: bytes) -> str:
        if is_commit(said, past):
            way.away = True
            return "unanswered"
        return "on"

    way.heard = heard
    with pytest.raises(Faulted, match="whether it was carried out is not known"):
        registered(site, a_submission())
    assert kept(database_url) == [count + 1 for count in before]


def test_a_stream_whose_end_cannot_be_recorded_at_once_is_on_record_later(
    site: Site, way: Cuttable, database_url: str
) -> None:
    entry = an_entry(**of_bytes(b"content"))
    site.provide(symbolic(a_submission(entries=[entry])), [b"content"])

    def heard(said: bytes, past: bytes) -> str:
        if b"DELETE FROM audit_open" in said:
            way.heard = lambda _said, _past: "on"
            return "lost"
        return "on"

    way.heard = heard
    (spooled,) = site.retrieve(entry.unique_id).contents.values()
    assert spooled.path.read_bytes() == b"content"
    assert site.outcomes()[-1] == ("ITI-43", "110106", 0)


def test_what_somebody_has_locked_still_is_not_said_to_be_absent(site: Site, way: Cuttable, database_url: str) -> None:
    """The server may be committing it still, at the other end of the connection that was lost."""
    holding, held = make_engine(database_url, connections=1), threading.Event()
    submission = a_submission()
    name = f"default {submission.submission_set.unique_id}"

    def heard(said: bytes, past: bytes) -> str:
        if is_commit(said, past) and not held.is_set():
            held.set()
            return "lost"
        return "on"

    with holding.connect() as connection:
        way.heard = heard
        taking = threading.Thread(
            target=lambda: (held.wait(30), connection.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,)))
        )  # fmt: skip
        taking.start()
        with pytest.raises(Faulted, match="whether it was carried out is not known"):
            registered(site, submission)
        taking.join()
        connection.rollback()
    holding.dispose()
