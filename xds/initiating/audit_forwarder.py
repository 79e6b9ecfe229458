"""Record Audit Event (ITI-20), out: this node's log is sent on to other Audit Record Repositories, in its order.

The log itself is the spool: of each repository it is kept how far it has come, so that nothing is lost however long it
is away.  Syslog has no acknowledgement: by TCP and TLS a record counts as sent when the other side's TCP has taken it,
which is not yet to have read it.  So where a connection breaks, and was not closed, what could be unread is sent again:
a repository may have a record twice, and lacks none.  By UDP what is lost on the way is lost.  ITI TF-2: 3.20.4.1.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import logging
import socket
import ssl
import struct
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Value
from xds.store.engine import reading
from xds.wire import revocation
from xds.wire.syslog import DATAGRAM_BYTES, SECONDS, NotSent, connected, framed, message, named
from xds.wire.tls_trouble import why

log = logging.getLogger("xds.initiating.audit_forwarder")

BATCH, BATCH_BYTES = 200, 256 * 1024
"""Records that are sent before it is waited for that they are taken, and their bytes."""

TAKEN_SECONDS = 20.0
"""The longest time in which the other side takes nothing; then it is taken for dead."""

UNREAD_BYTES = 8 * 1024 * 1024
"""The most that both systems may hold of what was sent and not read."""

UNREAD_SECONDS, UNREAD_EOF_SECONDS = 3600.0, 30.0
"""How old that is at the most: where the connection was reset, and where it has ended and TLS was not closed."""

STEADY_SECONDS = 60.0
"""How long a connection holds that was no failure."""

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds until it is tried again, after each attempt that failed."""

UNSENT = "unsent"
"""What an index entry of a record is called that could not be sent at all: by UDP it is too long."""


REFUSED_SECONDS = 0.05
_PIECE = 16 * 1024


class _Sent(NamedTuple):
    """What was sent at once: from which leaf on, how much, and when."""

    begin: int
    size_bytes: int
    at: float


