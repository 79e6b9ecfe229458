"""A way to a database that can be cut: at once, for everybody, or in the middle of what one says."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Heard = Callable[[bytes, bytes], str]
"""What becomes of bytes that a client says, after those that it has said: ``"on"`` they go, ``"lost"`` before they
arrive, ``"unanswered"`` after."""

PIECE, PAST = 65536, 65536


class Cuttable:
    """Carries bytes to a port and back."""

    def __init__(self, port: int) -> None:
        self._to, self.heard = port, _on
        self.away = False
        """Whoever comes is turned away."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def go_away(self) -> None:
        """Cut everybody, and let nobody in."""
        self.away = True
        for one in list(self._open):
            _end(one)

    def close(self) -> None:
        """No more."""
        self._listener.close()
        self.go_away()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.away:
                _end(client)
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open |= {client, server}
            threading.Thread(target=self._say, args=(client, server), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client), daemon=True).start()

    def _say(self, client: socket.socket, server: socket.socket) -> None:
        past = b""
        with contextlib.suppress(OSError):
            while data := client.recv(PIECE):
                becomes = self.heard(data, past)
                past = (past + data)[-PAST:]
                if becomes == "unanswered":
                    _end(client)  # before the server can say anything
                if becomes != "lost":
                    server.sendall(data)
                if becomes != "on":
                    break
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)
        _end(client)

    def _carry(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(PIECE):
                client.sendall(data)
        _end(client)
        _end(server)
        self._open -= {client, server}


def _on(_said: bytes, _past: bytes) -> str:
    return "on"


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


@contextmanager
def cuttable(port: int) -> Iterator[Cuttable]:
    """A way to a port, until it is left."""
    way = Cuttable(port)
    try:
        yield way
    finally:
        way.close()
