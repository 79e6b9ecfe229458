"""The lanes of a worker: which threads serve which requests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from xds.wire.connections import Connection
from xds.wire.head import SMALL_BODY_BYTES
from xds.wire.lanes import Lane
from xds.wire.pace import Pace
from xds.wire.places import Places

HEALTH_PATHS, HEALTH_THREADS, HEALTH_PLACES = ("/healthz", "/readyz"), 2, 16


class Lanes:
    """Requests whose body is small, long bodies, TLS connections to image processes, health, and who is turned away."""

    def __init__(self, pace: Pace, threads: int, connections: int) -> None:
        """``threads``: for short requests of one peer; ``connections``: as many as may be open."""
        waiting = Places(connections * 3 // 4, pace.share)  # the rest gives way, or is being served
        queue = math.inf if pace.takes_handed else pace.queue_seconds  # images take their time, and are waited for
        lane = partial(Lane[Connection], share=pace.share, waiting=waiting, wait_seconds=pace.wait_seconds)
        self.short = lane("short", threads, queue_seconds=queue)
        self.uploads = lane("upload", pace.upload_threads)
        self.carriers = lane("carrier", pace.carrier_threads)
        self.health = Lane[Connection]("health", HEALTH_THREADS, pace.share, Places(HEALTH_PLACES, pace.share))
        self.turning_away = Lane[Connection]("turning-away", 1, pace.share, Places(connections, pace.share))

    def __iter__(self) -> Iterator[Lane[Connection]]:
        return iter((self.short, self.uploads, self.carriers, self.health, self.turning_away))

    def of(self, connection: Connection) -> Lane[Connection] | None:
        """Who serves the request that a connection has begun; None while it has not, or a small body is not whole."""
        head = connection.head
        if head is None:
            return None
        if head.length is None or head.length > SMALL_BODY_BYTES:
            return self.uploads
        if not connection.is_whole:
            return None
        return self.health if head.path in HEALTH_PATHS else self.short
