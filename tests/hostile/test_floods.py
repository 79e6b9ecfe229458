"""Floods against a real node: of connections, datagrams, chunks, elements and ids.  It serves others, and stays.

Small in ``make test``, and in ``make test-long`` as large as somebody with one foot in the door would make them.  What
must hold is that others are answered at all, that memory and disk stay bounded, and that nothing is left behind; how
fast, a busy machine may decide.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lxml import etree
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.builders import AUTHORITY, a_submission, an_entry, symbolic
from tests.conftest import wait_for
from tests.endpoints.test_syslog import QUERY
from tests.extent import size
from tests.hl7.test_v2 import adt
from tests.hostile.server import Reply, Served, ask, chunked, connected, head
from tests.hostile.test_expansive_xml import find
from tests.imaging.images import an_instance, saved
from tests.wire.messages import an_envelope
from xds.demo.site import free_port
from xds.ebxml import lcm, xdsb
from xds.metadata import to_ebxml
from xds.transactions.iti42_register_document_set_b import TRANSACTION as ITI_42
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.wire import mllp, syslog

pytestmark = pytest.mark.large

GREEDY = "127.0.0.2"
"""Whoever floods calls from here, and who must be served beside it from 127.0.0.1."""

MIB = 1024 * 1024
HEALTHZ = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]


class Ports:
    """Of the listeners beside the web."""

    def __init__(self) -> None:
        self.mllp, self.syslog, self.udp, self.cstore = (free_port() for _ in range(4))


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, ports: Ports) -> Iterator[Served]:
    """A node that listens in all its ways."""
    folder = tmp_path_factory.mktemp("floods")
    (folder / "images").mkdir()
    sections = {
        "mllp": {"listen": f"127.0.0.1:{ports.mllp}"},
        "syslog": {"tcp": f"127.0.0.1:{ports.syslog}", "udp": f"127.0.0.1:{ports.udp}"},
        "imaging_source": {
            "folder": str(folder / "images"), "stow_rs": True, "cstore_listen": f"127.0.0.1:{ports.cstore}",
            "retrieve_ae_title": "XDS",
        },
    }  # fmt: skip
    served = Served(folder, sections).start()
    for port in (ports.mllp, ports.syslog, ports.cstore):
        wait_for(lambda port=port: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    yield served
    assert served.stop() == 0
    assert "Traceback" not in served.log


@pytest.fixture
def served(running: Served, tmp_path: Path) -> Iterator[Served]:
    """The node, and what it promises after each flood: bounded memory, nothing left, and it serves on."""
    with running.memory_within(300 * MIB):
        yield running
    wait_for(lambda: not running.staged())
    request = running.provide(b"good", tmp_path / "good")
    assert running.retrieved(request) == b"good"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that keeps nothing but what a test makes it keep."""
    served = Served(tmp_path_factory.mktemp("quiet")).start()
    yield served
    assert served.stop() == 0


def is_well(served: Served) -> None:
    got = ask(served.port, HEALTHZ)
    assert got is not None
    assert got.status == 200


def posted(served: Served, data: bytes, path: str = "/registry", source: str = GREEDY) -> Reply | None:
    return ask(served.port, [head(path, length=len(data)), data], source=source)


