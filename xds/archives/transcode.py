"""An instance in another transfer syntax: uncompressed, or compressed without loss, whatever it is stored in.

DICOM PS3.5: Annex A, 8.2 (compressed pixel data); PS3.3: C.7.6.3 (Image Pixel), C.7.6.1.1.5 (Lossy Image
Compression).  Runs in a process of its own (``helpers.py``): it decodes bytes of strangers in C++.
Everything but pixel data and what describes them is copied as it is; the SOP Instance UID stays.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy
import pydicom
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options

from xds.archives import compress, reencode
from xds.archives.unable import Unable
from xds.imaging import bounded, part10
from xds.imaging.elements import Malformed
from xds.imaging.tags import PIXEL_DATA

TARGETS = (part10.EXPLICIT_LITTLE, part10.IMPLICIT_LITTLE, part10.DEFLATED)
"""Uncompressed transfer syntaxes that are made, the preferred first; of the others see ``compress``."""

_PLAIN = {
    part10.EXPLICIT_LITTLE: reencode.EXPLICIT,
    part10.IMPLICIT_LITTLE: reencode.IMPLICIT,
    part10.EXPLICIT_BIG: reencode.BIG,
    part10.DEFLATED: reencode.EXPLICIT,
}
# Who decodes what.  RLE is pydicom's own, the JPEG families are GDCM's.
_DECODERS = {
    uid.RLELossless: "pydicom",
    **dict.fromkeys(
        (
            uid.JPEGBaseline8Bit,
            uid.JPEGExtended12Bit,
            uid.JPEGLossless,
            uid.JPEGLosslessSV1,
            uid.JPEGLSLossless,
            uid.JPEGLSNearLossless,
            uid.JPEG2000Lossless,
            uid.JPEG2000,
        ),
        "gdcm",
    ),
}
_UNPACKED = frozenset((part10.EXPLICIT_LITTLE, part10.IMPLICIT_LITTLE))
_DEFLATED_BYTES = 4 * 1024 * 1024
_LOSSY = frozenset((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless))
_HEADER_GROWTH_BYTES = 64 * 1024 * 1024
_PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION = 0x00280004, 0x00280006
_NUMBER_OF_FRAMES, _LOSSY_IMAGE_COMPRESSION = 0x00280008, 0x00282110
# Describe compressed frames only.  PS3.3: C.7.6.3.1.8.
_OFFSET_TABLES = frozenset((0x7FE00001, 0x7FE00002, 0x7FE00003))


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be transcoded."""

    path: Path
    dataset_begin: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def targets_of(stored: str, listed: Sequence[str]) -> list[str]:
    """The transfer syntaxes to transcode to, the preferred first; none when there is no way to any that is listed."""
    if stored not in _PLAIN and stored not in _DECODERS:
        return []
    return [*(one for one in TARGETS if one in listed), *compress.targets(listed)]


def transcode(source: Source, target: str, out: BinaryIO, scratch: Path) -> None:
    """Write the instance as a Part 10 file in the target transfer syntax, one of ``targets_of``.

    ``scratch`` is the folder for what lies between.

    Raises:
        Unable: its encoding is damaged or is not decodable here.
        OSError: reading or writing failed.
    """
    try:
        if target in _UNPACKED:
            _plainly(source, target, out)
            return
        with TemporaryFile(dir=scratch) as between:  # it has no name, and is gone when the process is
            _plainly(source, part10.EXPLICIT_LITTLE, between)
            between.flush()
            header = _image_pixel_module(between)
            data = memoryview(mmap.mmap(between.fileno(), 0, access=mmap.ACCESS_READ))
            begin = len(_head(source, part10.EXPLICIT_LITTLE))
            out.write(_head(source, target))
            if target == part10.DEFLATED:
                _deflate(data[begin:], out)
            else:
                compress.compress(data, begin, header, target, out)
    except Malformed as problem:
        raise Unable(f"damaged: {problem}") from None


def _head(source: Source, target: str) -> bytes:
    return part10.file_head(source.sop_class_uid, source.sop_instance_uid, target)


def _deflate(data: memoryview, out: BinaryIO) -> None:
    deflater, length = zlib.compressobj(wbits=-zlib.MAX_WBITS), 0
    for start in range(0, len(data), _DEFLATED_BYTES):
        length += out.write(deflater.compress(data[start : start + _DEFLATED_BYTES]))
    length += out.write(deflater.flush())
    out.write(bytes(length % 2))


