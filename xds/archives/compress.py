"""Pixel data compressed without loss: each frame is decoded again, and what is not the same is not given.

DICOM PS3.5: 8.2 (encapsulated formats), A.4 (how they are framed); PS3.3: C.7.6.3.1.  GDCM encodes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import gdcm
import numpy
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from xds.archives import reencode
from xds.archives.unable import Unable, Unfit
from xds.imaging.tags import PIXEL_DATA

TARGETS = (uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.JPEGLossless, uid.RLELossless)
"""Transfer syntaxes that are made, the preferred first."""

_PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION = 0x00280004, 0x00280006
_COLOURS = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"))
_OF_FEWER_BITS = frozenset((uid.JPEG2000Lossless, uid.RLELossless))
_COD = b"\xff\x52"  # JPEG 2000: the marker before the coding style; ISO/IEC 15444-1: A.6.1


def compress(data: memoryview, begin: int, header: Any, target: str, out: BinaryIO) -> None:
    """Write the dataset from ``begin``, in explicit VR little endian, with its pixel data encoded.

    ``header`` has the Image Pixel Module.

    Raises:
        Unable: it has no pixel data, or (Unfit) none that the target can hold.
        Malformed: these bytes are no dataset.
    """
    elements = list(reencode.walk(data, begin, len(data), reencode.EXPLICIT))
    pixels = next((one for one in elements if one.tag == PIXEL_DATA), None)
    if pixels is None:
        raise Unable("there are no pixel data to compress")
    image = _Image(header, target)
    frames = image.encoded(data[pixels.begin : pixels.end])
    first = next(frames)
    replaced = image.attributes(first)
    for element in elements:
        if element.tag in replaced:
            out.write(replaced[element.tag])
        elif element.tag == PIXEL_DATA:
            out.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + _item(b""))
            out.write(_item(first))
            for frame in frames:
                out.write(_item(frame))
            out.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
        elif element.tag & 0xFFFF:
            out.write(data[element.start : element.stop])


def _item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data) + len(data) % 2) + data + bytes(len(data) % 2)


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


@dataclass(frozen=True, slots=True)
class _Shape:
    """What one frame is."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    representation: int
    colours: str
    frames: int
    by_plane: bool

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.allocated // 8


