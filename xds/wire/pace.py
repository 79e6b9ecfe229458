"""How long a peer may take, and a socket that holds it to that."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pace:
    """How long peers may take; see ``settings.Server``."""

    header_seconds: float = 10.0
    stall_seconds: float = 10.0
    least_bytes_per_second: int = 1024
    upload_threads: int = 8
    carrier_threads: int = 12  # TLS connections to image processes at once
    images_socket: str = ""  # where connections for images are handed to; empty: served here
    images_paths: tuple[str, ...] = ("/imaging-source", "/dicomweb", "/wado")
    takes_handed: bool = False  # this worker is handed its connections


class Paced:
    """A socket whose peer must keep a least rate, in both directions, and never stall."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self.raw, self._pace = sock, pace
        self.restart()

    def restart(self) -> None:
        """Count anew, for a new request."""
        self._waited, self._bytes = 0.0, 0

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.raw, attribute)

    def _count(self, started: float, count: int) -> None:
        """Only waiting for the peer counts, not our own work between."""
        self._waited += time.monotonic() - started
        self._bytes += count
        if self._waited > self._pace.stall_seconds + self._bytes / self._pace.least_bytes_per_second:
            raise ConnectionResetError(errno.ECONNRESET, "the peer is too slow")

    def recv(self, size: int) -> bytes:
        started = time.monotonic()
        self.raw.settimeout(self._pace.stall_seconds)
        try:
            data = self.raw.recv(size)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the peer has stalled") from None
        self._count(started, len(data))
        return data

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        self.raw.settimeout(self._pace.stall_seconds)
        while len(view):
            started = time.monotonic()
            try:
                sent = self.raw.send(view[:PIECE])
            except TimeoutError:
                raise ConnectionResetError(errno.ECONNRESET, "the peer has stalled") from None
            self._count(started, sent)
            view = view[sent:]


PIECE = 256 * 1024
