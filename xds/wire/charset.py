"""In which character set an XML message is written: RFC 7303: 3.

A byte order mark goes first, then the charset parameter of Content-Type, and what the XML itself declares last.
"""

from __future__ import annotations

import codecs
import re

from xds.wire.faults import sender

# By the names of their registration at IANA, in lower case; not all that Python knows: some of that is no charset.
_KNOWN = {"utf-8": "utf-8", "us-ascii": "ascii", "utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
          **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15, 16)},
          **{f"windows-{number}": f"cp{number}" for number in range(1250, 1259)}}  # fmt: skip
_OTHER_NAMES = {"utf8": "utf-8", "ascii": "us-ascii", "latin1": "iso-8859-1", "latin-1": "iso-8859-1"}
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DECLARATION = re.compile(rb"<\?xml\b[^>]{0,200}?\?>")
_DECLARED = re.compile(rb"""\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def as_declared(data: bytes, charset: str | None) -> bytes:
    """The message so that a parser reads it in the charset that its Content-Type gives, where it gives one.

    Raises:
        Fault: the charset is not known (HTTP 415), or the message is not in it.
    """
    if charset is None or data.startswith(_MARKS):
        return data
    given = charset.strip().lower()
    given = _OTHER_NAMES.get(given, given)
    if given not in _KNOWN:
        raise sender("the charset of Content-Type is not known here; send UTF-8", http_status=415)
    declaration = _DECLARATION.match(data)
    declared = _DECLARED.search(declaration[0]) if declaration else None
    if given == "utf-8" and (declared is None or declared[1].lower() in (b"utf-8", b"utf8")):
        return data  # as it is almost always; the parser finds out whether it holds
    codec = _KNOWN[given]
    if given == "utf-16":  # without a mark: as it looks
        codec = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        again = data.decode(codec).encode()
    except UnicodeError:
        raise sender("the message is not in the charset of its Content-Type (RFC 7303: 3)") from None
    declaration = _DECLARATION.match(again)
    return again[declaration.end() :] if declaration else again
