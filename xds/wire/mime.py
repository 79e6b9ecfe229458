"""multipart/related as MTOM uses it, read and written in chunks.

RFC 2046: 5.1, RFC 2387, RFC 2392; XOP 1.0: 4.1; ITI TF-2: Appendix V.3.6.  A part goes to its file as it
arrives; only the root part is held in memory, up to a limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import unquote

from xds.wire.charset import as_declared
from xds.wire.faults import Fault, sender
from xds.wire.memory import Memory
from xds.wire.spool import CHUNK_BYTES, Spool, Spooled

HEADER_BYTES = 16 * 1024
"""The header lines of one part."""


class Malformed(Exception):
    """The multipart itself cannot be read; the message says why."""


class TooLong(Malformed):
    """A part is over its limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may hold: bytes of the root part and of an attachment, and how many attachments.

    ``memory`` is what the root parts of all messages share.
    """

    root_part_bytes: int = 32 * 1024 * 1024
    part_bytes: int = 16 * 1024 * 1024 * 1024
    parts: int = 10_000
    memory: Memory | None = None


@dataclass(frozen=True, slots=True)
class ContentType:
    """A Content-Type header: media type in lower case, parameters without quotes."""

    media_type: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, value: str) -> ContentType:
        message = Message()
        message["Content-Type"] = re.sub(r"[\r\n]+[ \t]*", " ", value)
        parameters = message.get_params(failobj=[], header="content-type", unquote=True) or []
        named = {key.lower(): text for key, text in parameters[1:] if isinstance(text, str)}
        return cls(message.get_content_type() if value.strip() else "", named)


@dataclass(frozen=True, slots=True)
class Package:
    """One message as it came: its root part, and its attachments by Content-ID."""

    root: bytes
    attachments: dict[str, Spooled]
    mtom: bool


def content_id(text: str) -> str:
    """A Content-ID without its angle brackets."""
    return text.strip().removeprefix("<").removesuffix(">").strip()


def read_package(content_type: str, read: Callable[[int], bytes], spool: Spool, limits: Limits) -> Package:
    """Read one SOAP message, plain or MTOM.

    Raises:
        Malformed: the multipart is broken, truncated or over a limit.
        Fault: the media type is none of SOAP 1.2's or its charset is not known (HTTP 415), the message is not in its
            charset, or a plain message is over the limit.
        Overfull: there is no memory for its root part now.
    """
    kind = ContentType.parse(content_type)
    if kind.media_type in ("application/soap+xml", "text/xml", "application/xml"):
        return Package(as_declared(_plain(read, spool, limits), kind.parameters.get("charset")), {}, mtom=False)
    if kind.media_type != "multipart/related":
        raise sender("the media type must be application/soap+xml or multipart/related (MTOM)", http_status=415)
    return _Multipart(boundary_of(kind), kind.parameters.get("start"), read, spool, limits).package()


def boundary_of(kind: ContentType) -> str:
    """The boundary of a multipart.

    Raises:
        Malformed: it has none that can be used.
    """
    boundary = kind.parameters.get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise Malformed("multipart/related without a usable boundary (RFC 2046: 5.1.1)")
    return boundary


def too_long(limits: Limits) -> Fault:
    """The root part is over its limit, most often for inline base64."""
    mib = limits.root_part_bytes // (1024 * 1024)
    return sender(f"the SOAP envelope is over {mib} MiB; send documents as XOP attachments (MTOM)", http_status=413)


def hold(size_bytes: int, spool: Spool, limits: Limits) -> None:
    """Count bytes among those that are in memory, until the message's spool ends."""
    if limits.memory is not None:
        spool.at_end(limits.memory.take(size_bytes))


def _plain(read: Callable[[int], bytes], spool: Spool, limits: Limits) -> bytes:
    data = bytearray()
    while chunk := read(CHUNK_BYTES):
        hold(len(chunk), spool, limits)
        data += chunk
        if len(data) > limits.root_part_bytes:
            raise too_long(limits)
    return bytes(data)


