"""Sends a SOAP request to another actor and reads its reply; documents stream both ways.

zeep drives the simple transactions by our WSDLs; it sends no MTOM and reads attachments into memory, so requests
with documents, and replies with documents, go through here.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3

from xds.errors import Unusable
from xds.wire import contexts, mtom
from xds.wire.addressing import new_message_id, request_headers
from xds.wire.faults import Fault
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.mime import Limits, Malformed, read_package
from xds.wire.soap import around
from xds.wire.spool import Spool, Spooled
from xds.wire.tls_trouble import why
from xds.wire.xml import Element, NotXml, name, parse
from xds.wire.xop import take_includes

CONNECT_SECONDS = 10.0
"""The longest that a connection may take, where an answer may take longer."""


class NoReply(Exception):
    """No usable reply came: not connected, broken off, or not understood.  The request may have had its effect."""


class Faulted(Exception):
    """The other side answered with a SOAP fault; the message is its reason."""


class OverBounds(Exception):
    """More has come than is taken, or not in time."""


@dataclass(frozen=True, slots=True)
class Within:
    """What is taken of an answer: bytes of it, elements and attributes of its XML, and until when (monotonic).

    ``silent_seconds``: how long nothing of it may come, where its client would wait longer; None: as its client waits.
    """

    size_bytes: int
    elements: int
    until: float
    silent_seconds: float | None = None

    def reading(self, response: Any) -> Callable[[int], bytes]:
        """``read`` of a response: as much as has come, so that the time is looked at whenever something comes."""
        left = self.size_bytes

        def read(size: int) -> bytes:
            nonlocal left
            if time.monotonic() > self.until:
                raise OverBounds("no answer in time")
            chunk = bytes(response.read1(size))
            left -= len(chunk)
            if left < 0:
                raise OverBounds(f"the answer is over {self.size_bytes} bytes")
            return chunk

        return read


@dataclass(frozen=True, slots=True)
class Answering:
    """An answer of which the header has come: a response of urllib3's, and whose it is."""

    response: Any
    url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply's body, and the contents that were attached to elements of it."""

    body: Element
    contents: Mapping[Element, Spooled]


class Client:
    """A peer's address, and what to present there."""

    def __init__(
        self, url: str, *, certificate: str = "", key: str = "", trusted: str = "", seconds: float = 60.0,
        header_blocks: Sequence[Element] = (), vouched: Callable[[str], Sequence[Element]] | None = None,
        connections: int = 4,
    ) -> None:  # fmt: skip
        """``header_blocks`` go with each message, beside WS-Addressing's; ``vouched`` makes some for each, by URL.

        ``connections`` are kept for the next message.
        """
        self.url, self._header_blocks, self._vouched = url, header_blocks, vouched
        self._seconds = seconds
        context = client_context(certificate, key, trusted) if url.startswith("https:") else None
        self._presents = bool(certificate)
        self._pool: Any = contexts.pool(context, timeout=self._timeout(seconds), maxsize=connections)

    def send(
        self, action: str, pieces: Sequence[mtom.Piece], spool: Spool, *, as_mtom: bool, limits: Limits | None = None,
        header_blocks: Sequence[Element] = (), within: Within | None = None,
    ) -> Answer:  # fmt: skip
        """Send a body as action; return what came back, documents in files of the spool.

        ``header_blocks`` go with this message; ``within``: what is taken of an answer of somebody who is not ours.

        Raises:
            NoReply: see there.
            Faulted: see there.
        """
        response = self.asked(action, pieces, as_mtom=as_mtom, header_blocks=header_blocks, within=within).response
        try:
            return answer_of(response, spool, limits or Limits(root_part_bytes=256 * 1024 * 1024), self.url, within)
        except Exception:
            if within is not None:
                response.close()  # what has not come of it would be read to its end before the next answer
            raise
        finally:
            response.release_conn()

    def asked(
        self, action: str, pieces: Sequence[mtom.Piece], *, as_mtom: bool, header_blocks: Sequence[Element] = (),
        within: Within | None = None,
    ) -> Answering:  # fmt: skip
        """Send a body as action; its answer is to be read, and its connection to be given back, by who asks.

        Raises:
            NoReply: see there.
        """
        vouched = self._vouched(self.url) if self._vouched is not None else ()
        blocks = (*self._header_blocks, *vouched, *header_blocks)
        head, tail = around([*request_headers(action, self.url, new_message_id()), *blocks])
        message: HttpReply = mtom.mtom((head, *pieces, tail), action) if as_mtom else mtom.plain((head, *pieces, tail))
        return Answering(self._posted(message, within), self.url)

    @staticmethod
    def _timeout(seconds: float, silent_seconds: float | None = None) -> urllib3.Timeout:
        """``silent_seconds``: until something must have come, the connection included."""
        return urllib3.Timeout(total=silent_seconds, connect=min(seconds, CONNECT_SECONDS), read=seconds)

    def _posted(self, message: HttpReply, within: Within | None = None) -> Any:
        """The response to a message: ``status``, ``headers``, ``read`` and ``release_conn``."""
        headers = dict(message.headers) | {"Content-Length": str(message.length), "Accept-Encoding": "identity"}
        timeout = self._timeout(self._seconds, None if within is None else within.silent_seconds)
        try:
            return self._pool.request(
                "POST", self.url, body=message.chunks, headers=headers, preload_content=False, timeout=timeout
            )
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise NoReply(f"{self.url}: {kind_of(problem, self.url, presented=self._presents)}") from None


