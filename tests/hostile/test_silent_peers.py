"""More connections that say nothing than a process has: the oldest give way, and who has something to say is served."""

from __future__ import annotations

import contextlib
import itertools
import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.certificates import Authority, Signed, known
from tests.hostile.server import Served, ask, connected, head
from xds.wire.client import Client

pytestmark = pytest.mark.large

SILENT = "127.0.0.2"
HEALTHZ = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
METRICS = [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"]


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def silent(port: int, count: int, begin: bytes = b"") -> Iterator[None]:
    """So many connections of one peer, each opened anew when it is dropped."""
    stop, full = threading.Event(), threading.Event()

    def hold() -> None:
        with selectors.DefaultSelector() as ready, contextlib.ExitStack() as stack:

            def opened() -> None:
                sock = connected(port, source=SILENT)
                stack.callback(sock.close)
                if begin:
                    sock.sendall(begin)
                ready.register(sock, selectors.EVENT_READ)

            for _ in range(count):
                opened()
            full.set()
            while not stop.is_set():
                for key, _ in ready.select(0.05):
                    assert isinstance(key.fileobj, socket.socket)
                    with contextlib.suppress(OSError):
                        if key.fileobj.recv(4096):
                            continue
                    ready.unregister(key.fileobj)
                    key.fileobj.close()
                    with contextlib.suppress(OSError):
                        opened()

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        assert full.wait(30)
        yield
    finally:
        stop.set()
        holding.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("silent")).start()
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (b"", b"connections"),
        (b"G", b"connections"),
        (head("/registry", length=9), b"connections"),
        (head("/repository", length=16_000_000), b"places"),
    ],
    ids=["nothing", "a byte", "a header", "headers of long bodies"],
)
def test_1100_connections_of_one_peer_keep_no_other_out(served: Served, begin: bytes, reason: bytes) -> None:
    with silent(served.port, 1100, begin):
        for _ in range(5):
            started = time.monotonic()
            got = ask(served.port, HEALTHZ)
            assert got is not None
            assert got.status == 200
            assert time.monotonic() - started < 3
        served.found()
        metrics = ask(served.port, METRICS)
    assert metrics is not None
    assert b'xds_refused_total{reason="%s"}' % reason in metrics.body


def test_a_connection_that_is_used_does_not_give_way_to_those_of_another(served: Served) -> None:
    with connected(served.port) as kept:
        for count in itertools.count():
            kept.sendall(HEALTHZ[0])
            assert kept.recv(12) == b"HTTP/1.1 200"
            kept.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while kept.recv(4096):
                    pass
            kept.settimeout(60)
            if count:
                break
            with silent(served.port, 1100):
                pass


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    node = authority.signed("node")
    tls = {"certificate": node.certificate, "key": node.key, "trusted": authority.trusted}
    running = Served(
        tmp_path_factory.mktemp("secure"), {"tls": tls, "peers": known("consumer", "burst")}, scheme="https"
    ).start()
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("count", [400, 1100])
@pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_handshakes_that_go_no_further_keep_no_other_out(
    secure: Served, authority: Authority, count: int, begin: bytes
) -> None:
    ours: Signed = authority.signed("consumer")
    with silent(secure.port, count, begin):
        for _ in range(5):
            registry = Client(f"{secure.url}/registry", certificate=ours.certificate, key=ours.key,
                              trusted=authority.trusted, seconds=10)  # fmt: skip
            started = time.monotonic()
            secure.found(client=registry)
            assert time.monotonic() - started < 8


def test_many_handshakes_at_once_of_one_peer_are_all_finished(
    secure: Served, authority: Authority, tmp_path: Path
) -> None:
    """Whoever gives way has been silent for a while."""
    ours, failed = authority.signed("burst"), list[Exception]()

    def asked(number: int) -> None:
        client = Client(f"{secure.url}/registry", certificate=ours.certificate, key=ours.key,
                        trusted=authority.trusted, seconds=60)  # fmt: skip
        try:
            secure.found(client=client)
        except Exception as problem:
            failed.append(problem)

    threads = [threading.Thread(target=asked, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
