"""Record Audit Event (ITI-20), out: this node's log is sent on to other Audit Record Repositories, in its order.

The log itself is the spool: of each repository it is kept how far it has come, so that nothing is lost however long it
is away.  Syslog has no acknowledgement: by TCP and TLS a record counts as sent when the other side's TCP has taken it;
what was under way when a connection broke is sent again.  ITI TF-2: 3.20.4.1.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.store import audit as store
from xds.store import audit_search as search
from xds.store.audit import Recorded
from xds.store.audit_search import Value
from xds.store.engine import reading
from xds.wire.syslog import DATAGRAM_BYTES, SECONDS, NotSent, connected, framed, message, named

log = logging.getLogger("xds.forwarding")

BATCH = 200
"""Records that are sent before it is waited for that they are taken."""

TAKEN_SECONDS = 20.0
"""The longest wait for that; then the other side is taken for dead."""

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds until it is tried again, after each attempt that failed."""

UNSENT = "unsent"
"""What an index entry of a record is called that could not be sent at all: by UDP it is too long."""


class Forwarder:
    """To one repository, at ``tls://``, ``tcp://`` or ``udp://`` HOST:PORT.

    Raises:
        Unusable: the address is none of these.
    """

    def __init__(self, engine: sa.Engine, url: str, context: ssl.SSLContext | None = None) -> None:
        self._engine, self._url, self._context = engine, url, context
        self._scheme, self._host, self._port = named(url)
        self._stream: socket.socket | None = None

    def run(self, going_on: Callable[[float], bool]) -> None:
        """Send what comes while ``going_on``, which waits for as many seconds as it is given."""
        failed = 0
        while going_on(0.0):
            try:
                sent, failed = self.step(), 0
                pause = 0.0 if sent else 0.5
            except (NotSent, SQLAlchemyError) as problem:
                pause = PAUSES[min(failed, len(PAUSES) - 1)]
                failed += 1
                reason = str(problem) if isinstance(problem, NotSent) else type(problem).__name__
                log.warning("audit.not_forwarded", extra={"to": self._url, "reason": reason, "again_in": pause})
                self.close()
            if not going_on(pause):
                break
        self.close()

    def step(self) -> int:
        """Send some records; return how many.

        Raises:
            NotSent: the other side does not take them.
        """
        with self._engine.begin() as connection:
            begin = store.position(connection, self._url)
            if begin is None:  # who is new is sent what comes from now on
                begin = store.head(connection)
                store.move(connection, self._url, begin)
        with reading(self._engine) as connection:
            rows = store.numbered_from(connection, begin, BATCH)
        if not rows:
            return 0
        frames = [row.message if row.origin else message(row.message) for row in rows]
        unsent = self._datagrams(rows, frames) if self._scheme == "udp" else self._streamed(frames)
        with self._engine.begin() as connection:
            search.keep_values(connection, unsent)
            store.move(connection, self._url, (rows[-1].leaf_number or 0) + 1)  # erased ones may lie between
        return len(rows)

    def _datagrams(self, rows: Sequence[Recorded], frames: Sequence[bytes]) -> list[Value]:
        """What is too long is set aside, and the rest goes on."""
        host, port = self._host, self._port
        unsent = list[Value]()
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0][0]
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                for row, frame in zip(rows, frames, strict=True):
                    if len(frame) > DATAGRAM_BYTES:
                        log.error("audit.too_long_to_forward", extra={"to": self._url, "record": row.id})
                        unsent.append(Value(UNSENT, self._url, row.id, row.recorded))
                    else:
                        sock.sendto(frame, (host, port))
        except OSError as problem:
            raise NotSent(f"{self._url}: {problem.strerror or type(problem).__name__}") from None
        return unsent

    def _streamed(self, frames: Sequence[bytes]) -> list[Value]:
        try:
            if self._stream is None:
                self._stream = connected(self._scheme, self._host, self._port, self._context)
            stream = self._stream
            stream.sendall(framed(frames))
            self._await_taken(stream)
        except OSError as problem:
            self.close()
            raise NotSent(f"{self._url}: {problem.strerror or type(problem).__name__}") from None
        return []

    def _await_taken(self, stream: socket.socket) -> None:
        """Until the other side's TCP has acknowledged every byte, and has not closed.

        Raises:
            OSError: it does not in time, or is gone.
        """
        deadline = time.monotonic() + TAKEN_SECONDS
        while _unacknowledged(stream):
            if time.monotonic() > deadline:
                raise TimeoutError("what was sent is not taken")
            time.sleep(0.005)
        stream.settimeout(0.0)
        try:
            if stream.recv(1) == b"":
                raise ConnectionResetError("the other side has closed")
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            stream.settimeout(SECONDS)

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None


def _unacknowledged(stream: socket.socket) -> int:
    """Bytes that the other side's TCP has not acknowledged (Linux: SIOCOUTQ)."""
    found: tuple[int] = struct.unpack("i", fcntl.ioctl(stream.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    return found[0]


def waiting(connection: sa.Connection, url: str) -> tuple[int, int]:
    """How many records wait to be sent to a repository, and how many could not be."""
    position = store.position(connection, url)
    waits = 0 if position is None else max(store.head(connection) - position, 0)
    return waits, search.valued(connection, UNSENT, url)