def _plainly(source: Source, target: str, out: BinaryIO) -> None:
    """The instance, uncompressed."""
    out.write(_head(source, target))
    if source.transfer_syntax_uid == part10.DEFLATED:
        _deflated(source, target, out)
    elif source.transfer_syntax_uid in _PLAIN:
        with _mapped(source.path) as data:
            encoding = _PLAIN[source.transfer_syntax_uid]
            reencode.convert(data, source.dataset_begin, len(data), encoding, _PLAIN[target], out)
    else:
        with _mapped(source.path) as data:
            _decompress(source, data, _PLAIN[target], out)


class _mapped:
    """A file as a buffer that is not read into memory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> memoryview:
        with self._path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        return self._view

    def __exit__(self, *_: object) -> None:
        # Slices may live on in a traceback; the mapping then ends with them.
        self._view = memoryview(b"")


def _deflated(source: Source, target: str, out: BinaryIO) -> None:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(source.path.read_bytes()[source.dataset_begin :], bounded.INFLATED_LIMIT)
    except zlib.error:
        raise Unable("damaged: the deflated dataset does not inflate (PS3.5: A.5)") from None
    if not inflater.eof:
        raise Unable("damaged: the deflated dataset is cut off or inflates to too much (PS3.5: A.5)")
    reencode.convert(memoryview(data), 0, len(data), reencode.EXPLICIT, _PLAIN[target], out)


def _decompress(source: Source, data: memoryview, target: reencode.Encoding, out: BinaryIO) -> None:
    elements = list(reencode.walk(data, source.dataset_begin, len(data), reencode.EXPLICIT))
    pixels = next((one for one in elements if one.tag == PIXEL_DATA), None)
    if pixels is None:
        # Nothing is compressed: the dataset is in explicit VR little endian already (PS3.5: A.4).
        reencode.convert(data, source.dataset_begin, len(data), reencode.EXPLICIT, target, out)
        return
    if not pixels.undefined:
        raise Unable("damaged: compressed pixel data are not encapsulated (PS3.5: A.4)")
    image = _Image(source, pixels.begin)
    replaced = image.attributes(lossy=source.transfer_syntax_uid in _LOSSY)
    for element in elements:
        for tag in sorted(tag for tag in replaced if tag < element.tag):
            _plain(replaced.pop(tag), target, out)
        if element.tag in replaced:
            _plain(replaced.pop(element.tag), target, out)
        elif element.tag == PIXEL_DATA:
            image.write(target, out)
        elif element.tag not in _OFFSET_TABLES:
            reencode.convert(data, element.start, element.stop, reencode.EXPLICIT, target, out, signed=image.is_signed)


def _plain(element: bytes, target: reencode.Encoding, out: BinaryIO) -> None:
    reencode.convert(memoryview(element), 0, len(element), reencode.EXPLICIT, target, out)


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


class _Image:
    """Compressed pixel data, decoded frame by frame."""

    def __init__(self, source: Source, pixels_begin: int) -> None:
        """Decode the first frame, which tells how the others will come.

        Raises:
            Unable: it does not decode.
        """
        self._frames = _decoded(source, pixels_begin)
        self.dataset: Any = _image_pixel_module(source.path)
        self.is_signed = self.dataset.get("PixelRepresentation") == 1
        self._count = max(int(self.dataset.get("NumberOfFrames") or 1), 1)
        self._bits = int(self.dataset.get("BitsAllocated") or 0)
        if self._bits not in (8, 16, 32, 64):
            raise Unable(f"pixels of {self._bits} bits are not decoded")
        self._first, self._properties = self._next(0)
        self._size = len(self._first)

    def attributes(self, *, lossy: bool) -> dict[int, bytes]:
        """The elements that describe the pixels once they are decoded, in explicit VR."""
        photometric = str(self._properties["photometric_interpretation"]).encode()
        photometric += b" " * (len(photometric) % 2)
        found = {_PHOTOMETRIC_INTERPRETATION: _element(_PHOTOMETRIC_INTERPRETATION, b"CS", photometric)}
        if int(self._properties["samples_per_pixel"]) > 1:
            planar = struct.pack("<H", int(self._properties["planar_configuration"]))
            found[_PLANAR_CONFIGURATION] = _element(_PLANAR_CONFIGURATION, b"US", planar)
        if lossy:
            # Nothing else will tell once it is decoded.
            found[_LOSSY_IMAGE_COMPRESSION] = _element(_LOSSY_IMAGE_COMPRESSION, b"CS", b"01")
        return found

    def write(self, target: reencode.Encoding, out: BinaryIO) -> None:
        length = self._size * self._count
        if length + length % 2 >= 0xFFFFFFFF:
            raise Unable("decoded it would be larger than 4 GB, which no uncompressed pixel data can be (PS3.5: 8.1.1)")
        vr = b"OB" if self._bits == 8 and target.explicit else b"OW"
        if target.explicit:
            out.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr, 0, length + length % 2))
        else:
            out.write(struct.pack("<HHI", 0x7FE0, 0x0010, length + length % 2))
        out.write(self._first)
        for index in range(1, self._count):
            frame, _ = self._next(index)
            if len(frame) != self._size:
                raise Unable("damaged: frames of different size")
            out.write(frame)
        out.write(bytes(length % 2))

    def _next(self, index: int) -> tuple[bytes, dict[str, Any]]:
        try:
            array, properties = next(self._frames)
        except StopIteration:
            raise Unable(f"damaged: {index} frames instead of {self._count}") from None
        except (MemoryError, OSError):
            raise
        except NotImplementedError as problem:
            raise Unable(f"not decodable here: {problem}") from None
        except Exception as problem:  # the decoders raise whatever their parts do
            raise Unable(f"the pixel data do not decode ({type(problem).__name__})") from None
        if not (array.size == self._pixels and array.dtype.kind in "ui"):
            raise Unable("the pixel data decode to another size than the header says")
        # GDCM gives the smallest type that holds the precision; the header says what is allocated.
        wanted = numpy.dtype(f"<{'i' if self.is_signed else 'u'}{self._bits // 8}")
        return array.astype(wanted, copy=False).tobytes(), properties

    @property
    def _pixels(self) -> int:
        dataset = self.dataset
        return (
            int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) * int(dataset.get("SamplesPerPixel") or 1)
        )


def _image_pixel_module(file: Path | BinaryIO) -> Any:
    wanted = [0x00280000 | number for number in (2, 4, 6, 8, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103, 0x106, 0x107)]
    try:
        if not isinstance(file, Path):
            file.seek(0)
        return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=[*wanted, *_OFFSET_TABLES])
    except Exception as problem:  # pydicom raises whatever its parts do
        raise Unable(f"the header is damaged ({type(problem).__name__})") from None


def _decoded(source: Source, pixels_begin: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each frame with what describes it, colours as RGB where they were YBR."""
    syntax = uid.UID(source.transfer_syntax_uid)
    options = as_pixel_options(_image_pixel_module(source.path))
    with source.path.open("rb") as file:
        file.seek(pixels_begin)
        yield from get_decoder(syntax).iter_array(
            file,
            decoding_plugin=_DECODERS[syntax],
            transfer_syntax_uid=syntax,
            pixel_keyword="PixelData",
            pixel_vr="OB",
            as_rgb=True,
            **options,
        )


def expected_bytes(source: Source, target: str) -> int:
    """The most that the transcoded file, and what lies between, may have, from the header.

    Raises:
        Unable: the header is damaged.
        OSError: the file cannot be read.
    """
    plain = _plain_bytes(source)
    # What does not compress grows a little: RLE by a byte in 128.
    return plain if target in _UNPACKED else 2 * plain + plain // 64


def _plain_bytes(source: Source) -> int:
    size = source.path.stat().st_size
    if source.transfer_syntax_uid == part10.DEFLATED:
        return bounded.INFLATED_LIMIT
    # Pixel data stay as long as they are; the rest grows by some bytes an element.
    room = size + min(size, _HEADER_GROWTH_BYTES) + 1024 * 1024
    if source.transfer_syntax_uid in _PLAIN:
        return room
    dataset = _image_pixel_module(source.path)
    try:
        values = (dataset.get(name) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
        rows, columns, samples, bits = (int(value or 0) for value in values)
        frames = max(int(dataset.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError):
        raise Unable("the header is damaged") from None
    return int(rows * columns * samples * frames * bits / 8) + room
