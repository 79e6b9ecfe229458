"""Syslog as ITI-20 uses it: RFC 5424 messages over TLS (RFC 5425), TCP (RFC 6587, octet counting) or UDP (RFC 5426).

ITI TF-2: 3.20.4.1.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from xds.errors import Unusable

PRIORITY = 85  # facility 10 (security/authorisation), severity 5 (notice)
MESSAGE_ID = "IHE+RFC-3881"
SECONDS = 10.0
DATAGRAM_BYTES = 65_000


MESSAGE_BYTES = 4 * 1024 * 1024
"""The longest message that is kept whole: a record of thousands of instances has a megabyte."""

CUT_BYTES = 64 * 1024
"""What is kept of a longer one."""

_HEADER = re.compile(rb"<\d{1,3}>1 \S+ \S+ \S+ \S+ \S+ (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) ?", re.DOTALL)
_COUNT = re.compile(rb"([1-9]\d{0,9}) ")


class Malformed(Exception):
    """A stream that is not framed, or whose frames cannot be told any more; ``data`` is what came."""

    def __init__(self, reason: str, data: bytes) -> None:
        super().__init__(reason)
        self.data = data


def content(frame: bytes) -> bytes:
    """What an RFC 5424 message carries, without its header and a byte order mark; anything else as it is."""
    match = _HEADER.match(frame, 0, 4096)
    return frame[match.end() :].removeprefix(b"\xef\xbb\xbf") if match else frame


class Frames:
    """Takes a stream apart: octet counting (RFC 5425: 4.3), or lines, as some write by TCP (RFC 6587: 3.4.2)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.counted = 0
        """Of what is held, the bytes that whoever reads has found room for."""
        self._passed = 0  # octets of an oversize frame that are still to be passed over

    def take(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """The messages that are complete with these bytes, and whether each was cut; no bytes are the stream's end.

        Raises:
            Malformed: what comes is no frame.
        """
        self._buffer += data
        if not data:
            if self._buffer and not self._passed:
                yield self._last(), True
            return
        while self._buffer:
            if self._passed:
                gone = min(self._passed, len(self._buffer))
                del self._buffer[:gone]
                self._passed -= gone
                continue
            found = self._line() if self._buffer[:1] == b"<" else self._counted()
            if found is None:
                return
            yield found

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._buffer)

    def rest(self) -> bytes:
        """The beginning of a message that is not waited for any more."""
        return self._last()

    def _last(self) -> bytes:
        rest = bytes(self._buffer[:CUT_BYTES])
        self._buffer.clear()
        return rest

    def _line(self) -> tuple[bytes, bool] | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > MESSAGE_BYTES:
                raise Malformed("a line without an end", self._last())
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line, False

    def _counted(self) -> tuple[bytes, bool] | None:
        match = _COUNT.match(self._buffer)
        if match is None:
            if len(self._buffer) > 11 or not self._buffer.isdigit() or self._buffer[:1] == b"0":
                raise Malformed("not framed by octet counting", self._last())
            return None
        length, begin = int(match[1]), match.end()
        if length > MESSAGE_BYTES:
            if len(self._buffer) - begin < CUT_BYTES:
                return None
            kept = bytes(self._buffer[begin : begin + CUT_BYTES])
            self._passed = length - CUT_BYTES
            del self._buffer[: begin + CUT_BYTES]
            return kept, True
        if len(self._buffer) - begin < length:
            return None
        frame = bytes(self._buffer[begin : begin + length])
        del self._buffer[: begin + length]
        return frame, False


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
    scheme, host, port = named(url)
    data, address = message(audit_message), (host, port)
    try:
        if scheme == "udp":
            _datagram(data, address)
            return
        with connected(scheme, host, port, context) as stream:
            stream.sendall(framed([data]))
            if isinstance(stream, ssl.SSLSocket):
                with contextlib.suppress(OSError):  # it has been handed over, however the other side takes its leave
                    stream.unwrap()
    except OSError as problem:
        raise NotSent(f"{url}: {problem.strerror or type(problem).__name__}") from None


def connected(scheme: str, host: str, port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A stream to an audit repository, by ``tls`` or ``tcp``.

    Raises:
        OSError: it cannot be reached, or not be trusted.
    """
    plain = socket.create_connection((host, port), SECONDS)
    # What lies between the two should not forget a connection that is silent for long.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    if scheme == "tcp":
        return plain
    try:
        return (context or ssl.create_default_context()).wrap_socket(
            plain, server_hostname=host, suppress_ragged_eofs=False
        )
    except OSError:
        plain.close()
        raise


def framed(frames: Iterable[bytes]) -> bytes:
    """Messages as a stream carries them (RFC 5425: 4.3)."""
    return b"".join(b"%d %b" % (len(frame), frame) for frame in frames)


def named(url: str) -> tuple[str, str, int]:
    """Transport, host and port of an audit repository's address.

    Raises:
        Unusable: it is none.
    """
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
