"""DICOM's text and times as the rest of this package has them: NFC strings and aware UTC datetimes.

DICOM PS3.5: 6.1 (character repertoires), 6.2 (DA, TM, PN); PS3.3: C.12.1.1.2 (Specific Character Set),
C.12.1.1.8 (Timezone Offset From UTC).  Reading is tolerant: archives hold decades of files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydicom import charset

from xds.metadata.datatypes import escape

_ESCAPE = b"\x1b"
# ISO 2022 states end at these: value, name component and name group delimiters, and white space
# control characters (PS3.5: 6.1.2.5.3).
_DELIMITERS = frozenset(b"\\^=\r\n\t\f")
# Codecs of Python that know their own escape sequences, with them: those of JIS, in G0.
_READ_WITH_ESCAPE = frozenset(("iso2022_jp", "iso2022_jp_2"))
# Those named by a registration of which Python has the characters in G1 only, without a sequence before them.
_READ_WITHOUT_ESCAPE = {"iso_ir_58": "gb2312"}
# Registration 203 of ISO, Latin alphabet no. 9, which pydicom's tables lack.
_LATIN_9 = frozenset(("ISO_IR 203", "ISO 2022 IR 203"))
# What some senders write in place of a defined term; Python has them all.
_NAMED_AS_ELSEWHERE = re.compile(r"utf-?8|gb2312|big5|euc-(kr|jp)|shift_jis|(windows-|cp)125[0-8]", re.IGNORECASE)
_OFFSET = re.compile(r"([+-])([0-9]{2})([0-9]{2})")


def decode(value: bytes, character_sets: Sequence[str] = (), fallback: str = "") -> str:
    """Text of an element, in NFC, without its padding.

    ``character_sets`` are the values of Specific Character Set (0008,0005).  ``fallback``, a defined term
    of that attribute, is used where none is declared or where the declared one does not fit the bytes;
    after it UTF-8 is tried.  Never raises: what fits nothing gets U+FFFD.
    """
    value = value.rstrip(b"\0 ")
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii")
    encodings = _encodings(tuple(character_sets))
    declared = bool(encodings)
    candidates = [encodings] if declared else []
    candidates += [_encodings((fallback,)) or (), ("utf-8",)]
    for candidate in filter(None, candidates):
        text = _attempt(value, candidate)
        if text is not None:
            return unicodedata.normalize("NFC", text)
    # Nothing declared is ISO_IR 6, in which senders of old wrote Latin-1.
    return unicodedata.normalize("NFC", value.decode(encodings[0] if declared else "latin-1", "replace"))


def _attempt(value: bytes, encodings: tuple[str, ...]) -> str | None:
    try:
        if _ESCAPE not in value:
            return value.decode(encodings[0])
        # Their own replacement of what does not fit is no use here, so each part is decoded strictly.
        parts = re.findall(rb"^[^\x1b]+|\x1b[^\x1b]*", value)
        return "".join(_fragment(part, encodings) for part in parts)
    except (UnicodeError, LookupError):
        return None


def _fragment(part: bytes, encodings: tuple[str, ...]) -> str:
    """One run of an ISO 2022 value, from its escape sequence on.  PS3.5: 6.1.2.5."""
    if not part.startswith(_ESCAPE):
        return part.decode(encodings[0])
    length = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
    encoding = "iso8859_15" if part[:3] == b"\x1b-b" else charset.CODES_TO_ENCODINGS.get(part[:length])
    if encoding is None:
        raise UnicodeError("unknown escape sequence")
    if encoding in _READ_WITH_ESCAPE:
        return part.decode(encoding)
    encoding = _READ_WITHOUT_ESCAPE.get(encoding, encoding)
    part = part[length:]
    end = next((index for index, byte in enumerate(part) if byte in _DELIMITERS), len(part))
    return part[:end].decode(encoding) + _after(part[end:], encodings[0], encoding)


def _after(part: bytes, initial: str, designated: str) -> str:
    """What follows a delimiter: in the first character set, or in the one before where the sender forgot that."""
    try:
        return part.decode(initial)
    except UnicodeError:
        return part.decode(designated)


@lru_cache(maxsize=256)
def _encodings(character_sets: tuple[str, ...]) -> tuple[str, ...]:
    """Python's names of the character sets; empty when nothing beyond ISO_IR 6 is declared."""
    found = [_encoding(term) for term in character_sets]
    if not any(found):
        return ()
    return tuple(name or "ascii" for name in found)


