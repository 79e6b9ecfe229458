"""A peer that holds all it can get: uploads, answers, image requests.  Others are served beside it, the node is well.

The greedy one calls from another address of the loopback, or by another certificate.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.hostile.certificates import Authority, Signed, known
from tests.hostile.server import Served, ask, connected, head, reply_of
from tests.imaging.images import an_instance, put
from tests.wire.messages import an_envelope
from xds.ebxml import xdsb
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.wire.client import Client

pytestmark = pytest.mark.large

GREEDY = "127.0.0.2"
HEALTHZ = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
SECONDS = 5.0
"""That an innocent request may take on a busy machine; what is tried here would hold it up for longer."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("greedy"), {"repository": {"streams": 40}}).start()
    yield running
    assert running.stop() == 0


@contextlib.contextmanager
def kept_busy(
    count: int, connect: Callable[[], socket.socket], go_on: Callable[[socket.socket], None]
) -> Iterator[None]:
    """So many connections on which something goes on until the test has seen enough."""
    stop, begun = threading.Event(), threading.Semaphore(0)

    def run() -> None:
        with contextlib.suppress(OSError), connect() as sock:
            begun.release()
            while not stop.wait(0.1):
                go_on(sock)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert begun.acquire(timeout=20)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def is_well(served: Served, source: str) -> None:
    got = ask(served.port, HEALTHZ, source=source)
    assert got is not None
    assert got.status == 200


def test_slow_uploads_of_one_peer_keep_no_other_out(served: Served, tmp_path: Path) -> None:
    def begun() -> socket.socket:
        sock = connected(served.port, source=GREEDY)
        sock.sendall(head("/repository", length=16_000_000))
        return sock

    with kept_busy(40, begun, lambda sock: sock.sendall(b" " * 1200)):
        time_taken = timed(lambda: served.provide(os.urandom(80_000), tmp_path))
        assert time_taken < SECONDS
        for source in ("127.0.0.1", GREEDY):
            assert timed(lambda source=source: is_well(served, source)) < SECONDS  # type: ignore[misc]


def test_behind_a_proxy_who_is_slow_gives_way_to_those_who_wait(tmp_path: Path) -> None:
    """There all peers are one, and its share is everything."""
    served = Served(tmp_path / "site", {"server": {"share": 1.0, "stall_seconds": 1.0}}).start()

    def begun() -> socket.socket:
        sock = connected(served.port)
        sock.sendall(head("/repository", length=16_000_000))
        return sock

    with kept_busy(20, begun, lambda sock: sock.sendall(b" " * 1200)):
        assert timed(lambda: served.provide(os.urandom(80_000), tmp_path)) < 2 * SECONDS
    assert served.stop() == 0


def test_slow_readers_of_one_peer_keep_no_other_out(served: Served, tmp_path: Path) -> None:
    big, small = served.provide(os.urandom(12_000_000), tmp_path), served.provide(b"small", tmp_path)
    body = etree.tostring(xdsb.write_retrieve_request([big])).decode()
    envelope = an_envelope(body=body, action=ITI_43.action)

    def asked() -> socket.socket:
        sock = connected(served.port, source=GREEDY, buffer_bytes=65536)
        sock.sendall(head("/repository", length=len(envelope)) + envelope)
        return sock

    with kept_busy(30, asked, lambda sock: sock.recv(32768)):
        for _ in range(3):
            assert timed(served.found) < SECONDS
            assert timed(lambda: served.retrieved(small)) < SECONDS
            assert timed(lambda: is_well(served, GREEDY)) < SECONDS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    """With mutual TLS and images: peers are told apart by their certificates, though all call from one address."""
    folder, node = tmp_path_factory.mktemp("secure"), authority.signed("node")
    put(folder / "images", "1.dcm", an_instance(1))
    tls = {"certificate": node.certificate, "key": node.key, "trusted": authority.trusted}
    imaging = {"folder": str(folder / "images"), "stow_rs": True}
    running = Served(
        folder, {"tls": tls, "imaging_source": imaging, "peers": known("greedy", "other")}, scheme="https"
    ).start()
    yield running
    assert running.stop() == 0


def by_tls(served: Served, authority: Authority, who: Signed) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=authority.trusted)
    context.load_cert_chain(who.certificate, who.key)
    return context.wrap_socket(connected(served.port), server_hostname="localhost")


STOW = (
    b'POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/related; type="application/dicom"; boundary=b\r\n'
    b"Content-Length: 50000000\r\n\r\n--b\r\nContent-Type: application/dicom\r\n\r\n"
)


@pytest.mark.parametrize("path", [b"/dicomweb/studies", b"/%64icomweb/studies"])
def test_slow_images_from_one_peer_keep_no_other_out(secure: Served, authority: Authority, path: bytes) -> None:
    greedy, other = authority.signed("greedy"), authority.signed("other")

    def begun() -> socket.socket:
        sock = by_tls(secure, authority, greedy)
        sock.sendall(STOW % path)
        return sock

    def searched() -> None:
        with by_tls(secure, authority, other) as sock:
            sock.sendall(b"GET /dicomweb/studies?PatientID=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = reply_of(sock)
            assert got is not None
            assert got.status in (200, 204)

    with kept_busy(30, begun, lambda sock: sock.sendall(b"x" * 600)):
        for _ in range(3):
            assert timed(searched) < SECONDS
        registry = Client(f"{secure.url}/registry", certificate=other.certificate, key=other.key,
                          trusted=authority.trusted)  # fmt: skip
        assert timed(lambda: secure.found(client=registry)) < SECONDS
