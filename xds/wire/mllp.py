"""MLLP, which carries HL7 v2 messages over TCP: ``0x0B`` message ``0x1C 0x0D``.  HL7 v2.3.1: Appendix C.4.

A listener with a thread a connection; size, silence and number of connections are bounded.  What stands between two
messages belongs to none: it is passed over, up to a bound, and counted.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from xds.wire import calls, revocation
from xds.wire.attended import Attended
from xds.wire.contexts import server_context as server_context  # beside the listener that it is for
from xds.wire.http import der_of
from xds.wire.listener_places import Place, Places, Refusals
from xds.wire.openings import Openings
from xds.wire.peers import key_of
from xds.wire.strangers import Strangers, Tell

log = logging.getLogger("xds.wire.mllp")

BEGIN, END = b"\x0b", b"\x1c\r"
MESSAGE_BYTES = 1024 * 1024
"""The longest message; an ADT is a few kilobytes."""
CONNECTIONS, EACH = 64, 16
"""At once, and of one peer."""
SILENT_SECONDS = 300.0
"""How long a peer may send nothing between messages."""
STALLED_SECONDS = 30.0
"""How long it may take over one message."""
PASSED_BYTES = 64 * 1024
"""What may stand between two messages; who sends more speaks another protocol."""
_PIECE = 65536

_FS = b"\x1c"
# Where a message ends: its FS may lack its CR before the next message, or before the line end that some put there.
_END = re.compile(rb"\x1c(?:\r|(?=[\x0b\n]))")
# A message that begins anew within another, whose sender has broken it off.  A lone 0x0B is text: editors write it.
_ANEW = re.compile(rb"\x0b(?=(?:\xef\xbb\xbf)?MSH)")

Answer: TypeAlias = Callable[[bytes, str, bytes], bytes]
"""What becomes of a message from a network address, and its certificate in DER, if any: its acknowledgement."""


class Malformed(Exception):
    """Bytes that are no framed message, or one that is too long."""


class Frames:
    """Takes a stream apart into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # so far no message ends
        self._between = 0
        self._ended = False  # the message before had no CR; one that comes late is its own
        self.passed = 0
        """Bytes that stood between messages; whoever reads counts them and sets it back."""

    @property
    def begun(self) -> bool:
        """Whether a message has begun that has not ended."""
        return bool(self._buffer)

    def take(self, data: bytes) -> None:
        """Add what came.

        Raises:
            Malformed: a message is too long, or too much stands before one.
        """
        self._buffer += data
        self._to_begin()
        if len(self._buffer) > MESSAGE_BYTES and _END.search(self._buffer, self._scanned) is None:
            raise Malformed(f"a message is over {MESSAGE_BYTES} bytes")

    def next(self, *, silent: bool = False) -> bytes | None:
        """The next message, where it is whole; ``silent``: nothing has come since, and a last FS ends it without CR.

        Raises:
            Malformed: too much stands before one.
        """
        self._to_begin()
        end = _END.search(self._buffer, self._scanned)
        if end is None and not (silent and self._buffer.endswith(_FS)):
            self._scanned = max(len(self._buffer) - 1, 0)  # the last byte may be FS
            return None
        whole, past = (end.start(), end.end()) if end else (len(self._buffer) - 1, len(self._buffer))
        message = bytes(self._buffer[1:whole])
        del self._buffer[:past]
        self._scanned, self._between, self._ended = 0, 0, end is None
        broken_off = [found.start() for found in _ANEW.finditer(message)]
        if broken_off:
            self.passed += broken_off[-1] + 1
            message = message[broken_off[-1] + 1 :]
        return message

    def _to_begin(self) -> None:
        """Pass over what stands before a message."""
        if self._ended and self._buffer:
            del self._buffer[: self._buffer.startswith(b"\r")]
            self._ended = False
        at = self._buffer.find(BEGIN)
        gone = len(self._buffer) if at < 0 else at
        if gone:
            del self._buffer[:gone]
            self.passed += gone
            self._between += gone
        if self._between > PASSED_BYTES:
            raise Malformed(f"over {PASSED_BYTES} bytes without 0x0B")


