"""Other nodes' audit records: over three transports, whole or not, in what a peer may do wrong; kept as they came."""

from __future__ import annotations

import json
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.databases import database_url, engine, shared_postgres
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.hostile.certificates import Authority
from tests.hostile.server import Served
from tests.places import GOLDEN
from xds.audit.log.segments import SegmentLog, as_leaf
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.audit.messages.plain import summary
from xds.demo.site import free_port
from xds.endpoints import syslog as endpoint
from xds.endpoints.audit_received import received
from xds.endpoints.syslog import AuditReceiver
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted
from xds.wire import syslog
from xds.wire.client import client_context
from xds.wire.contexts import server_context
from xds.wire.metrics import Metrics
from xds.wire.syslog import Frames, Malformed, content, message, send

__all__ = ["database_url", "engine", "shared_postgres"]

QUERY = (GOLDEN / "iti18_responder.xml").read_bytes()
HERE = ("127.0.0.1", 0)


def alert(peer: str, reason: str) -> AuditEvent:
    here = Party("xds", "127.0.0.1", ours=True)
    return AuditEvent.not_authenticated(AuditSource("xds"), here, Party(peer, peer), reason)


@contextmanager
def listening(engine: sa.Engine, **where: Any) -> Iterator[AuditReceiver]:
    receiver = AuditReceiver(engine, Metrics(), alert, **where)
    try:
        yield receiver
    finally:
        receiver.close()


def kept(engine: sa.Engine) -> list[Recorded]:
    """All records, the oldest first."""
    with engine.connect() as connection:
        return search.found(connection, Wanted(), 10_000)[::-1]


def sent(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(data)


def framed(*frames: bytes) -> bytes:
    return b"".join(b"%d %b" % (len(frame), frame) for frame in frames)


# Framing.


frames_ = st.lists(st.binary(max_size=60).map(lambda data: b"<85>1 " + data), max_size=6)


@given(frames_, st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_however_the_stream_is_cut(wanted: list[bytes], cuts: list[int]) -> None:
    data, frames, found = framed(*wanted), Frames(), list[tuple[bytes, str]]()
    while data:
        size = cuts[len(found) % len(cuts)]
        found += frames.take(data[:size])
        data = data[size:]
    found += frames.take(b"")
    assert found == [(frame, "") for frame in wanted]


@given(st.binary(max_size=200))
def test_no_stream_breaks_the_reader(data: bytes) -> None:
    frames = Frames()
    try:
        list(frames.take(data))
        list(frames.take(b""))
    except Malformed as problem:
        assert len(problem.data) <= syslog.CUT_BYTES


def test_lines_are_taken_from_who_writes_them() -> None:
    frames = Frames()
    assert list(frames.take(b"<85>1 a\n<85>1 b\n<85>")) == [(b"<85>1 a", ""), (b"<85>1 b", "")]
    assert list(frames.take(b"")) == [(b"<85>", "cut")]


def test_of_a_frame_that_is_too_long_the_beginning_is_kept_and_the_next_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syslog, "MESSAGE_BYTES", 100)
    monkeypatch.setattr(syslog, "CUT_BYTES", 10)
    frames, data = Frames(), framed(b"<85>1 " + b"x" * 500, b"<85>1 next")
    found = [one for start in range(0, len(data), 7) for one in frames.take(data[start : start + 7])]
    assert found == [(b"<85>1 xxxx", "cut"), (b"<85>1 next", "")]


NEXT = b"<85>1 - - - - - - next"
LINES = b"<85>1 - - - - - - <?xml version='1.0'?>\n<AuditMessage>\n  <a/>\n\n</AuditMessage>"


def taken(data: bytes, size: int) -> tuple[list[tuple[bytes, str]], int]:
    """What comes of a stream in pieces, and how much of it was passed over."""
    frames = Frames()
    found = [one for at in range(0, len(data), size) for one in frames.take(data[at : at + size])]
    return found + list(frames.take(b"")), frames.passed


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("following", [framed(NEXT), NEXT + b"\n"])
@pytest.mark.parametrize("data", [b"0 x", b"x", b"12345678901 x", b"-1 x", b"1x", b"GET / HTTP/1.1\r\n", b"  b"])
def test_what_is_no_frame_is_kept_and_does_not_cost_the_next(data: bytes, following: bytes, size: int) -> None:
    found, passed = taken(data + following, size)
    assert found == [(data.lstrip(), "between two messages"), (NEXT, "")]
    assert passed == len(data)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"\0", b" ", b"\xef\xbb\xbf", b"\n\n\0"])
