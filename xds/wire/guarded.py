"""What every reply says to browsers and proxies, whatever its address: keep nothing, guess nothing, frame nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Of replies that say nothing of the kind themselves, as the console's pages do.
_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
)
_SECURE = ("Strict-Transport-Security", "max-age=31536000")
"""RFC 6797: 6.1; a year, for this host alone: what is beside it is not ours to say."""


def guarded(start_response: Callable[..., Any], *, secure: bool) -> Callable[..., Any]:
    """A WSGI ``start_response`` that adds them; ``secure``: the node is reached by https."""
    wanted = (*_ALWAYS, _SECURE) if secure else _ALWAYS

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        said = {name.lower() for name, _ in headers}
        return start_response(status, [*headers, *(one for one in wanted if one[0].lower() not in said)], *more)

    return start
