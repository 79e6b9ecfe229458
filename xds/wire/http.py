"""An HTTP request and its reply, as the layers above see them; WSGI on the outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xds.wire.certificates import Certificate, NotACertificate
from xds.wire.peers import TURNED_AWAY

REASONS = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What an endpoint needs of a request; ``read`` gives the body in chunks and then nothing."""

    method: str
    path: str
    query: str
    content_type: str
    read: Callable[[int], bytes]
    remote_address: str
    url: str  # as the peer called it
    certificate: Certificate | None = None  # of the peer, where the connection has one
    accept: str = ""  # the Accept header
    accept_encoding: str = ""  # the Accept-Encoding header
    authorization: str = field(default="", repr=False)  # the Authorization header
    ours: bool = False  # this node asks itself, for somebody at its pages
    traceparent: str = ""  # the header, and the next
    tracestate: str = ""
    turned_away: bool = False  # its peer has its share: it is to be told so, and nothing done

    @property
    def subject(self) -> str:
        """The subject of the peer's certificate as RFC 4514 writes it; empty where there is none."""
        return self.certificate.subject_text if self.certificate else ""

    @property
    def told_by(self) -> str:
        """By what the peer is told from others: its key, else its address."""
        return self.certificate.spki_sha256 if self.certificate else self.remote_address

    @classmethod
    def of(cls, environ: Mapping[str, Any], public_url: str = "") -> HttpRequest:
        """From a WSGI environ."""
        base = public_url or f"{environ.get('wsgi.url_scheme', 'http')}://{environ.get('HTTP_HOST', 'localhost')}"
        path = environ.get("PATH_INFO", "/")
        return cls(
            environ.get("REQUEST_METHOD", "GET"),
            path,
            environ.get("QUERY_STRING", ""),
            environ.get("CONTENT_TYPE", ""),
            environ["wsgi.input"].read,
            environ.get("REMOTE_ADDR", "") or "127.0.0.1",
            base.rstrip("/") + path,
            _presented(environ),
            environ.get("HTTP_ACCEPT", ""),
            environ.get("HTTP_ACCEPT_ENCODING", ""),
            environ.get("HTTP_AUTHORIZATION", ""),
            traceparent=environ.get("HTTP_TRACEPARENT", ""),
            tracestate=environ.get("HTTP_TRACESTATE", ""),
            turned_away=bool(environ.get(TURNED_AWAY)),
        )


def _presented(environ: Mapping[str, Any]) -> Certificate | None:
    """The peer's certificate, where the connection has one, or the process that took it has handed it on."""
    der = environ.get("xds.peer_certificate_der")
    if der is None:
        der = der_of(environ.get("gunicorn.socket"))
    return certificate_of(der)


def der_of(sock: Any) -> bytes:
    """The peer's certificate of a TLS socket; empty without mutual TLS."""
    return (sock.getpeercert(True) or b"") if hasattr(sock, "getpeercert") else b""


def subject_of(sock: Any) -> str:
    """Who a TLS socket's peer is, by whom, and which certificate of theirs; empty without mutual TLS."""
    found = certificate_of(der_of(sock))
    return found.text if found else ""


def certificate_of(der: bytes) -> Certificate | None:
    """What a peer's certificate says; None where there is none."""
    try:
        return Certificate.of(der) if der else None
    except NotACertificate:  # OpenSSL has read it: none that this reads otherwise is known
        return None


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply; ``length`` in bytes where it is known beforehand."""

    status: int
    headers: list[tuple[str, str]]
    chunks: Iterator[bytes]
    length: int | None = None

    def wsgi(self, start_response: Callable[..., Any]) -> Iterator[bytes]:
        headers = list(self.headers)
        if self.length is not None:
            headers.append(("Content-Length", str(self.length)))
        start_response(f"{self.status} {REASONS.get(self.status, 'Unknown')}", headers)
        return self.chunks


@dataclass(frozen=True, slots=True)
class TextReply:
    """A small reply of text."""

    status: int
    content_type: str
    text: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    def http(self) -> HttpReply:
        data = self.text.encode()
        return HttpReply(self.status, [("Content-Type", self.content_type), *self.headers], iter((data,)), len(data))
