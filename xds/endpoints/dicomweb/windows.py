"""Which of an image's values are black and which white: Modality LUT and VOI LUT.  PS3.3: C.11.1, C.11.2.

In enhanced objects both stand in the functional groups, of a frame or shared (PS3.3: C.7.6.16).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy

from xds.imaging.dicom import Header

Values: TypeAlias = Any  # an array of numpy

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_CENTER, _WIDTH, _FUNCTION = 0x00281050, 0x00281051, 0x00281056
_INTERCEPT, _SLOPE = 0x00281052, 0x00281053


@dataclass(frozen=True, slots=True)
class Window:
    """Window Center, Window Width and VOI LUT Function."""

    center: float
    width: float
    function: str = "LINEAR"

    def __post_init__(self) -> None:
        """Raises:
        ValueError: there is no such function, or its width is too small (PS3.3: C.11.2.1.2.1, C.11.2.1.3).
        """
        if self.function not in FUNCTIONS or not (math.isfinite(self.center) and math.isfinite(self.width)):
            raise ValueError("no window")
        if self.width <= 0 or (self.function == "LINEAR" and self.width < 1):
            raise ValueError("a window too narrow")

    def applied(self, values: Values) -> Values:
        """From 0 to 1."""
        return FUNCTIONS[self.function](values.astype(numpy.float64), self.center, self.width)


def _linear(x: Values, c: float, w: float) -> Values:
    """PS3.3: C.11.2.1.2.1; of width 1 a threshold."""
    if w == 1:
        return (x > c - 0.5).astype(numpy.float64)
    return numpy.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)


def _linear_exact(x: Values, c: float, w: float) -> Values:
    """PS3.3: C.11.2.1.3.2."""
    return numpy.clip((x - c) / w + 0.5, 0, 1)


def _sigmoid(x: Values, c: float, w: float) -> Values:
    """PS3.3: C.11.2.1.3.1."""
    return 1 / (1 + numpy.exp(numpy.clip(-4 * (x - c) / w, -700, 700)))


FUNCTIONS: Mapping[str, Callable[[Values, float, float], Values]] = {
    "LINEAR": _linear, "LINEAR_EXACT": _linear_exact, "SIGMOID": _sigmoid,
}  # fmt: skip
"""The terms of VOI LUT Function (0028,1056).  PS3.3: C.11.2."""


def shown(frame: Values, dataset: Any, number: int, window: Window | None) -> Values:
    """A grey frame from 0 to 1: by the window, else the image's table or window, else between its extremes."""
    values = _modality(frame, _group(dataset, number, "PixelValueTransformationSequence"))
    if window is not None:
        return window.applied(values)
    voi = _group(dataset, number, "FrameVOILUTSequence")
    if voi.get("VOILUTSequence"):
        return _looked_up(values, voi.VOILUTSequence[0])
    own = next(_windows(voi), None)
    return scaled(values) if own is None else own.applied(values)


def at_first(frame: Values, dataset: Any, number: int) -> tuple[Window, float, float]:
    """The window that a grey frame is shown by without another, and its least and greatest value.

    Where it has none, or a table instead, that which shows all values.
    """
    values = _modality(frame, _group(dataset, number, "PixelValueTransformationSequence")).astype(numpy.float64)
    finite = values[numpy.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    voi = _group(dataset, number, "FrameVOILUTSequence")
    own = None if voi.get("VOILUTSequence") else next(_windows(voi), None)
    return own or Window((low + high) / 2, max(high - low, 1.0)), low, high


def scaled(values: Values) -> Values:
    """All values between 0 and 1; of floats those that are finite say where these are."""
    values = values.astype(numpy.float64)
    finite = values[numpy.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return numpy.clip((values - low) / (high - low), 0, 1) if high > low else numpy.zeros(values.shape)


def _group(dataset: Any, number: int, macro: str) -> Any:
    """What has a macro's attributes: the frame's functional group, the shared one, or the dataset itself."""
    frames, shared = dataset.get(_PER_FRAME) or [], dataset.get(_SHARED) or []
    for group in [*frames[number - 1 : number], *shared[:1]]:
        if group.get(macro):
            return group[macro].value[0]
    return dataset


def _modality(frame: Values, module: Any) -> Values:
    """PS3.3: C.11.1.1."""
    if module.get("ModalityLUTSequence"):
        return _table(frame, module.ModalityLUTSequence[0])[0]
    slope, intercept = _numbers(module, _SLOPE), _numbers(module, _INTERCEPT)
    if slope and intercept:
        return frame.astype(numpy.float64) * slope[0] + intercept[0]
    return frame


def _windows(module: Any) -> Iterator[Window]:
    """The windows that can be used, in their order.  A function of no standard is taken for LINEAR."""
    function = next(iter(Header(module).values(_FUNCTION)), "").upper()
    for center, width in zip(_numbers(module, _CENTER), _numbers(module, _WIDTH), strict=False):
        try:
            yield Window(center, width, function if function in FUNCTIONS else "LINEAR")
        except ValueError:
            continue


def _numbers(module: Any, tag: int) -> list[float]:
    """The values of a DS; none where one of them is no number."""
    try:
        found = [float(one) for one in Header(module).values(tag)]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []


def _looked_up(values: Values, item: Any) -> Values:
    """PS3.3: C.11.2.1.1."""
    found, bits = _table(values, item)
    return found.astype(numpy.float64) / (2**bits - 1)


def _table(values: Values, item: Any) -> tuple[Values, int]:
    """Values by a table, and how many bits its entries have.  PS3.3: C.11.1, C.11.2."""
    count, first, bits = (int(one) for one in item.LUTDescriptor)
    if not 1 <= bits <= 16:
        raise ValueError("no table")
    count = count % 65536 or 65536
    first = first - 65536 if first > 32767 and float(values.min()) < 0 else first  # of signed values, in VR US
    data = item.LUTData
    if isinstance(data, bytes):
        # Eight bits an entry may be packed two in a word.
        kind = "u1" if bits == 8 and len(data) <= count + count % 2 else "<u2"
        table = numpy.frombuffer(data, kind)[:count]
    else:
        table = numpy.asarray([data] if isinstance(data, int) else data, numpy.uint32)[:count]
    place = numpy.clip(numpy.rint(values.astype(numpy.float64)) - first, 0, len(table) - 1).astype(numpy.int64)
    return numpy.minimum(table[place], 2**bits - 1), bits