class LocalClient(Client):
    """An actor in this process: the same message, without a socket."""

    def __init__(self, url: str, path: str, answer: Callable[[HttpRequest], HttpReply]) -> None:
        """``url`` is what others call the actor, ``path`` where it is in this process."""
        self.url, self._path, self._reply_to, self._header_blocks = url, path, answer, ()
        self._presents, self._vouched = False, None

    def _posted(self, message: HttpReply, within: Within | None = None) -> Any:  # noqa: ARG002  nobody is waited for
        content_type = dict(message.headers).get("Content-Type", "")
        read = _reading(message.chunks)
        request = HttpRequest("POST", self._path, "", content_type, read, "127.0.0.1", self.url, ours=True)
        return _LocalResponse(self._reply_to(request))


class _LocalResponse:
    """A reply of this process as one that came over a socket."""

    def __init__(self, reply: HttpReply) -> None:
        self.status, self.headers, self._chunks = reply.status, dict(reply.headers), reply.chunks
        self.read = _reading(reply.chunks)

    def release_conn(self) -> None:
        """Tell the actor that nobody reads on."""
        close = getattr(self._chunks, "close", None)
        if close:
            close()


def _reading(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """Chunks of any size as ``read`` gives them."""
    left = bytearray()

    def read(size: int) -> bytes:
        while len(left) < size:
            chunk = next(chunks, None)
            if chunk is None:
                break
            left.extend(chunk)
        piece = bytes(left[:size])
        del left[:size]
        return piece

    return read


def answer_of(response: Any, spool: Spool, limits: Limits, url: str, within: Within | None = None) -> Answer:
    """What a response holds, plain or packed in MIME, as some answer who was asked plainly.

    Raises:
        NoReply: see there.
        Faulted: see there.
    """
    content_type = response.headers.get("Content-Type", "")
    with understood(response, url):
        read = within.reading(response) if within is not None else lambda size: bytes(response.read(size))
        package = read_package(content_type, read, spool, limits)
        body = body_of(package.root, url, None if within is None else within.elements)
        return Answer(body, take_includes(body, package.attachments))


@contextmanager
def understood(response: Any, url: str) -> Iterator[None]:
    """While a response is read: whatever keeps it from being understood is no reply.

    Raises:
        NoReply: see there.
    """
    content_type = response.headers.get("Content-Type", "")
    try:
        yield
    except OverBounds as problem:
        raise NoReply(f"{url}: {problem}") from None
    except Malformed as problem:
        raise NoReply(f"{url}: HTTP {response.status}, {problem}") from None
    except Fault as fault:
        said = content_type[:64] if fault.http_status == _UNSUPPORTED else fault.reason
        raise NoReply(f"{url}: HTTP {response.status}, {said or 'no Content-Type'}") from None
    except NotXml as problem:
        raise NoReply(f"{url}: HTTP {response.status}, {problem}") from None
    except (urllib3.exceptions.HTTPError, OSError) as problem:
        raise NoReply(f"{url}: {kind_of(problem)}") from None


_UNSUPPORTED = 415
_SOAP_1_1 = "{http://schemas.xmlsoap.org/soap/envelope/}"


def body_of(root: bytes, url: str, elements: int | None = None) -> Element:
    """The one element in the Body of an envelope, of so many elements and attributes at most.

    Raises:
        NoReply: it is no SOAP 1.2 envelope, or holds another number of them.
        Faulted: it is a fault.
        NotXml: it is no XML, or of more.
    """
    envelope = parse(root, most=elements)
    if envelope.tag == f"{_SOAP_1_1}Envelope":
        reason = " ".join((text.text or "").strip() for text in envelope.iter("faultstring"))[:500]
        if reason:
            raise Faulted(f"{reason} (in SOAP 1.1)")
        raise NoReply(f"{url}: the reply is SOAP 1.1, and should be SOAP 1.2 (ITI TF-2: Appendix V.3)")
    body = envelope.find(name("soap:Body"))
    if body is None or len(body) != 1:
        raise NoReply(f"{url}: the reply is no SOAP 1.2 message")
    if body[0].tag == name("soap:Fault"):
        raise Faulted(" ".join(text.text or "" for text in body[0].iter(name("soap:Text")))[:500])
    return body[0]


def kind_of(problem: BaseException, url: str = "", *, presented: bool = True) -> str:
    """What kept a message to an address or its reply from passing; ``presented``: whether we showed a certificate."""
    return why(problem, presented=presented, secured=url.startswith("https:")) or {
        "NewConnectionError": "no connection", "ReadTimeoutError": "no answer in time",
    }.get(type(problem).__name__, type(problem).__name__)  # fmt: skip


def client_context(certificate: str, key: str, trusted: str) -> ssl.SSLContext:
    """TLS towards a peer: what to present there, and whom to trust, the system's authorities where nothing says.

    Raises:
        Unusable: a file cannot be used.
    """
    try:
        return contexts.client_context(certificate, key, trusted)
    except OSError as problem:
        raise Unusable(f"TLS: {problem}") from None
