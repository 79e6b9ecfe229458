"""Peers that are slow or stop half-way: nobody else waits for them, and they are not waited for without end."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.conftest import wait_for
from tests.hostile.server import Served, ask, connected, head, readyz_seconds, reply_of, send
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.wire.messages import an_envelope
from xds.ebxml import rs, xdsb
from xds.errors import ErrorCode, Status
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.wire.xml import name

pytestmark = pytest.mark.large

EXPLICIT = "1.2.840.10008.1.2.1"
SIZE = 8 * 1024 * 1024
"""Bytes of an instance: more than a connection's buffers hold in all of them together."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("slow")
    for number in (1, 2, 3, 4):
        put(folder / "images", f"{number}.dcm", an_instance(number, Rows=2048, Columns=2048, PixelData=bytes(SIZE)))
    sections = {
        "server": {"header_seconds": 2.0, "stall_seconds": 1.5, "upload_threads": 32},
        "imaging_source": {"folder": str(folder / "images"), "streams": 2},
    }
    running = Served(folder, sections).start()
    yield running
    assert running.stop() == 0


def halves() -> list[bytes]:
    """Half a header, a header and half of a small body, half of a large body."""
    body = b"x" * 50_000
    return [
        head("/registry", length=100)[:40],
        head("/registry", length=2 * len(body)) + body,
        head("/repository", length=10**8) + body,
    ]


def test_200_half_sent_requests_keep_nobody_waiting_and_are_dropped(served: Served, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connected(served.port)) for _ in range(200)]
        kinds = halves()
        for number, sock in enumerate(waiting):
            sock.sendall(kinds[number % 3])
        assert max(readyz_seconds(served.port) for _ in range(10)) < 1.0
        served.found()
        for number, sock in enumerate(waiting):
            got = reply_of(sock)
            assert got is None or got.status >= 400
            if number % 10 == 0:
                assert readyz_seconds(served.port) < 1.0
    assert readyz_seconds(served.port) < 1.0
    wait_for(lambda: not served.staged())


def test_a_peer_that_says_nothing_or_trickles_its_header_is_dropped(served: Served) -> None:
    with connected(served.port) as silent, connected(served.port) as sock:
        started = time.monotonic()
        while time.monotonic() - started < 30:
            try:
                sock.sendall(b"P")
                sock.settimeout(0.2)
                if not sock.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.monotonic() - started < 15
        assert reply_of(silent) is None


def test_a_slow_but_steady_sender_is_served(served: Served) -> None:
    envelope = an_envelope(body="<a/>", headers="<x:y xmlns:x='urn:x'>" + "z" * 400_000 + "</x:y>")
    with connected(served.port) as sock:
        sock.sendall(head("/registry", length=len(envelope)))
        for start in range(0, len(envelope), 50_000):
            time.sleep(0.1)
            sock.sendall(envelope[start : start + 50_000])
        got = reply_of(sock)
    assert got is not None
    assert got.status == 400


def an_image_request(served: Served, count: int = 4) -> list[bytes]:
    source = served.settings.imaging_source.retrieve_location_uid
    instances = tuple(
        xdsb.InstanceRequest(STUDY, SERIES, xdsb.DocumentRequest(source, f"{SERIES}.{number}"))
        for number in range(1, count + 1)
    )
    body = etree.tostring(xdsb.write_imaging_request(xdsb.ImagingRequest(instances, (EXPLICIT,)))).decode()
    envelope = an_envelope(body=body, action=RAD_69.action)
    return [head("/imaging-source", length=len(envelope)), envelope]


def status_of(served: Served, folder: Path) -> tuple[Status, list[str]]:
    """Ask for one image; how it went."""
    got = ask(served.port, an_image_request(served, 1))
    assert got is not None
    assert got.status == 200
    response = next(got.envelope(folder).iter(name("rs:RegistryResponse")))
    status, findings = rs.read_response(response)
    return status, [finding.code for finding in findings]


def a_slow_reader(served: Served, stack: contextlib.ExitStack) -> socket.socket:
    """A consumer that has the beginning of its images, and reads no further for now."""
    sock = stack.enter_context(connected(served.port, buffer_bytes=4096))
    send(sock, an_image_request(served))
    assert sock.recv(12) == b"HTTP/1.1 200"
    return sock


def keep_reading(sockets: list[socket.socket]) -> None:
    """Slowly, but fast enough not to be dropped."""
    for sock in sockets:
        sock.recv(20_000)


def test_slow_readers_of_images_starve_nobody_and_the_next_is_told_to_come_back(served: Served, tmp_path: Path) -> None:
    wait_for(lambda: status_of(served, tmp_path) == (Status.SUCCESS, []))  # the index is made
    with contextlib.ExitStack() as stack:
        slow = [a_slow_reader(served, stack) for _ in range(2)]
        for _ in range(10):
            keep_reading(slow)
            started = time.monotonic()
            served.found()
            assert time.monotonic() - started < 5
            assert status_of(served, tmp_path) == (Status.FAILURE, [ErrorCode.REPOSITORY_BUSY])
        assert readyz_seconds(served.port) < 1.0
    wait_for(lambda: status_of(served, tmp_path) == (Status.SUCCESS, []))


def test_a_reader_of_images_that_stops_is_dropped_and_its_place_given_on(served: Served, tmp_path: Path) -> None:
    wait_for(lambda: status_of(served, tmp_path) == (Status.SUCCESS, []))
    with contextlib.ExitStack() as stack:
        stopped = [a_slow_reader(served, stack) for _ in range(2)]
        assert status_of(served, tmp_path)[1] == [ErrorCode.REPOSITORY_BUSY]
        wait_for(lambda: status_of(served, tmp_path) == (Status.SUCCESS, []), 20)
        for sock in stopped:
            assert reply_of(sock) is None
