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
from xds.wire.tls_trouble import why

PRIORITY = 85  # facility 10 (security/authorisation), severity 5 (notice)
MESSAGE_ID = "IHE+RFC-3881"
SECONDS = 10.0
DATAGRAM_BYTES = 65_000


MESSAGE_BYTES = 4 * 1024 * 1024
"""The longest message that is kept whole: a record of thousands of instances has a megabyte."""

CUT_BYTES = 64 * 1024
"""What is kept of a longer one."""

PASSED_BYTES = 64 * 1024
"""What may stand between two messages of a stream."""

_HEADER = re.compile(rb"<\d{1,3}>1 \S+ \S+ \S+ \S+ \S+ (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) ?", re.DOTALL)
_BLANK = b" \t\r\n\0"
_BETWEEN = re.compile(rb"(?:[ \t\r\n\0]|\xef\xbb\xbf)+")

# How a message begins (RFC 5424: 6.2.1), by itself or behind its count.
_PRIORITY = rb"<\d{1,3}>"
_COUNT = re.compile(rb"([1-9]\d{0,9}) (?=<)")
_BEGINS = re.compile(rb"(?:[1-9]\d{0,9} )?" + _PRIORITY + rb"1 ")
_MAY_BE_COUNT = re.compile(rb"[1-9]\d{0,9} ?\Z")
_LONGEST_BEGINNING = 32

# Some who end messages with LF send records of several lines: one that has begun goes on to its end tag.
_RECORD = re.compile(rb"<(?:\?xml\s|(?:[\w.-]+:)?AuditMessage[\s>])")
_RECORD_CLOSED = re.compile(rb"</(?:[\w.-]+:)?AuditMessage\s*>")
_RECORD_ENDS = re.compile(rb"(" + _RECORD_CLOSED.pattern + rb"[ \t\r\0]*)\n|\n(?=" + _BEGINS.pattern + rb")")
_LONGEST_ENDING = 256


class Malformed(Exception):
    """A stream that is not framed, or whose frames cannot be told any more; ``data`` is what came."""

    def __init__(self, reason: str, data: bytes) -> None:
        super().__init__(reason)
        self.data = data


def content(frame: bytes) -> bytes:
    """What an RFC 5424 message carries, without its header and a byte order mark; what has no header as it is.

    Some end a record with a line end or, as C strings end, with NUL; it is none of the record, nor is what is blank
    before it, which XML does not allow there (XML 1.0: 2.8).
    """
    match = _HEADER.match(frame, 0, 4096)
    carried = frame[match.end() :] if match else frame
    record = carried.lstrip(_BLANK).removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    whole = record.rstrip(_BLANK)
    return whole if b"\0" in record[len(whole) :] else record


class Frames:
    """Takes a stream apart: octet counting (RFC 5425: 4.3), or lines, as some write by TCP (RFC 6587: 3.4.2).

    What is neither is evidence too: it is given as it came, and the next message is looked for behind it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.counted = 0
        """Of what is held, the bytes that whoever reads has found room for."""
        self.passed = 0
        """Bytes that stood between messages; whoever reads counts them, sets it back and notes that it was told."""
        self.told = False
        self._left = 0  # octets of an oversize frame that are still to be passed over
        self._between = 0  # bytes since the last message
        self._scanned = 0  # so far no message ends
        self._goes_on = False  # a record has begun in a line, and has not ended there

    def take(self, data: bytes) -> Iterator[tuple[bytes, str]]:
        """The messages that are complete with these bytes, and what is remarkable of each; no bytes are the end.

        Raises:
            Malformed: a line without an end, or too much that is no message.
        """
        self._buffer += data
        while self._buffer:
            if self._left:
                gone = min(self._left, len(self._buffer))
                del self._buffer[:gone]
                self._left -= gone
                continue
            self._pass_blanks()
            found = self._frame()
            if found is None:
                break
            yield found
        if not data and self._buffer:
            yield self._last(), "cut"

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
        self._scanned, self._goes_on = 0, False
        return rest

    def _cut_off(self, end: int, past: int) -> bytes:
        """The beginning of what is held, up to ``end``; gone is what is before ``past``."""
        found = bytes(self._buffer[:end])
        del self._buffer[:past]
        self._scanned, self._between, self._goes_on = 0, 0, False
        return found

    def _frame(self) -> tuple[bytes, str] | None:
        if self._buffer[:1] == b"<":
            return self._line()
        if counted := _COUNT.match(self._buffer):
            return self._counted(int(counted[1]), counted.end())
        if not self._buffer or _MAY_BE_COUNT.match(self._buffer):
            return None
        return self._no_message()

    def _pass_blanks(self) -> None:
        if blank := _BETWEEN.match(self._buffer):
            self._within_bounds(blank.end())
            del self._buffer[: blank.end()]
            self._scanned = 0

    def _within_bounds(self, count: int) -> None:
        if self._between + count > PASSED_BYTES:
            raise Malformed("too much between two messages", self._last())
        self.passed += count
        self._between += count

    def _no_message(self) -> tuple[bytes, str] | None:
        """What comes is no message; it goes up to where one begins."""
        begins = _BEGINS.search(self._buffer, max(self._scanned, 1))
        if begins is None:
            if len(self._buffer) - _LONGEST_BEGINNING > PASSED_BYTES:
                raise Malformed("no message begins", self._last())
            self._scanned = max(len(self._buffer) - _LONGEST_BEGINNING, 0)
            return None
        self._within_bounds(begins.start())
        between = self._between
        found = self._cut_off(begins.start(), begins.start())
        self._between = between
        return found, "between two messages"

    def _line(self) -> tuple[bytes, str] | None:
        if not self._goes_on:
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                self._wait(0)
                return None
            line = bytes(self._buffer[:end])
            if _RECORD.search(line) is None or _RECORD_CLOSED.search(line):
                return self._cut_off(end, end + 1), ""
            self._goes_on, self._scanned = True, 0
        ends = _RECORD_ENDS.search(self._buffer, self._scanned)
        if ends is None:
            self._wait(_LONGEST_ENDING)
            return None
        closed = ends[1] is not None
        return self._cut_off(ends.end(1) if closed else ends.start(), ends.end()), "" if closed else "cut"

    def _wait(self, overlap: int) -> None:
        if len(self._buffer) > MESSAGE_BYTES:
            raise Malformed("a line without an end", self._last())
        self._scanned = max(len(self._buffer) - overlap, 0)

    def _counted(self, length: int, begin: int) -> tuple[bytes, str] | None:
        if length > MESSAGE_BYTES:
            if len(self._buffer) - begin < CUT_BYTES:
                return None
            kept = self._cut_off(begin + CUT_BYTES, begin + CUT_BYTES)[begin:]
            self._left = length - CUT_BYTES
            return kept, "cut"
        if len(self._buffer) - begin < length:
            return None
        return self._cut_off(begin + length, begin + length)[begin:], ""


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
        raise NotSent(f"{url}: {why(problem) or problem.strerror or type(problem).__name__}") from None


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
