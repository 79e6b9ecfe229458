"""Connections that are being opened: accepted, secured by TLS and, where a protocol begins so, heard a first message.

One thread does this for all of a listener: who connects and is silent costs a descriptor, not a thread nor a place,
and when there are too many of one address its oldest give way.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from xds.wire import revocation
from xds.wire.listener_places import Refusals
from xds.wire.strangers import Strangers, reason_of

log = logging.getLogger("xds.wire.openings")

OPENINGS, EACH = 512, 384
"""Of one listener at once, and of one address."""

SECONDS = 10.0
"""How long one may take."""

_PIECE = 65536
_TICK = 0.2


class Nonsense(Exception):
    """A first message that is none, or is too long; ``answer`` is said to that, as far as it goes."""

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


@dataclass(eq=False, slots=True)
class _Opening:
    connection: socket.socket
    peer: str
    deadline: float
    is_secured: bool
    heard: bytearray = field(default_factory=bytearray)


def broken_off(connection: socket.socket) -> None:
    """End a connection that another thread reads, which then finds its end."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # of TLS too: what is read of it is not taken for plain


class Openings:
    """Serves one listening socket; ``opened`` is given each connection that is open, and must not wait."""

    def __init__(
        self,
        listening: socket.socket,
        opened: Callable[[socket.socket, str, bytes], None],
        refusals: Refusals,
        *,
        context: ssl.SSLContext | None = None,
        strangers: Strangers | None = None,
        first: Callable[[bytearray], bool] | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """``first`` says whether the bytes of a connection are a whole first message, which ``opened`` is given too.

        It raises ``Nonsense`` where they never will be.
        """
        self._listening, self._opened, self._refusals = listening, opened, refusals
        self._context, self._strangers, self._first, self._seconds = context, strangers, first, seconds
        self._all = dict[socket.socket, _Opening]()  # in the order of their coming
        self._selector = selectors.DefaultSelector()
        # In a thread of its own, since it is recorded, and that may take a while.
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="strangers")

    def serve(self, going_on: Callable[[], bool]) -> None:
        """Until told otherwise; then what is not open yet is broken off.  The listening socket stays open."""
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        try:
            while going_on():
                self._turn()
        finally:
            for one in list(self._all.values()):
                self._drop(one)
            self._selector.close()
            self._telling.shutdown(wait=False, cancel_futures=True)

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TICK):
            if key.fileobj is self._listening:
                self._accept()
            elif key.data.connection in self._all:  # else it gave way to one before it
                self._step(key.data)
        now = time.monotonic()
        while self._all and (oldest := next(iter(self._all.values()))).deadline < now:
            self._drop(oldest)

    def _accept(self) -> None:
        try:
            connection, address = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as problem:  # no more descriptors
            self._refusals.tell("", problem.strerror or type(problem).__name__)
            self._make_room("")
            time.sleep(0.05)
            return
        peer = str(address[0])
        if self._context is None and self._first is None:
            self._opened(connection, peer, b"")
            return
        if sum(one.peer == peer for one in self._all.values()) >= EACH:
            self._make_room(peer)
        elif len(self._all) >= OPENINGS:
            self._make_room("")
        try:
            connection.setblocking(False)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError:
            connection.close()
            return
        one = _Opening(connection, peer, time.monotonic() + self._seconds, self._context is None)
        self._all[connection] = one
        self._selector.register(connection, selectors.EVENT_READ, one)
        self._step(one)

    def _make_room(self, peer: str) -> None:
        """The oldest gives way; of one address where it has too many."""
        oldest = next((one for one in self._all.values() if peer in ("", one.peer)), None)
        if oldest is not None:
            self._refusals.tell(oldest.peer, "handshakes")
            self._drop(oldest)

    def _step(self, one: _Opening) -> None:
        try:
            if not one.is_secured:
                assert isinstance(one.connection, ssl.SSLSocket)  # noqa: S101  there is a context
                one.connection.do_handshake()
                revocation.refuse(one.connection)
                one.is_secured = True
            if self._first is None or self._heard(one, self._first):
                self._over(one)
        except (ssl.SSLWantReadError, BlockingIOError):
            self._selector.modify(one.connection, selectors.EVENT_READ, one)
        except ssl.SSLWantWriteError:
            self._selector.modify(one.connection, selectors.EVENT_WRITE, one)
        except Nonsense as problem:
            log.warning("opening.nonsense", extra={"peer": one.peer, "reason": str(problem)})
            with contextlib.suppress(OSError):
                one.connection.send(problem.answer)
            self._drop(one)
        except OSError as problem:
            reason = "" if one.is_secured else reason_of(problem)
            if reason and self._strangers is not None:
                self._telling.submit(self._strangers.tell, one.peer, reason)
            self._drop(one)

    @staticmethod
    def _heard(one: _Opening, first: Callable[[bytearray], bool]) -> bool:
        """Whether the first message is whole.

        Raises:
            OSError: there is no more now, or never.
        """
        while True:
            data = one.connection.recv(_PIECE)
            if not data:
                raise ConnectionResetError
            one.heard += data
            if first(one.heard):
                return True

    def _over(self, one: _Opening) -> None:
        """Hand it over."""
        self._selector.unregister(one.connection)
        del self._all[one.connection]
        one.connection.setblocking(True)
        self._opened(one.connection, one.peer, bytes(one.heard))

    def _drop(self, one: _Opening) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one.connection)
        self._all.pop(one.connection, None)
        one.connection.close()
