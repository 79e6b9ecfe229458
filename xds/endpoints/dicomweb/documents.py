"""Encapsulated documents: a PDF is its own picture.  PS3.18: 8.7.4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xds.archives.interface import Held
from xds.endpoints.dicomweb import datasets
from xds.imaging.attributes import Content, Value

PDF = "application/pdf"
_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_DOCUMENT, _MIME_TYPE, _LENGTH = 0x00420011, 0x00420012, 0x00420015
DOCUMENT = f"{_DOCUMENT:08X}"


@dataclass(frozen=True, slots=True)
class Document:
    media_type: str
    data: bytes


def is_pdf(held: Held) -> bool:
    return held.sop_class_uid == _ENCAPSULATED_PDF


def shown(members: Sequence[Held]) -> tuple[Held, bool]:
    """Which of these is shown for all, and whether it is a PDF: the middle one, for the first of a series is often no
    good picture of it; images before documents."""
    images = [one for one in members if not is_pdf(one)]
    several = images or list(members)
    return several[len(several) // 2], not images


def read(path: Path) -> Document | None:
    """The document of an instance; None when it has none.

    Raises:
        Gone: the file cannot be read as a dataset any more.
    """
    return of(datasets.content(path))


def of(found: Content) -> Document | None:
    """The document of what was read."""
    data = next((one.data for one in found.attributes if one.tag == _DOCUMENT), b"")
    if not data:
        return None
    media_type = str(_first(found, _MIME_TYPE) or "").lower()
    length = _first(found, _LENGTH)
    # The length says what of the value is the document; without it a NUL that makes the value even is none of it.
    whole = data[:length] if isinstance(length, int) and 0 < length <= len(data) else data.removesuffix(b"\0")
    return Document(media_type, whole)


def _first(found: Content, tag: int) -> Value:
    return next((one.values[0] for one in found.attributes if one.tag == tag and one.values), None)
