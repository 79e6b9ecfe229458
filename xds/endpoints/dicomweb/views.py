"""How a picture is asked for: the parameters of rendered resources and of the URI service.  PS3.18: 8.3.5, 9.4.1.2."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from xds.endpoints.dicomweb.asked import Refusal, numbers
from xds.endpoints.dicomweb.render import Region, View
from xds.endpoints.dicomweb.windows import Window

_FARTHEST = 1_000_000  # pixels

# The third value of ?window=, and the term of VOI LUT Function that it means.  PS3.18: 8.3.5.1.4.
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}

_WRONG = (
    "viewport is width,height or width,height,x,y,width,height; window is center,width,function, the function one of "
    f"{', '.join(_FUNCTIONS)}; quality is 1 to 100"
)


def view(parameters: Mapping[str, str], frames: str) -> View:
    """How to render, by PS3.18: 8.3.5.

    Raises:
        Refusal: a parameter is malformed.
    """
    several = numbers(frames) if frames else [1]
    if len(several) > 1:
        raise Refusal(400, "one frame is rendered at a time")
    try:
        width, height, region = _viewport(parameters.get("viewport", ""))
        window = _window(parameters["window"]) if "window" in parameters else None
        return View(several[0], width, height, window, _quality(parameters.get("quality", "90")), region)
    except (ValueError, OverflowError):
        raise Refusal(400, _WRONG) from None


def not_done(given: Mapping[str, str]) -> Iterator[str]:
    """What was asked for and is not in the picture.  PS3.18: Table 8.3.5-1 has these parameters, and lets a server do
    without."""
    if given.get("annotation"):
        yield "the annotation parameter is not supported; nothing is burned in"
    if given.get("iccprofile", "no") != "no":
        yield "the iccprofile parameter is not supported; the picture has no profile"


def uri_view(given: Mapping[str, str]) -> View:
    """How to render, by PS3.18: 9.4.1.2.

    Raises:
        Refusal: a parameter is malformed, or a window has a centre or a width alone.
    """
    if ("windowCenter" in given) != ("windowWidth" in given):
        raise Refusal(400, "windowCenter and windowWidth come together (PS3.18: 9.4.1.2.6)")
    if "presentationUID" in given:
        raise Refusal(400, "presentation states are not supported")
    try:
        window = Window(float(given["windowCenter"]), float(given["windowWidth"])) if "windowCenter" in given else None
        columns, rows = (_extent(given.get(name, "0")) for name in ("columns", "rows"))
        frame = numbers(given.get("frameNumber", "1"))[0]
        return View(frame, columns, rows, window, _quality(given.get("imageQuality", "90")), _region(given))
    except (ValueError, OverflowError):
        raise Refusal(400, "rows, columns, frameNumber, imageQuality, region and windows are numbers") from None


def _window(text: str) -> Window:
    center, width, *function = text.split(",")
    if len(function) > 1:
        raise ValueError("too many values")
    term = _FUNCTIONS.get(function[0].strip().lower(), "") if function else "LINEAR"
    return Window(float(center), float(width), term)


def _viewport(text: str) -> tuple[int, int, Region | None]:
    if not text:
        return 0, 0, None
    values = [float(one) if one.strip() else None for one in text.split(",")]
    if len(values) not in (2, 6) or not all(map(math.isfinite, (one or 0 for one in values))):
        raise ValueError("two values or six")
    given = [one or 0 for one in values]
    if any(abs(one) > _FARTHEST for one in given):
        raise ValueError("no image is so large")
    width, height = _extent(str(given[0])), _extent(str(given[1]))
    return width, height, Region(given[2], given[3], given[4], given[5]) if len(given) == 6 else None


def _region(given: Mapping[str, str]) -> Region | None:
    """Two corners, in parts of the whole."""
    if "region" not in given:
        return None
    left, top, right, bottom = (float(one) for one in given["region"].split(","))
    if not 0 <= left < right <= 1 or not 0 <= top < bottom <= 1:
        raise ValueError("corners between 0 and 1")
    return Region(left, top, right - left, bottom - top, is_relative=True)


def _extent(text: str) -> int:
    value = int(float(text))
    if not 0 <= value <= 65535:
        raise ValueError("no extent")
    return value


def _quality(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise ValueError("no quality")
    return value
