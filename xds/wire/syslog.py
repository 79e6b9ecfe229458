"""Syslog as ITI-20 uses it: RFC 5424 messages over TLS (RFC 5425), TCP (RFC 6587, octet counting) or UDP (RFC 5426).

ITI TF-2: 3.20.4.1.
"""

from __future__ import annotations

import os
import socket
import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit

from xds.errors import Unusable

PRIORITY = 85  # facility 10 (security/authorisation), severity 5 (notice)
MESSAGE_ID = "IHE+RFC-3881"
SECONDS = 10.0
DATAGRAM_BYTES = 65_000


class NotSent(Exception):
    """The record has not been handed over."""


def message(audit_message: bytes, now: datetime | None = None) -> bytes:
    """An RFC 5424 message around an audit message."""
    time = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    host = socket.getfqdn()[:255] or "-"
    return f"<{PRIORITY}>1 {time} {host} xds {os.getpid()} {MESSAGE_ID} - ".encode() + audit_message


def send(url: str, audit_message: bytes, context: ssl.SSLContext | None = None) -> None:
    """Hand one audit message to the repository at ``tls://``, ``tcp://`` or ``udp://`` HOST:PORT.

    Raises:
        Unusable: the address is none of these.
        NotSent: it could not be handed over, or is too long for a datagram.
    """
    scheme, host, port = _named(url)
    data, address = message(audit_message), (host, port)
    try:
        if scheme == "udp":
            _datagram(data, address)
            return
        with socket.create_connection(address, SECONDS) as plain:
            framed = b"%d %b" % (len(data), data)
            if scheme == "tcp":
                plain.sendall(framed)
                return
            with (context or ssl.create_default_context()).wrap_socket(plain, server_hostname=host) as tls:
                tls.sendall(framed)
                tls.unwrap()
    except OSError as problem:
        raise NotSent(f"{url}: {problem.strerror or type(problem).__name__}") from None


def _named(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("tls", "tcp", "udp") and parts.hostname and parts.port:
            return parts.scheme, parts.hostname, parts.port
    except ValueError:
        pass  # a port that is no number
    raise Unusable("an audit repository is named tls://HOST:PORT, tcp://HOST:PORT or udp://HOST:PORT")


def _datagram(data: bytes, address: tuple[str, int]) -> None:
    if len(data) > DATAGRAM_BYTES:
        raise NotSent("the record is too long for UDP")
    family = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0][0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, address)
