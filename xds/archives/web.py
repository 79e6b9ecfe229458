"""The HTTP side of a PACS that speaks DICOMweb: searches, metadata and instances.  PS3.18: 10.4, 10.6."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import urllib3

from xds.archives.interface import Gone, NotAnswering
from xds.wire.client import client_context
from xds.wire.contexts import pool
from xds.wire.mime import ContentType, Malformed, PartReader, boundary_of

JSON_BYTES = 256 * 1024 * 1024
"""Of one answer in JSON."""

PAGE = 500
"""Matches asked for at once."""

_PIECE = 256 * 1024

_INSTANCE = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_TAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')  # a strong one: of equal tags the bytes are equal (RFC 9110: 8.8.1)


class Web:
    """A DICOMweb service by its base URL."""

    def __init__(
        self, url: str, *, certificate: str = "", key: str = "", trusted: str = "", seconds: float = 30.0,
        authorization: str = "",
    ) -> None:  # fmt: skip
        """``seconds`` is the longest that it may be silent; ``authorization`` says for whom it is asked (ITI-72).

        Raises:
            Unusable: a certificate cannot be used.
        """
        self._url = url.rstrip("/")
        self._headers = {"Authorization": authorization} if authorization else {}
        timeout = urllib3.Timeout(connect=min(seconds, 10.0), read=seconds)
        context = client_context(certificate, key, trusted) if url.startswith("https:") else None
        self._pool: Any = pool(context, timeout=timeout, maxsize=16)

    def search(self, path: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """Every match of a search, page by page.

        Raises:
            NotAnswering: no usable answer came.
        """
        offset = 0
        while True:
            found = self._json(path, {**parameters, "limit": str(PAGE), "offset": str(offset)})
            yield from found
            offset += len(found)
            if len(found) < PAGE:
                return

    def metadata(self, path: str) -> list[dict[str, Any]]:
        """The datasets under an address, without bulk data.

        Raises:
            Gone: there are none.
            NotAnswering: no usable answer came.
        """
        found = self._json(f"{path}/metadata", {})
        if not found:
            raise Gone("there is nothing at this address")
        return found

    def _json(self, path: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        found = self.json(path, accept="application/dicom+json", **parameters)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise NotAnswering("the archive's answer is no list of datasets")
        return found

    def json(self, path: str, *, accept: str = "application/json", told: Any = None, **parameters: str) -> Any:
        """What an address answers; of one without content an empty list.  ``told``: what it is sent, as JSON (POST).

        Raises:
            Gone: there is no such thing.
            NotAnswering: no usable answer came.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        body = None if told is None else json.dumps(told).encode()
        response = self._ask(f"{path}{query}", {"Accept": accept}, body=body)
        try:
            if response.status == 204:
                return []
            data = bytearray()
            while chunk := response.read(_PIECE):
                data += chunk
                if len(data) > JSON_BYTES:
                    raise NotAnswering("the archive's answer is too long")
            return json.loads(data)
        except (urllib3.exceptions.HTTPError, OSError):
            raise NotAnswering("the archive's answer broke off") from None
        except (ValueError, RecursionError):
            raise NotAnswering("the archive's answer is no JSON") from None
        finally:
            response.release_conn()

    def is_still(self, path: str, tag: str) -> bool:
        """Whether an instance is still what it was when its entity tag was this one.

        Raises:
            Gone: there is no such instance.
            NotAnswering: no usable answer came.
        """
        response = self._ask(path, {"Accept": _INSTANCE, "If-None-Match": tag}, answers=(200, 206, 304))
        if response.status == 304:
            response.drain_conn()
            response.release_conn()
            return True
        response.close()  # what it would send
        return False

    def instance(self, path: str, keep: Callable[[bytes | memoryview], None]) -> str:
        """Hand on an instance's bytes as it is stored, as they come; return its entity tag, empty where it has none.

        Raises:
            Gone: there is no such instance.
            NotAnswering: no usable answer came, or it broke off.
        """
        response = self._ask(path, {"Accept": _INSTANCE})
        try:
            tag = response.headers.get("ETag", "")
            tag = tag if _TAG.fullmatch(tag) else ""
            kind = ContentType.parse(response.headers.get("Content-Type", ""))
            if not kind.media_type.startswith("multipart/"):
                while chunk := response.read(_PIECE):
                    keep(chunk)
                return tag
            reader = PartReader(boundary_of(kind), lambda size: bytes(response.read(size)))
            reader.skip_to_delimiter()
            if reader.closed():
                raise Gone("the archive's answer has no part")
            reader.headers()
            reader.body(keep)
            if not reader.closed():
                raise NotAnswering("the archive gave several instances for one")
            return tag
        except Malformed:
            raise NotAnswering("the archive's answer broke off, or is no multipart") from None
        except (urllib3.exceptions.HTTPError, OSError):
            raise NotAnswering("the archive's answer broke off") from None
        finally:
            response.release_conn()

    def _ask(
        self, path: str, headers: Mapping[str, str], *, body: bytes | None = None,
        answers: Sequence[int] = (200, 204, 206),
    ) -> Any:  # fmt: skip
        method = "GET" if body is None else "POST"
        try:
            response = self._pool.request(
                method, f"{self._url}{path}", body=body, headers={**headers, **self._headers}, preload_content=False,
                redirect=False,
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError):
            raise NotAnswering("the archive does not answer") from None
        if response.status in answers:
            return response
        status = response.status
        response.drain_conn()
        response.release_conn()
        if status in (404, 410):
            raise Gone(f"the archive says HTTP {status}")
        raise NotAnswering(f"the archive says HTTP {status}")