def _encoding(term: str) -> str:
    term = term.strip()
    if term in ("", "ISO_IR 6", "ISO 2022 IR 6"):
        return ""
    # Seen in the field: ISO-IR 100, ISO_IR_100, ISO2022 IR 87, UTF-8.
    for pattern, form in (
        (r"ISO[ _-]?IR[ _-]?([0-9]+)", "ISO_IR {}"),
        (r"ISO[ _-]?2022[ _-]?IR[ _-]?([0-9]+)", "ISO 2022 IR {}"),
    ):
        match = re.fullmatch(pattern, term, re.IGNORECASE)
        if match:
            term = form.format(match[1])
    if term in _LATIN_9:
        return "iso8859_15"
    if term in charset.python_encoding:
        return str(charset.python_encoding[term])
    return term.lower() if _NAMED_AS_ELSEWHERE.fullmatch(term) else ""


def zone(name: str) -> tzinfo:
    """A time zone: a name of the IANA data base, or an offset such as ``+0100``.

    Raises:
        ValueError: there is no such zone.
    """
    if name in ("", "UTC", "Z"):
        return UTC
    match = _OFFSET.fullmatch(name)
    if match:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        # PS3.3: C.12.1.1.8 allows -1200 to +1400.
        if int(match[3]) < 60 and offset <= timedelta(hours=14):
            return timezone(-offset if match[1] == "-" else offset)
    else:
        try:
            return ZoneInfo(name)
        except (OSError, ValueError, LookupError):
            pass
    raise ValueError("no time zone of that name")


def is_offset(text: str) -> bool:
    """Whether it is a Timezone Offset From UTC.  PS3.3: C.12.1.1.8."""
    match = _OFFSET.fullmatch(text)
    if match is None or int(match[3]) > 59 or text == "-0000":
        return False
    return -1200 <= int(text) <= 1400


def offset(moment: datetime) -> str:
    """The offset of an aware time from UTC as DICOM writes it, ``+0100``."""
    return moment.strftime("%z")[:5]


def utc(date: str, time: str, offset_from_utc: str, zone_name: str = "UTC") -> datetime | None:
    """A DA and a TM as an aware UTC time; ``None`` when the date is missing, partial or none.

    A missing or malformed time is the start of the day.  ``offset_from_utc`` is the value of (0008,0201);
    empty or malformed, times are in ``zone_name``.

    Raises:
        ValueError: there is no zone of that name.
    """
    # 1997.04.24 and 10:20:30 are ACR-NEMA 2.0's, which readers should take (PS3.5: Table 6.2-1, notes).
    day = re.fullmatch(r"([0-9]{4})[.-]?([0-9]{2})[.-]?([0-9]{2})", date.strip())
    clock = re.fullmatch(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?[0-9.]*", time.strip())
    local = zone(offset_from_utc if is_offset(offset_from_utc) else zone_name)
    if day is None:
        return None
    hour, minute, second, fraction = clock.groups(default="0") if clock else ("0", "0", "0", "0")
    try:
        moment = datetime(
            int(day[1]),
            int(day[2]),
            int(day[3]),
            int(hour),
            int(minute),
            min(int(second), 59) if int(second) == 60 else int(second),
            int(fraction.ljust(6, "0")),
            tzinfo=local,
        )
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return utc(date, "", offset_from_utc, zone_name) if time else None


def xpn(person_name: str) -> str:
    """A DICOM PN as HL7 v2 XPN: suffix before prefix, delimiters escaped, trailing ``^`` left out.

    PS3.5: 6.2.1.1 (family^given^middle^prefix^suffix); HL7 v2.5: 2.A.88 (family^given^middle^suffix^prefix).
    """
    parts = [escape(part.strip()) for part in alphabetic(person_name).split("^")[:5]]
    parts += [""] * (5 - len(parts))
    family, given, middle, prefix, suffix = parts
    return "^".join((family, given, middle, suffix, prefix)).rstrip("^")


class Name(NamedTuple):
    """The component groups of a person's name, each of components separated by ``^``; empty where there is none.

    PS3.5: 6.2.1.
    """

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""

    @classmethod
    def parse(cls, value: str) -> Name:
        """One value of a PN.  What follows a third ``=``, where no group is, stays with the third."""
        return cls(*(group.strip("\0 ") for group in value.split("=", 2)))

    @property
    def text(self) -> str:
        """As one value of a PN."""
        return "=".join(self).rstrip("=")


def alphabetic(person_name: str) -> str:
    """The alphabetic group of a PN; where it is empty, the first group that is not.  PS3.5: 6.2.1.1."""
    groups = [group.strip().rstrip("^ ") for group in person_name.split("=")]
    return next(filter(None, groups), "")
