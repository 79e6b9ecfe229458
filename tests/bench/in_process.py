"""Requests to an application in this process, without HTTP."""

from __future__ import annotations

import io
from typing import Any

from xds.server.application import Application

JSON = "application/dicom+json"


def asked(site: Application, path: str, body: bytes, address: str = "127.0.0.1") -> bytes:
    """The answer to a SOAP message; without a body to a GET, in DICOM JSON where there is any."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST" if body else "GET", "PATH_INFO": path, "CONTENT_TYPE": "application/soap+xml",
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), "REMOTE_ADDR": address,
        "HTTP_HOST": "localhost", "wsgi.url_scheme": "http", "HTTP_ACCEPT": JSON,
    }  # fmt: skip
    return b"".join(site(environ, lambda *_: None))
