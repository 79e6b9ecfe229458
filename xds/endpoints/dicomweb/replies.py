"""Replies of DICOMweb addresses: a text, JSON, one part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from xds.archives.interface import Ready
from xds.endpoints.dicomweb import datasets, multipart
from xds.endpoints.dicomweb.accept import JSON, Wanted
from xds.wire.http import HttpReply, TextReply
from xds.wire.refusals import RETRY_SECONDS


def chunks(ready: Ready) -> Callable[[], Iterator[bytes]]:
    return lambda: ready.chunks()


def whole(part: multipart.Part, wanted: Wanted) -> HttpReply:
    """One part, alone or in a multipart of one, as it is wanted."""
    return multipart.reply(200, wanted.kind, [part]) if wanted.is_multipart else multipart.single(200, part)


def text(status: int, text: str, *headers: tuple[str, str]) -> HttpReply:
    """``headers`` say when to come again where it is another time than usual."""
    if status == 503 and not headers:
        headers = (("Retry-After", str(RETRY_SECONDS)),)
    return TextReply(status, "text/plain; charset=utf-8", text + "\n", list(headers)).http()


def json(status: int, found: Any) -> HttpReply:
    return multipart.single(status, multipart.of_bytes(JSON, datasets.dumped(found)))
