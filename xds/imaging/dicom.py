"""The header of a DICOM file on disk; the one place where pydicom reads files of strangers, when nothing else can.

DICOM PS3.10: 7 (file); PS3.5: 7.1 (dataset).  Pixel data are not read.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.uid import UID

from xds.imaging import part10, tags, text
from xds.imaging.bounded import BoundedHeader, NotDicom, demand_few_items, inflated_header
from xds.imaging.codes import MEDIA_STORAGE_DIRECTORY
from xds.imaging.elements import CutOff, Elements, Malformed, Reader, TooMuch, demand_whole

__all__ = ["Form", "Header", "NotDicom", "form", "read_header"]

ODD_BYTES, ODD_ITEMS = 4 * 1024 * 1024, 5_000
"""Of a header that only pydicom can read, and of items in it."""

CUT_OFF = "cut off: the last element ends after the file does"

_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is encoded.

    ``dataset_begin`` is the byte where its dataset begins; ``is_part10`` whether it has the preamble and a
    transfer syntax, without which it is guessed.  ``is_directory``: a DICOMDIR.  ``is_implicit``: its elements have
    no VR, as those of GE's private transfer syntax have not.
    """

    transfer_syntax_uid: str
    dataset_begin: int
    is_part10: bool
    is_directory: bool
    is_implicit: bool


class Header:
    """A pydicom dataset as ``elements.Reader``: values of bytes decoded here, oddities passed over."""

    __slots__ = ("_character_sets", "_dataset", "_fallback")

    def __init__(self, dataset: Any, character_sets: tuple[str, ...] = (), fallback: str = "") -> None:
        self._dataset, self._fallback = dataset, fallback
        self._character_sets: tuple[str, ...] = ()
        own = self.values(tags.SPECIFIC_CHARACTER_SET)
        self._character_sets = own if self.has(tags.SPECIFIC_CHARACTER_SET) else character_sets

    def has(self, tag: int) -> bool:
        return tag in self._dataset

    def whole(self, tag: int) -> str:
        if tag not in self._dataset:
            return ""
        element = self._dataset.get_item(tag)
        value = element.value
        if isinstance(element, RawDataElement) and isinstance(value, bytes):
            return text.decode(value, self._character_sets, self._fallback)
        if isinstance(value, str):
            return value.rstrip("\0 ")
        return "\\".join(map(str, value)) if isinstance(value, Sequence) else ""

    def values(self, tag: int) -> tuple[str, ...]:
        value = self.whole(tag)
        return tuple(part.strip("\0 ") for part in value.split("\\")) if value else ()

    def items(self, tag: int) -> Iterator[Header]:
        if tag not in self._dataset:
            return
        try:
            items = list(self._dataset[tag].value or ())
        except Exception:  # a sequence that does not parse is as good as none: anything may be raised
            return
        for item in items:
            if isinstance(item, pydicom.Dataset):
                yield Header(item, self._character_sets, self._fallback)


