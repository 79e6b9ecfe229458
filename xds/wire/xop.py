"""xop:Include and the part it names; inline base64 taken out into a file.  XOP 1.0: 2.1, 4.2."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import TypeVar
from urllib.parse import unquote

from xds.wire.faults import sender
from xds.wire.spool import CHUNK_BYTES, Spool, Spooled
from xds.wire.xml import Element, name

_T = TypeVar("_T")


def take_includes(body: Element, attachments: Mapping[str, _T]) -> dict[Element, _T]:
    """Take every xop:Include out of the body; return the part of the element each stood in.

    Raises:
        Fault: an Include not alone in its element, an href that is no cid:, leads nowhere, or is used twice.
    """
    found: dict[Element, _T] = {}
    used: set[str] = set()
    for include in list(body.iter(name("xop:Include"))):
        parent = include.getparent()
        if parent is None or len(parent) != 1 or (parent.text or "").strip() or (include.tail or "").strip():
            raise sender("an xop:Include must be the only content of its element (XOP 1.0: 2.1)")
        href = include.get("href", "").strip()
        if not href.lower().startswith("cid:"):
            raise sender("the href of an xop:Include must be a cid: URL (XOP 1.0: 4.2)")
        # A cid: URL is percent-encoded and a Content-ID is not (RFC 2392); some peers encode neither, or both.
        id_ = next((each for each in (unquote(href[4:]), href[4:]) if each in attachments), None)
        if id_ is None:
            raise sender("an xop:Include names a part that is not in the message (XOP 1.0: 4.2)")
        if id_ in used:
            raise sender("two xop:Include name the same part (XOP 1.0: 3.1)")
        used.add(id_)
        found[parent] = attachments[id_]
        parent.remove(include)
        parent.text = None
    return found


def take_inline(element: Element, spool: Spool) -> Spooled:
    """Take base64 text out of an element into a file.

    Raises:
        Fault: it is not base64.
    """
    text = element.text or ""
    element.text = None
    writing = spool.new()
    try:
        for chunk in _decoded(text):
            writing.write(chunk)
    except (binascii.Error, ValueError):
        raise sender("a document's inline content is not base64 (xs:base64Binary)") from None
    return writing.finish()


def _decoded(text: str) -> Iterator[bytes]:
    step, kept, ended = CHUNK_BYTES // 3 * 4, "", False
    for start in range(0, len(text), step):
        kept += "".join(text[start : start + step].split())
        if ended and kept:
            raise ValueError("goes on behind its padding")
        whole = len(kept) // 4 * 4
        ready, kept = kept[:whole], kept[whole:]
        ended = ended or ready.endswith("=")
        yield base64.b64decode(ready, validate=True)
    if kept:
        raise ValueError("cut off")


def encoded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Base64 of a stream, without line ends."""
    kept = b""
    for chunk in chunks:
        kept += chunk
        whole = len(kept) // 3 * 3
        yield base64.b64encode(kept[:whole])
        kept = kept[whole:]
    if kept:
        yield base64.b64encode(kept)


def encoded_size(size_bytes: int) -> int:
    """How long the base64 of so many bytes is."""
    return (size_bytes + 2) // 3 * 4
