"""One good MTOM message, SOAP envelope and small server, from which a test spoils one part."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from xds.wire.mime import Limits, Package, read_package
from xds.wire.spool import Spool

ACTION = "urn:ihe:iti:2007:RegistryStoredQuery"
BOUNDARY = "MIMEBoundary_1"
ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"


@dataclass(frozen=True)
class APart:
    """A part as it will stand in the message."""

    content: bytes = b"<envelope/>"
    id: str | None = "<root@x>"
    headers: tuple[str, ...] = ("Content-Type: application/xop+xml", "Content-Transfer-Encoding: binary")
    end: bytes = b"\r\n"

    def packed(self) -> bytes:
        lines = [*self.headers, *([] if self.id is None else [f"Content-ID: {self.id}"])]
        return b"".join(line.encode() + self.end for line in lines) + self.end + self.content


@dataclass(frozen=True)
class AMessage:
    """A multipart message: parts, and the Content-Type that goes with it."""

    parts: tuple[APart, ...] = (APart(), APart(b"\x00\xff" * 50, "<doc@x>"))
    boundary: str = BOUNDARY
    content_type: str = f'multipart/related; type="application/xop+xml"; boundary="{BOUNDARY}"; start="<root@x>"'
    end: bytes = b"\r\n"
    closed: bool = True
    before: bytes = b""
    after: bytes = field(default=b"\r\n")

    def packed(self) -> bytes:
        line = b"--" + self.boundary.encode()
        body = self.before + b"".join(line + self.end + part.packed() + self.end for part in self.parts)
        return body + (line + b"--" + self.after if self.closed else b"")


def reader(data: bytes, sizes: Sequence[int] = (1 << 20,)) -> Callable[[int], bytes]:
    """A ``read`` that gives the data in pieces of these sizes, over and over."""
    position, turn = 0, itertools.cycle(sizes)

    def read(size: int) -> bytes:
        nonlocal position
        piece = data[position : position + min(size, next(turn))]
        position += len(piece)
        return piece

    return read


@dataclass(frozen=True)
class Read:
    """A package as it was read, its attachments in memory."""

    root: bytes
    attachments: dict[str, bytes]
    mtom: bool


def read(message: AMessage | bytes, folder: Path, *, sizes: Sequence[int] = (1 << 20,), limits: Limits | None = None,
         content_type: str = "") -> Read:  # fmt: skip
    """Read a message; the spool is empty again afterwards."""
    data = message if isinstance(message, bytes) else message.packed()
    if isinstance(message, AMessage):
        content_type = content_type or message.content_type
    with Spool(folder) as spool:
        package: Package = read_package(content_type, reader(data, sizes), spool, limits or Limits())
        held = {key: spooled.path.read_bytes() for key, spooled in package.attachments.items()}
    return Read(package.root, held, package.mtom)


def an_envelope(
    *,
    body: str = "<a/>",
    action: str | None = ACTION,
    headers: str = "",
    namespace: str = ENVELOPE,
    message_id: str = "urn:uuid:1",
    prolog: str = "",
) -> bytes:
    """A SOAP request; ``headers`` are further header blocks, ``body`` is what stands in the Body."""
    said = "" if action is None else f"<wsa:Action s:mustUnderstand='1'>{action}</wsa:Action>"
    return (
        f"{prolog}<s:Envelope xmlns:s='{namespace}' xmlns:wsa='{WSA}'><s:Header>{said}"
        f"<wsa:MessageID>{message_id}</wsa:MessageID>{headers}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def an_answer(data: bytes, *, content_type: str = "application/soap+xml", status: str = "200 OK",
              length: int | None = None) -> bytes:  # fmt: skip
    """An HTTP reply on a connection that is closed after it."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(data) if length is None else length}\r\n\r\n".encode() + data


@contextmanager
def a_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server on loopback that does with each connection, its request taken, what it is told; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopping = False

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if stopping:
                        return
                    _take_request(connection)
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/registry"
        finally:
            stopping = True
            with socket.create_connection(("127.0.0.1", port)):
                thread.join(10)


def _take_request(connection: socket.socket) -> None:
    """Read a request whole, so that closing afterwards resets nothing."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    missing = (int(lengths[0]) if lengths else 0) - len(rest)
    while missing > 0:
        chunk = connection.recv(min(missing, 65536))
        if not chunk:
            return
        missing -= len(chunk)