def form(path: Path) -> Form:
    """How a file is encoded, from its first bytes.

    Files without the preamble, which old archives hold, are taken when they begin with group 0002 or 0008.

    Raises:
        NotDicom: it is not DICOM.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    begin = part10.dataset_begin(head)
    try:
        if begin is None:
            raise NotDicom("not a DICOM file")
        meta_begin = 132 if head[128:132] == b"DICM" else 0
        meta = Elements(head, meta_begin, begin)
    except Malformed:
        raise NotDicom("damaged file meta information (PS3.10: 7.1)") from None
    start = head[begin : begin + 6]
    syntax = meta.uid(tags.TRANSFER_SYNTAX_UID)
    guessed = syntax or _guess(start)
    return Form(
        transfer_syntax_uid=guessed,
        dataset_begin=begin,
        is_part10=bool(syntax) and meta_begin > 0,
        is_directory=meta.uid(tags.MEDIA_STORAGE_SOP_CLASS_UID) == MEDIA_STORAGE_DIRECTORY,
        is_implicit=guessed == part10.IMPLICIT_LITTLE or (UID(guessed).is_private and not start[4:6].isupper()),
    )


def _guess(start: bytes) -> str:
    """The plain transfer syntax of a dataset from its first element."""
    if not start[4:6].isupper():
        return part10.IMPLICIT_LITTLE
    return part10.EXPLICIT_BIG if start[:2] == b"\0\x08" else part10.EXPLICIT_LITTLE


def read_header(path: Path, wanted: Sequence[int], encoding: Form, fallback_character_set: str = "") -> Reader:
    """The elements of a file with these tags, and perhaps others.

    What a header costs is bounded by its bytes, whatever they say: it is walked, and not parsed.  Where it cannot be,
    pydicom, which passes over more that is odd, is given no more than ``ODD_BYTES`` of it.

    Raises:
        NotDicom: its header is damaged or too long, or its pixel data are cut off.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if encoding.transfer_syntax_uid == part10.DEFLATED:
            return inflated_header(file, encoding.dataset_begin, fallback_character_set)
        if encoding.transfer_syntax_uid == part10.EXPLICIT_BIG:
            return _odd_header(file, wanted, encoding, fallback_character_set)
        data = cast(bytes, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        explicit = not encoding.is_implicit
        try:
            header = BoundedHeader(
                data, encoding.dataset_begin, explicit=explicit, fallback=fallback_character_set, header=True
            )
            demand_few_items(data, encoding.dataset_begin, header.pixels)
        except CutOff:
            raise NotDicom(CUT_OFF) from None
        except TooMuch as problem:
            raise NotDicom(str(problem)) from None
        except Malformed:
            return _odd_header(file, wanted, encoding, fallback_character_set)
        if header.pixels is not None:
            file.seek(header.pixels)
            _demand_whole(file, encoding)
        return header


def _odd_header(file: BinaryIO, wanted: Sequence[int], encoding: Form, fallback_character_set: str) -> Header:
    file.seek(0)
    head = io.BytesIO(file.read(ODD_BYTES))
    try:
        demand_few_items(head.getvalue(), encoding.dataset_begin, None, most=ODD_ITEMS)
        dataset = pydicom.dcmread(head, stop_before_pixels=True, force=True, specific_tags=list(wanted))
    except TooMuch as problem:
        raise NotDicom(str(problem)) from None
    except Exception as problem:  # pydicom raises whatever its parts do
        raise NotDicom(f"the header is damaged ({type(problem).__name__})") from None
    if head.tell() >= ODD_BYTES:
        raise NotDicom(f"a header that is odd, and of over {ODD_BYTES} bytes")
    file.seek(head.tell())
    _demand_whole(file, encoding)
    return Header(dataset, fallback=fallback_character_set)


def _demand_whole(file: BinaryIO, encoding: Form) -> None:
    """That the pixel data which begin here end within the file.  PS3.5: 7.1.2, A.4."""
    begin = file.tell()
    file.seek(0, 2)
    size = file.tell()
    file.seek(begin)
    head = file.read(12)
    if len(head) < 12:
        _demand_whole_header(file, encoding)
        return
    order: Any = "big" if encoding.transfer_syntax_uid == part10.EXPLICIT_BIG else "little"
    long = not encoding.is_implicit
    length = int.from_bytes(head[8:12] if long else head[4:8], order)
    if length != 0xFFFFFFFF:
        if begin + (12 if long else 8) + length > size:
            raise NotDicom("cut off: the pixel data end after the file does")
        return
    while len(fragment := file.read(8)) == 8 and fragment[:4] == b"\xfe\xff\x00\xe0":
        position = file.seek(int.from_bytes(fragment[4:], "little"), 1)
        if position > size:
            raise NotDicom("cut off: the pixel data end after the file does")


def _demand_whole_header(file: BinaryIO, encoding: Form) -> None:
    """That a dataset without pixel data ends with the file; pydicom is content with half of one."""
    if encoding.transfer_syntax_uid == part10.EXPLICIT_BIG:
        return  # retired, and not worth a walker
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            demand_whole(cast(bytes, data), encoding.dataset_begin, explicit=not encoding.is_implicit)
        except CutOff:
            raise NotDicom(CUT_OFF) from None
        except Malformed:
            return  # odd, but whole as far as pydicom could tell
