"""Pages that say what cannot be shown, and why."""

from __future__ import annotations

from flask import Response, render_template

_HEADINGS = {
    400: "This cannot be asked", 403: "Not for your role", 404: "Nothing here", 405: "Nothing here", 409: "Not done",
    413: "Too much at once",
}  # fmt: skip


def trouble(reason: str, status: int) -> Response:
    """A page of a refusal."""
    heading = _HEADINGS.get(status, "Not now")
    return Response(render_template("trouble.html", reason=reason, heading=heading), status)
