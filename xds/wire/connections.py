"""Connections, what has been gathered of their next requests, and which gives way when there are too many."""

from __future__ import annotations

import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from gunicorn import http
from gunicorn import sock as gunicorn_sock
from gunicorn.workers.gthread import TConn

from xds.wire import revocation
from xds.wire.head import Head, Reader
from xds.wire.pace import Pace, Paced
from xds.wire.peers import Peer
from xds.wire.refusals import Reason


class Connection(TConn):  # type: ignore[misc]
    """A connection with what has been gathered of its next request."""

    def __init__(
        self, cfg: Any, sock: socket.socket, peer: Peer, server: Any, pace: Pace, tell: Callable[[Reason, str], None]
    ) -> None:
        super().__init__(cfg, sock, peer.address, server)
        self.pace, self.peer, self._tell = pace, peer, tell
        self.sock = Paced(sock, pace, peer, tell)
        self.parser: Any
        self.gathered = bytearray()
        self.begun = time.monotonic()
        self.deadline = self.begun + pace.header_seconds
        self.greeted = not cfg.is_ssl
        self.lingering = False
        self.stays = False  # nobody else has taken this request over
        self.next_request()

    def next_request(self) -> None:
        self.head: Head | None = None
        self._reader = Reader()
        self.stays = False

    def greet(self) -> None:
        """Begin TLS, or go on with its handshake; at the end of that it is known who the peer is.

        Raises:
            OSError: not at its end yet, or it failed.
        """
        if not isinstance(self.sock.raw, ssl.SSLSocket):
            self.sock = Paced(gunicorn_sock.ssl_wrap_socket(self.sock.raw, self.cfg), self.pace, self.peer, self._tell)
        raw: Any = self.sock.raw
        raw.do_handshake()
        revocation.refuse(raw)
        self.greeted = True
        self.peer = self.sock.peer = Peer(self.peer.address, raw.getpeercert(binary_form=True) or b"", "https")

    def read_head(self) -> Head | None:
        """The head of the next request, once the whole of it is there.

        Raises:
            TooLong: it is over a limit.
        """
        self.head = self.head or self._reader.read(self.gathered)
        return self.head

    def say(self, said: bytes) -> bool:
        """Send a whole reply, without waiting for the peer; whether it went out."""
        try:
            self.sock.raw.setblocking(False)
            return bool(self.sock.raw.send(said) == len(said))
        except OSError:
            return False

    @property
    def is_whole(self) -> bool:
        """Whether all of the next request is there."""
        head = self.head
        return head is not None and head.length is not None and len(self.gathered) - head.end >= head.length

    @property
    def idle(self) -> bool:
        return not self.gathered and not self.lingering

    def init(self) -> None:
        """Hand the gathered bytes to the parser; called by the thread that serves the request."""
        if self.parser is None:
            self.parser = http.get_parser(self.cfg, self.sock, self.client)
            self.initialized = True
        self.parser.unreader.unread(bytes(self.gathered))
        self.gathered.clear()
        self.next_request()
        self.sock.restart()


class Gathering:
    """The connections that the event loop waits for, those of each address in the order in which they came."""

    def __init__(self) -> None:
        self._by_address: dict[str, dict[int, Connection]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        return (connection for those in list(self._by_address.values()) for connection in list(those.values()))

    def __contains__(self, connection: Connection) -> bool:
        return id(connection) in self._by_address.get(connection.peer.network, ())

    def add(self, connection: Connection) -> None:
        self._by_address.setdefault(connection.peer.network, {})[id(connection)] = connection
        self._count += 1

    def remove(self, connection: Connection) -> bool:
        """Forget one; whether it was there."""
        those = self._by_address.get(connection.peer.network, {})
        if those.pop(id(connection), None) is None:
            return False
        self._count -= 1
        if not those:
            del self._by_address[connection.peer.network]
        return True

    def of(self, network: str) -> int:
        """How many an address has."""
        return len(self._by_address.get(network, ()))

    def first(self, network: str) -> Connection | None:
        """Of an address' the oldest that is idle, or else the oldest."""
        those = self._by_address.get(network, {}).values()
        return next((one for one in those if one.idle), next(iter(those), None))

    def greediest(self, *others: Gathering) -> str:
        """The address that has most, here and in others."""
        counts = Counter({network: len(those) for network, those in self._by_address.items()})
        for other in others:
            counts.update({network: len(those) for network, those in other._by_address.items()})
        return max(counts, key=counts.__getitem__, default="")
