"""One frame as a picture: windowed, scaled, JPEG or PNG.  PS3.18: 8.3.5, 10.4.1.1.3; PS3.3: C.11.2 (VOI LUT).

The pixels come uncompressed from a helper process; nothing here decodes what a stranger has compressed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pydicom
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

MOST_PIXELS = 64 * 1024 * 1024
"""Of one frame."""


class NotRendered(Exception):
    """There is no picture to make; the message says why."""


@dataclass(frozen=True, slots=True)
class View:
    """How a frame is to be shown; 0 and None: as it is."""

    frame: int = 1
    width: int = 0
    height: int = 0
    window: tuple[float, float] | None = None  # centre, width
    quality: int = 90


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
    if view.width or view.height:
        image.thumbnail((view.width or image.width, view.height or image.height), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    if media_type == "image/png":
        image.save(out, "PNG")
    else:
        image.save(out, "JPEG", quality=max(1, min(view.quality, 100)))
    return out.getvalue()


def native_frames(path: Path, numbers: Sequence[int]) -> list[bytes]:
    """Frames of an uncompressed Part 10 file as they are stored, by their numbers from 1; without any, all as one.

    Raises:
        NotRendered: it has no pixels, or not those frames.
    """
    try:
        dataset: Any = pydicom.dcmread(path)
        data = dataset.PixelData if "PixelData" in dataset else b""
        count = max(int(dataset.get("NumberOfFrames") or 1), 1)
    except Exception as problem:  # pydicom raises whatever its parts do
        raise NotRendered(f"the pixels cannot be read ({type(problem).__name__})") from None
    if not data or max(numbers, default=1) > count:
        raise NotRendered(f"it has {count if data else 0} frames")
    if not numbers:
        return [data]
    size = len(data) // count
    return [data[(number - 1) * size : number * size] for number in numbers]


def _shown(dataset: Any, view: View) -> Any:
    """The frame as 8 bits, grey or RGB."""
    pixels = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0)
    if not pixels:
        raise NotRendered("it has no image")
    if pixels > MOST_PIXELS:
        raise NotRendered("it is too large")
    count = max(int(dataset.get("NumberOfFrames") or 1), 1)
    if not 1 <= view.frame <= count:
        raise NotRendered(f"it has {count} frames")
    frame = pydicom.pixels.pixel_array(dataset, index=view.frame - 1)
    if frame.ndim == 3:
        return frame[..., :3].astype(numpy.uint8) if frame.dtype == numpy.uint8 else _scaled(frame[..., :3])
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _scaled(pydicom.pixels.processing.apply_color_lut(frame, dataset)[..., :3])
    values = apply_modality_lut(frame, dataset)
    window = view.window or _window(dataset)
    if window is not None:
        centre, width = window
        grey = numpy.clip((values - (centre - width / 2)) / max(width, 1e-6), 0, 1) * 255
    else:
        grey = _scaled(apply_voi_lut(values, dataset, index=0))
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        grey = 255 - grey
    return grey.astype(numpy.uint8)


def _window(dataset: Any) -> tuple[float, float] | None:
    """The first window of the dataset, where it has one and no table instead."""
    found = [dataset.get(name) for name in ("WindowCenter", "WindowWidth")]
    firsts = [one[0] if isinstance(one, pydicom.multival.MultiValue) else one for one in found]
    if "VOILUTSequence" in dataset or any(one in (None, "") for one in firsts):
        return None
    return float(firsts[0]), float(firsts[1])


def _scaled(values: Any) -> Any:
    """All values between black and white."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return numpy.zeros(values.shape, numpy.uint8)
    return ((values - low) * (255.0 / (high - low))).astype(numpy.uint8)


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
        count = max(int(dataset.get("NumberOfFrames") or 1), 1)
        pixels = pydicom.pixels.pixel_array(dataset, index=frame - 1)
        if pixels.ndim == 3 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            return Described(count, None, None)
        values = apply_modality_lut(pixels, dataset)
        low, high = float(values.min()), float(values.max())
        window = _window(dataset) or ((low + high) / 2, max(high - low, 1.0))
    except Exception as problem:  # pydicom raises whatever its parts do
        raise NotRendered(f"the pixels cannot be shown ({type(problem).__name__})") from None
    return Described(count, window, (low, high))
