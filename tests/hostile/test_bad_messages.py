"""Bad messages over a real socket: the right fault, in bounded memory, nothing left, and the server serves on."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.hostile.server import Served, ask, chunked, connected, head, reply_of, send
from tests.wire.conftest import A_QUERY
from tests.wire.messages import ACTION, BOUNDARY, AMessage, APart, an_envelope

ITI_41 = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b"
MTOM = AMessage().content_type
MIB = b"x" * 1024 * 1024
INCLUDE = "<xop:Include xmlns:xop='http://www.w3.org/2004/08/xop/include' href='{}'/>"


def a_provide(href: str, more: str = "") -> bytes:
    body = "<x:ProvideAndRegisterDocumentSetRequest xmlns:x='urn:ihe:iti:xds-b:2007'><x:Document id='d'>"
    body += f"{INCLUDE.format(href)}</x:Document>{more}</x:ProvideAndRegisterDocumentSetRequest>"
    return an_envelope(body=body, action=ITI_41)


def megabytes(count: int, before: bytes = b"") -> Iterator[bytes]:
    """So many, each made when it is sent."""
    yield before
    yield from itertools.repeat(MIB, count)


ROOT_HEAD = b"--" + BOUNDARY.encode() + b"\r\n" + APart(b"").packed()


@pytest.mark.parametrize(
    ("content_type", "before"), [("application/soap+xml", b"<a>"), (MTOM, ROOT_HEAD)], ids=["plain", "mtom"]
)
@pytest.mark.parametrize("in_chunks", [True, False], ids=["chunked", "length"])
def test_200_mb_of_root_part_are_not_taken(
    served: Served, tmp_path: Path, content_type: str, before: bytes, in_chunks: bool
) -> None:
    length = None if in_chunks else len(before) + 200 * len(MIB)
    body: Iterable[bytes] = megabytes(200, before)
    with connected(served.port) as sock:
        sent = send(sock, itertools.chain([head("/repository", content_type, length=length)],
                                          chunked(body) if in_chunks else body))  # fmt: skip
        got = reply_of(sock)
    assert sent < 100 * len(MIB)
    assert got is not None
    assert (got.status, got.mtom) == (413, content_type == MTOM)
    assert "XOP" in got.reason(tmp_path)


def test_200_mb_of_a_document_cut_off_leave_nothing(served: Served) -> None:
    start = ROOT_HEAD + b"<a/>\r\n--" + BOUNDARY.encode() + b"\r\n" + APart(b"", "<d@x>").packed()
    with connected(served.port) as sock:
        send(sock, itertools.chain([head("/repository", MTOM, length=10**9)], megabytes(200, start)))


def test_100_000_parts_are_too_many(served: Served, tmp_path: Path) -> None:
    parts = (
        b"--" + BOUNDARY.encode() + b"\r\n" + APart(b"x", f"<{number}@x>", ()).packed() + b"\r\n"
        for number in range(100_000)
    )
    start = ROOT_HEAD + b"<a/>\r\n"
    together = (b"".join(some) for some in iter(lambda: list(itertools.islice(parts, 500)), []))
    got = ask(served.port, [head("/repository", MTOM), *chunked(itertools.chain([start], together))])
    assert got is not None
    assert (got.status, got.mtom, got.codes(tmp_path)) == (400, False, ["soap:Sender"])
    assert "more than 2000 attachments" in got.reason(tmp_path)


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (b"not xml", "soap:Sender"),
        (b"<a>" * 10_000 + b"</a>" * 10_000, "soap:Sender"),
        (an_envelope(prolog="<!DOCTYPE x SYSTEM 'file:///etc/passwd'>"), "soap:Sender"),
        (an_envelope(prolog="<!DOCTYPE x [<!ENTITY e 'x'>]>", body="<a>&e;</a>"), "soap:Sender"),
        (an_envelope(namespace="http://schemas.xmlsoap.org/soap/envelope/"), "soap:VersionMismatch"),
        (an_envelope(action=None), "soap:Sender"),
        (an_envelope(action="urn:unheard-of"), "soap:Sender"),
        (an_envelope(headers="<x:y xmlns:x='urn:x' s:mustUnderstand='1'/>"), "soap:MustUnderstand"),
        (an_envelope(body=""), "soap:Sender"),
        (a_provide("cid:nowhere@x"), "soap:Sender"),
        (a_provide("http://127.0.0.1:1/x"), "soap:Sender"),
        (a_provide("file:///etc/passwd"), "soap:Sender"),
        (a_provide("cid:doc@x", f"<x:Document id='e'>{INCLUDE.format('cid:doc@x')}</x:Document>"), "soap:Sender"),
    ],
)
def test_each_bad_envelope_gets_its_fault_and_its_documents_are_not_kept(
    served: Served, tmp_path: Path, envelope: bytes, code: str
) -> None:
    message = AMessage(parts=(APart(envelope), APart(b"y" * 600_000, "<doc@x>")))
    got = ask(served.port, [head("/repository", MTOM), *chunked([message.packed()])])
    assert got is not None
    assert got.mtom
    assert got.codes(tmp_path)[0] == code


def test_a_body_that_the_schema_forbids_is_refused_with_a_registry_error(served: Served, tmp_path: Path) -> None:
    envelope = an_envelope(body=A_QUERY.replace("returnType='LeafClass'", "returnType='secret'"), action=ACTION)
    got = ask(served.port, [head("/registry", length=len(envelope)), envelope])
    assert got is not None
    assert got.status == 200
    (error,) = got.envelope(tmp_path).iter("{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryError")
    assert "ResponseOption" in error.get("codeContext", "")
    assert "secret" not in error.get("codeContext", "")


def test_a_document_that_two_parts_claim_is_refused(served: Served, tmp_path: Path) -> None:
    document = APart(b"y" * 300_000, "<doc@x>")
    message = AMessage(parts=(APart(a_provide("cid:doc@x")), document, document))
    got = ask(served.port, [head("/repository", MTOM, length=len(message.packed())), message.packed()])
    assert got is not None
    assert (got.status, got.mtom, got.codes(tmp_path)) == (400, False, ["soap:Sender"])


CUT = AMessage(parts=(APart(a_provide("cid:doc@x")), APart(b"y" * 1_000_000, "<doc@x>")), closed=False).packed()


@pytest.mark.parametrize("end", [10, 200, 900, 2000, 700_000, len(CUT)])
@pytest.mark.parametrize("how", ["half closed", "closed", "reset"])
def test_a_message_whose_peer_goes_away_leaves_nothing(served: Served, tmp_path: Path, end: int, how: str) -> None:
    with connected(served.port) as sock:
        send(sock, [head("/repository", MTOM, length=len(CUT) + 1000), CUT[:end]])
        if how == "half closed":
            sock.shutdown(socket.SHUT_WR)
            got = reply_of(sock)
            # A short body is waited for as a whole, and then its connection is gone; a long one gets its fault.
            assert got is None or (got.status, got.mtom) == (400, False)
            assert got is not None or end < 300_000
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("end", [b"", b"zz\r\n", b"10\r\nshort", b"ffffffffffffffff1\r\n"])
def test_chunks_that_break_leave_nothing(served: Served, end: bytes) -> None:
    good = b"".join(chunked([CUT[:500_000]])).removesuffix(b"0\r\n\r\n")
    with connected(served.port) as sock:
        send(sock, [head("/repository", MTOM), good, end])
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        got = reply_of(sock)
    assert got is None or got.status >= 400


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 1000,
        b"not http\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 30_000 + b"\r\n",
        b"POST /registry HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /registry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /registry HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS handshake
    ],
)
def test_what_is_no_http_is_answered_or_dropped(served: Served, data: bytes) -> None:
    with connected(served.port) as sock:
        send(sock, [data])
        with contextlib.suppress(OSError):  # it may have been dropped already
            sock.shutdown(socket.SHUT_WR)
        got = reply_of(sock)
    assert got is None or 400 <= got.status < 600


@pytest.mark.parametrize("content_type", ["application/json", MTOM, "application/soap+xml"])
def test_a_body_never_becomes_a_request_of_its_own(served: Served, content_type: str) -> None:
    """What was not read of a refused message is not taken for the next one on its connection."""
    inner = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    hidden = b"POST /imaging-source HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    body = b"<a/>" + hidden + inner * 2
    with connected(served.port) as sock:
        send(sock, [head("/registry", content_type, length=len(body)) + body])
        got = reply_of(sock)
        assert got is not None
        assert got.status in (400, 415)
        sock.settimeout(0.3)
        try:
            more = sock.recv(65536)
        except TimeoutError:
            more = b""
        assert more == b""


def test_a_connection_serves_on_after_a_fault(served: Served, tmp_path: Path) -> None:
    bad, good = an_envelope(action="urn:x"), an_envelope(body=A_QUERY)
    with connected(served.port) as sock:
        for envelope, status in ((bad, 400), (good, 200), (bad, 400), (good, 200)):
            sock.sendall(head("/registry", length=len(envelope)) + envelope)
            got = reply_of(sock)
            assert got is not None
            assert got.status == status


def test_two_requests_at_once_on_a_connection_get_their_two_replies(served: Served) -> None:
    good = an_envelope(body=A_QUERY)
    with connected(served.port) as sock:
        sock.sendall((head("/registry", length=len(good)) + good) * 3)
        for _ in range(3):
            got = reply_of(sock)
            assert got is not None
            assert got.status == 200


def test_an_inline_document_of_20_mb_is_taken(served: Served, tmp_path: Path) -> None:
    """It counts towards the root part's limit, and is under it; its only fault is its empty metadata."""
    body = a_provide("cid:x").replace(INCLUDE.format("cid:x").encode(), b"QUJD" * 5_000_000)
    got = ask(served.port, [head("/repository", length=len(body)), body])
    assert got is not None
    assert got.status == 200
    (error,) = got.envelope(tmp_path).iter("{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryError")
    assert error.get("errorCode") == "XDSRepositoryMetadataError"
