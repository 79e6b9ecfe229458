"""The elements of a DICOM dataset, decoded as they are asked for; a walker over bytes of strangers.

DICOM PS3.5: 7.1 (elements), 7.5 (sequences), Annex A (transfer syntaxes).  Nothing is copied or decoded
that is not asked for, depth and number are bounded, and whatever is wrong is one exception.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

from xds.imaging import text
from xds.imaging.vr import LONG_BYTES

DEPTH_LIMIT = 16
"""Sequences inside one another.  A manifest, MADO's included, needs six."""

ELEMENT_LIMIT = 10_000
"""Elements of one dataset or item, those inside its sequences not counted."""

STEP_LIMIT, HEADER_STEPS = 4_000_000, 1_000_000
"""Elements and items that are passed to find the ends of those which do not say how long they are; and in a header."""

PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
"""The elements that hold an image's pixels, of which a dataset has one.  PS3.3: C.7.6.3."""

SPECIFIC_CHARACTER_SET = 0x00080005
_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_tag_and_short = struct.Struct("<HH2sH").unpack_from
_tag_and_long = struct.Struct("<HHI").unpack_from
_long = struct.Struct("<I").unpack_from


class Malformed(ValueError):
    """The bytes are no dataset; the message says where and why and holds nothing of them."""


class TooMuch(Malformed):
    """There is more of something than is read."""


class CutOff(Malformed):
    """The bytes end before the dataset does."""


class Reader(Protocol):
    """One dataset or item."""

    def has(self, tag: int) -> bool:
        """Whether the element is there, perhaps empty."""
        ...

    def values(self, tag: int) -> tuple[str, ...]:
        """Its values as text, NFC, unpadded; none when it is absent or empty."""
        ...

    def whole(self, tag: int) -> str:
        """Its value where ``\\`` does not separate: ST, LT, UT, UR."""
        ...

    def items(self, tag: int) -> Iterator[Reader]:
        """The items of a sequence; none when it is absent, empty or no sequence."""
        ...


def first(reader: Reader, tag: int) -> str:
    """Its first value, or an empty string."""
    values = reader.values(tag)
    return values[0] if values else ""


def integer(reader: Reader, tag: int) -> int | None:
    """The first value of an IS; ``None`` when there is none or it is no number."""
    value = first(reader, tag)
    digits = value.removeprefix("+").removeprefix("-")
    return int(value) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else None


class Elements:
    """A dataset in little endian bytes, explicit or implicit.

    Raises:
        Malformed: on making it, the bytes from ``start`` to ``end`` are no dataset; on ``items``, an item
            is none.
    """

    __slots__ = ("_character_sets", "_data", "_depth", "_explicit", "_fallback", "_spans", "pixels")

    def __init__(
        self,
        data: bytes,
        start: int = 0,
        end: int | None = None,
        *,
        explicit: bool = True,
        character_sets: tuple[str, ...] = (),
        fallback: str = "",
        depth: int = 0,
        header: bool = False,
    ) -> None:
        """``header``: what precedes the pixels, which begin at ``pixels``; None where there are none."""
        if depth > DEPTH_LIMIT:
            raise TooMuch(f"sequences nested deeper than {DEPTH_LIMIT}")
        self.pixels: int | None = None
        self._data, self._explicit, self._fallback, self._depth = data, explicit, fallback, depth
        self._spans: dict[int, tuple[int, int, bool]] = {}
        self._character_sets = character_sets
        stop = len(data) if end is None else end
        steps = _Steps(HEADER_STEPS if header else STEP_LIMIT)
        walked = _walk(data, start, stop, explicit, depth, steps, header)
        for count, (tag, begin, after, inner) in enumerate(walked, 1):
            if after < 0:
                self.pixels = begin
                break
            self._spans[tag] = (begin, after, inner)
            if count > ELEMENT_LIMIT:
                raise TooMuch(f"more than {ELEMENT_LIMIT} elements side by side")
        if SPECIFIC_CHARACTER_SET in self._spans:
            self._character_sets = self.values(SPECIFIC_CHARACTER_SET) or ()

    def has(self, tag: int) -> bool:
        return tag in self._spans

    def raw(self, tag: int) -> bytes:
        """Its value's bytes; none when it is absent or empty."""
        begin, stop, _ = self._spans.get(tag, (0, 0, False))
        return self._data[begin:stop]

    def span(self, tag: int) -> tuple[int, int]:
        """Where its value begins and ends; equal when it is absent or empty."""
        begin, stop, _ = self._spans.get(tag, (0, 0, False))
        return begin, stop

    def whole(self, tag: int) -> str:
        return text.decode(self.raw(tag), self._character_sets, self._fallback)

    def values(self, tag: int) -> tuple[str, ...]:
        value = self.whole(tag)
        return tuple(part.strip() for part in value.split("\\")) if value else ()

    def uid(self, tag: int) -> str:
        """The value of a UI or CS, of which there is one."""
        begin, stop, _ = self._spans.get(tag, (0, 0, False))
        return self._data[begin:stop].decode("ascii", "replace").strip("\0 ")

    def items(self, tag: int) -> Iterator[Elements]:
        for begin, stop in self.item_spans(tag):
            yield type(self)(
                self._data,
                begin,
                stop,
                explicit=self._spans[tag][2],
                character_sets=self._character_sets,
                fallback=self._fallback,
                depth=self._depth + 1,
            )

    def item_spans(self, tag: int) -> Iterator[tuple[int, int]]:
        """Where each item of a sequence begins and ends."""
        begin, stop, explicit = self._spans.get(tag, (0, 0, True))
        return _items(self._data, begin, stop, explicit, self._depth, _Steps())


