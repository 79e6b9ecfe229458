"""The worker: a connection is served, handed over or dropped, and never forgotten."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path

import pytest
from gunicorn.sock import TCPSocket

from tests.conftest import wait_for
from tests.hostile.certificates import Authority, Signed
from tests.sockets import unread
from tests.wire.echoing import SLOW, SLOW_SECONDS
from xds.demo.site import free_port
from xds.wire.held_back import LEAST_SECONDS
from xds.wire.peers import Peer
from xds.wire.refusals import RETRY_SECONDS
from xds.wire.shares import _ENTRY, Shares
from xds.wire.worker import Worker


@contextmanager
def echoing(*, workers: int = 1, options: Mapping[str, object] | None = None, **pace: object) -> Iterator[int]:
    """A server that gives bodies back, on the port that comes; it must stop soon when it is told to."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.wire.echoing", str(port), json.dumps(pace), json.dumps(options or {})],
        env={**os.environ, "WORKERS": str(workers)},
    )
    try:
        unix = str((options or {}).get("bind", "")).removeprefix("unix:")
        wait_for(lambda: Path(unix).is_socket() if unix else _listens(port), 20)
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
        for _ in range(16):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            stack.callback(connection.close)
            served[_worker(connection)] += 1
        assert min(served.values()) >= 4  # on a busy machine one may be too slow to take its turn, now and then


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


# Over TLS, and in the process that a connection is handed to.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def peer(authority: Authority) -> Signed:
    return authority.signed("peer")


def tls(authority: Authority) -> dict[str, object]:
    node = authority.signed("node")
    return {"certfile": node.certificate, "keyfile": node.key, "do_handshake_on_connect": False,
            "ca_certs": authority.trusted, "cert_reqs": 2}  # fmt: skip


def told(port: int, path: str, authority: Authority, peer: Signed) -> dict[str, str]:
    """What the application is told of a peer that calls by TLS."""
    context = ssl.create_default_context(cafile=authority.trusted)
    context.load_cert_chain(peer.certificate, peer.key)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    connection.request("POST", path, b"body")
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"body")
    connection.close()
    return {key: value for key, value in reply.getheaders() if key.startswith("X-")}


def test_the_application_is_told_who_the_peer_is_by_whichever_process_it_is_served(
    authority: Authority, peer: Signed, tmp_path: Path
) -> None:
    path = str(tmp_path / "images.sock")
    images = echoing(takes_handed=True, options={"bind": f"unix:{path}", "keepalive": 0})
    with images, echoing(images_socket=path, options=tls(authority)) as port:
        here, there, again = (told(port, path, authority, peer) for path in ("/", "/wado", "/%64icomweb/studies"))
    der = ssl.PEM_cert_to_DER_cert(Path(peer.certificate).read_text())
    assert here["X-Certificate"] == hashlib.sha256(der).hexdigest()
    assert (here["X-Key"], here["X-Scheme"], here["X-Address"]) == (Peer("", der).key, "https", "127.0.0.1")
    assert here.pop("X-Worker") != there.pop("X-Worker") == again.pop("X-Worker")
    assert here == there == again


def test_without_a_certificate_none_is_told() -> None:
    with echoing() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/", b"x", {"X-Forwarded-Client-Cert": "mine"})
        reply = connection.getresponse()
        reply.read()
        connection.close()
    assert reply.headers["X-Certificate"] == hashlib.sha256(b"").hexdigest()
    assert (reply.headers["X-Key"], reply.headers["X-Scheme"]) == ("127.0.0.1", "http")


def test_a_folded_header_is_refused() -> None:
    """RFC 9112: 5.2; two servers in a row may read it in two ways."""
    with echoing() as port, socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 0\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 400"


UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


def test_who_has_waited_long_for_a_place_is_told_to_come_again() -> None:
    with (
        echoing(upload_threads=1, share=1.0, wait_seconds=0.5) as port,
        socket.create_connection(("127.0.0.1", port), 10) as first,
        socket.create_connection(("127.0.0.1", port), 10) as second,
    ):
        first.sendall(UPLOAD)
        wait_for(lambda: unread(first) == 0)
        second.sendall(UPLOAD)
        assert second.recv(4096).startswith(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: ")
        first.sendall(b"x" * 1_000_000)
        assert first.recv(12) == b"HTTP/1.1 200"


def test_whether_the_node_is_well_is_answered_though_no_other_thread_is_free() -> None:
    with echoing(upload_threads=1, share=1.0, options={"threads": 1}) as port, contextlib.ExitStack() as stack:
        for sender in (b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + sender)
        for path in ("/healthz", "/readyz", "/%68ealthz"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            assert connection.getresponse().status == 200
            connection.close()


def test_a_request_that_takes_longer_than_any_may_is_broken_off() -> None:
    with echoing(request_seconds=1.0) as port, socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(UPLOAD)
        sock.settimeout(0.05)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 20:
                sock.sendall(b"x" * 10_000 if time.monotonic() - started < 0.5 else b"x")
                with contextlib.suppress(TimeoutError):
                    assert sock.recv(1) == b""
                    break
        assert time.monotonic() - started < 10


def test_what_tls_has_read_ahead_of_a_request_is_a_request_too(authority: Authority, peer: Signed) -> None:
    """Two requests in one record: the second makes no socket readable."""
    context = ssl.create_default_context(cafile=authority.trusted)
    context.load_cert_chain(peer.certificate, peer.key)
    with (
        echoing(options=tls(authority)) as port,
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000
        sock.sendall(one * 3)
        data = b""
        while data.count(b"HTTP/1.1 200") < 3 or not data.endswith(b"x" * 70_000):
            data += sock.recv(65536)
        assert data.count(b"x" * 70_000) == 3


def test_in_a_flood_who_is_turned_away_is_told_to_come_again_only_after_a_while() -> None:
    with echoing(queue_seconds=SLOW_SECONDS / 2, share=1.0, options={"threads": 1}) as port:
        some = threading.Event()
        with ThreadPoolExecutor(12) as clients:
            told = [one for one in clients.map(lambda _: _pressing(port, some), range(12)) if one]
        assert min(told) >= LEAST_SECONDS
        wait_for(lambda: _asked(port)[0] == 200)  # it is over


def _pressing(port: int, some: threading.Event) -> float:
    """Seconds until it was said to come again, of who asks without a pause until then; 0 where others were told so."""
    while not some.is_set():
        began = time.monotonic()
        status, again = _asked(port)
        if status != 200:
            some.set()
            assert (status, again) == (503, str(RETRY_SECONDS))
            return time.monotonic() - began
    return 0


def _asked(port: int) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", SLOW)
        reply = connection.getresponse()
        reply.read()
        return reply.status, reply.headers["Retry-After"]
