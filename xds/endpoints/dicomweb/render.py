"""One frame as a picture: windowed, cut out, scaled, JPEG or PNG.  PS3.18: 8.3.5, 10.4.1.1.3.

The pixels come uncompressed from a helper process; nothing here decodes what a stranger has compressed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pydicom
from PIL import Image

from xds.endpoints.dicomweb import windows
from xds.endpoints.dicomweb.pixels import NotRendered, Shape
from xds.endpoints.dicomweb.windows import Window

__all__ = ["NotRendered", "Region", "View", "picture"]

MOST_PIXELS = 64 * 1024 * 1024
"""Of one frame."""


@dataclass(frozen=True, slots=True)
class Region:
    """What of the image is shown: a corner and an extent in pixels, or in parts of the whole.

    A negative extent turns the picture over; 0 is as far as the image goes.  PS3.18: 8.3.5.1.3, 9.4.1.2.
    """

    left: float
    top: float
    width: float
    height: float
    is_relative: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """How a frame is to be shown; 0 and None: as it is."""

    frame: int = 1
    width: int = 0
    height: int = 0
    window: Window | tuple[float, float] | None = None  # center and width alone are of LINEAR
    quality: int = 90
    region: Region | None = None


def picture(path: Path, view: View, media_type: str) -> bytes:
    """A frame of an uncompressed Part 10 file, as ``image/jpeg`` or ``image/png``.

    Raises:
        NotRendered: it has no pixels, not that frame, or pixels that cannot be shown.
    """
    try:
        dataset: Any = pydicom.dcmread(path, defer_size=1024 * 1024)
        image = Image.fromarray(_shown(dataset, view))
    except NotRendered:
        raise
    except Exception as problem:  # pydicom raises whatever its parts do
        raise NotRendered(f"the pixels cannot be shown ({type(problem).__name__})") from None
    if view.region is not None:
        image = _cut(image, view.region)
    if view.width or view.height:
        image.thumbnail((view.width or image.width, view.height or image.height), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    if media_type == "image/png":
        image.save(out, "PNG")
    else:
        image.save(out, "JPEG", quality=view.quality)
    return out.getvalue()


def _cut(image: Image.Image, region: Region) -> Image.Image:
    across, down = (image.width, image.height) if region.is_relative else (1, 1)
    left, top = region.left * across, region.top * down
    width, height = abs(region.width) * across or image.width, abs(region.height) * down or image.height
    box = (max(round(left), 0), max(round(top), 0),
           min(round(left + width), image.width), min(round(top + height), image.height))  # fmt: skip
    if box[0] >= box[2] or box[1] >= box[3]:
        raise NotRendered("the region is outside of the image")
    image = image.crop(box)
    if region.width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if region.height < 0 else image


def _shown(dataset: Any, view: View) -> Any:
    """The frame as 8 bits, grey or RGB."""
    shape = Shape.of(dataset)
    if shape.rows * shape.columns > MOST_PIXELS:
        raise NotRendered("it is too large")
    if not 1 <= view.frame <= shape.frames:
        raise NotRendered(f"it has {shape.frames} frames")
    frame = pydicom.pixels.pixel_array(dataset, index=view.frame - 1)
    if frame.ndim == 3:
        return frame[..., :3].astype(numpy.uint8) if frame.dtype == numpy.uint8 else _bytes(frame[..., :3])
    if shape.interpretation == "PALETTE COLOR":
        return _bytes(pydicom.pixels.processing.apply_color_lut(frame, dataset)[..., :3])
    window = Window(*view.window) if isinstance(view.window, tuple) else view.window
    grey = windows.shown(frame, dataset, view.frame, window)
    if shape.interpretation == "MONOCHROME1":
        grey = 1 - grey
    return numpy.rint(numpy.nan_to_num(grey) * 255).astype(numpy.uint8)


def _bytes(values: Any) -> Any:
    """All values between black and white."""
    return numpy.rint(windows.scaled(values) * 255).astype(numpy.uint8)


@dataclass(frozen=True, slots=True)
class Described:
    """What a viewer begins with: how many frames there are, and of a grey frame its window and its values."""

    frames: int
    window: tuple[float, float] | None  # centre, width: the stored one, or what shows all values; None: in colour
    values: tuple[float, float] | None  # the least and the greatest, after the modality LUT


def described(path: Path, frame: int) -> Described:
    """A frame of an uncompressed Part 10 file, by its number from 1, as ``picture`` shows it without a window.

    Raises:
        NotRendered: as ``picture``.
    """
    try:
        dataset: Any = pydicom.dcmread(path, defer_size=1024 * 1024)
        shape = Shape.of(dataset)
        pixels = pydicom.pixels.pixel_array(dataset, index=frame - 1)
        if pixels.ndim == 3 or shape.interpretation == "PALETTE COLOR":
            return Described(shape.frames, None, None)
        window, low, high = windows.at_first(pixels, dataset, frame)
    except Exception as problem:  # pydicom raises whatever its parts do
        raise NotRendered(f"the pixels cannot be shown ({type(problem).__name__})") from None
    return Described(shape.frames, (window.center, window.width), (low, high))
