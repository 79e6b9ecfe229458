"""MLLP: framed messages are answered in turn; what is no frame, too long or too slow ends its connection alone."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import wait_for
from tests.extent import examples
from tests.hostile.certificates import Authority
from xds.wire import mllp
from xds.wire.contexts import server_context
from xds.wire.mllp import BEGIN, END, Frames, Listener, Malformed, send


@contextmanager
def listening(
    answer: mllp.Answer = lambda data, *_: b"ACK " + data, context: ssl.SSLContext | None = None, **more: Any
) -> Iterator[int]:
    """A listener that serves; ``more`` is what it is made with beside."""
    going_on = threading.Event()
    listener = Listener("127.0.0.1", 0, answer, context, **more)
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
    with listening(lambda data, peer, _: data + peer.encode()) as port:
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


LINE_END = b"\n"
FS = END[:1]


def acknowledged(sock: socket.socket, most: int) -> list[bytes]:
    """The answers that come, until there are so many."""
    sock.settimeout(5)
    found = b""
    while found.count(END) < most and (piece := sock.recv(65536)):
        found += piece
    return [one.removeprefix(BEGIN) for one in found.split(END) if one]


# What senders put around their messages, each with three messages in it.
AROUND = {
    "a line end behind each": [BEGIN + text + END + LINE_END for text in (b"1", b"2", b"3")],
    "CR LF behind each": [BEGIN + text + END + b"\r\n" for text in (b"1", b"2", b"3")],
    "a line end before the first": [b"\r\n" + BEGIN + b"1" + END, BEGIN + b"2" + END, BEGIN + b"3" + END],
    "a line of a log before each": [b"[10:00 sent]\n" + BEGIN + text + END for text in (b"1", b"2", b"3")],
    "a byte order mark before the block": [b"\xef\xbb\xbf" + BEGIN + text + END for text in (b"1", b"2", b"3")],
    "an end without a beginning": [b"MSH|^~\\&" + END + BEGIN + text + END for text in (b"1", b"2", b"3")],
    "FS alone between messages": [BEGIN + b"1" + FS + BEGIN + b"2" + FS + BEGIN + b"3" + END],
    "FS and LF": [BEGIN + text + FS + LINE_END for text in (b"1", b"2", b"3")],
    "FS alone at the end": [BEGIN + b"1" + END, BEGIN + b"2" + END + BEGIN + b"3" + FS],
    "NULs between": [BEGIN + text + END + b"\0\0" for text in (b"1", b"2", b"3")],
    "HTTP before the first": [b"GET / HTTP/1.1\r\n\r\n", *[BEGIN + text + END for text in (b"1", b"2", b"3")]],
}


@pytest.mark.parametrize("pieces", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("packets", ["together", "each", "by the byte"])
def test_what_stands_between_messages_costs_none(pieces: list[bytes], packets: str) -> None:
    data = b"".join(pieces)
    cuts = {"together": [data], "each": pieces, "by the byte": [data[at : at + 1] for at in range(len(data))]}
    with listening() as port, connected(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in cuts[packets]:
            sock.sendall(piece)
        assert acknowledged(sock, 3) == [b"ACK 1", b"ACK 2", b"ACK 3"]


def test_a_sender_that_ends_with_fs_alone_is_answered_and_its_late_cr_is_passed_over() -> None:
    with listening() as port, connected(port) as sock:
        for text in (b"1", b"2"):
            sock.sendall(BEGIN + text + FS)
            assert acknowledged(sock, 1) == [b"ACK " + text]
            sock.sendall(b"\r")


def test_a_message_that_is_begun_anew_is_taken_from_there() -> None:
    with listening() as port, connected(port) as sock:
        sock.sendall(BEGIN + b"MSH|broken o" + BEGIN + b"MSH|whole" + END + BEGIN + b"MSH|a\x0bline" + END)
        assert acknowledged(sock, 2) == [b"ACK MSH|whole", b"ACK MSH|a\x0bline"]


def test_what_is_passed_over_is_counted_and_logged_without_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[int] = []
    with listening(passed=counted.append) as port, connected(port) as sock:
        for text in (b"1", b"2"):
            sock.sendall(b"Anna!" + BEGIN + text + END + b"\r\n")
            assert acknowledged(sock, 1) == [b"ACK " + text]
    assert sum(counted) == 14
    (said,) = [record for record in caplog.records if record.message == "mllp.passed_over"]
    assert said.levelname == "WARNING"
    assert "Anna" not in str(vars(said))


def test_too_much_between_messages_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mllp, "PASSED_BYTES", 100)
    with listening() as port:
        with connected(port) as sock:
            sock.sendall((b"x" * 90 + BEGIN + b"1" + END) * 3)
            assert acknowledged(sock, 3) == [b"ACK 1"] * 3
            sock.sendall(b"x" * 101)
            assert ended(sock)
        assert send("127.0.0.1", port, b"x") == b"ACK x"


def test_an_acknowledgement_is_read_whatever_stands_around_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"\r\n" + BEGIN + b"ACK" + END + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert send("127.0.0.1", server.getsockname()[1], b"x") == b"ACK"
        thread.join()


@given(st.lists(st.binary(max_size=30), max_size=6), st.integers(1, 7))
@settings(max_examples=examples(100))
def test_no_stream_breaks_the_reader_and_what_follows_is_read(pieces: list[bytes], size: int) -> None:
    """Whatever came, a message behind it is read; a broken beginning is passed over."""
    data = b"".join(pieces) + BEGIN + b"MSH|last" + END
    frames, found = Frames(), list[bytes]()
    for at in range(0, len(data), size):
        frames.take(data[at : at + size])
        while (message := frames.next()) is not None:
            found.append(message)
    assert found[-1] == b"MSH|last"


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
    with contextlib.suppress(OSError, Malformed):
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
    def failing(data: bytes, *_peer: object) -> bytes:
        if data == b"bad":
            raise RuntimeError
        return data

    with listening(failing) as port:
        with pytest.raises((Malformed, OSError)):
            send("127.0.0.1", port, b"bad")
        assert send("127.0.0.1", port, b"good") == b"good"


def test_a_stop_lets_the_message_under_way_be_answered() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(data: bytes, *_peer: object) -> bytes:
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
