"""A picture for the viewer, with what it begins with; or, in its place, why there is none.

An ``img`` shows the reason as a drawing, with or without scripts; the viewer's script asks for JSON and says it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from textwrap import wrap

from flask import Response, render_template, request
from pydicom.uid import UID

from xds.audit.messages.plain import visible
from xds.endpoints.dicomweb import render

ABOUT = "Picture-About"
"""The header that tells the viewer frames, window and values of what it shows."""

SINGLE = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{which}"
    for which in (
        "1",  # PS3.3: A.2, Computed Radiography
        "2",  # PS3.3: A.3, CT
        "4",  # PS3.3: A.4, MR
        "128",  # PS3.3: A.21, Positron Emission Tomography
    )
)
"""SOP classes of which an instance is one frame: their IODs have no Multi-frame Module."""


def shown(path: Path, view: render.View) -> Response:
    """A frame of an uncompressed file as JPEG.

    Raises:
        NotRendered: there is no picture to make.
    """
    data = render.picture(path, view, "image/jpeg")
    return picture(data, about(render.described(path, view.frame)))


def picture(data: bytes, about: str = "") -> Response:
    """A JPEG that the browser may keep for a while."""
    headers = {"Cache-Control": "private, max-age=50"} | ({ABOUT: about} if about else {})
    return Response(data, content_type="image/jpeg", headers=headers)


def about(found: render.Described) -> str:
    """What the viewer is told; numbers that JSON has no word for are left out."""
    told = {"frames": found.frames, "window": _finite(found.window), "values": _finite(found.values)}
    return json.dumps(told)


def missing(reason: str, status: int) -> Response:
    """In a picture's place: why there is none, as JSON for who takes it, else drawn."""
    text = visible(" ".join(reason.split())[:300]).rstrip(".") + "."
    if "application/json" in request.headers.get("Accept", ""):
        body, content = json.dumps({"text": text}), "application/json"
    else:
        body, content = render_template("missing.svg", text=text, lines=wrap(text, 30)[:9]), "image/svg+xml"
    return Response(body, status, content_type=content, headers={"Cache-Control": "no-store"})


def no_picture(sop_class_uid: str, problem: object) -> str:
    """Why an instance has no picture: it is none, or its pixels cannot be shown."""
    return f"No picture: {kind(sop_class_uid)}, {problem}"


def kind(sop_class_uid: str) -> str:
    """What an instance of the class is, in the standard's words."""
    return UID(sop_class_uid).name.removesuffix(" Storage") or "an instance of no class"


def _finite(pair: tuple[float, float] | None) -> tuple[float, float] | None:
    return pair if pair is not None and all(map(math.isfinite, pair)) else None
