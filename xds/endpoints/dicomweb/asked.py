"""One DICOMweb request: its address taken apart, and what its parameters ask for.  PS3.18: 8.3.5, 9.4.1, 10.4, 10.6."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from werkzeug.routing import Map, Rule

from xds.archives.interface import Held
from xds.audit.messages.events import AuditEvent
from xds.endpoints.dicomweb import accept
from xds.endpoints.dicomweb.accept import MULTIPART, Wanted
from xds.metadata.visible import FULL, Access
from xds.wire.http import HttpRequest

JPEG, PNG = "image/jpeg", "image/png"


UID = "[0-9.]{1,64}"


THUMBNAIL = 200

_PARAMETERS = 200


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(slots=True)
class Asked:
    """One request on its way: its address taken apart, its event, and what is to be given back at its end."""

    request: HttpRequest
    what: str
    uids: Mapping[str, str]
    event: AuditEvent
    stack: ExitStack = field(default_factory=ExitStack)
    access: Access = FULL  # what who asks may see
    failed: list[str] = field(default_factory=list)  # SOP Instance UIDs that could not be given

    @property
    def base(self) -> str:
        """The address of the service."""
        return self.request.url.partition("/dicomweb")[0] + "/dicomweb"

    def address(self, held: Held) -> str:
        return (
            f"{self.base}/studies/{held.study_instance_uid}/series/{held.series_instance_uid}"
            f"/instances/{held.sop_instance_uid}"
        )


_INSTANCE = "/studies/<study>/series/<series>/instances/<instance>"


_PLACES = ("/studies/<study>", "/studies/<study>/series/<series>", _INSTANCE)


ADDRESSES = Map(
    [
        *(Rule(f"/dicomweb{path}", endpoint="retrieve") for path in _PLACES),
        *(Rule(f"/dicomweb{path}/metadata", endpoint="metadata") for path in _PLACES),
        *(Rule(f"/dicomweb{path}/{what}", endpoint=what) for path in _PLACES for what in ("rendered", "thumbnail")),
        *(Rule(f"/dicomweb{path}/bulkdata", endpoint="bulkdata/all") for path in _PLACES),
        *(Rule(f"/dicomweb{path}/pixeldata", endpoint="bulkdata/pixels") for path in _PLACES),
        Rule(f"/dicomweb{_INSTANCE}/frames/<frames>", endpoint="frames"),
        Rule(f"/dicomweb{_INSTANCE}/frames/<frames>/rendered", endpoint="rendered"),
        Rule(f"/dicomweb{_INSTANCE}/bulkdata/<tag>", endpoint="bulkdata"),
        Rule("/dicomweb/studies", endpoint="search/studies"),
        Rule("/dicomweb/series", endpoint="search/series"),
        Rule("/dicomweb/instances", endpoint="search/instances"),
        Rule("/dicomweb/studies/<study>/series", endpoint="search/series"),
        Rule("/dicomweb/studies/<study>/instances", endpoint="search/instances"),
        Rule("/dicomweb/studies/<study>/series/<series>/instances", endpoint="search/instances"),
        Rule("/wado", endpoint="uri"),
    ],
    strict_slashes=False,
)


def chosen(header: str, kinds: Sequence[str], *, multipart_too: bool = True) -> Wanted:
    """The first media range that can be served; anything is served as the first kind, several in parts.

    Raises:
        Refusal: none of them can.
    """
    for one in accept.wanted(header):
        if one.media_type in ("*/*", "application/*", "image/*") or (one.is_multipart and one.kind in ("", "*/*")):
            first = next((k for k in kinds if one.media_type == "*/*" or k.startswith(one.media_type[:-1])), kinds[0])
            return Wanted(MULTIPART, first, one.syntax) if multipart_too else Wanted(first)
        if one.of in kinds and (multipart_too or not one.is_multipart):
            return one
    raise Refusal(406, f"what is accepted is none of {', '.join(kinds)}")


def metadata_type(header: str) -> str:
    """DICOM JSON, or XML, which comes in parts.  PS3.18: 10.4.4.

    Raises:
        Refusal: neither is accepted.
    """
    for one in accept.wanted(header):
        if one.is_multipart and one.kind in ("", "*/*", accept.XML):
            return accept.XML
        if one.media_type in (accept.JSON, "application/json", "*/*", "application/*"):
            return accept.JSON
    raise Refusal(406, f'what is accepted is none of {accept.JSON}, multipart/related; type="{accept.XML}"')


def numbers(text: str) -> list[int]:
    """Frame numbers from 1, separated by commas, each once (PS3.18 2017b: 6.5.4, "non duplicate").

    Raises:
        Refusal: something else.
    """
    if re.fullmatch(r"[1-9][0-9]{0,6}(,[1-9][0-9]{0,6}){0,999}", text) is None:
        raise Refusal(400, "frames are numbers from 1, separated by commas")
    found = [int(one) for one in text.split(",")]
    if len(set(found)) < len(found):
        raise Refusal(400, "a frame is named once")
    return found


def parameters(query: str) -> dict[str, str]:
    """The parameters of a query string, each once; empty ones too.

    Raises:
        Refusal: one is there twice, or there are too many.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_PARAMETERS)
    except ValueError:
        raise Refusal(400, f"more than {_PARAMETERS} parameters") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refusal(400, "a parameter is there twice")
    return found


def negotiated(request: HttpRequest) -> HttpRequest:
    """With the accept parameter before the Accept header.  PS3.18: 8.3.3, 8.7.8.1.

    Raises:
        Refusal: the charset parameter names no character set that answers are in (PS3.18: 8.3.3.2).
    """
    if "accept=" not in request.query and "charset=" not in request.query:
        return request
    given = dict(parse_qsl(request.query))
    charsets = [one.partition(";")[0].strip().lower() for one in given.get("charset", "utf-8").split(",")]
    if "utf-8" not in charsets:
        raise Refusal(400, "answers are in UTF-8")
    return replace(request, accept=", ".join(filter(None, (given.get("accept", ""), request.accept))))


def warning(base: str, text: str) -> str:
    """A Warning header of what was asked for and is not done, of the service at ``base``.  PS3.18: 8.3.4.2.

    RFC 9110 has no such header any more; the standard does.
    """
    return f"299 {base}: " + re.sub(r"[^ \w.,:;=()-]", "?", text, flags=re.ASCII)
