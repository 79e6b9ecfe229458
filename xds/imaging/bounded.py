"""Headers of strangers' files within bounds: of items, of values, and of what a deflated one inflates to.

DICOM PS3.5: 7.5 (sequences), A.5 (deflated).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from xds.imaging.elements import CutOff, Elements, Malformed, TooMuch

INFLATED_LIMIT = 512 * 1024 * 1024
"""Bytes that a deflated dataset may inflate to."""

HEADER_BYTES = 64 * 1024 * 1024
"""Bytes of them that may precede the pixels."""

ITEMS = 100_000
"""Items of all sequences of a header: some twenty for each of 5,000 frames.  What parses them needs as many objects."""

SEQUENCE_ITEMS = 1_000
"""Items of one sequence that is read here: of orders, or of codes."""

VALUE_BYTES = 64 * 1024
"""Of a value that is read here: most have 64 characters, and texts at most 10,240 (PS3.5: Table 6.2-1)."""

_FIRST_BYTES = 1024 * 1024  # of a deflated dataset: few headers are longer
_PIECE = 64 * 1024
_COUNTED = 1024 * 1024
_ITEM_LITTLE, _ITEM_BIG = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"


class NotDicom(ValueError):
    """The file is not DICOM or its header is damaged; the message is for the operator and names no value."""


class BoundedHeader(Elements):
    """A header as ``elements.Reader``: a sequence that does not parse is as good as none.

    Raises:
        TooMuch: on reading a value or a sequence, it is too long.
    """

    __slots__ = ()

    def whole(self, tag: int) -> str:
        begin, stop = self.span(tag)
        if stop - begin > VALUE_BYTES:
            raise TooMuch(f"a value of over {VALUE_BYTES} bytes")
        return super().whole(tag)

    def values(self, tag: int) -> tuple[str, ...]:
        value = self.whole(tag)
        return tuple(part.strip("\0 ") for part in value.split("\\")) if value else ()

    def items(self, tag: int) -> Iterator[Elements]:
        try:
            if len(list(islice(self.item_spans(tag), SEQUENCE_ITEMS + 1))) > SEQUENCE_ITEMS:
                raise TooMuch(f"more than {SEQUENCE_ITEMS} items in a sequence")
            found = list(super().items(tag))
        except TooMuch:
            raise
        except Malformed:
            return
        yield from found


def demand_few_items(data: bytes, begin: int, end: int | None, *, most: int = ITEMS) -> None:
    """That there are not too many items between two bytes; what looks like one is counted as one.

    Raises:
        TooMuch: there are.
    """
    stop, found = len(data) if end is None else end, 0
    for at in range(begin, stop, _COUNTED):
        piece = data[at : min(at + _COUNTED + 3, stop)]
        found += max(piece.count(_ITEM_LITTLE), piece.count(_ITEM_BIG))
        if found > most:
            raise TooMuch(f"more than {most} items")


def inflated_header(file: BinaryIO, begin: int, fallback: str = "") -> BoundedHeader:
    """The header of a deflated dataset that begins there.

    Raises:
        NotDicom: it does not inflate, is cut off, or is too long.
    """
    for most in (_FIRST_BYTES, HEADER_BYTES):
        data, size = inflated(file, begin, most)
        try:
            header = BoundedHeader(data, fallback=fallback, header=True)
            demand_few_items(data, 0, header.pixels)
        except CutOff:
            if size == len(data):
                raise NotDicom("cut off: the last element ends after the deflated dataset does") from None
            continue
        except Malformed as problem:
            raise NotDicom(f"the header is damaged: {problem}") from None
        return header
    raise NotDicom(f"a header of over {HEADER_BYTES} bytes")


def inflated(file: BinaryIO, begin: int, most: int) -> tuple[bytes, int]:
    """The first bytes of what a dataset inflates to, and how many there are of all.

    Raises:
        NotDicom: it does not inflate, is cut off, or inflates to too much.
    """
    file.seek(begin)
    inflater, kept, size = zlib.decompressobj(-zlib.MAX_WBITS), bytearray(), 0
    try:
        while data := inflater.unconsumed_tail or file.read(_PIECE):
            plain = inflater.decompress(data, 1024 * 1024)
            kept += plain[: most - len(kept)]
            size += len(plain)
            if size > INFLATED_LIMIT:
                raise NotDicom(f"inflates to more than {INFLATED_LIMIT} bytes")
            if inflater.eof:
                return bytes(kept), size
    except zlib.error:
        raise NotDicom("the deflated dataset does not inflate (PS3.5: A.5)") from None
    raise NotDicom("the deflated dataset is cut off (PS3.5: A.5)")
