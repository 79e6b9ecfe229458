"""The client against peers that break: what came is used whole, or there was no reply."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.wire.messages import AMessage, APart, a_server, an_answer, an_envelope
from xds.errors import Unusable
from xds.wire.client import Client, Faulted, NoReply
from xds.wire.faults import sender
from xds.wire.mime import Limits
from xds.wire.soap import fault_envelope
from xds.wire.spool import Spool
from xds.wire.xml import name

INCLUDE = "<d><xop:Include xmlns:xop='http://www.w3.org/2004/08/xop/include' href='cid:doc@x'/></d>"
GOOD = AMessage(parts=(APart(an_envelope(body=INCLUDE)), APart(b"\x00\xff" * 50_000, "<doc@x>")))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as spool:
        yield spool


def sending(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def ask(url: str, spool: Spool, **options: object) -> object:
    return Client(url, seconds=5).send("urn:a", [b"<a/>"], spool, as_mtom=True, **options)  # type: ignore[arg-type]


def good(message: AMessage = GOOD) -> bytes:
    return an_answer(message.packed(), content_type=message.content_type)


def test_documents_of_a_reply_come_into_files(spool: Spool) -> None:
    with a_server(sending(good())) as url:
        answer = Client(url).send("urn:a", [b"<a/>"], spool, as_mtom=True)
    assert answer.body.tag == "d"
    assert answer.contents[answer.body].path.read_bytes() == b"\x00\xff" * 50_000


def test_a_second_request_goes_well_whatever_was_left_of_the_first_reply(spool: Spool) -> None:
    """Bytes behind the closing boundary are nobody's, and not the beginning of the next reply."""
    message = replace(GOOD, after=b"\r\n" + b"x" * 600_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {message.content_type}\r\n"
    data = head.encode() + f"Content-Length: {len(message.packed())}\r\n\r\n".encode() + message.packed()
    with a_server(sending(data)) as url:
        client = Client(url, seconds=5)
        for _ in range(3):
            assert client.send("urn:a", [b"<a/>"], spool, as_mtom=True).body.tag == "d"


@pytest.mark.parametrize("left", [0, 1, 100, 90_000, -400, -20, -4])
def test_a_reply_broken_off_is_no_reply(spool: Spool, left: int) -> None:
    with a_server(sending(good()[:left])) as url, pytest.raises(NoReply):
        ask(url, spool)


@pytest.mark.parametrize(
    ("content_type", "status", "said"),
    [
        ("text/html", "200 OK", "HTTP 200, text/html"),
        ("text/html; charset=utf-8", "502 Bad Gateway", "HTTP 502"),
        ("", "500 Internal Server Error", "HTTP 500"),
        ("application/soap+xml", "200 OK", "not well-formed"),
        ("multipart/related; boundary=x", "200 OK", "ends before"),
        ("multipart/related", "200 OK", "boundary"),
    ],
)
def test_what_is_no_soap_message_is_no_reply_and_says_why(
    spool: Spool, content_type: str, status: str, said: str
) -> None:
    data = an_answer(b"<html>Anna", content_type=content_type, status=status)
    with a_server(sending(data)) as url, pytest.raises(NoReply, match=said) as problem:
        ask(url, spool)
    assert "Anna" not in str(problem.value)
    assert url in str(problem.value)


@pytest.mark.parametrize(
    "envelope", [b"<a/>", an_envelope(body=""), an_envelope(body="<a/><b/>"), an_envelope(namespace="urn:other")]
)
def test_an_envelope_without_its_one_body_is_no_reply(spool: Spool, envelope: bytes) -> None:
    with a_server(sending(an_answer(envelope))) as url, pytest.raises(NoReply, match="is no SOAP 1"):
        ask(url, spool)


def test_an_include_that_leads_nowhere_is_no_reply(spool: Spool) -> None:
    with a_server(sending(good(replace(GOOD, parts=GOOD.parts[:1])))) as url, pytest.raises(NoReply, match="Include"):
        ask(url, spool)


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Internal Server Error", "200 OK"])
@pytest.mark.parametrize("mtom", [True, False])
def test_a_fault_is_told_by_its_reason_whatever_its_status(spool: Spool, status: str, mtom: bool) -> None:
    envelope = fault_envelope(sender("the reason"), "urn:uuid:1")
    message = replace(GOOD, parts=(APart(envelope),))
    data = an_answer(message.packed() if mtom else envelope, status=status,
                     content_type=message.content_type if mtom else "application/soap+xml")  # fmt: skip
    with a_server(sending(data)) as url, pytest.raises(Faulted, match=r"^the reason$"):
        ask(url, spool)


def test_a_reply_over_its_limit_is_no_reply(spool: Spool) -> None:
    with a_server(sending(good())) as url, pytest.raises(NoReply):
        ask(url, spool, limits=Limits(part_bytes=1000))
    with a_server(sending(good())) as url, pytest.raises(NoReply):
        ask(url, spool, limits=Limits(root_part_bytes=100))


def test_a_peer_that_does_not_answer_is_given_up(spool: Spool) -> None:
    def silent(connection: socket.socket) -> None:
        connection.settimeout(10)
        connection.recv(1)

    with a_server(silent) as url, pytest.raises(NoReply, match="no answer in time"):
        Client(url, seconds=0.3).send("urn:a", [b"<a/>"], spool, as_mtom=False)


def test_a_peer_that_stalls_in_its_reply_is_given_up(spool: Spool) -> None:
    def stalling(connection: socket.socket) -> None:
        connection.sendall(good()[:50_000])
        connection.settimeout(10)
        connection.recv(1)

    with a_server(stalling) as url, pytest.raises(NoReply):
        Client(url, seconds=0.3).send("urn:a", [b"<a/>"], spool, as_mtom=False)


def test_nobody_there_is_no_connection(spool: Spool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    with pytest.raises(NoReply, match="no connection"):
        ask(url, spool)


@pytest.mark.parametrize("options", [{"certificate": "/none.pem"}, {"trusted": "/none.pem"}])
def test_certificates_that_are_not_there_are_named_before_anything_is_sent(options: dict[str, str]) -> None:
    with pytest.raises(Unusable, match="TLS"):
        Client("https://127.0.0.1:1/", **options)  # type: ignore[arg-type]


def test_the_request_says_who_wants_what(spool: Spool) -> None:
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/registry"
        import threading

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while b"</soap:Envelope>" not in b"".join(taken):
                    taken.append(connection.recv(65536))
                connection.sendall(an_answer(an_envelope()))

        thread = threading.Thread(target=serve)
        thread.start()
        Client(url).send("urn:the-action", [b"<a/>"], spool, as_mtom=False)
        thread.join(10)
    text = b"".join(taken).decode()
    assert "POST /registry HTTP/1.1" in text
    assert "<wsa:Action" in text
    assert "urn:the-action</wsa:Action>" in text
    assert f"{url}</wsa:To>" in text
    assert "2005/08/addressing/anonymous</wsa:Address>" in text
    assert text.count("mustUnderstand") == 2
    assert name("soap:Envelope").split("}")[0][1:] in text
