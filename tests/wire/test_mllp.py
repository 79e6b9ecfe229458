"""MLLP: framed messages are answered in turn; what is no frame, too long or too slow ends its connection alone."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.hostile.certificates import Authority
from xds.wire import mllp
from xds.wire.mllp import BEGIN, END, Listener, Malformed, send, server_context


@contextmanager
def listening(
    answer: Callable[[bytes, str], bytes] = lambda data, _: b"ACK " + data, context: ssl.SSLContext | None = None
) -> Iterator[int]:
    going_on = threading.Event()
    listener = Listener("127.0.0.1", 0, answer, context)
    thread = threading.Thread(target=listener.serve, args=(lambda: not going_on.is_set(),))
    thread.start()
    try:
        yield listener.port
    finally:
        going_on.set()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        yield sock


def ended(sock: socket.socket) -> bool:
    """Whether the other side ends the connection without another byte."""
    sock.settimeout(5)
    try:
        return sock.recv(100) == b""
    except ConnectionResetError:
        return True


def test_a_message_is_answered() -> None:
    with listening(lambda data, peer: data + peer.encode()) as port:
        assert send("127.0.0.1", port, b"MSH|x") == b"MSH|x127.0.0.1"


def test_messages_of_a_connection_are_answered_in_turn_however_they_are_cut() -> None:
    with listening() as port, connected(port) as sock:
        data = b"".join(BEGIN + text + END for text in (b"one", b"two", b"three"))
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
        wanted = b"".join(BEGIN + b"ACK " + text + END for text in (b"one", b"two", b"three"))
        found = b""
        while len(found) < len(wanted):
            found += sock.recv(100)
        assert found == wanted


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"MSH|^~\\&" + END, b"\x00" * 10])
def test_what_is_no_frame_ends_the_connection(data: bytes) -> None:
    with listening() as port:
        with connected(port) as sock:
            sock.sendall(data)
            assert ended(sock)
        assert send("127.0.0.1", port, b"x") == b"ACK x"


def test_a_message_that_is_too_long_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mllp, "MESSAGE_BYTES", 1000)
    with listening() as port:
        with connected(port) as sock:
            sock.sendall(BEGIN + b"x" * 2000)
            assert ended(sock)
        assert send("127.0.0.1", port, b"x") == b"ACK x"


def test_a_peer_that_trickles_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mllp, "STALLED_SECONDS", 0.5)
    with listening() as port, connected(port) as sock:
        sock.sendall(BEGIN)
        began = time.monotonic()
        sock.settimeout(0.1)
        while time.monotonic() - began < 5:
            try:
                sock.sendall(b"x")
                if sock.recv(10) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - began < 3


def _answered(port: int) -> bool:
    with contextlib.suppress(OSError):
        return send("127.0.0.1", port, b"x") == b"ACK x"
    return False


def test_over_the_limit_of_connections_the_newest_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mllp, "CONNECTIONS", 1)
    with listening() as port:
        with connected(port) as first:
            first.sendall(BEGIN + b"one" + END)
            assert first.recv(100)
            with connected(port) as second:
                assert ended(second)
        wait_for(lambda: _answered(port))  # when the first one's thread has ended


def test_an_answer_that_fails_ends_its_connection_and_no_other() -> None:
    def failing(data: bytes, _peer: str) -> bytes:
        if data == b"bad":
            raise RuntimeError
        return data

    with listening(failing) as port:
        with pytest.raises((Malformed, OSError)):
            send("127.0.0.1", port, b"bad")
        assert send("127.0.0.1", port, b"good") == b"good"


def test_a_stop_lets_the_message_under_way_be_answered() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(data: bytes, _peer: str) -> bytes:
        begun.set()
        go_on.wait(5)
        return data

    got: list[bytes] = []
    with listening(slow) as port:
        sending = threading.Thread(target=lambda: got.append(send("127.0.0.1", port, b"x")))
        sending.start()
        assert begun.wait(5)
        threading.Timer(0.5, go_on.set).start()
    sending.join(5)
    assert got == [b"x"]


def test_over_mutual_tls_only_peers_with_a_trusted_certificate_are_heard(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours, peer = authority.signed("server"), authority.signed("peer")
    context = server_context(ours.certificate, ours.key, authority.trusted)
    client = ssl.create_default_context(cafile=authority.trusted)
    with listening(context=context) as port:
        with pytest.raises((OSError, Malformed)):
            send("localhost", port, b"x", context=client)
        client.load_cert_chain(peer.certificate, peer.key)
        assert send("localhost", port, b"x", context=client) == b"ACK x"
