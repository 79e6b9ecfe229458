"""A multipart/related reply whose parts are streamed and whose length is known beforehand.  RFC 2387; PS3.18: 8.6."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from xds.wire.http import HttpReply


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its type, where it is, its size in bytes and how its bytes are opened."""

    content_type: str
    location: str
    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]

    def head(self, boundary: str) -> bytes:
        location = f"Content-Location: {self.location}\r\n" if self.location else ""
        return f"--{boundary}\r\nContent-Type: {self.content_type}\r\n{location}\r\n".encode()


def of_bytes(content_type: str, data: bytes, location: str = "") -> Part:
    """A part that is in memory."""
    return Part(content_type, location, len(data), lambda: iter((data,)))


def reply(status: int, kind: str, parts: Sequence[Part]) -> HttpReply:
    """All parts, of one kind."""
    boundary = uuid.uuid4().hex
    end = f"--{boundary}--\r\n".encode()
    length = sum(len(part.head(boundary)) + part.size_bytes + 2 for part in parts) + len(end)

    def chunks() -> Iterator[bytes]:
        for part in parts:
            yield part.head(boundary)
            yield from part.chunks()
            yield b"\r\n"
        yield end

    header = ("Content-Type", f'multipart/related; type="{kind}"; boundary={boundary}')
    return HttpReply(status, [header], chunks(), length)


def single(status: int, part: Part) -> HttpReply:
    """One part as the whole body."""
    return HttpReply(status, [("Content-Type", part.content_type)], part.chunks(), part.size_bytes)