class Forwarder:
    """To one repository, at ``tls://``, ``tcp://`` or ``udp://`` HOST:PORT.

    Raises:
        Unusable: the address is none of these.
    """

    def __init__(self, engine: sa.Engine, url: str, context: ssl.SSLContext | None = None) -> None:
        self._engine, self._url, self._context = engine, url, context
        self._scheme, self._host, self._port = named(url)
        self._stream: socket.socket | None = None
        self._sent = deque[_Sent]()  # by this connection, and perhaps not read
        self._again: int | None = None  # the leaf to go back to, until that is kept
        self._before = (0, 0.0)  # up to which leaf records were sent once before, and since when
        self._since = 0.0

    def run(self, going_on: Callable[[float], bool]) -> None:
        """Send what comes while ``going_on``, which waits for as many seconds as it is given."""
        failed = 0
        while going_on(0.0):
            try:
                pause = 0.0 if self.step() else 0.5
            except (NotSent, SQLAlchemyError) as problem:
                if isinstance(problem, NotSent) and time.monotonic() - self._since > STEADY_SECONDS:
                    failed = 0
                pause = PAUSES[min(failed, len(PAUSES) - 1)]
                failed += 1
                reason = str(problem) if isinstance(problem, NotSent) else type(problem).__name__
                log.warning("audit.not_forwarded", extra={"to": self._url, "reason": reason, "again_in": pause})
            if not going_on(pause):
                break
        self.close()

    def step(self) -> int:
        """Send some records; return how many.

        Raises:
            NotSent: the other side does not take them, or may not have read what it has taken.
        """
        self._look()
        self._go_back()
        with self._engine.begin() as connection:
            begin = position(connection, self._url)
        with reading(self._engine) as connection:
            rows = store.numbered_from(connection, begin, BATCH, BATCH_BYTES)
        if not rows:
            return 0
        unsent = self._datagrams(rows) if self._scheme == "udp" else self._streamed(rows, begin)
        with self._engine.begin() as connection:
            search.keep_values(connection, unsent)
            store.move(connection, self._url, (rows[-1].leaf_number or 0) + 1)  # erased ones may lie between
        return len(rows)

    def _datagrams(self, rows: Sequence[Recorded]) -> list[Value]:
        """What is too long is set aside, and the rest goes on."""
        unsent = list[Value]()
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_DGRAM
            )[0]  # fmt: skip
            with socket.socket(family, kind, protocol) as sock:
                sock.connect(address)
                for row, frame in _frames(rows, sock):
                    if len(frame) > DATAGRAM_BYTES:
                        log.error("audit.too_long_to_forward", extra={"to": self._url, "record": row.id})
                        unsent.append(Value(UNSENT, self._url, row.id, row.recorded))
                    else:
                        sock.send(frame)
                sock.settimeout(REFUSED_SECONDS)
                with contextlib.suppress(TimeoutError):
                    sock.recv(1)  # where nobody listens, that is said about now
        except OSError as problem:
            raise NotSent(f"{self._url}: {why(problem) or problem.strerror or type(problem).__name__}") from None
        return unsent

    def _streamed(self, rows: Sequence[Recorded], begin: int) -> list[Value]:
        try:
            if self._stream is None:
                self._since = time.monotonic()
                self._stream = connected(self._scheme, self._host, self._port, self._context)
            stream = self._stream
            revocation.refuse(stream)  # it is kept for long
            data = framed(frame for _, frame in _frames(rows, stream))
            # Noted before: of what breaks off the other side may have read a part.
            leaf, since = self._before
            self._sent.append(_Sent(begin, len(data), since if begin < leaf else time.monotonic()))
            self._send(stream, data)
            self._await_taken(stream)
        except OSError as problem:
            raise self._broken(problem) from None
        return []

    def _send(self, stream: socket.socket, data: bytes) -> None:
        """However slowly the other side takes it, as long as it takes something."""
        left = memoryview(data)
        stream.settimeout(TAKEN_SECONDS)
        while left:
            left = left[stream.send(left[:_PIECE]) :]
        stream.settimeout(SECONDS)

    def _await_taken(self, stream: socket.socket) -> None:
        """Until the other side's TCP has acknowledged every byte, and has not closed.

        Raises:
            OSError: it takes nothing for too long, or is gone.
        """
        deadline, before = time.monotonic() + TAKEN_SECONDS, -1
        while left := _unacknowledged(stream):
            if left != before:
                deadline, before = time.monotonic() + TAKEN_SECONDS, left
            elif time.monotonic() > deadline:
                raise TimeoutError("what was sent is not taken")
            _still_there(stream)
            time.sleep(0.005)
        _still_there(stream)

    def _look(self) -> None:
        """See whether the other side is still there, although there may be nothing to send.

        Raises:
            NotSent: it has gone, and may not have read what it has taken.
        """
        if self._stream is None:
            return
        try:
            _still_there(self._stream)
        except _Closed as farewell:
            self._broken(farewell)  # of TLS only the program has said it, and may have left something unread
        except OSError as problem:
            raise self._broken(problem) from None
        while (
            len(self._sent) > 1 and sum(one.size_bytes for one in self._sent) - self._sent[0].size_bytes > UNREAD_BYTES
        ):
            self._sent.popleft()

    def _broken(self, problem: OSError) -> NotSent:
        """Be about to go back to before what may not have been read."""
        if isinstance(problem, _Closed) and self._scheme == "tcp":
            limit = 0.0  # with something unread its system would have reset it
        elif isinstance(problem, _Closed | ssl.SSLEOFError):
            limit = UNREAD_EOF_SECONDS
        else:
            limit = UNREAD_SECONDS
        unread = [one for one in self._sent if time.monotonic() - one.at < limit]
        if unread:
            # From its first sending on it ages, however often it is sent again.
            self._again, self._before = unread[0].begin, (sys.maxsize, unread[0].at)
        self.close()
        try:
            self._go_back()
        except SQLAlchemyError:
            log.exception("audit.not_gone_back")  # it is done before anything else is sent
        reason = why(problem) or problem.strerror or str(problem) or type(problem).__name__
        return NotSent(f"{self._url}: {reason}")

    def _go_back(self) -> None:
        again = self._again
        if again is None:
            return
        with self._engine.begin() as connection:
            begin = store.position(connection, self._url) or 0
            if again < begin:
                log.warning("audit.forwarded_again", extra={"to": self._url, "records": begin - again})
                store.move(connection, self._url, again)
        self._again, self._before = None, (max(begin, again), self._before[1])

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
        self._sent.clear()


def _frames(rows: Sequence[Recorded], stream: socket.socket) -> Iterator[tuple[Recorded, bytes]]:
    """Records as they go on: ours with a header, others' as they came, but for what came from there."""
    there = stream.getpeername()[0]
    for row in rows:
        if not row.origin:
            yield row, message(row.message)
        elif row.origin.split(" ")[1:2] != [there] or ipaddress.ip_address(there).is_loopback:
            yield row, row.message


class _Closed(ConnectionError):
    """The other side has closed the connection, having read what was sent."""


def _still_there(stream: socket.socket) -> None:
    """That the other side has not gone; what it says is passed over.

    Raises:
        OSError: it has.
    """
    stream.settimeout(0.0)
    try:
        while stream.recv(4096):
            pass
        raise _Closed("the other side has closed")
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    finally:
        stream.settimeout(SECONDS)


def _unacknowledged(stream: socket.socket) -> int:
    """Bytes that the other side's TCP has not acknowledged (Linux: SIOCOUTQ)."""
    found: tuple[int] = struct.unpack("i", fcntl.ioctl(stream.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    return found[0]


def position(connection: sa.Connection, url: str) -> int:
    """From which leaf on a repository is sent records; one that is new: what comes from now on."""
    begin = store.position(connection, url)
    if begin is None:
        begin = store.head(connection)
        store.move(connection, url, begin)
    return begin


def waiting(connection: sa.Connection, url: str) -> tuple[int, int]:
    """How many records wait to be sent to a repository, and how many could not be."""
    begin = store.position(connection, url)
    waits = 0 if begin is None else max(store.head(connection) - begin, 0)
    return waits, search.valued(connection, UNSENT, url)
