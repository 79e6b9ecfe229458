"""Frames of uncompressed pixel data, cut by what the attributes say.  PS3.5: 8.1.1, 8.2; PS3.3: C.7.6.3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pydicom

from xds.imaging.attributes import PIXELS
from xds.imaging.dicom import Header
from xds.imaging.elements import integer
from xds.imaging.tags import NUMBER_OF_FRAMES


class NotRendered(Exception):
    """There are no such pixels; the message says why."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the attributes say of the pixels."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    frames: int
    interpretation: str

    @classmethod
    def of(cls, dataset: Any) -> Shape:
        """Raises:
        NotRendered: there is no image in it.
        """
        header = Header(dataset)
        rows, columns = _number(dataset, "Rows"), _number(dataset, "Columns")
        if rows <= 0 or columns <= 0:
            raise NotRendered("it has no image")
        return cls(
            rows,
            columns,
            max(_number(dataset, "SamplesPerPixel"), 1),
            _number(dataset, "BitsAllocated") or 16,
            max(integer(header, NUMBER_OF_FRAMES) or 1, 1),
            "".join(header.values(0x00280004)[:1]),
        )

    @property
    def frame_bits(self) -> int:
        """The bits of one frame; frames follow one another without padding, so that one may begin within a byte."""
        samples = self.samples
        if self.interpretation == "YBR_FULL_422" and samples == 3:
            samples = 2  # of two pixels four samples (PS3.3: C.7.6.3.1.2)
        return self.rows * self.columns * samples * self.bits_allocated


def _number(dataset: Any, keyword: str) -> int:
    value = dataset.get(keyword)
    return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the bits of a frame are in a file, which is read when the frame is sent."""

    path: Path
    offset: int  # of the pixel data, in bytes
    begin: int  # of the frame, in bits from there
    end: int

    @property
    def size_bytes(self) -> int:
        return -(-(self.end - self.begin) // 8)

    def chunks(self) -> Iterator[bytes]:
        first, last = self.begin // 8, -(-self.end // 8)
        with self.path.open("rb") as file:
            file.seek(self.offset + first)
            if self.begin % 8 or self.end % 8:
                yield cut(file.read(last - first), self.begin % 8, self.end - self.begin)
                return
            for at in range(first, last, _PIECE):
                yield file.read(min(_PIECE, last - at))


_PIECE = 256 * 1024


def native_frames(path: Path, numbers: Sequence[int]) -> list[Frame]:
    """Frames of an uncompressed Part 10 file as they are stored, by their numbers from 1; without any, all as one.

    Each begins with a byte of its own; the last bits of its last byte are zero where nothing fills them.

    Raises:
        NotRendered: it has no pixels, or not those frames.
    """
    try:
        dataset: Any = pydicom.dcmread(path, force=True, defer_size=_PIECE)
        found = next((dataset.get_item(tag, keep_deferred=True) for tag in PIXELS if tag in dataset), None)
        offset, length = (found.value_tell, found.length) if found is not None else (0, 0)
    except Exception as problem:  # pydicom raises whatever its parts do
        raise NotRendered(f"the pixels cannot be read ({type(problem).__name__})") from None
    if not length:
        raise NotRendered("it has 0 frames")
    bits = min(length, path.stat().st_size - offset) * 8
    if not numbers:
        return [Frame(path, offset, 0, bits)]
    shape = Shape.of(dataset)
    if max(numbers) > shape.frames:
        raise NotRendered(f"it has {shape.frames} frames")
    if max(numbers) * shape.frame_bits > bits:
        raise NotRendered("there are fewer pixels than the attributes say")
    size = shape.frame_bits
    return [Frame(path, offset, size * (number - 1), size * number) for number in numbers]


def cut(part: bytes, skipped: int, bits: int) -> bytes:
    """Bits that begin within a byte.  The first pixel is in the lowest bit (PS3.5: 8.1.1)."""
    unpacked = numpy.unpackbits(numpy.frombuffer(part, numpy.uint8), bitorder="little")
    return numpy.packbits(unpacked[skipped : skipped + bits], bitorder="little").tobytes()
