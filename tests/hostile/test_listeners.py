"""MLLP and syslog: silence, half messages and crowds keep nobody out, with a certificate or without."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.audit.databases import database_url, engine, shared_postgres
from tests.conftest import wait_for
from tests.endpoints.test_syslog import HERE, QUERY, framed, kept, listening, sent
from tests.hostile.certificates import Authority
from tests.hostile.test_dicom_listener import Counted, ended, hold
from tests.wire import test_mllp
from xds.endpoints import audit_received
from xds.endpoints import syslog as endpoint
from xds.endpoints.audit_received import ANOTHERS, FirstSeen
from xds.wire import listener_places as places
from xds.wire import mllp, openings
from xds.wire import syslog as wire
from xds.wire.datagrams import Dropped, datagrams
from xds.wire.listener_places import Places, Refusals
from xds.wire.mllp import send, server_context
from xds.wire.peers import key_of

pytestmark = pytest.mark.large

__all__ = ["database_url", "engine", "shared_postgres"]


@pytest.fixture
def counted() -> Counted:
    return Counted()


class Node:
    """A node's TLS, and its peers'."""

    def __init__(self, folder: Path) -> None:
        self._authority = Authority(folder)
        own = self._authority.signed("node")
        self.context = server_context(own.certificate, own.key, self._authority.trusted)

    def peer(self, name: str) -> ssl.SSLContext:
        signed = self._authority.signed(name)
        context = ssl.create_default_context(cafile=self._authority.trusted)
        context.load_cert_chain(signed.certificate, signed.key)
        return context

    def key(self, name: str) -> str:
        pem = (self._authority._folder / f"{name}.crt").read_text()
        return key_of(ssl.PEM_cert_to_DER_cert(pem), "")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "authority")


@contextlib.contextmanager
def feeding(counted: Counted, context: ssl.SSLContext | None = None, answer: Any = None) -> Iterator[int]:
    answered = answer or (lambda data, *_: b"AA " + data)
    with test_mllp.listening(answered, context, refusals=Refusals("mllp", counted)) as port:
        yield port


def answered(port: int, context: ssl.SSLContext | None = None) -> bool:
    with contextlib.suppress(OSError, mllp.Malformed):
        return send("localhost", port, b"MSH", 5, context) == b"AA MSH"
    return False


# MLLP.


def test_over_tls_80_peers_that_never_shake_hands_keep_nobody_from_feeding(node: Node, counted: Counted) -> None:
    client = node.peer("adt")
    threads = threading.active_count()
    with feeding(counted, node.context) as port, contextlib.ExitStack() as stack:
        hold(stack, port, 40)
        hold(stack, port, 40, b"\x16\x03\x01")
        assert all(answered(port, client) for _ in range(5))
        assert threading.active_count() < threads + 10


def test_peers_that_never_shake_hands_are_dropped(
    node: Node, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings.Openings.__init__, "__kwdefaults__", {
        **openings.Openings.__init__.__kwdefaults__, "seconds": 0.3,
    })  # fmt: skip
    with feeding(counted, node.context) as port, contextlib.ExitStack() as stack:
        held = hold(stack, port, 10)
        wait_for(lambda: all(ended(one) for one in held))


@pytest.mark.parametrize("data", [b"", b"\x0b"], ids=["silent", "half a message"])
def test_70_idle_peers_keep_nobody_from_feeding(counted: Counted, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LEAST_SECONDS", 0.05)
    with feeding(counted) as port, contextlib.ExitStack() as stack:
        held = hold(stack, port, 70, data)
        wait_for(lambda: answered(port))
        assert sum(not ended(one) for one in held) <= mllp.EACH
        assert {"gave way"} <= set(counted.reasons) <= {"gave way", "places"}


def test_a_peer_whose_message_is_being_answered_does_not_give_way(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(mllp, "EACH", 1)
    begun, go_on = threading.Event(), threading.Event()

    def slow(data: bytes, *_: object) -> bytes:
        begun.set()
        go_on.wait(10)
        return b"AA " + data

    got = list[bytes]()
    with feeding(counted, answer=slow) as port:
        first = threading.Thread(target=lambda: got.append(send("127.0.0.1", port, b"MSH")))
        first.start()
        assert begun.wait(5)
        assert not answered(port)
        go_on.set()
        first.join(5)
    assert got == [b"AA MSH"]


def test_the_certificate_of_a_peer_reaches_who_answers(node: Node, counted: Counted) -> None:
    client, seen = node.peer("adt"), list[str]()

    def noting(data: bytes, _peer: str, certificate: bytes) -> bytes:
        seen.append(key_of(certificate, "none"))
        return b"AA " + data

    with feeding(counted, node.context, noting) as port:
        assert answered(port, client)
    assert seen == [node.key("adt")]


# Places.


def never() -> None:
    raise AssertionError


def test_a_crowd_of_one_peer_takes_no_place_of_others() -> None:
    now, gone = [0.0], list[str]()
    places_ = Places(most=4, each=2, clock=lambda: now[0])
    kept_ = [places_.take("hospital", never) for _ in range(2)]
    for number in range(2):
        places_.take("crowd", lambda number=number: gone.append(f"crowd {number}"))  # type: ignore[misc]
    assert places_.take("crowd", never) is None  # nobody is idle yet
    now[0] = 10.0
    assert places_.take("crowd", lambda: gone.append("crowd 2")) is not None
    assert gone == ["crowd 0"]
    assert all(kept_)
    assert len(places_) == 4


def test_when_all_is_full_who_has_the_most_makes_room_for_who_has_none() -> None:
    now, gone = [0.0], list[str]()
    places_ = Places(most=3, each=2, clock=lambda: now[0])
    places_.take("small", never)  # idle the longest
    now[0] = 5.0
    places_.take("big", lambda: gone.append("big"))
    now[0] = 6.0
    places_.take("big", lambda: gone.append("big too"))
    now[0] = 100.0
    assert places_.take("new", never) is not None
    assert gone == ["big"]


# Syslog.


def test_over_tls_540_peers_that_never_shake_hands_keep_no_record_out(engine: sa.Engine, node: Node) -> None:
    client = node.peer("a")
    with listening(engine, tls=HERE, context=node.context) as receiver, contextlib.ExitStack() as stack:
        hold(stack, receiver.port("tls"), 540)
        over_tls(receiver.port("tls"), client, QUERY)
        wait_for(lambda: len(kept(engine)) == 1)


def over_tls(port: int, client: ssl.SSLContext, *records: bytes) -> None:
    plain = socket.create_connection(("127.0.0.1", port), 5)
    with client.wrap_socket(plain, server_hostname="localhost") as stream:
        stream.sendall(framed(*(wire.message(one) for one in records)))
        stream.unwrap()


@pytest.mark.parametrize("data", [b"", b"100 <85>1 half"], ids=["silent", "half a message"])
def test_idle_senders_keep_no_record_out(engine: sa.Engine, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LEAST_SECONDS", 0.05)
    monkeypatch.setattr(endpoint, "EACH", 20)
    with listening(engine, tcp=HERE) as receiver, contextlib.ExitStack() as stack:
        hold(stack, receiver.port("tcp"), 40, data)

        def through() -> bool:
            with contextlib.suppress(OSError):
                sent(receiver.port("tcp"), framed(wire.message(QUERY)))
            return any(one.event != endpoint.UNREADABLE for one in kept(engine))

        wait_for(through)


def test_what_is_refused_is_counted_and_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted()
    refusals = Refusals("syslog", counted)
    for _ in range(1000):
        refusals.tell("192.0.2.1", "places")
    assert len(counted.reasons) == 1000
    assert [record.message for record in caplog.records] == ["syslog.too_many_connections"]


# Whose an audit source is.


def named(source: str) -> bytes:
    return QUERY.replace(b"xds.hospital.example", source.encode())


def test_a_record_of_a_source_that_another_certificate_is_known_by_is_kept_marked_and_an_alert(
    engine: sa.Engine, node: Node
) -> None:
    a, b = node.peer("a"), node.peer("b")
    with listening(engine, tls=HERE, tcp=HERE, context=node.context) as receiver:
        over_tls(receiver.port("tls"), b, named("hospital-b"))
        wait_for(lambda: len(kept(engine)) == 1)
        over_tls(receiver.port("tls"), a, named("hospital-b"), named("hospital-a"))
        sent(receiver.port("tcp"), framed(wire.message(named("hospital-b"))))
        wait_for(lambda: len(kept(engine)) == 5)
    found = [(one.event, one.origin.endswith(ANOTHERS)) for one in kept(engine)]
    assert sorted(found) == [
        ("110112", False),
        ("110112", False),
        ("110112", True),
        ("110112", True),
        ("110113", False),
    ]


def test_a_table_says_whose_sources_are(engine: sa.Engine, node: Node) -> None:
    asked = list[tuple[str, str, str]]()

    def speaks_for(spki: str, address: str, source_id: str) -> bool | None:
        asked.append((spki, address, source_id))
        return source_id != "hospital-b"

    a = node.peer("a")
    with listening(engine, tls=HERE, context=node.context, speaks_for=speaks_for) as receiver:
        over_tls(receiver.port("tls"), a, named("hospital-b"), named("hospital-a"))
        wait_for(lambda: len(kept(engine)) == 3)
    assert asked == [(node.key("a"), "127.0.0.1", "hospital-b"), (node.key("a"), "127.0.0.1", "hospital-a")]
    assert [one.origin.endswith(ANOTHERS) for one in kept(engine) if one.event == "110112"] == [True, False]


def test_sources_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_received, "SOURCES", 2)
    seen = FirstSeen()
    assert [seen("a", "", f"source {number}") for number in range(4)] == [None] * 4
    assert [seen("b", "", f"source {number}") for number in range(4)] == [False, False, None, None]
    assert seen("", "", "source 0") is False  # without a certificate
    assert seen("a", "", "source 0") is True


# UDP.


def test_datagrams_that_the_kernel_drops_are_counted() -> None:
    with datagrams(HERE, socket.AF_INET) as listening_:
        dropped = Dropped(listening_)
        assert dropped.look() == 0
        listening_.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            for _ in range(100):
                sending.sendto(bytes(1000), listening_.getsockname())
        came = 0
        listening_.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while listening_.recv(2000):
                came += 1
        if not _the_kernel_tells(listening_):
            pytest.skip("this kernel has no /proc/net/udp")
        assert dropped.look() == 100 - came > 0
        assert dropped.look() == 0


def test_what_the_kernel_has_dropped_is_read_by_the_sockets_own_line(tmp_path: Path) -> None:
    line = "  {}: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000  0  0 {} 2 ffff8880 {}"
    table = tmp_path / "udp"
    with datagrams(HERE, socket.AF_INET) as listening_:
        inode = os.fstat(listening_.fileno()).st_ino
        table.write_text("")
        dropped, found = Dropped(listening_, table), list[int]()
        for drops in (0, 7, 7, 10):
            others = line.format(1, inode + 1, 99)
            table.write_text("\n".join(("  sl  local_address ... drops", others, line.format(2, inode, drops))) + "\n")
            found.append(dropped.look())
    assert found == [0, 7, 0, 3]


def _the_kernel_tells(sock: socket.socket) -> bool:
    table = Path("/proc/net/udp").read_text() if Path("/proc/net/udp").exists() else ""
    return f":{sock.getsockname()[1]:04X} " in table