class Listener:
    """Listens until it is closed; each message is answered before the next of its connection is read."""

    def __init__(
        self, host: str, port: int, answer: Answer, context: ssl.SSLContext | None = None, tell: Tell | None = None,
        passed: Callable[[int], None] = lambda _count: None, refusals: Refusals | None = None,
    ) -> None:  # fmt: skip
        """``tell`` is told of peers that could not be authenticated, ``passed`` of bytes that were passed over."""
        self._answer, self._passed, self._refusals = answer, passed, refusals or Refusals("mllp")
        self._attended = Attended(Places(CONNECTIONS, EACH), self._refusals)
        self._stopping = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=128)
        self._strangers = Strangers(tell) if tell else None
        self._openings = Openings(
            self._socket, self._opened, self._refusals, context=context, strangers=self._strangers,
        )  # fmt: skip

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def serve(self, going_on: Callable[[], bool]) -> None:
        """Accept connections while ``going_on``; then let messages under way be answered."""
        self._openings.serve(going_on)
        self._stopping.set()
        self._socket.close()
        for thread in self._attended.threads:
            thread.join(STALLED_SECONDS)

    def _opened(self, connection: socket.socket, peer: str, _heard: bytes) -> None:
        certificate = der_of(connection)
        serve = partial(self._serve, connection, peer, certificate)
        self._attended.begin(connection, peer, key_of(certificate, peer), serve)

    def _serve(self, connection: socket.socket, peer: str, certificate: bytes, place: Place) -> None:
        try:
            self._messages(connection, peer, certificate, place)
        except Malformed as problem:
            log.warning("mllp.malformed", extra={"peer": peer, "reason": str(problem)})
        except OSError as problem:
            log.info("mllp.connection_lost", extra={"peer": peer, "reason": problem.strerror or type(problem).__name__})
        except Exception:
            log.exception("mllp.failed", extra={"peer": peer})

    def _hold(self, stream: socket.socket, peer: str) -> None:
        """Answer nobody whose certificate has been revoked since the handshake.

        Raises:
            OSError: it has been.
        """
        try:
            revocation.refuse(stream)
        except OSError as problem:
            if self._strangers is not None:
                self._strangers.failed(peer, problem)
            raise

    def _messages(self, stream: socket.socket, peer: str, certificate: bytes, place: Place) -> None:
        frames, told = Frames(), False
        while not self._stopping.is_set():
            try:
                message = self._next(stream, frames, place)
            finally:
                if frames.passed:
                    self._passed(frames.passed)
                    if not told:  # once a connection: some put a line end behind every message
                        log.warning("mllp.passed_over", extra={"peer": peer, "bytes": frames.passed})
                    frames.passed, told = 0, True
            if message is None:
                return
            self._hold(stream, peer)
            place.is_busy = True
            stream.settimeout(STALLED_SECONDS)
            stream.sendall(BEGIN + self._answer(message, peer, certificate) + END)
            place.is_busy = False

    def _next(self, stream: socket.socket, frames: Frames, place: Place) -> bytes | None:
        """The next message; None when the peer has gone, or we stop between messages.

        Raises:
            Malformed: too long a message, or too much before it.
            TimeoutError: the peer is silent for too long.
        """
        deadline = time.monotonic() + (STALLED_SECONDS if frames.begun else SILENT_SECONDS)
        stream.settimeout(0.2)
        while (message := frames.next()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError("the peer is too slow")
            begun = frames.begun
            try:
                data = stream.recv(_PIECE)
            except TimeoutError:
                if self._stopping.is_set() and not begun:
                    return None
                if (message := frames.next(silent=True)) is not None:
                    return message
                continue
            if not data:
                return frames.next(silent=True)
            self._attended.heard(place)
            frames.take(data)
            if frames.begun and not begun:
                deadline = time.monotonic() + STALLED_SECONDS
        return message


def send(host: str, port: int, message: bytes, seconds: float = 10.0, context: ssl.SSLContext | None = None) -> bytes:
    """Send one message; return its acknowledgement.

    Raises:
        OSError: no answer came.
        Malformed: what came is no framed message.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(calls.asking(f"{host}:{port}"))
        plain = stack.enter_context(socket.create_connection((host, port), seconds))
        stream = plain if context is None else stack.enter_context(context.wrap_socket(plain, server_hostname=host))
        stream.sendall(BEGIN + message + END)
        frames, deadline = Frames(), time.monotonic() + seconds
        while (answer := frames.next()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError("the answer does not end")
            piece = stream.recv(_PIECE)
            if not piece:
                answer = frames.next(silent=True)
                break
            frames.take(piece)
    if answer is None:
        raise Malformed("no whole acknowledgement came")
    return answer
