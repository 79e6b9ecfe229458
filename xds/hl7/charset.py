"""In which character set an HL7 v2 message is written: as its MSH-18 says.  HL7 v2.3.1: 2.24.1.18, table 0211."""

from __future__ import annotations

import re

from xds.hl7.feed import NotAFeed

BOM = b"\xef\xbb\xbf"
ASCII, UTF_8 = "ASCII", "UNICODE UTF-8"

# Table 0211, as far as Python and ITI-8 have use for it; 8859/15 is of v2.6.  What senders write instead of these,
# with other signs between the same letters and digits, is understood: see ``codec``.
CODECS = {
    ASCII: "ascii", "ISO IR6": "ascii", UTF_8: "utf-8",
    **{f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}  # fmt: skip
_PLAIN = {re.sub(r"\W", "", code): name for code, name in CODECS.items()} | {"UTF8": "utf-8"}

# UTF-16 and UTF-32 cannot be framed by MLLP: their bytes hold its own.
_WIDE = (
    (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
    (b"M\0S\0", "utf-16-le"), (b"\0M\0S", "utf-16-be"), (b"M\0\0\0", "utf-32-le"), (b"\0\0\0M", "utf-32-be"),
)  # fmt: skip


_MSH_18 = 17  # MSH-1 is the sign between the fields


def codec(declared: str) -> str | None:
    """Python's name of a character set of table 0211; None where we do not know it."""
    plain = re.sub(r"\W", "", declared.upper())
    return _PLAIN.get(plain) or _PLAIN.get(plain.removeprefix("ISO"))


def decoded(data: bytes) -> str:
    """The text of a message in the character set that it says; where it says none, UTF-8 or ISO 8859-1.

    Raises:
        NotAFeed: another character set, or bytes that are none of its.
    """
    if _wide(data):
        raise NotAFeed("UTF-16 and UTF-32 cannot be carried by MLLP", "102")
    if data.startswith(BOM):
        return _by("utf-8", data.removeprefix(BOM))
    declared = _declared(data)
    if not declared:
        # Senders of old write ISO 8859-1 without saying so.
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")
    found = codec(declared)
    if found is None:
        raise NotAFeed("MSH-18 is a character set that is not supported (HL7 v2.3.1: table 0211)", "103")
    if b"\x1b" in data:
        raise NotAFeed("MSH-18: a change of the character set within a message is not supported", "103")
    return _by(found, data)


def legible(data: bytes) -> str:
    """The text of a message as far as its header needs it, whatever it is written in."""
    wide = _wide(data)
    return data.decode(wide, "replace").lstrip("\ufeff") if wide else data.removeprefix(BOM).decode("utf-8", "replace")


def _by(name: str, data: bytes) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        raise NotAFeed("MSH-18: the message is not in the character set that it says", "102") from None


def _wide(data: bytes) -> str:
    return next((name for begin, name in _WIDE if data.startswith(begin)), "")


def _declared(data: bytes) -> str:
    """The first of MSH-18, which is the message's own; further ones need escape sequences."""
    if not data.startswith(b"MSH") or len(data) < 9:
        return ""
    fields = re.split(rb"[\r\n]", data[:4096], maxsplit=1)[0].split(data[3:4])
    if len(fields) <= _MSH_18:
        return ""
    repetition = fields[1][1:2] or b"~"
    return fields[_MSH_18].split(repetition)[0].decode("ascii", "replace").strip()
