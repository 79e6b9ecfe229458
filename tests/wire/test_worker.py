"""The worker: a connection is served, handed over or dropped, and never forgotten."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger

from gunicorn.sock import TCPSocket

from tests.conftest import wait_for
from tests.hostile.server import free_port
from tests.sockets import unread
from xds.wire.shares import _ENTRY, Shares
from xds.wire.worker import Worker


@contextmanager
def echoing(*, workers: int = 1, **pace: object) -> Iterator[int]:
    """A server that gives bodies back, on the port that comes; it must stop soon when it is told to."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.wire.echoing", str(port), json.dumps(pace)],
        env={**os.environ, "WORKERS": str(workers)},
    )
    try:
        wait_for(lambda: _listens(port), 20)
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_a_request_that_nobody_takes_over_is_served_though_its_body_comes_later() -> None:
    with echoing(images_socket="/nowhere/images.sock") as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.putrequest("POST", "/imaging-source")
        connection.putheader("Content-Length", "4")
        connection.endheaders()
        wait_for(lambda: unread(connection.sock) == 0)  # the head is looked at before the body comes
        connection.send(b"body")
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, b"body")
        connection.close()


def test_a_worker_told_to_stop_stays_told_whoever_asks_after_its_parent() -> None:
    worker = Worker.__new__(Worker)
    worker.alive, worker.ppid = False, os.getppid()
    worker.is_parent_alive()
    assert worker.alive is False


def test_a_worker_that_is_told_to_stop_while_it_starts_stops_without_an_error() -> None:
    worker = Worker.__new__(Worker)
    worker.alive, worker.poller, worker._accepting = False, selectors.DefaultSelector(), False
    worker._connections, worker.worker_connections = 0, 10
    listener = TCPSocket(("127.0.0.1", 0), _Unset(), getLogger())
    worker.sockets = [listener]
    worker.set_accept_enabled(True)  # as gunicorn does before it looks whether it is to stop
    worker.set_accept_enabled(False)
    assert listener.sock is None
    worker.poller.close()


class _Unset:
    """Settings of gunicorn's that say nothing."""

    is_ssl = False
    backlog = 1

    def __getattr__(self, _name: str) -> None:
        return None


def test_connections_that_are_kept_are_shared_evenly_by_the_workers() -> None:
    with echoing(workers=2) as port, contextlib.ExitStack() as stack:
        served = Counter[str]()
        wait_for(lambda: _workers(port) == 2)
        for _ in range(8):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            stack.callback(connection.close)
            served[_worker(connection)] += 1
        assert min(served.values()) >= 3  # on a busy machine one may be too slow to take its turn


def test_a_worker_that_has_died_leaves_its_share_to_the_others() -> None:
    shares = Shares()
    shares.note(1, 5)
    assert not shares.others_have_fewer(1, 5)
    assert shares.others_have_fewer(2, 6)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _ENTRY.pack_into(shares._memory, _ENTRY.size, gone.pid, 0)
    assert not shares.others_have_fewer(2, 6)


def _worker(connection: http.client.HTTPConnection) -> str:
    """Which process answers a connection."""
    connection.request("POST", "/", b"x")
    reply = connection.getresponse()
    reply.read()
    return reply.headers["X-Worker"]


def _workers(port: int) -> int:
    """How many processes answer: of connections that stay open together."""
    with contextlib.ExitStack() as stack:
        found = set()
        for _ in range(4):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            stack.callback(connection.close)
            found.add(_worker(connection))
        return len(found)
