"""A dataset as typed attributes: every one that the file holds, whatever is odd about its value.

DICOM PS3.5: 6.2 (value representations), 7.1 to 7.5 (elements and sequences).  pydicom cuts the file into elements;
values are read here, so that none is left out for breaking a rule of its VR.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

import numpy
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.hooks import raw_element_vr

from xds.imaging import part10, tags, text, vr
from xds.imaging.bounded import HEADER_BYTES, inflated
from xds.imaging.dicom import form
from xds.imaging.elements import DEPTH_LIMIT

MOST_BYTES = 16 * 1024 * 1024 * 1024
"""Of a file whose attributes are read."""

Value: TypeAlias = "str | int | float | text.Name | None"
"""One value; None where there is none between two separators.  DS and IS stay texts."""

# PS3.6: the three that hold an image's pixels, of which a dataset has one (PS3.3: C.7.6.3).
PIXELS = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}


class Unreadable(ValueError):
    """The file is no dataset; the message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One element: values, or the items of a sequence, or bytes in little endian."""

    tag: int
    vr: str
    values: tuple[Value, ...] = ()
    items: tuple[tuple[Attribute, ...], ...] = ()
    data: bytes = b""
    creator: str = ""  # of a private element

    @property
    def is_binary(self) -> bool:
        return self.vr in vr.BINARY


@dataclass(frozen=True, slots=True)
class Content:
    """The attributes of a file in order of tag, without its pixels; and the tag of those, 0 where there are none."""

    attributes: tuple[Attribute, ...]
    pixels: int


class _Context(NamedTuple):
    """What an item inherits."""

    order: str
    character_sets: tuple[str, ...]
    signed: bool
    fallback: str
    depth: int = 0


def read(path: Path, fallback_character_set: str = "") -> Content:
    """The attributes of a file; ``fallback_character_set`` as in ``text.decode``.

    Raises:
        Unreadable: it cannot be read as a dataset.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Unreadable("the file is too large")
        dataset, pixels = _opened(path)
        order = "<" if dataset.original_encoding[1] is not False else ">"
        return Content(tuple(_attributes(dataset, _Context(order, (), False, fallback_character_set))), pixels)
    except Unreadable:
        raise
    except Exception as problem:  # pydicom raises whatever its parts do
        raise Unreadable(f"the dataset cannot be read ({type(problem).__name__})") from None


def _opened(path: Path) -> tuple[Any, int]:
    """The dataset without its pixels, and their tag."""
    with path.open("rb") as whole:
        encoding, file = form(path), cast(BinaryIO, whole)
        if encoding.transfer_syntax_uid == part10.DEFLATED:
            # As much of it as a header may have; what is behind more pixels than that is not seen.
            file = io.BytesIO(inflated(whole, encoding.dataset_begin, HEADER_BYTES)[0])
            dataset: Any = read_dataset(file, False, True, stop_when=lambda tag, *_: tag in PIXELS)
        else:
            dataset = pydicom.dcmread(whole, stop_before_pixels=True, force=True)
        implicit, little = dataset.original_encoding
        pixels = _passed(file, implicit=bool(implicit), big=little is False)
        if pixels:
            # What follows the pixels, such as digital signatures.
            dataset.update(read_dataset(file, bool(implicit), little is not False))
    for tag in PIXELS:
        dataset.pop(tag, None)
    return dataset, pixels


def _passed(file: BinaryIO, *, implicit: bool, big: bool) -> int:
    """The tag of the pixels that begin here, which are passed over; 0 where none do."""
    order = ">" if big else "<"
    head = file.read(8 if implicit else 12)
    if len(head) < 8:
        return 0
    group, element = struct.unpack_from(order + "HH", head)
    tag = int(group << 16 | element)
    if tag not in PIXELS:
        return 0
    length = struct.unpack(order + "I", head[-4:])[0]
    if length != 0xFFFFFFFF:
        file.seek(length, 1)
        return tag
    while len(fragment := file.read(8)) == 8 and struct.unpack(order + "HH", fragment[:4]) == (0xFFFE, 0xE000):
        file.seek(struct.unpack(order + "I", fragment[4:])[0], 1)
    return tag


def _attributes(dataset: Any, context: _Context) -> Iterator[Attribute]:
    """In order of tag; group lengths, which are not of the data, are left out."""
    if tags.SPECIFIC_CHARACTER_SET in dataset:
        own = _bytes_of(dataset.get_item(tags.SPECIFIC_CHARACTER_SET))
        terms = tuple(term.strip("\0 ") for term in own.decode("ascii", "replace").split("\\"))
        context = context._replace(character_sets=terms)
    if tags.PIXEL_REPRESENTATION in dataset:
        own = _bytes_of(dataset.get_item(tags.PIXEL_REPRESENTATION))
        context = context._replace(signed=own.strip(b"\0 0") != b"")  # of two bytes, or a text once decoded
    for tag in sorted(dataset.keys()):
        if tag & 0xFFFF:
            yield _attribute(dataset, tag, context)