def _shape(header: Any) -> _Shape:
    """Raises: Unable: it is none that can be encoded."""
    try:
        rows, columns, samples, allocated, stored, representation = (
            int(header.get(name) or 0)
            for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
        )
        frames = max(int(header.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError):
        raise Unable("the header is damaged") from None
    colours = str(header.get("PhotometricInterpretation", ""))
    if allocated not in (8, 16) or samples not in (1, 3) or not (rows and columns) or not 0 < stored <= allocated:
        raise Unfit(f"pixels of {samples} samples of {allocated} bits are not compressed")
    if colours not in _COLOURS:
        raise Unfit("pixels of this photometric interpretation are not compressed")
    if rows * columns * samples * allocated // 8 % 2:
        raise Unfit("frames of an odd length are not compressed")  # GDCM would write past their end
    by_plane = samples > 1 and header.get("PlanarConfiguration") == 1
    return _Shape(rows, columns, samples, allocated, stored, representation, colours, frames, by_plane)


class _Image:
    """Frames on their way into one transfer syntax."""

    def __init__(self, header: Any, target: str) -> None:
        self._shape, self._target = _shape(header), uid.UID(target)
        if self._shape.allocated == 8 and self._shape.stored < 8 and target not in _OF_FEWER_BITS:
            raise Unfit("pixels of fewer than 8 bits are not compressed so")  # GDCM ends the process

    def encoded(self, pixels: memoryview) -> Iterator[bytes]:
        """Each frame.

        Raises:
            Unable: there are fewer than the header says, or one does not come back as it was.
        """
        shape = self._shape
        if len(pixels) < shape.frame_bytes * shape.frames:
            raise Unable("damaged: fewer pixels than the header says")
        for start in range(0, shape.frame_bytes * shape.frames, shape.frame_bytes):
            frame = self._by_pixel(bytes(pixels[start : start + shape.frame_bytes]))
            encoded = self._encode(frame)
            if self._decoded(encoded) != frame:
                raise Unfit("the pixels do not come back as they were")
            yield encoded

    def _by_pixel(self, frame: bytes) -> bytes:
        shape = self._shape
        if not shape.by_plane:
            return frame
        planes = numpy.frombuffer(frame, f"u{shape.allocated // 8}").reshape(shape.samples, -1)
        return planes.T.tobytes()

    def attributes(self, first: bytes) -> dict[int, bytes]:
        """What describes the pixels once they are encoded."""
        found = {}
        if self._target == uid.JPEG2000Lossless and _has_component_transform(first):
            found[_PHOTOMETRIC_INTERPRETATION] = _element(_PHOTOMETRIC_INTERPRETATION, b"CS", b"YBR_RCT ")
        if self._shape.samples > 1:
            planar = 1 if self._target == uid.RLELossless else 0
            found[_PLANAR_CONFIGURATION] = _element(_PLANAR_CONFIGURATION, b"US", struct.pack("<H", planar))
        return found

    def _encode(self, frame: bytes) -> bytes:
        shape = self._shape
        # An image of GDCM's must be one that something of GDCM's holds.
        writer = gdcm.ImageWriter()
        image = writer.GetImage()
        image.SetNumberOfDimensions(2)
        image.SetDimensions((shape.columns, shape.rows, 1))
        kind = gdcm.PhotometricInterpretation.GetPIType(shape.colours)
        image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
        image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ImplicitVRLittleEndian))
        depth = (shape.samples, shape.allocated, shape.stored, shape.stored - 1, shape.representation)
        image.SetPixelFormat(gdcm.PixelFormat(*depth))
        if shape.samples > 1:
            image.SetPlanarConfiguration(0)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetByteStringValue(frame)
        image.SetDataElement(element)
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(self._target))))
        change.SetInput(image)
        if not change.Change():
            raise Unfit("these pixels cannot be encoded so")
        fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
        if fragments is None or fragments.GetNumberOfFragments() != 1:
            raise Unfit("these pixels cannot be encoded so")
        text: str = fragments.GetFragment(0).GetByteValue().GetBuffer()
        return text.encode("utf-8", "surrogateescape")

    def _decoded(self, encoded: bytes) -> bytes:
        shape = self._shape
        described: dict[str, Any] = {
            "number_of_frames": 1, "rows": shape.rows, "columns": shape.columns, "samples_per_pixel": shape.samples,
            "bits_allocated": shape.allocated, "bits_stored": shape.stored, "planar_configuration": 0,
            "pixel_representation": shape.representation, "photometric_interpretation": shape.colours,
            "pixel_keyword": "PixelData", "pixel_vr": "OB",
        }  # fmt: skip
        plugin = "pydicom" if self._target == uid.RLELossless else "gdcm"
        decoder, encapsulated = get_decoder(self._target), encapsulate([encoded])
        try:
            array, _ = decoder.as_array(encapsulated, index=0, raw=True, decoding_plugin=plugin, **described)
        except Exception as problem:  # the decoders raise whatever their parts do
            raise Unfit(f"the pixels do not come back ({type(problem).__name__})") from None
        kind = f"<{'i' if shape.representation else 'u'}{shape.allocated // 8}"
        return bytes(array.astype(kind, copy=False).tobytes())


def _has_component_transform(codestream: bytes) -> bool:
    """Whether a JPEG 2000 codestream says that its colours were transformed (SGcod, its last byte)."""
    at = codestream.find(_COD)
    return at >= 0 and at + 9 <= len(codestream) and codestream[at + 8] == 1


def targets(listed: Sequence[str]) -> list[str]:
    """Those that are listed, the preferred first."""
    return [one for one in TARGETS if one in listed]
