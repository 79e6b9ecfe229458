"""MLLP, which carries HL7 v2 messages over TCP: ``0x0B`` message ``0x1C 0x0D``.  HL7 v2.3.1: Appendix C.4.

A listener with a thread a connection; size, silence and number of connections are bounded.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from xds.wire.strangers import Strangers, Tell

log = logging.getLogger("xds.wire.mllp")

BEGIN, END = b"\x0b", b"\x1c\r"
MESSAGE_BYTES = 1024 * 1024
"""The longest message; an ADT is a few kilobytes."""
CONNECTIONS = 64
SILENT_SECONDS = 300.0
"""How long a peer may send nothing between messages."""
STALLED_SECONDS = 30.0
"""How long it may take over one message."""
_PIECE = 65536

Answer: TypeAlias = Callable[[bytes, str], bytes]
"""What becomes of a message from a network address: its acknowledgement."""


class Malformed(Exception):
    """Bytes that are no framed message, or one that is too long."""


class Listener:
    """Listens until it is closed; each message is answered before the next of its connection is read."""

    def __init__(
        self, host: str, port: int, answer: Answer, context: ssl.SSLContext | None = None, tell: Tell | None = None
    ) -> None:
        """``tell`` is told of peers that could not be authenticated."""
        self._answer, self._context = answer, context
        self._strangers = Strangers(tell) if tell else None
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._stopping = threading.Event()
        self._busy: set[threading.Thread] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        self._socket.settimeout(0.2)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def serve(self, going_on: Callable[[], bool]) -> None:
        """Accept connections while ``going_on``; then let messages under way be answered."""
        while going_on():
            try:
                connection, peer = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                break
            if not self._free.acquire(blocking=False):
                log.warning("mllp.too_many_connections", extra={"peer": peer[0]})
                connection.close()
                continue
            thread = threading.Thread(target=self._serve, args=(connection, str(peer[0])), daemon=True)
            self._busy.add(thread)
            thread.start()
        self._stopping.set()
        self._socket.close()
        for thread in list(self._busy):
            thread.join(STALLED_SECONDS)

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            connection.settimeout(STALLED_SECONDS)
            with self._secured(connection, peer) as stream:
                self._messages(stream, peer)
        except Malformed as problem:
            log.warning("mllp.malformed", extra={"peer": peer, "reason": str(problem)})
        except OSError as problem:
            log.info("mllp.connection_lost", extra={"peer": peer, "reason": problem.strerror or type(problem).__name__})
        except Exception:
            log.exception("mllp.failed", extra={"peer": peer})
        finally:
            connection.close()
            self._free.release()
            self._busy.discard(threading.current_thread())

    def _secured(self, connection: socket.socket, peer: str) -> socket.socket:
        if self._context is None:
            return connection
        try:
            return self._context.wrap_socket(connection, server_side=True)
        except OSError as problem:
            if self._strangers is not None:
                self._strangers.failed(peer, problem)
            raise

    def _messages(self, stream: socket.socket, peer: str) -> None:
        buffer = bytearray()
        while not self._stopping.is_set():
            message = self._next(stream, buffer)
            if message is None:
                return
            stream.settimeout(STALLED_SECONDS)
            stream.sendall(BEGIN + self._answer(message, peer) + END)

    def _next(self, stream: socket.socket, buffer: bytearray) -> bytes | None:
        """The next message; None when the peer has gone, or we stop between messages.

        Raises:
            Malformed: no frame, or too long a message.
            TimeoutError: the peer is silent for too long.
        """
        deadline = time.monotonic() + (STALLED_SECONDS if buffer else SILENT_SECONDS)
        stream.settimeout(0.2)
        while (end := buffer.find(END)) < 0:
            if len(buffer) > MESSAGE_BYTES:
                raise Malformed(f"a message is over {MESSAGE_BYTES} bytes")
            if buffer and not buffer.startswith(BEGIN):
                raise Malformed("a message does not begin with 0x0B")
            if time.monotonic() > deadline:
                raise TimeoutError("the peer is too slow")
            try:
                data = stream.recv(_PIECE)
            except TimeoutError:
                if self._stopping.is_set() and not buffer:
                    return None
                continue
            if not data:
                return None
            if not buffer:
                deadline = time.monotonic() + STALLED_SECONDS
            buffer += data
        if not buffer.startswith(BEGIN):
            raise Malformed("a message does not begin with 0x0B")
        message = bytes(buffer[1:end])
        del buffer[: end + len(END)]
        return message


def server_context(certificate: str, key: str, trusted: str) -> ssl.SSLContext:
    """ITI-19 for a listener: our certificate, and peers that must present one of those trusted, where there are any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key or None)
    if trusted:
        context.load_verify_locations(trusted)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def send(host: str, port: int, message: bytes, seconds: float = 10.0, context: ssl.SSLContext | None = None) -> bytes:
    """Send one message; return its acknowledgement.

    Raises:
        OSError: no answer came.
        Malformed: what came is no framed message.
    """
    with socket.create_connection((host, port), seconds) as plain, contextlib.ExitStack() as stack:
        stream = plain if context is None else stack.enter_context(context.wrap_socket(plain, server_hostname=host))
        stream.sendall(BEGIN + message + END)
        data, deadline = bytearray(), time.monotonic() + seconds
        while not data.endswith(END):
            if time.monotonic() > deadline:
                raise TimeoutError("the answer does not end")
            piece = stream.recv(_PIECE)
            if not piece or len(data) > MESSAGE_BYTES:
                raise Malformed("no whole acknowledgement came")
            data += piece
    if not data.startswith(BEGIN):
        raise Malformed("the acknowledgement does not begin with 0x0B")
    return bytes(data[1 : -len(END)])