def _attribute(dataset: Any, tag: Any, context: _Context) -> Attribute:
    element = dataset.get_item(tag)
    kind, creator = _kind(element, dataset, context), _creator(dataset, tag)
    data = b"" if kind == "SQ" else _bytes_of(element)
    if kind == "SQ":
        items = _items(dataset, tag, context)
        if items is not None:
            return Attribute(int(tag), kind, items=items, creator=creator)
        kind, data = "UN", _bytes_of(element)
    if kind in vr.NUMBERS:
        numbers = _decoded(element) or _numbers(kind, data, context.order)
        if numbers is not None:
            return Attribute(int(tag), kind, numbers, creator=creator)
        kind = "UN"  # of no length that its VR has
    if kind in vr.BINARY:
        return Attribute(int(tag), kind, data=_little(kind, data, context.order), creator=creator)
    return Attribute(int(tag), kind, tuple(texts(kind, data, context.character_sets, context.fallback)),
                     creator=creator)  # fmt: skip


def _kind(element: Any, dataset: Any, context: _Context) -> str:
    """The VR of an element: its own, or the dictionary's where the file has none or UN."""
    found: dict[str, Any] = {}
    if isinstance(element, RawDataElement):
        raw_element_vr(element, found, ds=dataset)
    kind = str(found.get("VR", element.VR))
    if " or " in kind:
        # PS3.5: A.1.  Where a table may be US, SS or OW, implicit VR has OW.
        return "OW" if "OW" in kind else "SS" if context.signed else "US"
    known = kind in vr.NUMBERS or kind in vr.BINARY or kind in _TEXTS or kind == "SQ"
    return kind if known else "UN"  # a VR that is none, or of an edition to come (PS3.5: 6.2, note 2)


_TEXTS = frozenset((
    "AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT",
))  # fmt: skip


def _creator(dataset: Any, tag: Any) -> str:
    """The private creator of a private element.  PS3.5: 7.8.1."""
    if not tag.is_private or tag.is_private_creator:
        return ""
    block = (int(tag) & 0xFFFF0000) | ((int(tag) & 0xFF00) >> 8)
    if block not in dataset:
        return ""
    return _bytes_of(dataset.get_item(block)).decode("ascii", "replace").strip("\0 ")


def _bytes_of(element: Any) -> bytes:
    """What an element's value is in the file; of one that pydicom has decoded already, its text."""
    value = element.value
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    parts = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    return "\\".join(str(one) for one in parts).encode("utf-8", "replace")


def _items(dataset: Any, tag: Any, context: _Context) -> tuple[tuple[Attribute, ...], ...] | None:
    """The items of a sequence; None where it is no sequence after all."""
    if context.depth >= DEPTH_LIMIT:
        raise Unreadable(f"sequences nested deeper than {DEPTH_LIMIT}")
    try:
        items = dataset[tag].value or ()
    except Exception:  # anything may be raised by a sequence that does not parse
        return None
    if not all(isinstance(item, pydicom.Dataset) for item in items):
        return None
    inner = context._replace(depth=context.depth + 1)
    return tuple(tuple(_attributes(item, inner)) for item in items)


def _decoded(element: Any) -> tuple[Value, ...]:
    """The numbers of an element that pydicom has decoded for its own use, such as Pixel Representation."""
    value = element.value
    several = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    return tuple(several) if all(isinstance(one, (int, float)) for one in several) else ()


def _numbers(kind: str, data: bytes, order: str) -> tuple[Value, ...] | None:
    form = vr.NUMBERS[kind]
    size = struct.calcsize("=" + form)
    if len(data) % size:
        return None
    if kind == "AT":
        return tuple(f"{group:04X}{number:04X}" for group, number in struct.iter_unpack(order + form, data))
    return tuple(value for (value,) in struct.iter_unpack(order + form, data))


def _little(kind: str, data: bytes, order: str) -> bytes:
    """Words in little endian, as bulk data are.  PS3.18: 8.7.3.3.1."""
    size = vr.WORD_BYTES.get(kind, 1)
    if order == "<" or size == 1:
        return data
    whole = len(data) - len(data) % size
    return numpy.frombuffer(data[:whole], dtype=f">u{size}").byteswap().tobytes() + data[whole:]


def texts(kind: str, data: bytes, character_sets: tuple[str, ...], fallback: str = "") -> Iterator[Value]:
    """The values of a text of that VR, as every way out has them."""
    whole = text.decode(data, character_sets, fallback)
    if not whole:
        return
    if kind in vr.ONE_TEXT:
        yield whole
        return
    for one in whole.split("\\"):
        kept = one.strip("\0 ")
        yield (text.Name.parse(kept) if kind == "PN" else kept) if kept else None