def test_what_is_blank_between_frames_is_passed_over(blank: bytes, size: int) -> None:
    found, passed = taken(blank.join([b"", framed(NEXT), framed(NEXT), b""]), size)
    assert found == [(NEXT, ""), (NEXT, "")]
    assert passed == 3 * len(blank)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_record_of_several_lines_is_one_message_where_lines_are_framed(size: int) -> None:
    assert taken(LINES + b"\n" + NEXT + b"\n" + LINES + b" \r\n" + framed(NEXT), size)[0] == [
        (LINES, ""), (NEXT, ""), (LINES + b" \r", ""), (NEXT, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_record_of_several_lines_that_does_not_end_does_not_cost_the_next(size: int) -> None:
    broken = LINES.removesuffix(b"</AuditMessage>")
    assert taken(broken + b"\n" + NEXT + b"\n", size)[0] == [(broken, "cut"), (NEXT, "")]
    lines = b"<13>1 - - - - - - Traceback:\n  at one\n  at two\n" + NEXT + b"\n"
    assert taken(lines, size)[0] == [
        (b"<13>1 - - - - - - Traceback:", ""), (b"at one\n  at two\n", "between two messages"), (NEXT, ""),
    ]  # fmt: skip


def test_who_counts_too_little_loses_the_end_of_that_message_alone() -> None:
    found, _ = taken(b"20 <85>1 - - - - - - longer" + framed(NEXT), 5)
    assert found == [(b"<85>1 - - - - - - lo", ""), (b"nger", "between two messages"), (NEXT, "")]


@pytest.mark.parametrize("data", [b"\n" * 101, b"x" * 101, (b"x" * 60 + b"<a>1 ") * 2])
def test_too_much_between_two_messages_is_no_stream(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "PASSED_BYTES", 100)
    with pytest.raises(Malformed):
        taken(data + framed(NEXT), 10)
    assert taken(framed(NEXT) + b"\n" * 99 + framed(NEXT) + b"x" * 99 + framed(NEXT), 10)[0][-1] == (NEXT, "")


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(1, 9))
def test_whatever_came_nothing_but_blanks_is_lost(pieces: list[bytes], size: int) -> None:
    data = b"<85>1 a\n" + b"\n".join(pieces)
    said = b"".join(one for one, _ in taken(data, size)[0])
    blank = bytes.maketrans(b"", b"")
    gone = b" \t\r\n\0\xef\xbb\xbf0123456789"
    assert said.translate(blank, gone) == data.translate(blank, gone)


def test_a_stream_that_is_broken_in_between_goes_on_and_is_counted(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    frame = message(QUERY)
    with listening(engine, tcp=HERE) as receiver:
        sent(receiver.port("tcp"), framed(frame) + b"Anna!\n" + framed(frame) + b"\n" + framed(frame))
        wait_for(lambda: len(kept(engine)) == 4)
        assert b'xds_passed_over_bytes_total{protocol="syslog"} 7.0' in receiver._metrics.text()
    assert [one.origin.partition(", ")[2] for one in kept(engine)] == ["", "between two messages", "", ""]
    (said,) = [record for record in caplog.records if record.message == "syslog.passed_over"]
    assert "Anna" not in str(vars(said))


@pytest.mark.parametrize("head", [b"", b"<85>1 2026-03-01T12:00:00Z host app 1 IHE+RFC-3881 - "])
@pytest.mark.parametrize(
    ("before", "behind"), [(b"", b"\0"), (b" ", b""), (b"\xef\xbb\xbf ", b"\r\n\0"), (b"\n", b" ")]
)
def test_what_is_blank_around_a_record_does_not_make_it_unreadable(head: bytes, before: bytes, behind: bytes) -> None:
    one = received(head + before + QUERY + behind, "udp 192.0.2.1")
    assert (one.event, one.patient_id) == ("110112", "anna^^^&1.2.3.4.5&ISO")
    assert one.message == head + before + QUERY + behind


@pytest.mark.parametrize(
    ("head", "carried"),
    [
        (b"<85>1 2026-03-01T12:00:00Z host app 1 IHE+RFC-3881 - ", True),
        (b"<85>1 2026-03-01T12:00:00Z host app 1 DICOM+RFC3881 - \xef\xbb\xbf", True),
        (b'<13>1 - - - - - [a b="c \\] d"][e f="g"] ', True),
        (b"", True),
        (b"<85>Mar  1 12:00:00 host app: ", False),
    ],
)
def test_a_record_is_read_whatever_header_it_has(head: bytes, carried: bool) -> None:
    assert (content(head + QUERY) == QUERY) is carried
    assert (summary(head + QUERY)["event"] == "Query") is carried


# What is kept.


def test_a_record_is_kept_as_it_came_with_what_it_says(engine: sa.Engine) -> None:
    frame = message(QUERY)
    with listening(engine, tcp=HERE) as receiver:
        sent(receiver.port("tcp"), framed(frame, frame))
        wait_for(lambda: len(kept(engine)) == 2)
    found = kept(engine)
    assert [one.message for one in found] == [frame, frame]
    assert {(one.event, one.transaction, one.outcome, one.patient_id, one.origin) for one in found} == {
        ("110112", "ITI-18", 0, "anna^^^&1.2.3.4.5&ISO", "tcp 127.0.0.1")
    }


def test_a_datagram_is_kept(engine: sa.Engine) -> None:
    with listening(engine, udp=HERE) as receiver:
        send(f"udp://127.0.0.1:{receiver.port('udp')}", QUERY)
        wait_for(lambda: kept(engine))
    assert [one.origin for one in kept(engine)] == ["udp 127.0.0.1"]


@pytest.mark.parametrize("data", [framed(b"<13>1 - - - - - - hello"), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02"])
def test_what_cannot_be_read_is_kept_and_flagged(engine: sa.Engine, data: bytes) -> None:
    with listening(engine, tcp=HERE) as receiver:
        sent(receiver.port("tcp"), data)
        wait_for(lambda: kept(engine))
    (one,) = kept(engine)
    assert one.event == endpoint.UNREADABLE
    assert one.message in data


def test_what_breaks_off_is_kept_and_flagged(engine: sa.Engine) -> None:
    frame = message(QUERY)
    with listening(engine, tcp=HERE) as receiver:
        sent(receiver.port("tcp"), framed(frame)[:-20])
        wait_for(lambda: kept(engine))
    (one,) = kept(engine)
    assert (one.event, one.origin) == (endpoint.UNREADABLE, "tcp 127.0.0.1, cut")


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><AuditMessage>&b;</AuditMessage>",
        b"<a>" * 10_000,
        b"\x1b[31m\r\n<AuditMessage/>\0",
        b'<AuditMessage><EventIdentification EventDateTime="99999-01-01"/></AuditMessage>',
        QUERY.replace(b"</AuditMessage>", b"<a/>" * 200_000 + b"</AuditMessage>"),
    ],
    ids=["a DTD", "deep", "an escape", "a year", "very many elements"],
)
def test_hostile_messages_are_kept_and_not_believed(data: bytes) -> None:
    assert received(data, "tcp 192.0.2.1").event == endpoint.UNREADABLE


def test_long_values_are_cut_to_what_a_row_holds() -> None:
    long = QUERY.replace(b"anna^^^", b"a" * 900).replace(b'csd-code="ITI-18"', b'csd-code="' + b"T" * 50 + b'"')
    one = received(long, "tls " + "x" * 900)
    assert (len(one.patient_id), len(one.transaction), len(one.origin)) == (512, 16, 400)


@pytest.mark.parametrize("where", ["tls 192.0.2.1 commonName=" + "ü" * 300, "x" * 900, "\U0001f600" * 200, "a\nb"])
def test_where_a_message_came_from_is_sealed_whole_with_what_is_remarkable_of_it(where: str) -> None:
    one = replace(received(QUERY, where, flag="cut", ours="xds.hospital.example"), leaf_number=0)
    assert one.origin.endswith(", cut, calls itself this node")
    assert len(one.origin) <= 512
    with tempfile.TemporaryDirectory() as folder:
        SegmentLog(Path(folder)).append([as_leaf(one)])
        assert list(SegmentLog(Path(folder)).records()) == [as_leaf(one)]


# What bears our name, what comes home, and what is too much.


def own(name: str = "xds.hospital.example") -> bytes:
    """A message that a node of a name has made itself."""
    return QUERY.replace(b"xds.hospital.example", name.encode())


def test_a_message_of_another_that_bears_our_name_is_told_by_its_origin(engine: sa.Engine) -> None:
    with listening(engine, tcp=HERE, ours="xds.hospital.example") as receiver:
        sent(receiver.port("tcp"), framed(message(own()), message(own("other"))))
        wait_for(lambda: len(kept(engine)) == 2)
    assert [one.origin for one in kept(engine)] == ["tcp 127.0.0.1, calls itself this node", "tcp 127.0.0.1"]


def test_what_this_node_has_recorded_itself_is_not_kept_again_when_it_is_sent_back(engine: sa.Engine) -> None:
    mine = AuditEvent(AuditSource("here"), "110112", "E", ("ITI-18", "x"), *[Party("a", "b")] * 2).records()
    with engine.begin() as connection:
        store.record(connection, mine)
    with listening(engine, tcp=HERE, ours="here") as receiver:
        changed = mine[0].message.replace(b'UserID="a"', b'UserID="c"')
        sent(receiver.port("tcp"), framed(message(mine[0].message), message(changed), message(QUERY)))
        wait_for(lambda: len(kept(engine)) == 3)
    assert sorted(one.origin for one in kept(engine)) == ["", "tcp 127.0.0.1", "tcp 127.0.0.1, calls itself this node"]


def test_messages_wait_where_they_are_too_many_bytes_and_none_is_lost(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "QUEUED_BYTES", 300_000)
    monkeypatch.setattr(endpoint, "WRITTEN_BYTES", 150_000)
    long = [b"<85>1 - - - - - - %d %b" % (number, b"x" * 100_000) for number in range(20)]
    with listening(engine, tcp=HERE) as receiver:
        sent(receiver.port("tcp"), framed(*long))
        wait_for(lambda: len(kept(engine)) == 20, 30)
    assert [one.message for one in kept(engine)] == long


def test_long_messages_that_do_not_go_on_are_cut_and_keep_nobody_from_sending(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "HELD_BYTES", 450_000)
    monkeypatch.setattr(endpoint, "ROOM_SECONDS", 1.0)
    begun = b"3000000 <85>1 - - - - - - " + b"x" * 500_000
    with listening(engine, tcp=HERE) as receiver:
        at = ("127.0.0.1", receiver.port("tcp"))
        with socket.create_connection(at) as one, socket.create_connection(at) as other:
            one.sendall(begun)
            wait_for(lambda: receiver._held._left < 100_000)  # it has its room
            with suppress(OSError):
                other.sendall(begun)
            sent(receiver.port("tcp"), framed(message(QUERY)))
            wait_for(lambda: len(kept(engine)) == 3, 20)
    flags = sorted(record.origin.partition(", ")[2] for record in kept(engine))
    assert flags == ["", "no room for the rest", "silent in the midst of it"]
    assert all(len(record.message) <= syslog.CUT_BYTES for record in kept(engine))


# Over TLS.


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


def test_over_tls_the_sender_is_named_by_its_certificate(engine: sa.Engine, authority: Authority) -> None:
    here, there = authority.signed("repository"), authority.signed("sender")
    context = server_context(here.certificate, here.key, authority.trusted)
    with listening(engine, tls=HERE, context=context) as receiver:
        client = client_context(there.certificate, there.key, authority.trusted)
        client.check_hostname = False
        send(f"tls://127.0.0.1:{receiver.port('tls')}", QUERY, client)
        wait_for(lambda: kept(engine))
    (one,) = kept(engine)
    # By RFC 4514, with whose certificate it is: two authorities may certify one subject.
    assert re.fullmatch(r"tls 127\.0\.0\.1 CN=sender \(serial number [0-9A-F]+, issuer CN=authority\)", one.origin)


def test_a_sender_of_another_authority_is_refused_and_that_is_on_record(
    engine: sa.Engine, authority: Authority, tmp_path: Path
) -> None:
    here, foreign = authority.signed("repository"), Authority(tmp_path / "theirs").signed("sender")
    context = server_context(here.certificate, here.key, authority.trusted)
    with listening(engine, tls=HERE, context=context) as receiver:
        client = client_context(foreign.certificate, foreign.key, authority.trusted)
        client.check_hostname = False
        with suppress(syslog.NotSent):  # TLS 1.3 tells the client late, or not at all
            send(f"tls://127.0.0.1:{receiver.port('tls')}", QUERY, client)
        wait_for(lambda: kept(engine))
    (one,) = kept(engine)
    assert (one.event, one.outcome, summary(one.message)["why"]) == ("110113", 4, "node not authenticated")
    assert one.origin == ""


# Many, and a database that is away.


def test_many_senders_at_once_lose_nothing(engine: sa.Engine) -> None:
    def many(port: int, sender: int) -> None:
        frames = [message(QUERY.replace(b"anna", b"%d-%d" % (sender, number))) for number in range(200)]
        sent(port, framed(*frames))

    with listening(engine, tcp=HERE) as receiver:
        threads = [threading.Thread(target=many, args=(receiver.port("tcp"), number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: len(kept(engine)) == 1600, 30)
    assert len({one.patient_id for one in kept(engine)}) == 1600


def test_while_the_database_is_away_senders_wait_and_nothing_is_lost(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, tries = threading.Event(), list[int]()
    away.set()
    real = endpoint.record

    def failing(connection: sa.Connection, records: Any) -> None:
        if away.is_set():
            tries.append(1)
            raise sa.exc.OperationalError("away", None, Exception())
        real(connection, records)

    monkeypatch.setattr(endpoint, "record", failing)
    monkeypatch.setattr(endpoint, "QUEUED", 5)
    with listening(engine, tcp=HERE, udp=HERE) as receiver:
        sent(receiver.port("tcp"), framed(*[message(QUERY)] * 20))
        for _ in range(20):
            send(f"udp://127.0.0.1:{receiver.port('udp')}", QUERY)
        wait_for(lambda: len(tries) > 2)
        assert kept(engine) == []
        away.clear()
        wait_for(lambda: sum(one.origin.startswith("tcp") for one in kept(engine)) == 20, 20)
    assert b'outcome="dropped",transport="udp"' in receiver._metrics.text()


# As a process.


def test_a_server_takes_records_seals_them_and_shows_them(tmp_path: Path) -> None:
    port = free_port()
    served = Served(tmp_path / "site", {"syslog": {"tcp": f"127.0.0.1:{port}", "udp": f"127.0.0.1:{port}"}}).start()
    try:
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        for scheme in ("tcp", "udp"):
            send(f"{scheme}://127.0.0.1:{port}", QUERY)
        wait_for(lambda: len(json.loads(listed(served))) == 2, 20)
    finally:
        served.stop()
    assert xds("audit", "verify", "--data", served.data).code == 0
    events = [one["event"] for one in json.loads(xds("audit", "list", "--json", "--data", served.data).out)]
    assert {"Application Activity", "Query"} <= set(events)
    assert events.count("Application Activity") == 2


def listed(served: Served) -> str:
    """The records about anna; none while no record names her (exit code 3)."""
    return xds("audit", "list", "--json", "--patient", "anna^^^&1.2.3.4.5&ISO", "--data", served.data).out or "[]"


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"syslog": {"udp": "0.0.0.0:5514"}}, "syslog.udp"),
        ({"syslog": {"tls": "127.0.0.1:6514"}}, "tls.certificate"),
        ({"syslog": {"tcp": "nowhere"}}, "HOST:PORT"),
    ],
)
def test_where_it_may_not_listen_it_does_not_start(tmp_path: Path, sections: Any, said: str) -> None:
    served = Served(tmp_path / "site", sections)
    served.launch()
    assert served.process is not None
    assert served.process.wait(30) == 1
    assert said in served.log
