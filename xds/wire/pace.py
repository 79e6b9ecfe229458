"""How long a peer may take, how much of a process it may have, and a socket that holds it to that."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from xds.wire.peers import Peer
from xds.wire.refusals import Reason


@dataclass(frozen=True, slots=True)
class Pace:
    """What peers may take; see ``settings.Server``."""

    header_seconds: float = 10.0
    stall_seconds: float = 10.0
    least_bytes_per_second: int = 1024
    upload_threads: int = 8
    carrier_threads: int = 12  # TLS connections to image processes at once
    images_socket: str = ""  # where connections for images are handed to; empty: served here
    images_paths: tuple[str, ...] = ("/imaging-source", "/dicomweb", "/wado")
    takes_handed: bool = False  # this worker is handed its connections
    request_seconds: float = 14_400.0
    wait_seconds: float = 30.0
    queue_seconds: float = 0.05  # for a place, where more short requests come all the time than can be done
    share: float = 0.5
    soap: Mapping[str, str] = field(default_factory=dict)  # paths of SOAP addresses, with the code of who is busy there


class Paced:
    """A socket whose peer must keep a least rate, in both directions, never stall, and end in time."""

    def __init__(
        self, sock: socket.socket, pace: Pace, peer: Peer, tell: Callable[[Reason, str], None] | None = None
    ) -> None:
        self.raw, self.peer, self._pace, self._tell = sock, peer, pace, tell
        self._is_pressed: Callable[[], bool] = lambda: False
        self.turned_away = False  # its peer has its share: the request is not to be carried out
        self.restart()

    def restart(self) -> None:
        """Count anew, for a new request."""
        self._waited, self._bytes, self._begun = 0.0, 0, time.monotonic()

    def in_lane(self, is_pressed: Callable[[], bool]) -> None:
        """Be held to a higher rate while others are kept waiting by this peer."""
        self._is_pressed = is_pressed

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.raw, attribute)

    def _count(self, started: float, count: int) -> None:
        """For the rate only waiting for the peer counts, not our own work between."""
        now = time.monotonic()
        self._waited += now - started
        self._bytes += count
        least = self._pace.least_bytes_per_second * (PRESSED if self._is_pressed() else 1)
        if self._waited > self._pace.stall_seconds + self._bytes / least:
            raise self._broken_off(Reason.SLOW, "the peer is too slow")
        if now - self._begun > self._pace.request_seconds:
            raise self._broken_off(Reason.TOO_LONG_UNDER_WAY, "the request takes too long")

    def _broken_off(self, reason: Reason, text: str) -> ConnectionResetError:
        if self._tell is not None:
            self._tell(reason, self.peer.host)
        return ConnectionResetError(errno.ECONNRESET, text)

    def recv(self, size: int) -> bytes:
        started = time.monotonic()
        self.raw.settimeout(self._pace.stall_seconds)
        try:
            data = self.raw.recv(size)
        except TimeoutError:
            raise self._broken_off(Reason.SLOW, "the peer has stalled") from None
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
                raise self._broken_off(Reason.SLOW, "the peer has stalled") from None
            self._count(started, sent)
            view = view[sent:]


PIECE = 256 * 1024
PRESSED = 32
"""So many times the least rate is asked of who has several places while others wait for one."""
