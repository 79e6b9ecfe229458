"""An HTTP request and its reply, as the layers above see them; WSGI on the outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

REASONS = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
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
    peer_certificate: str = ""  # subject, where the connection has one
    accept: str = ""  # the Accept header
    authorization: str = field(default="", repr=False)  # the Authorization header

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
            subject_of(environ.get("gunicorn.socket")),
            environ.get("HTTP_ACCEPT", ""),
            environ.get("HTTP_AUTHORIZATION", ""),
        )


def subject_of(sock: Any) -> str:
    """The subject of the peer's certificate, ``commonName=…, organizationName=…``; empty without mutual TLS."""
    if not hasattr(sock, "getpeercert"):
        return ""
    certificate = sock.getpeercert() or {}
    return ", ".join(f"{key}={value}" for part in certificate.get("subject", ()) for key, value in part)


# Short names of RFC 4514 for those that Python's ssl gives.
_SHORT = {
    "CN": "commonName", "O": "organizationName", "OU": "organizationalUnitName", "C": "countryName",
    "L": "localityName", "ST": "stateOrProvinceName",
}  # fmt: skip


def attributes(subject: str) -> frozenset[tuple[str, str]]:
    """The attributes of a subject, by their long names, that is written ``CN=…, O=…`` with long or short ones."""
    pairs = (part.strip().partition("=") for part in subject.split(", "))
    return frozenset((_SHORT.get(key, key), value) for key, equals, value in pairs if equals)


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