def demand_whole(data: bytes, begin: int, *, explicit: bool) -> None:
    """See that a dataset ends where the bytes do.

    Raises:
        CutOff: it does not.
        Malformed: the bytes are no dataset.
    """
    for _ in _walk(data, begin, len(data), explicit, 0, _Steps()):
        pass


class _Steps:
    """How many are left."""

    __slots__ = ("left",)

    def __init__(self, limit: int = STEP_LIMIT) -> None:
        self.left = limit

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooMuch("too many elements and items")


def _walk(
    data: bytes, position: int, end: int, explicit: bool, depth: int, steps: _Steps, header: bool = False
) -> Iterator[tuple[int, int, int, bool]]:
    """Tag, begin, end of each element's value, and whether what is in it is explicit VR.

    ``header``: up to the pixels; then where their element begins, and no end.
    """
    while position < end:
        steps.take()
        if position + 8 > end:
            raise CutOff(f"cut off at byte {position}")
        if explicit:
            group, element, vr, length = _tag_and_short(data, position)
            begin = position + 8
            if group == 0xFFFE:
                raise Malformed(f"an item outside a sequence at byte {position}")
            if vr in LONG_BYTES:
                if position + 12 > end:
                    raise CutOff(f"cut off at byte {position}")
                (length,) = _long(data, begin)
                begin += 4
            elif not vr.isupper():
                raise Malformed(f"no value representation at byte {position}")
        else:
            group, element, length = _tag_and_long(data, position)
            begin, vr = position + 8, b"SQ"
            if group == 0xFFFE:
                raise Malformed(f"an item outside a sequence at byte {position}")
        if header and group << 16 | element in PIXELS:
            yield group << 16 | element, position, -1, False
            return
        if length == _UNDEFINED:
            if vr not in (b"SQ", b"UN", b"OB", b"OW"):
                raise Malformed(f"undefined length of no sequence at byte {position}")
            # What is in a UN of undefined length is in implicit VR (PS3.5: 6.2.2, note 2).
            stop = _sequence_end(data, begin, end, explicit and vr != b"UN", depth, steps)
            yield group << 16 | element, begin, stop - 8, explicit and vr != b"UN"
            position = stop
        else:
            position = begin + length
            if position > end:
                raise CutOff(f"a value runs past the end at byte {begin}")
            yield group << 16 | element, begin, position, explicit and vr != b"UN"


def _sequence_end(data: bytes, position: int, end: int, explicit: bool, depth: int, steps: _Steps) -> int:
    """The byte after the delimiter of a sequence of undefined length."""
    if depth >= DEPTH_LIMIT:
        raise TooMuch(f"sequences nested deeper than {DEPTH_LIMIT}")
    while position + 8 <= end:
        steps.take()
        group, element, length = _tag_and_long(data, position)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return position + 8
        if tag != _ITEM:
            raise Malformed(f"no item at byte {position}")
        position += 8
        if length == _UNDEFINED:
            position = _item_end(data, position, end, explicit, depth, steps)
        else:
            position += length
    raise CutOff("a sequence without its end")


def _item_end(data: bytes, position: int, end: int, explicit: bool, depth: int, steps: _Steps) -> int:
    """The byte after the delimiter of an item of undefined length."""
    while position + 8 <= end:
        steps.take()
        group, element, length = _tag_and_long(data, position)
        if group == 0xFFFE:
            if element != _ITEM_END & 0xFFFF:
                raise Malformed(f"an item within an item at byte {position}")
            return position + 8
        start = position
        position += 8
        vr = b"SQ"
        if explicit:
            _, _, vr, length = _tag_and_short(data, start)
            if vr in LONG_BYTES:
                if position + 4 > end:
                    break
                (length,) = _long(data, position)
                position += 4
            elif not vr.isupper():
                raise Malformed(f"no value representation at byte {start}")
        if length == _UNDEFINED and vr in (b"SQ", b"UN", b"OB", b"OW"):
            position = _sequence_end(data, position, end, explicit and vr != b"UN", depth + 1, steps)
        else:
            position += length
    raise CutOff("an item without its end")


def _items(
    data: bytes, position: int, end: int, explicit: bool, depth: int, steps: _Steps
) -> Iterator[tuple[int, int]]:
    while position < end:
        if position + 8 > end:
            raise CutOff(f"cut off at byte {position}")
        group, element, length = _tag_and_long(data, position)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise Malformed(f"no item at byte {position}")
        position += 8
        if length == _UNDEFINED:
            stop = _item_end(data, position, end, explicit, depth + 1, steps)
            yield position, stop - 8
        else:
            stop = position + length
            if stop > end:
                raise CutOff(f"an item runs past the end at byte {position}")
            yield position, stop
        position = stop
