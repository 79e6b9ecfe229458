"""An answer with attachments that is passed on as it comes: its root part first, then each part when it is wanted.

What is wanted later than it comes, as of whoever sends its parts in another order than it names them, waits in a file.
RFC 2387; XOP 1.0: 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import urllib3

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
        reading.until = math.inf
        return Passing(body, contents, response.close)
    except BaseException:
        response.close()
        raise


class _Reading:
    """``read`` of a response, within bounds; until when it is read may be put off."""

    def __init__(self, response: Any, within: Within) -> None:
        self.until = within.until
        self._within, self._response, self._left = within, response, within.size_bytes

    def __call__(self, size: int) -> bytes:
        left = Within(self._left, self._within.elements, self.until)
        chunk = left.reading(self._response)(size)
        self._left -= len(chunk)
        return chunk


class _Parts:
    """The parts of a message, each once."""

    def __init__(self, reader: PartReader, spool: Spool, limits: Limits) -> None:
        self._reader, self._spool, self._limits = reader, spool, limits
        self._aside, self._count, self._is_open = dict[str, Spooled](), 0, False

    def root(self, start: str | None) -> bytes:
        """The root part; what comes before it is put aside."""
        wanted = None if start is None else {content_id(start), unquote(content_id(start))}
        self._reader.skip_to_delimiter()
        while (id_ := self._next()) is not None:
            if wanted is None or id_ in wanted:
                data = bytearray()
                for chunk in self._reader.chunks():
                    hold(len(chunk), self._spool, self._limits)
                    data += chunk
                    if len(data) > self._limits.root_part_bytes:
                        raise too_long(self._limits)
                return bytes(data)
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
        return part_id(self._reader.headers())

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
