"""An answer with attachments that is passed on as it comes: its root part first, then each part when it is wanted.

What is wanted later than it comes, as of whoever sends its parts in another order than it names them, waits in a file.
RFC 2387; XOP 1.0: 4.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import urllib3

from xds.wire.charset import as_declared
from xds.wire.client import Answering, OverBounds, Within, body_of, understood
from xds.wire.mime import (
    ContentType,
    Limits,
    Malformed,
    PartReader,
    boundary_of,
    content_id,
    hold,
    part_id,
    read_package,
    too_long,
)
from xds.wire.spool import NotKept, Spool, Spooled
from xds.wire.xml import Element
from xds.wire.xop import take_includes

MOST_SECONDS = 14_400.0
"""The longest that an answer is passed on, as a request may take (``server.request_seconds``)."""

STALL_SECONDS, LEAST_BYTES_PER_SECOND = 10.0, 1024
"""What is slower than this, after so long, is broken off, as ``server.stall_seconds`` has it of who asks."""

READ_BYTES = 32 * 1024
"""At once: whoever answers is read on while somebody slow is written to."""

STEP_BYTES = 16 * 1024
"""By which a root part takes of the memory that all share."""


class BrokenOff(Exception):
    """What was promised has not come whole; nothing may follow."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A part that is still to come: of a size that is not known, to be read once."""

    chunks: Callable[[], Iterator[bytes]]
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Passing:
    """An answer's body, and what is attached to elements of it; ``close`` ends it, read or not."""

    body: Element
    contents: Mapping[Element, Coming | Spooled]
    close: Callable[[], None]


def passing(answering: Answering, spool: Spool, limits: Limits, within: Within) -> Passing:
    """An answer, of which the root part has come.

    ``within.until`` is for that; afterwards each read may take as long as whoever answers may be silent.

    Raises:
        NoReply, Faulted: as ``Client.send`` does.
        Overfull: there is no memory for its root part.
        NotKept: what came before its root part could not be written.
    """
    response, url = answering.response, answering.url
    reading = _Reading(response, within)
    content_type = response.headers.get("Content-Type", "")
    try:
        with understood(response, url):
            kind = ContentType.parse(content_type)
            if kind.media_type != "multipart/related":
                package = read_package(content_type, reading, spool, limits)
                body = body_of(package.root, url, within.elements)
                return Passing(body, {}, response.release_conn)
            parts = _Parts(PartReader(boundary_of(kind), reading), spool, limits)
            body = body_of(parts.root(kind.parameters.get("start")), url, within.elements)
            contents = take_includes(body, _Named(parts))
        reading.passes()
        return Passing(body, contents, response.close)
    except BaseException:
        response.close()
        raise


class _Reading:
    """``read`` of a response, within bounds; until when it is read may be put off.

    Only what is waited for counts as slow: who reads slowly is not whoever answers.
    """

    def __init__(self, response: Any, within: Within) -> None:
        self.until = within.until
        self._response, self._most, self._came, self._waited = response, within.size_bytes, 0, 0.0
        self._is_passing, self._before = False, 0

    def __call__(self, size: int) -> bytes:
        began = time.monotonic()
        if began > self.until:
            raise OverBounds("no answer in time")
        chunk = bytes(self._response.read1(min(size, READ_BYTES)))
        self._waited += time.monotonic() - began
        self._came += len(chunk)
        if self._came > self._most:
            raise OverBounds(f"the answer is over {self._most} bytes")
        if self._is_passing and self._waited > STALL_SECONDS + (self._came - self._before) / LEAST_BYTES_PER_SECOND:
            raise OverBounds("the answer comes too slowly")
        return chunk

    def passes(self) -> None:
        """From now on it is passed on."""
        self._is_passing, self.until = True, time.monotonic() + MOST_SECONDS
        self._before, self._waited = self._came, 0.0


class _Parts:
    """The parts of a message, each once."""

    def __init__(self, reader: PartReader, spool: Spool, limits: Limits) -> None:
        self._reader, self._spool, self._limits = reader, spool, limits
        self._aside, self._count, self._is_open = dict[str, Spooled](), 0, False
        self._charset: str | None = None

    def root(self, start: str | None) -> bytes:
        """The root part; what comes before it is put aside."""
        wanted = None if start is None else unquote(content_id(start))
        self._reader.skip_to_delimiter()
        while (id_ := self._next()) is not None:
            if wanted is None or id_ == wanted:
                data, held = bytearray(), 0
                for chunk in self._reader.chunks():
                    data += chunk
                    if len(data) > self._limits.root_part_bytes:
                        raise too_long(self._limits)
                    while held < len(data):
                        hold(STEP_BYTES, self._spool, self._limits)
                        held += STEP_BYTES
                return as_declared(bytes(data), self._charset)
            self._put_aside(id_)
        raise Malformed("no part has the Content-ID that start= names (RFC 2387: 3.2)")

    def chunks(self, id_: str) -> Iterator[bytes]:
        """The bytes of a part.

        Raises:
            BrokenOff: it has not come, or not whole.
        """
        try:
            while id_ not in self._aside:
                if self._is_open:
                    raise BrokenOff("a part was not read to its end")
                came = self._next()
                if came is None:
                    raise BrokenOff("a part that is named has not come")
                if came == id_:
                    self._is_open = True
                    yield from self._reader.chunks()
                    self._is_open = False
                    return
                self._put_aside(came)
        except (Malformed, OverBounds, NotKept, urllib3.exceptions.HTTPError, OSError) as problem:
            raise BrokenOff(str(problem) or type(problem).__name__) from None
        yield from self._aside.pop(id_).chunks()

    def _next(self) -> str | None:
        """The Content-ID of the part that comes now; None when there is no more."""
        if self._reader.closed():
            return None
        self._count += 1
        if self._count > self._limits.parts + 1:
            raise Malformed(f"more than {self._limits.parts} attachments")
        headers = self._reader.headers()
        self._charset = ContentType.parse(headers.get("content-type", "")).parameters.get("charset")
        return unquote(part_id(headers))  # some encode it, as a cid: URL is (RFC 2392)

    def _put_aside(self, id_: str) -> None:
        if id_ in self._aside:
            raise Malformed("two parts have the same Content-ID (RFC 2392)")
        self._aside[id_] = self._reader.spooled(self._spool, self._limits.part_bytes)


class _Named(dict[str, Coming]):
    """Whatever part an answer names, by its Content-ID: whether it comes is seen when it is read."""

    def __init__(self, parts: _Parts) -> None:
        super().__init__()
        self._parts = parts

    def __contains__(self, id_: object) -> bool:
        return True

    def __missing__(self, id_: str) -> Coming:
        return Coming(lambda: self._parts.chunks(id_))
