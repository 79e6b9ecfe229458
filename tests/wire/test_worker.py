"""The worker: a connection is served, handed over or dropped, and never forgotten."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import wait_for
from tests.hostile.server import free_port
from tests.sockets import unread
from xds.wire.worker import Worker


@contextmanager
def echoing(**pace: object) -> Iterator[int]:
    """A server that gives bodies back, on the port that comes; it must stop soon when it is told to."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.wire.echoing", str(port), json.dumps(pace)])
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
