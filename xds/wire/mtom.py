"""A message's pieces packed for the wire: plain SOAP with base64, or MTOM with XOP parts; streamed.

XOP 1.0: 3.1; SOAP MTOM: 3; ITI TF-2: Appendix V.3.6.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias
from urllib.parse import quote

from xds.wire.http import HttpReply
from xds.wire.xml import NAMESPACES
from xds.wire.xop import encoded, encoded_size

SOAP = "application/soap+xml; charset=UTF-8"


class Part(Protocol):
    """Bytes that stand in a message, opened when they are sent; of a size that is known, or comes with them."""

    @property
    def content_id(self) -> str: ...
    @property
    def size_bytes(self) -> int | None: ...
    @property
    def content_type(self) -> str: ...
    @property
    def chunks(self) -> Callable[[], Iterator[bytes]]: ...


Piece: TypeAlias = "bytes | Part"


def new_boundary() -> str:
    return uuid.uuid4().hex


def plain(pieces: Sequence[Piece]) -> HttpReply:
    """The message as plain SOAP 1.2, parts as inline base64."""
    length = _sum(len(p) if isinstance(p, bytes) else _encoded_size(p.size_bytes) for p in pieces)

    def chunks() -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from encoded(piece.chunks())

    return HttpReply(200, [("Content-Type", SOAP)], chunks(), length)


def mtom(pieces: Sequence[Piece], action: str = "") -> HttpReply:
    """The message as multipart/related, root part first, parts by XOP."""
    boundary, root_id = f"xds-{new_boundary()}", f"root-{new_boundary()}@xds"
    root = b"".join(p if isinstance(p, bytes) else _include(p) for p in pieces)
    headers: list[tuple[bytes, Callable[[], Iterator[bytes]], int | None]]
    headers = [(_root_head(boundary, root_id), lambda: iter((root,)), len(root))]
    headers += [(_head(boundary, p), p.chunks, p.size_bytes) for p in pieces if not isinstance(p, bytes)]
    tail = f"\r\n--{boundary}--\r\n".encode()
    sizes = _sum(size for _, _, size in headers)
    length = None if sizes is None else sizes + sum(len(head) for head, _, _ in headers) + len(tail)

    def chunks() -> Iterator[bytes]:
        for head, open_, _ in headers:
            yield head
            yield from open_()
        yield tail

    content_type = (
        f'multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="<{root_id}>"; '
        'start-info="application/soap+xml"'
    )
    content_type += f'; action="{action}"' if action else ""
    return HttpReply(200, [("Content-Type", content_type), ("MIME-Version", "1.0")], chunks(), length)


def _sum(sizes: Iterable[int | None]) -> int | None:
    """All together; of what is not known it is not."""
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _encoded_size(size_bytes: int | None) -> int | None:
    return None if size_bytes is None else encoded_size(size_bytes)


_PLAIN = re.compile(r"[A-Za-z0-9._~@-]*")


def _include(part: Part) -> bytes:
    id_ = part.content_id if _PLAIN.fullmatch(part.content_id) else quote(part.content_id, safe="@")
    return f'<xop:Include xmlns:xop="{NAMESPACES["xop"]}" href="cid:{id_}"/>'.encode()


def _root_head(boundary: str, root_id: str) -> bytes:
    return (
        f"\r\n--{boundary}\r\n"
        'Content-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
        f"Content-Transfer-Encoding: binary\r\nContent-ID: <{root_id}>\r\n\r\n"
    ).encode()


def _head(boundary: str, part: Part) -> bytes:
    return (
        f"\r\n--{boundary}\r\nContent-Type: {part.content_type}\r\n"
        f"Content-Transfer-Encoding: binary\r\nContent-ID: <{part.content_id}>\r\n\r\n"
    ).encode()