class PartReader:
    """One pass over a multipart body: its boundaries and header lines, and each part's bytes as they come."""

    def __init__(self, boundary: str, read: Callable[[int], bytes]) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        # The first delimiter needs no line before it.
        self._buffer, self._read = bytearray(b"\r\n"), read

    def _more(self) -> None:
        chunk = self._read(CHUNK_BYTES)
        if not chunk:
            raise Malformed("the message ends before its closing boundary")
        self._buffer += chunk

    def skip_to_delimiter(self) -> None:
        skipped = 0
        while (at := self._buffer.find(self._delimiter)) < 0:
            skipped += max(0, len(self._buffer) - len(self._delimiter))
            if skipped > HEADER_BYTES:
                raise Malformed("no boundary at the beginning")
            del self._buffer[: -len(self._delimiter)]
            self._more()
        del self._buffer[: at + len(self._delimiter)]

    def closed(self) -> bool:
        """After a delimiter: ``--`` closes, white space and a line end go on to a part."""
        while len(self._buffer) < 2:
            self._more()
        if self._buffer.startswith(b"--"):
            return True
        while (at := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > HEADER_BYTES:
                raise Malformed("a boundary line without an end")
            self._more()
        if self._buffer[:at].strip():
            raise Malformed("text behind a boundary")
        del self._buffer[: at + 1]
        return False

    def headers(self) -> dict[str, str]:
        while True:
            if self._buffer.startswith((b"\r\n", b"\n")):
                head, end = b"", self._buffer.find(b"\n") + 1
                break
            match = re.search(rb"\r?\n\r?\n", self._buffer)
            if match:
                head, end = bytes(self._buffer[: match.start()]), match.end()
                break
            if len(self._buffer) > HEADER_BYTES + CHUNK_BYTES:
                raise Malformed("a part's header lines are too long")
            self._more()
        if len(head) > HEADER_BYTES:
            raise Malformed("a part's header lines are too long")
        # Unfold, keeping the line end before the body: a part may be empty.
        del self._buffer[:end]
        self._buffer[:0] = b"\r\n"
        lines = re.sub(rb"\r?\n[ \t]+", b" ", head).splitlines()
        pairs = (line.decode("utf-8", "replace").partition(":") for line in lines)
        return {key.strip().lower(): value.strip() for key, _, value in pairs}

    def body(self, keep: Callable[[bytes | memoryview], None]) -> None:
        """Hand on everything up to the next delimiter."""
        for chunk in self.chunks():
            keep(chunk)

    def chunks(self) -> Iterator[bytes]:
        """Everything up to the next delimiter, as it comes."""
        skip = 2  # the line end that ``headers`` put back so that an empty body is found
        while (at := self._buffer.find(self._delimiter)) < 0:
            ready = len(self._buffer) - len(self._delimiter)
            if ready > skip:
                yield bytes(self._buffer[skip:ready])
                del self._buffer[:ready]
                skip = 0
            self._more()
        if at > skip:
            yield bytes(self._buffer[skip:at])
        del self._buffer[: at + len(self._delimiter)]

    def spooled(self, spool: Spool, most_bytes: int) -> Spooled:
        """The body as a file of the spool.

        Raises:
            TooLong: it is over the limit.
            NotKept: it could not be written.
        """
        writing = spool.new()

        def keep(chunk: bytes | memoryview) -> None:
            if writing.size_bytes + len(chunk) > most_bytes:
                raise TooLong(f"an attachment is over {most_bytes} bytes")
            writing.write(chunk)

        self.body(keep)
        return writing.finish()


def part_id(headers: Mapping[str, str]) -> str:
    """The Content-ID of a part.

    Raises:
        Malformed: its bytes are encoded.
    """
    encoding = headers.get("content-transfer-encoding", "binary").lower()
    if encoding not in ("binary", "8bit", "7bit"):
        raise Malformed(f"Content-Transfer-Encoding {encoding[:32]} is not MTOM's (XOP 1.0: 4.1)")
    return content_id(headers.get("content-id", ""))


class _Multipart:
    """A SOAP message of several parts."""

    def __init__(
        self, boundary: str, start: str | None, read: Callable[[int], bytes], spool: Spool, limits: Limits
    ) -> None:
        self._reader, self._spool, self._limits = PartReader(boundary, read), spool, limits
        self._start = None if start is None else content_id(start)
        self._root: bytes | None = None
        self._attachments: dict[str, Spooled] = {}

    def package(self) -> Package:
        self._reader.skip_to_delimiter()
        parts = 0
        while not self._reader.closed():
            parts += 1
            if parts > self._limits.parts + 1:
                raise Malformed(f"more than {self._limits.parts} attachments")
            self._part(first=parts == 1)
        if self._root is None:
            raise Malformed("no part has the Content-ID that start= names (RFC 2387: 3.2)")
        return Package(self._root, self._attachments, mtom=True)

    def _part(self, *, first: bool) -> None:
        headers = self._reader.headers()
        id_ = part_id(headers)
        # The root part is named by start= (RFC 2387: 3.2).  Some senders leave it out although
        # MTOM asks for it; the RFC then takes the first part, and so do we.
        if first if self._start is None else id_ in (self._start, unquote(self._start)):
            if self._root is not None:
                raise Malformed("two parts have the Content-ID of the root")
            charset = ContentType.parse(headers.get("content-type", "")).parameters.get("charset")
            self._root = as_declared(self._root_part(), charset)
            return
        if id_ in self._attachments:
            raise Malformed("two parts have the same Content-ID (RFC 2392)")
        self._attachments[id_] = self._reader.spooled(self._spool, self._limits.part_bytes)

    def _root_part(self) -> bytes:
        data = bytearray()

        def keep(chunk: bytes | memoryview) -> None:
            if len(data) + len(chunk) > self._limits.root_part_bytes:
                raise too_long(self._limits)
            hold(len(chunk), self._spool, self._limits)
            data.extend(chunk)

        self._reader.body(keep)
        return bytes(data)
