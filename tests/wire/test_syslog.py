"""Syslog as ITI-20 uses it: RFC 5424 inside, octet counting around it where a stream carries it."""

from __future__ import annotations

import re
import socket
import threading
from datetime import UTC, datetime

import pytest

from xds.errors import Unusable
from xds.wire.syslog import DATAGRAM_BYTES, NotSent, message, send


def test_a_message_has_the_header_of_rfc_5424() -> None:
    said = message("<AuditMessage>ä</AuditMessage>".encode(), datetime(2026, 3, 1, 12, 0, 0, 5, UTC)).decode()
    pattern = r"<85>1 2026-03-01T12:00:00\.000005Z \S+ xds \d+ IHE\+RFC-3881 - <AuditMessage>ä</AuditMessage>"
    assert re.fullmatch(pattern, said)


def test_a_stream_carries_messages_by_their_length() -> None:
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while chunk := connection.recv(65536):
                    taken.append(chunk)

        thread = threading.Thread(target=serve)
        thread.start()
        send(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "<ä/>".encode())
        thread.join(10)
    length, _, rest = b"".join(taken).partition(b" ")
    assert int(length) == len(rest)
    assert rest.endswith("<ä/>".encode())


def test_a_datagram_is_one_message() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        send(f"udp://127.0.0.1:{sock.getsockname()[1]}", b"<a/>")
        assert sock.recv(65536).endswith(b" IHE+RFC-3881 - <a/>")


def test_what_is_too_long_for_a_datagram_is_not_sent() -> None:
    with pytest.raises(NotSent, match="too long"):
        send("udp://127.0.0.1:9", b"x" * DATAGRAM_BYTES)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_nobody_there_is_said_and_names_the_address(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSent, match=f"127.0.0.1:{port}"):
        send(f"{scheme}://127.0.0.1:{port}", b"<a/>")


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:514", "tcp://127.0.0.1", "tcp://:514", "tcp:127.0.0.1:514",
                                 "tcp://127.0.0.1:x", "tcp://[::1", "tcp://127.0.0.1:99999"])  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Unusable, match="HOST:PORT"):
        send(url, b"<a/>")