@contextlib.contextmanager
def meanwhile(count: int, do: Callable[[], object]) -> Iterator[None]:
    """So many threads that do something again and again, whatever becomes of it."""
    stop = threading.Event()

    def again() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, KeyError, AssertionError):
                do()

    threads = [threading.Thread(target=again) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def kept_bytes(served: Served) -> int:
    return sum(path.stat().st_size for path in served.data.rglob("*") if path.is_file())


# Connections.


BROKEN = [
    b"", b"GET", head("/repository", length=100_000) + b"<a", head("/registry")[:-2],
    head("/repository", "multipart/related; boundary=b") + b"5\r\n--b\r\n",
    b"GET /console HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\0",
]  # fmt: skip


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def broken_off(served: Served, count: int) -> None:
    for number in range(count):
        with contextlib.suppress(OSError), connected(served.port, source=GREEDY) as sock:
            sock.sendall(BROKEN[number % len(BROKEN)])
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_connections_that_are_broken_off_leave_neither_descriptor_nor_thread_nor_file(served: Served) -> None:
    workers = served.processes()
    broken_off(served, 100)  # what is opened once and kept, such as connections to the database
    before = {pid: (descriptors(pid), threads_of(pid)) for pid in workers}
    broken_off(served, size(400, 5000))

    def left() -> dict[int, tuple[int, int]]:
        now = {pid: (descriptors(pid) - fds, threads_of(pid) - threads) for pid, (fds, threads) in before.items()}
        # A thread of a pool, which are so many and no more, keeps its connections to the database.
        return {pid: (fds, more) for pid, (fds, more) in now.items() if fds > 10 + 5 * max(more, 0) or more > 40}

    with contextlib.suppress(AssertionError):
        wait_for(lambda: not left(), 40)
    assert left() == {}
    assert served.processes() == workers


@contextlib.contextmanager
def holding(port: int, count: int, data: bytes) -> Iterator[None]:
    """So many connections that say this and no more, each opened anew when it is dropped."""
    stop, full = threading.Event(), threading.Event()

    def hold() -> None:
        held = [connected(port, source=GREEDY) for _ in range(count)]
        for one in held:
            one.sendall(data)
            one.setblocking(False)
        full.set()
        while not stop.wait(0.05):
            for number, one in enumerate(held):
                with contextlib.suppress(BlockingIOError):
                    if _ended(one):
                        one.close()
                        with contextlib.suppress(OSError):
                            held[number] = connected(port, source=GREEDY)
                            held[number].sendall(data)
                            held[number].setblocking(False)
        for one in held:
            one.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert full.wait(60)
        yield
    finally:
        stop.set()
        thread.join()


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        raise
    except OSError:
        return True


@pytest.mark.parametrize("data", [b"", b"\x0b"], ids=["silent", "half a message"])
def test_crowds_at_the_feed_keep_nobody_from_feeding(served: Served, ports: Ports, data: bytes) -> None:
    message = adt(pid=f"fed^^^&{AUTHORITY}&ISO").encode()
    with holding(ports.mllp, size(40, 80), data):
        for _ in range(3):
            assert b"MSA|AA" in mllp.send("127.0.0.1", ports.mllp, message, 60)


@pytest.mark.parametrize("data", [b"", b"100 <85>1 half"], ids=["silent", "half a message"])
def test_crowds_at_the_audit_repository_keep_no_record_out(served: Served, ports: Ports, data: bytes) -> None:
    with holding(ports.syslog, size(60, 540), data):
        before = received(served, "tcp")
        syslog.send(f"tcp://127.0.0.1:{ports.syslog}", QUERY)
        wait_for(lambda: received(served, "tcp") > before)


@pytest.mark.parametrize("data", [b"", b"\x01\0\0\0\x10\0" + bytes(10)], ids=["silent", "half a PDU"])
def test_crowds_at_the_image_listener_keep_no_modality_out(served: Served, ports: Ports, data: bytes) -> None:
    def echoed() -> bool:
        entity = AE("MODALITY")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 60
        association = entity.associate("127.0.0.1", ports.cstore, [build_context(Verification)], "XDS")
        if not association.is_established:
            return False
        status = association.send_c_echo()
        association.release()
        return status.get("Status") == 0

    with holding(ports.cstore, size(20, 80), data):
        for _ in range(3):
            assert echoed()


def received(served: Served, transport: str, what: str = "") -> int:
    """How many syslog messages were counted, of a transport."""
    got = ask(served.port, [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert got is not None
    lines = [line for line in got.body.decode().splitlines() if line.startswith("xds_audit_received_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if f'"{transport}"' in line and what in line)


def test_a_flood_of_datagrams_is_kept_or_counted_and_keeps_no_record_out(served: Served, ports: Ports) -> None:
    count, before, data = size(3000, 60_000), received(served, "udp"), syslog.message(QUERY)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(count):
            sending.sendto(data, ("127.0.0.1", ports.udp))
    kept = received(served, "tcp")
    syslog.send(f"tcp://127.0.0.1:{ports.syslog}", QUERY)
    wait_for(lambda: received(served, "tcp") > kept, 120)
    is_well(served)
    table = Path("/proc/net/udp").read_text() if Path("/proc/net/udp").exists() else ""
    if f":{ports.udp:04X} " in table:  # where the kernel tells what it has dropped, nothing is lost unseen
        wait_for(lambda: received(served, "udp") - before == count, 240)


# Bodies.


def test_chunks_of_a_byte_are_read_or_refused(served: Served) -> None:
    pieces = b"".join(chunked([b" "] * size(20_000, 300_000)))
    got = list[Reply | None]()
    thread = threading.Thread(target=lambda: got.append(ask(served.port, [head("/registry"), pieces], source=GREEDY)))
    thread.start()
    while thread.is_alive():
        is_well(served)
    (reply,) = got
    assert reply is not None
    assert 400 <= reply.status < 500


def test_many_large_messages_of_small_elements_at_once_take_no_memory_for_all(served: Served) -> None:
    data = an_envelope(body="<x>" + "<a/>" * size(750_000, 7_700_000) + "</x>")
    threads = [threading.Thread(target=posted, args=(served, data)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        is_well(served)
        served.found()
    for thread in threads:
        thread.join()


def test_what_is_refused_for_its_length_is_not_kept(quiet: Served) -> None:
    value = "<rim:Value>'" + "x" * 240 + "'</rim:Value>"
    data = find(values=value * (size(2, 30) * MIB // len(value)))
    before = kept_bytes(quiet)
    for _ in range(3):
        got = posted(quiet, data)
        assert got is not None
        assert b"ResponseStatusType:Success" not in got.body
    assert kept_bytes(quiet) - before < MIB


def test_what_is_asked_for_beyond_measure_is_refused_and_not_kept(quiet: Served) -> None:
    wanted = [xdsb.DocumentRequest("1.2.3", f"1.2.{number}") for number in range(size(3000, 60_000))]
    body = etree.tostring(xdsb.write_retrieve_request(wanted)).decode()
    before = kept_bytes(quiet)
    got = posted(quiet, an_envelope(body=body, action=ITI_43.action), "/repository")
    assert got is not None
    assert b"XDSTooManyResults" in got.body or b":Fault" in got.body
    assert kept_bytes(quiet) - before < MIB


def test_one_document_that_is_asked_for_many_times_is_not_held_in_memory(served: Served, tmp_path: Path) -> None:
    request = served.provide(b"A" * MIB, tmp_path)
    body = etree.tostring(xdsb.write_retrieve_request([request] * size(100, 300))).decode()
    data, came = an_envelope(body=body, action=ITI_43.action), 0
    with served.memory_within(100 * MIB), connected(served.port, source=GREEDY) as sock:
        sock.sendall(
            head("/repository", length=len(data)).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + data
        )
        while piece := sock.recv(MIB):
            came += len(piece)
    assert came > 0


def test_a_huge_picture_is_drawn_or_refused_while_others_are_answered(served: Served) -> None:
    side = size(2000, 8000)
    uids = {"StudyInstanceUID": "1.2.78", "SeriesInstanceUID": "1.2.78.1", "SOPInstanceUID": "1.2.78.2"}
    shape = {"Rows": side, "Columns": side, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": 1}
    one = saved(an_instance(1, **shape, **uids, PixelRepresentation=0, PhotometricInterpretation="MONOCHROME2",
                            PixelData=bytes(side * side)))  # fmt: skip
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    stored = ask(served.port, [head("/dicomweb/studies", kind, length=len(body)), body], source=GREEDY)
    assert stored is not None
    assert stored.status == 200
    path = "/dicomweb/studies/1.2.78/series/1.2.78.1/instances/1.2.78.2/rendered"
    asked = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: image/jpeg\r\n\r\n".encode()]
    with meanwhile(2, lambda: ask(served.port, asked, source=GREEDY)):
        for _ in range(5):
            is_well(served)
            served.found()


def test_one_huge_submission_is_refused_while_others_are_answered(served: Served) -> None:
    entries = [an_entry(repository_unique_id="1.2.3") for _ in range(size(1500, 6500))]
    body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(symbolic(a_submission(entries=entries)))))
    data, got = an_envelope(body=body.decode(), action=ITI_42.action), list[Reply | None]()
    thread = threading.Thread(target=lambda: got.append(posted(served, data)))
    thread.start()
    while thread.is_alive():
        served.found()
    (reply,) = got
    assert reply is not None
    assert b"ResponseStatusType:Success" not in reply.body
