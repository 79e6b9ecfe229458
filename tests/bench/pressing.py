"""A client that presses: many connections from many addresses, each asking again and again, whatever it is told."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench.figures import Broken

DONE, BUSY = b"ResponseStatusType:Success", (b"XDSRegistryBusy", b"XDSRepositoryBusy")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
READ_BYTES = 64 * 1024
LAST_SECONDS = 60.0
"""How long answers to what was asked in time are waited for."""


@dataclass(slots=True)
class Pressed:
    """What became of the requests: ``milliseconds`` of those that were carried out, ``when`` each was, in seconds."""

    seconds: float = 0.0
    sent: int = 0
    milliseconds: list[float] = field(default_factory=list)
    when: list[float] = field(default_factory=list)
    told_busy: int = 0
    busy_milliseconds: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)  # connections that ended without a word, by how

    @property
    def rate(self) -> float:
        """Requests carried out a second."""
        return len(self.milliseconds) / self.seconds

    @property
    def offered(self) -> float:
        """Requests sent a second."""
        return self.sent / self.seconds

    def p(self, percent: float) -> float:
        """Milliseconds that so many of a hundred of those carried out took at most."""
        return _of(self.milliseconds, percent)

    def busy_p(self, percent: float) -> float:
        """The same of those that were told to come again."""
        return _of(self.busy_milliseconds, percent)


def _of(milliseconds: Sequence[float], percent: float) -> float:
    listed = sorted(milliseconds)
    return listed[min(len(listed) - 1, int(len(listed) * percent / 100))] if listed else 0.0


class _Client:
    """One connection of one address, made anew whenever it has ended."""

    def __init__(self, port: int, address: str, poller: selectors.BaseSelector, due: float) -> None:
        self._port, self._address, self._poller, self.due = port, address, poller, due
        self._socket: socket.socket | None = None
        self._out, self._in = memoryview(b""), b""
        self.began = 0.0
        self.waits = False  # for an answer

    def send(self, request: bytes) -> None:
        """Begin a request."""
        self._out, self._in, self.began, self.waits = memoryview(request), b"", time.perf_counter(), True
        if self._socket is None:
            self._socket = socket.socket()
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setblocking(False)
            self._socket.bind((self._address, 0))
            self._socket.connect_ex(("127.0.0.1", self._port))
            self._poller.register(self._socket, selectors.EVENT_WRITE, self)
        else:
            self._poller.modify(self._socket, selectors.EVENT_WRITE, self)

    def on(self) -> bytes | None:
        """Go on writing or reading; the whole reply, once it is here.

        Raises:
            OSError: the connection has ended before.
        """
        assert self._socket is not None
        if self._out:
            try:
                self._out = self._out[self._socket.send(self._out) :]
            except BlockingIOError:
                return None
            if not self._out:
                self._poller.modify(self._socket, selectors.EVENT_READ, self)
            return None
        data = self._socket.recv(READ_BYTES)
        self._in += data
        end = self._in.find(b"\r\n\r\n")
        length = _LENGTH.search(self._in, 0, end + 4) if end >= 0 else None
        if length is not None and len(self._in) >= end + 4 + int(length[1]):
            self.waits = False
            reply = self._in
            if b"\r\nConnection: close" in reply[: end + 4]:
                self.end()
            return reply
        if not data:
            raise ConnectionResetError("closed")
        return None

    def end(self) -> None:
        """Let the connection go."""
        self.waits = False
        if self._socket is not None:
            self._poller.unregister(self._socket)
            self._socket.close()
            self._socket = None


def press(
    port: int, request: Callable[[int], bytes], *, clients: int, addresses: int, seconds: float, rate: float = 0.0
) -> Pressed:
    """Ask from so many connections; ``request`` gives the n-th as it is sent.

    ``rate``: as many a second in all as its connections can; 0: each asks as soon as it is answered.

    Raises:
        Broken: an answer is neither that it is done nor that somebody is to come again.
    """
    told, poller = Pressed(), selectors.DefaultSelector()
    started = time.perf_counter()
    pause = clients / rate if rate else 0.0
    made = [
        _Client(port, f"127.0.1.{1 + number % addresses}", poller, started + pause * number / clients)
        for number in range(clients)
    ]
    end = started + seconds
    try:
        while True:
            now = time.perf_counter()
            if now < end:
                for client in made:
                    if not client.waits and client.due <= now:
                        client.due = max(now, client.due + pause)
                        told.sent += 1
                        client.send(request(told.sent))
            elif not any(client.waits for client in made) or now > end + LAST_SECONDS:
                break
            for key, _ in poller.select(0.005):
                _look(key.data, told, started)
    finally:
        for client in made:
            client.end()
        poller.close()
    told.seconds = seconds
    told.lost["no answer"] += sum(client.waits for client in made)
    return told


def _look(client: _Client, told: Pressed, started: float) -> None:
    """Take what has come of one connection."""
    if not client.waits:  # it was kept, and has ended
        client.end()
        return
    try:
        reply = client.on()
    except OSError as problem:
        told.lost[type(problem).__name__] += 1
        client.end()
        return
    if reply is None:
        return
    now = time.perf_counter()
    took = (now - client.began) * 1000
    if DONE in reply:
        told.milliseconds.append(took)
        told.when.append(now - started)
    elif any(code in reply for code in BUSY):
        told.told_busy += 1
        told.busy_milliseconds.append(took)
    else:
        raise Broken(f"answered {reply[:200]!r}")
