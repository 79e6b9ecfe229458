"""One connection that sends a long header, and then a byte at a time: it costs nobody else anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.extent import size
from tests.hostile.server import Served, ask, connected, reply_of, send
from xds.wire.head import HEAD_LINES

pytestmark = pytest.mark.large

HEALTHZ = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
FIRST = b"POST /registry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("dribbling"), {"server": {"header_seconds": 3.0}}).start()
    yield running
    assert running.stop() == 0


@contextmanager
def dribbled(served: Served, head: bytes, connections: int) -> Iterator[list[bool]]:
    """Bodies that come byte by byte, as fast as they go; in the end, which connections were dropped meanwhile."""
    stop, dropped = threading.Event(), [False] * connections
    socks = [connected(served.port) for _ in range(connections)]
    for sock in socks:
        sock.sendall(head)

    def dribble() -> None:
        while not stop.is_set() and not all(dropped):
            for number, sock in enumerate(socks):
                try:
                    sock.send(b"x")
                except OSError:
                    dropped[number] = True
            time.sleep(0.0005)

    sending = threading.Thread(target=dribble)
    sending.start()
    try:
        yield dropped
    finally:
        stop.set()
        sending.join()
        for sock in socks:
            sock.close()


def seconds(served: Served) -> float:
    """How long an innocent ``/healthz`` takes."""
    started = time.monotonic()
    got = ask(served.port, HEALTHZ)
    assert got is not None
    assert got.status == 200
    return time.monotonic() - started


@pytest.mark.parametrize("lines", [b"a:" + b"b" * 600 + b"\r\n", b"a:\r\n"])
@pytest.mark.parametrize("count", [HEAD_LINES - 2, 15_500])
def test_a_body_that_is_dribbled_behind_a_long_header_keeps_nobody_waiting(
    served: Served, lines: bytes, count: int
) -> None:
    started = time.monotonic()
    with dribbled(served, FIRST + lines * count + b"\r\n", size(8, 60)):
        while time.monotonic() - started < 1.0:
            assert seconds(served) < size(1, 5)


def test_who_dribbles_is_dropped_at_the_deadline_though_it_goes_on_sending(served: Served) -> None:
    started = time.monotonic()
    with dribbled(served, FIRST + b"\r\n", 2) as dropped:
        while not all(dropped) and time.monotonic() - started < 20:
            seconds(served)
    assert all(dropped)
    assert time.monotonic() - started < 10


def test_a_header_of_too_many_lines_is_refused_before_it_ends(served: Served, tmp_path: Path) -> None:
    with connected(served.port) as sock:
        send(sock, [FIRST, *[b"a: b\r\n"] * (HEAD_LINES + 1)])
        got = reply_of(sock)
    assert got is not None
    assert got.status == 431
    metrics = ask(served.port, [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert metrics is not None
    assert b'xds_refused_total{reason="head"}' in metrics.body
    assert "peer.refused" in served.log
