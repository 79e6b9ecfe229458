"""What a client accepts: media types with their parameters, the wanted first.  RFC 9110: 12.5.1; PS3.18: 8.7."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ANY_SYNTAX = "*"
MULTIPART, DICOM, JSON, OCTETS = (
    "multipart/related",
    "application/dicom",
    "application/dicom+json",
    "application/octet-stream",
)
XML = "application/dicom+xml"
_RANGES = 64
"""Media ranges of one header that are looked at."""

_PART = re.compile(r'\s*([^;=\s]+)\s*=\s*(?:"([^"]*)"|([^;\s]*))\s*')


@dataclass(frozen=True, slots=True)
class Wanted:
    """One media range: ``kind`` is of the parts where it is multipart, and ``syntax`` a transfer syntax or empty."""

    media_type: str
    kind: str = ""
    syntax: str = ""

    @property
    def is_multipart(self) -> bool:
        return self.media_type == MULTIPART

    @property
    def of(self) -> str:
        """The type of what is wanted, in parts or not."""
        return self.kind if self.is_multipart else self.media_type


def wanted(header: str) -> list[Wanted]:
    """The media ranges of an Accept header, by quality and then in their order; an empty header is anything."""
    found = list(_ranges(header)) or [(1.0, Wanted("*/*"))]
    found.sort(key=lambda one: -one[0])
    return [one for quality, one in found if quality > 0]


def _ranges(header: str) -> Iterator[tuple[float, Wanted]]:
    for text in _split(header, ",")[:_RANGES]:
        media_type, *parts = _split(text, ";")
        given = {m[1].lower(): m[2] if m[2] is not None else m[3] for p in parts if (m := _PART.fullmatch(p))}
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            quality = 1.0
        if media_type.strip():
            yield (
                quality,
                Wanted(media_type.strip().lower(), given.get("type", "").lower(), given.get("transfer-syntax", "")),
            )


def _split(text: str, by: str) -> list[str]:
    """Split where it is not within quotes."""
    parts, quoted, begin = [], False, 0
    for at, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == by and not quoted:
            parts.append(text[begin:at])
            begin = at + 1
    return [*parts, text[begin:]]
