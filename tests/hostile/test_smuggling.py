"""Requests that two servers would read two ways, and paths, headers and methods that lead elsewhere.

What is tried: that bytes of a body are taken for a request of their own (RFC 9112: 11.2), that something outside the
served addresses is reached, or that a peer writes a header of ours.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from tests.hostile.server import Served, connected
from tests.wire.conftest import A_QUERY
from tests.wire.messages import an_envelope

HIDDEN = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What must not be answered: it stands where a body is."""

LENGTH, CHUNKED = b"Content-Length: %d\r\n" % len(HIDDEN), b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("serve"), {"server": {"header_seconds": 2.0}}).start()
    yield served
    assert served.stop() == 0


def post(fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"POST /registry HTTP/" + version + b"\r\nHost: localhost\r\n" + fields + b"\r\n" + body


def said(running: Served, data: bytes) -> bytes:
    """All that comes back, until the connection ends or nothing follows a reply."""
    got = b""
    with connected(running.port) as sock:
        sock.settimeout(20)
        try:
            sock.sendall(data)
            while piece := sock.recv(65536):
                got += piece
                sock.settimeout(0.5)
        except OSError:  # it was reset, or is kept open
            pass
    return got


READ_TWO_WAYS = {
    "length and chunks": post(b"Content-Length: 5\r\n" + CHUNKED, END + HIDDEN),
    "two lengths": post(b"Content-Length: 0\r\n" + LENGTH, HIDDEN),
    "a list of lengths": post(b"Content-Length: 0, %d\r\n" % len(HIDDEN), HIDDEN),
    "a signed length": post(b"Content-Length: +0\r\n", HIDDEN),
    "a length in hex": post(b"Content-Length: 0x26\r\n", HIDDEN),
    "a length with an underscore": post(b"Content-Length: 1_0\r\n", HIDDEN),
    "another coding": post(b"Transfer-Encoding: xchunked\r\n", END + HIDDEN),
    "a coding after chunks": post(b"Transfer-Encoding: chunked, identity\r\n", END + HIDDEN),
    "two codings": post(CHUNKED + b"Transfer-Encoding: identity\r\n", END + HIDDEN),
    "a folded coding": post(b"X: 1\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", END + HIDDEN),
    "a folded value": post(b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", END + HIDDEN),
    "a space before the colon": post(b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", END + HIDDEN),
    "chunks in HTTP/1.0": post(CHUNKED, END + HIDDEN, version=b"1.0"),
    "a chunk of negative size": post(CHUNKED, b"-1\r\n\r\n" + HIDDEN),
    "a chunk size in C's hex": post(CHUNKED, b"0x0\r\n\r\n" + HIDDEN),
    "a line feed in an extension": post(CHUNKED, b"0;a\n\r\n\r\n" + HIDDEN),
    "a chunk of 2^70": post(CHUNKED, b"f" * 18 + b"\r\n" + HIDDEN),
    "lines of line feeds alone": post(LENGTH, HIDDEN).replace(b"\r\n", b"\n"),
    "a body on GET": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + LENGTH + b"\r\n" + HIDDEN,
}


@pytest.mark.parametrize("data", READ_TWO_WAYS.values(), ids=READ_TWO_WAYS)
def test_what_stands_in_a_body_is_never_a_request(running: Served, data: bytes) -> None:
    got = said(running, data)
    assert b"xds_transactions_total" not in got
    assert got.count(b"HTTP/1.1 ") <= 1


ODD = {
    "a header line of 70 kB": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    "5,000 header lines": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
    "a zero in a header": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    "a request line of 9 kB": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: localhost\r\nCookie: secret\r\n\r\n",
    "another site's address": b"GET http://evil.example/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_odd_requests_are_refused_and_nothing_of_them_comes_back(running: Served, data: bytes) -> None:
    got = said(running, data)
    assert got == b"" or 400 <= int(got.split()[1]) < 600
    assert b"secret" not in got
    assert b"aaaa" not in got


def test_a_body_that_is_packed_is_refused_and_not_unpacked(running: Served) -> None:
    packed = gzip.compress(an_envelope(body=A_QUERY))
    fields = b"Content-Type: application/soap+xml\r\nContent-Encoding: gzip\r\nConnection: close\r\n"
    got = said(running, post(fields + b"Content-Length: %d\r\n" % len(packed), packed))
    assert 400 <= int(got.split()[1]) < 500


@pytest.mark.parametrize("path", [
    "/healthz%0d%0aX-Evil:1", "/console/sign-in?next=/console%0d%0aX-Evil:1", "/registry%0d%0aX-Evil:1?wsdl",
    "/dicomweb/studies?PatientName=%0d%0aX-Evil:1", "/wado?requestType=WADO&contentType=a%0d%0aX-Evil:1",
])  # fmt: skip
def test_nobody_writes_a_header_of_ours(running: Served, path: str) -> None:
    got = said(running, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head = got.partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nx-evil" not in head
    assert b"\r\n" not in dict(line.partition(b":")[::2] for line in head.split(b"\r\n")).get(b"location", b"")


ELSEWHERE = [
    "/registry?xsd=../../../../etc/passwd", "/registry?xsd=..%2f..%2fxds.toml", "/registry?xsd=/etc/passwd",
    "/registry?wsdl=../x", "/console/static/../../../app.py", "/console/static/..%2f..%2fapp.py",
    "/console/static/%2e%2e/%2e%2e/app.py", "/console/static/..%5c..%5capp.py", "/console/static//etc/passwd",
    "/console/static/%00", "/dicomweb/studies/..%2f..", "/dicomweb/studies/1.2/series/1/instances/../../x",
    "/console/audit%00", "/registry/..;/console/audit", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
    "/north/registry", "/../registry", "/.%2e/etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_path_leads_out_of_what_is_served(running: Served, path: str) -> None:
    got = said(running, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert int(got.split()[1]) != 500
    assert not any(leak in got for leak in (b"root:", b"assigning_authorities", b"import annotations", b"Traceback"))


@pytest.mark.parametrize("path", [
    "//console/audit", "/console//audit", "/console/audit/", "/CONSOLE/audit", "/console/%61udit", "/%63onsole/audit",
    "/registry/../console/audit", "/console/./audit", "/console;x/audit",
])  # fmt: skip
def test_no_other_spelling_opens_a_page_that_asks_for_an_account(running: Served, path: str) -> None:
    got = said(running, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status, page = int(got.split()[1]), got.partition(b"\r\n\r\n")[2]
    assert status in (301, 302, 303, 308, 400, 403, 404, 503) or b"xds user add" in page
    assert b"ITI-" not in page
    assert b"Audit" not in page or b"xds user add" in page
