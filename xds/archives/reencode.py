"""A dataset from one uncompressed encoding to another, element by element, values untouched.

DICOM PS3.5: 7.1 (explicit and implicit VR), 7.3 (byte order), 7.5 (sequences), 6.2.2 (UN), Annex A.1
(VR of what implicit VR leaves open).  Nothing is decoded, so odd texts and private elements come out as
they went in.  Group lengths, which would be wrong, are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy
from pydicom.datadict import dictionary_VR, private_dictionary_VR

from xds.imaging.elements import DEPTH_LIMIT, Malformed
from xds.imaging.tags import PIXEL_DATA
from xds.imaging.vr import LONG

Buffer = memoryview
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_WORD_BYTES = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_BITS_ALLOCATED, _PIXEL_REPRESENTATION = 0x00280100, 0x00280103
_SWAP_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Encoding:
    """One of the uncompressed transfer syntaxes."""

    explicit: bool = True
    big: bool = False

    @property
    def order(self) -> str:
        return ">" if self.big else "<"


EXPLICIT = Encoding()
IMPLICIT = Encoding(explicit=False)
BIG = Encoding(big=True)


@dataclass(frozen=True, slots=True)
class Element:
    """Where one element of a buffer is; ``vr`` is empty in implicit VR."""

    tag: int
    vr: str
    start: int  # its first byte
    begin: int  # the first byte of its value
    end: int  # the byte after its value, a delimiter not counted
    stop: int  # the byte after the element
    undefined: bool


@dataclass(slots=True)
class _Context:
    """What the values of a dataset say about the encoding of others."""

    signed: bool = False
    bits_allocated: int = 16


def walk(data: Buffer, begin: int, end: int, encoding: Encoding, depth: int = 0) -> Iterator[Element]:
    """The elements side by side from ``begin`` to ``end``.

    Raises:
        Malformed: these bytes are no dataset.
    """
    position = begin
    while position < end:
        element = _element(data, position, end, encoding, depth)
        if element.tag >> 16 == 0xFFFE:
            raise Malformed(f"an item outside a sequence at byte {position}")
        yield element
        position = element.stop


def _element(data: Buffer, position: int, end: int, encoding: Encoding, depth: int) -> Element:
    if position + 8 > end:
        raise Malformed(f"cut off at byte {position}")
    group, number, length = struct.unpack_from(encoding.order + "HHI", data, position)
    tag, vr, begin = group << 16 | number, "", position + 8
    if encoding.explicit and group != 0xFFFE:
        vr = bytes(data[position + 4 : position + 6]).decode("latin-1")
        if vr in LONG:
            if position + 12 > end:
                raise Malformed(f"cut off at byte {position}")
            (length,) = struct.unpack_from(encoding.order + "I", data, begin)
            begin += 4
        elif vr.isascii() and vr.isupper():
            (length,) = struct.unpack_from(encoding.order + "H", data, position + 6)
        else:
            raise Malformed(f"no value representation at byte {position}")
    if length != _UNDEFINED:
        if begin + length > end:
            raise Malformed(f"a value runs past the end at byte {begin}")
        return Element(tag, vr, position, begin, begin + length, begin + length, undefined=False)
    # What is in a UN of undefined length is in implicit VR little endian (PS3.5: 6.2.2, note 2).
    inner = IMPLICIT if vr == "UN" else encoding
    delimiter = _ITEM_END if tag == _ITEM else _SEQUENCE_END
    stop = _end(data, begin, end, inner, delimiter, depth + 1)
    return Element(tag, vr, position, begin, stop - 8, stop, undefined=True)


def _end(data: Buffer, position: int, end: int, encoding: Encoding, delimiter: int, depth: int) -> int:
    """The byte after the delimiter of a sequence or item of undefined length."""
    if depth > 2 * DEPTH_LIMIT:
        raise Malformed("sequences nested too deeply")
    while position < end:
        element = _element(data, position, end, encoding, depth)
        if element.tag == delimiter:
            return element.stop
        if (element.tag >> 16 == 0xFFFE) != (delimiter == _SEQUENCE_END):
            raise Malformed(f"an item in the wrong place at byte {position}")
        position = element.stop
    raise Malformed("a sequence without its end")


def convert(
    data: Buffer, begin: int, end: int, source: Encoding, target: Encoding, out: BinaryIO, *, signed: bool = False
) -> None:
    """Write the dataset from ``begin`` to ``end`` to ``out`` in another encoding, little endian.

    Sequences get undefined lengths.  ``signed`` is Pixel Representation where the dataset has none.

    Raises:
        Malformed: these bytes are no dataset.
    """
    _convert(data, begin, end, source, target, out, _Context(signed), depth=0)


def _convert(
    data: Buffer,
    begin: int,
    end: int,
    source: Encoding,
    target: Encoding,
    out: BinaryIO,
    outer: _Context,
    depth: int,
) -> None:
    if depth > DEPTH_LIMIT:
        raise Malformed(f"sequences nested deeper than {DEPTH_LIMIT}")
    context = _Context(outer.signed, outer.bits_allocated)
    creators: dict[int, str] = {}
    for element in walk(data, begin, end, source, depth):
        value = data[element.begin : element.end]
        if element.tag & 0xFFFF == 0:
            continue
        if element.tag in (_BITS_ALLOCATED, _PIXEL_REPRESENTATION) and len(value) >= 2:
            (number,) = struct.unpack_from(source.order + "H", value)
            if element.tag == _BITS_ALLOCATED:
                context.bits_allocated = number
            else:
                context.signed = number == 1
        vr = element.vr or _vr(element, context, creators)
        if element.tag >> 16 & 1 and 0x10 <= element.tag & 0xFFFF <= 0xFF:
            creators[element.tag >> 16 << 16 | (element.tag & 0xFF) << 8] = bytes(value).decode("latin-1").strip("\0 ")
        if vr == "SQ":
            out.write(_head(element.tag, vr, _UNDEFINED, target))
            for item in _items(data, element, source, depth):
                out.write(struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED))
                _convert(data, item.begin, item.end, source, target, out, context, depth + 1)
                out.write(struct.pack("<HHI", 0xFFFE, 0xE00D, 0))
            out.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
        elif element.undefined:
            # A UN, whose content is implicit VR always, or fragments: as it is.
            out.write(_head(element.tag, vr, _UNDEFINED, target))
            out.write(data[element.begin : element.stop])
        else:
            _write(out, element.tag, vr, value, source, target, context)


def _items(data: Buffer, sequence: Element, encoding: Encoding, depth: int) -> Iterator[Element]:
    position = sequence.begin
    while position < sequence.end:
        item = _element(data, position, sequence.end, encoding, depth)
        if item.tag == _SEQUENCE_END:
            return
        if item.tag != _ITEM:
            raise Malformed(f"no item at byte {position}")
        yield item
        position = item.stop


def _write(
    out: BinaryIO, tag: int, vr: str, value: Buffer, source: Encoding, target: Encoding, context: _Context
) -> None:
    if target.explicit and vr not in LONG and len(value) > 0xFFFF:
        vr = "UN"  # too long for its VR, as implicit VR allows (PS3.5: 6.2.2)
    out.write(_head(tag, vr, len(value), target))
    word = _WORD_BYTES.get(vr, 1) if source.big else 1
    if tag == PIXEL_DATA and vr == "OW" and word == 2 and context.bits_allocated in (32, 64):
        # OW is of 16 bit words (PS3.5: 8.1.1), but those who wrote such pixels in big endian reversed the
        # whole pixel, and readers expect that.
        word = context.bits_allocated // 8
    if word == 1:
        out.write(value)
        return
    for begin in range(0, len(value), _SWAP_BYTES):
        part = value[begin : begin + _SWAP_BYTES]
        whole = len(part) - len(part) % word
        out.write(numpy.frombuffer(part[:whole], dtype=f">u{word}").astype(f"<u{word}").tobytes())
        out.write(part[whole:])


def _head(tag: int, vr: str, length: int, target: Encoding) -> bytes:
    if not target.explicit:
        return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)
    if vr in LONG:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), length)


def _vr(element: Element, context: _Context, creators: dict[int, str]) -> str:
    """The VR of an element in implicit VR, from the dictionary; UN where that has none."""
    tag = element.tag
    try:
        if tag >> 16 & 1:
            if 0x10 <= tag & 0xFFFF <= 0xFF:
                return "LO"
            vr = private_dictionary_VR(tag, creators[tag & 0xFFFFFF00])
        else:
            vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    if element.undefined and vr != "SQ":
        return "UN"
    if " or " not in vr:
        return vr
    # PS3.5: A.1: in implicit VR pixels, overlays, curves, waveforms and tables are OW; the rest follows
    # Pixel Representation.
    if "OW" in vr:
        return "OW"
    return "SS" if context.signed else "US"
