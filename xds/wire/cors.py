"""Pages of other origins: which may read what, as browsers ask for it.  Fetch Standard, CORS protocol.

Only who is named may, only at the addresses of images, and never with credentials of the browser's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xds.errors import Unusable
from xds.wire.http import HttpReply

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")

# What a viewer sends and reads; browsers let it nothing beyond without being told.
_METHODS = "GET, HEAD, POST"
_REQUEST_HEADERS = "Accept, Authorization, Content-Type"
_REPLY_HEADERS = "Content-Location, Retry-After, Warning, WWW-Authenticate"
_SECONDS = "600"


class Cors:
    """The origins whose pages may read ``/dicomweb`` and ``/wado``; none of them: no reply says a word of it."""

    def __init__(self, origins: Sequence[str]) -> None:
        """``*`` is any origin.

        Raises:
            Unusable: an origin is not of the form ``https://HOST:PORT``.
        """
        for origin in origins:
            if origin != "*" and _ORIGIN.fullmatch(origin) is None:
                raise Unusable("server.cors_origins: each is https://HOST or https://HOST:PORT in small letters, or *")
        self._origins = frozenset(origins)

    def preflight(self, environ: Mapping[str, Any]) -> HttpReply | None:
        """The answer to a browser that asks whether a page may; None where the request is another, or it may not."""
        if environ.get("REQUEST_METHOD") != "OPTIONS" or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            return None
        if not self._allowed(environ):
            return None
        headers = [
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
            ("Access-Control-Max-Age", _SECONDS),
        ]
        return HttpReply(204, headers, iter(()))

    def mark(self, environ: Mapping[str, Any], reply: HttpReply) -> None:
        """Say in a reply which page may read it."""
        if not self._origins or not _is_of_images(environ):
            return
        reply.headers.append(("Vary", "Origin"))
        origin = self._allowed(environ)
        if origin:
            reply.headers.append(("Access-Control-Allow-Origin", origin))
            reply.headers.append(("Access-Control-Expose-Headers", _REPLY_HEADERS))

    def _allowed(self, environ: Mapping[str, Any]) -> str:
        """The origin that asks, if it may; empty otherwise."""
        origin = str(environ.get("HTTP_ORIGIN", ""))
        if not _is_of_images(environ) or not origin:
            return ""
        if "*" in self._origins:
            return "*"
        return origin if origin in self._origins else ""


def _is_of_images(environ: Mapping[str, Any]) -> bool:
    path = str(environ.get("PATH_INFO", ""))
    return path == "/wado" or path.startswith("/dicomweb/")
