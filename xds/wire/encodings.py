"""A reply in the encoding that its reader takes.  RFC 9110: 8.4, 12.5.3."""

from __future__ import annotations

from functools import lru_cache

from isal import isal_zlib
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from xds.wire.http import HttpReply, HttpRequest

LEAST_BYTES, MOST_BYTES = 1400, 256 * 1024 * 1024
"""What is shorter fits in one packet as it is; what is longer is not held twice in memory."""

HEADER_CHARACTERS = 1000
"""Of an Accept-Encoding that is read."""

_LEVEL, _GZIP = 1, 31


@lru_cache(1000)
def takes_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header has gzip."""
    accepted = parse_accept_header(header[:HEADER_CHARACTERS], Accept)
    named = [name for name, _ in accepted]
    return accepted.quality("x-gzip" if "x-gzip" in named and "gzip" not in named else "gzip") > 0


def encoded(request: HttpRequest, reply: HttpReply) -> HttpReply:
    """A reply, compressed where its reader takes that and it is worth it; its bytes are all at hand."""
    if reply.length is None or not LEAST_BYTES <= reply.length <= MOST_BYTES:
        return reply
    if not request.accept_encoding or not takes_gzip(request.accept_encoding):
        return reply
    packing = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    packed = b"".join([*map(packing.compress, reply.chunks), packing.flush()])
    headers = [*reply.headers, ("Content-Encoding", "gzip")]
    return HttpReply(reply.status, headers, iter((packed,)), len(packed))
