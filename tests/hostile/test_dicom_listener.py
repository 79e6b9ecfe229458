"""C-STORE's listener: half a PDU, a length that lies, silence and crowds keep nobody else out."""

from __future__ import annotations

import contextlib
import itertools
import resource
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.conftest import wait_for
from tests.hostile.certificates import Authority
from xds.archives.folder import FolderArchive
from xds.archives.intake import Intake
from xds.endpoints.cstore import StorageScp
from xds.system.disk import Reserve
from xds.wire import associations, openings
from xds.wire import listener_places as places
from xds.wire.associations import Bounds, request_is_whole
from xds.wire.listener_places import Refusals
from xds.wire.mllp import server_context
from xds.wire.openings import Nonsense

pytestmark = pytest.mark.large


class Counted:
    """What is refused, by reason."""

    def __init__(self) -> None:
        self.reasons = list[str]()

    def __call__(self, _listener: str, reason: str) -> None:
        self.reasons.append(reason)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def scp(tmp_path: Path, counted: Counted) -> Iterator[StorageScp]:
    yield from serving(tmp_path, counted, None)


def serving(tmp_path: Path, counted: Counted, context: ssl.SSLContext | None) -> Iterator[StorageScp]:
    (tmp_path / "images").mkdir()
    archive = FolderArchive(tmp_path / "images", tmp_path / "index.sqlite", tmp_path / "spool")

    def unrecorded(*_: Any) -> Any:
        raise AssertionError

    refusals = Refusals("cstore", counted)
    running = StorageScp(
        Intake(archive), "XDS", ("127.0.0.1", 0), unrecorded, context=context, refusals=refusals, associations=4
    )
    yield running
    running.close()
    archive.close()


def echoed(port: int, context: ssl.SSLContext | None = None) -> bool:
    association = associated(port, context)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return status.get("Status") == 0


def associated(port: int, context: ssl.SSLContext | None = None) -> Any:
    entity = AE("SOMEBODY")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 5
    tls = (context, "localhost") if context else None
    return entity.associate("127.0.0.1", port, [build_context(Verification)], "XDS", tls_args=tls)


def hold(stack: contextlib.ExitStack, port: int, count: int, data: bytes = b"") -> list[socket.socket]:
    held = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 5)) for _ in range(count)]
    for one in held:
        one.sendall(data)
    return held


HALF = b"\x01\0\0\0\x10\0" + bytes(10)


@pytest.mark.parametrize("data", [b"", b"\x01", HALF], ids=["silent", "a byte", "half a PDU"])
def test_who_begins_no_association_keeps_nobody_out(scp: StorageScp, data: bytes) -> None:
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        hold(stack, scp.port, 100, data)
        assert echoed(scp.port)
        assert threading.active_count() < threads + 20  # none of them has a thread


def test_what_begins_no_association_is_not_waited_for_without_end(
    scp: StorageScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        (one,) = hold(stack, scp.port, 1, HALF)
        for opening in list(scp._associations._openings._all.values()):
            opening.deadline = 0.0
        wait_for(lambda: ended(one))


def test_an_address_that_opens_too_many_ends_its_own_oldest(
    scp: StorageScp, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "EACH", 10)
    with contextlib.ExitStack() as stack:
        held = hold(stack, scp.port, 15, HALF)
        assert echoed(scp.port)
        wait_for(lambda: sum(ended(one) for one in held) >= 5)
        assert "handshakes" in counted.reasons


def ended(one: socket.socket) -> bool:
    one.settimeout(0.05)
    try:
        return one.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("length", [64 * 1024 + 1, 0xFFFFFFF0])
def test_a_request_that_says_it_is_long_is_aborted_before_it_is_read(scp: StorageScp, length: int) -> None:
    with socket.create_connection(("127.0.0.1", scp.port), 5) as one:
        one.sendall(b"\x01\0" + struct.pack(">I", length))
        assert one.recv(10)[:1] == b"\x07"  # A-ABORT
        assert ended(one)
    assert echoed(scp.port)


def test_megabytes_of_no_pdu_cost_no_memory(scp: StorageScp) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", scp.port), 5) as one:
        one.sendall(b"\x01\0\xff\xff\xff\xf0")
        for _ in range(64):
            one.sendall(bytes(1 << 20))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # kB


@pytest.mark.parametrize(
    "data",
    [
        b"\x04\0\xff\xff\xff\xf0",  # P-DATA of 4 GB
        b"\x04\0" + struct.pack(">I", 16383),  # over what was agreed
        b"\x07\0\0\x02\0\0",  # an A-ABORT of 128 kB
        b"\x04\0\0\0\0\x06\0\0\0\x01\x01\x03",  # a value without its header
    ],
)
def test_within_an_association_a_pdu_longer_than_agreed_ends_it(scp: StorageScp, data: bytes) -> None:
    association = associated(scp.port)
    association.dul.socket.socket.sendall(data)
    wait_for(lambda: not association.is_established)
    assert echoed(scp.port)


def test_within_an_association_half_a_pdu_is_not_waited_for_without_end(
    scp: StorageScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(associations, "PDU_SECONDS", 0.5)
    association = associated(scp.port)
    association.dul.socket.socket.sendall(b"\x04\0\0\0\x10\0" + bytes(10))
    wait_for(lambda: not association.is_established)
    assert echoed(scp.port)


def command(field: int, *, last: bool = True, extra: int = 0) -> bytes:
    data = b"\0\0\0\1\2\0\0\0" + struct.pack("<H", field) + bytes(extra)
    return struct.pack(">IBB", len(data) + 2, 1, 3 if last else 1) + data


def piece(size: int) -> bytes:
    return struct.pack(">IBB", size + 2, 1, 0) + bytes(size)


def test_an_instance_is_no_larger_than_the_settings_say_and_nothing_else_is_large() -> None:
    bounds = Bounds(16382, message_bytes=1_000_000)
    bounds.values(command(0x0001))
    for _ in range(100):
        bounds.values(piece(10_000))
    with pytest.raises(Nonsense, match="over 1000000 bytes"):
        bounds.values(piece(1))
    bounds = Bounds(16382, message_bytes=1_000_000)
    bounds.values(command(0x0030))  # C-ECHO has no dataset; pynetdicom would keep one in memory
    for _ in range(6):
        bounds.values(piece(10_000))
    with pytest.raises(Nonsense, match="over 65536 bytes"):
        bounds.values(piece(10_000))


def test_an_instance_that_would_fill_the_disk_is_broken_off(tmp_path: Path) -> None:
    bounds = Bounds(16382, 10**9, Reserve(2**62, tmp_path))
    for _ in range(3):  # short ones are answered, one by one
        bounds.values(command(0x0001))
        bounds.values(piece(10_000))
    sent = itertools.repeat(piece(10_000), 200)
    with pytest.raises(Nonsense, match="disk"):
        deque(map(bounds.values, sent), 0)


def test_a_command_without_an_end_or_of_another_service_is_nonsense() -> None:
    bounds = Bounds(16382, 1_000_000)
    for _ in range(6):
        bounds.values(command(0x0001, last=False, extra=10_000))
    with pytest.raises(Nonsense, match="a command is over"):
        bounds.values(command(0x0001, last=False, extra=10_000))
    for field in (0x0020, 0x0100, 0x0FFF):  # C-FIND, N-EVENT-REPORT, for which pynetdicom makes a thread; C-CANCEL
        with pytest.raises(Nonsense, match="no service"):
            Bounds(16382, 1_000_000).values(command(field))


def test_a_request_is_whole_when_all_of_it_is_there() -> None:
    whole = bytearray(b"\x01\0\0\0\0\x04abcd")
    assert [request_is_whole(whole[:size]) for size in range(1, 11)] == [False] * 9 + [True]
    for other in (b"GET / HTTP/1.1", b"\x16\x03\x01", b"\x04\0"):
        with pytest.raises(Nonsense):
            request_is_whole(bytearray(other))


def test_idle_associations_give_way_when_there_are_too_many_of_one_peer(
    scp: StorageScp, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LEAST_SECONDS", 0.0)
    idle = [associated(scp.port) for _ in range(6)]  # of 4 at all, 2 a peer
    assert echoed(scp.port)
    wait_for(lambda: sum(one.is_established for one in idle) <= 2)


def test_who_has_a_share_of_associations_is_told_when_there_is_no_more(
    scp: StorageScp, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LEAST_SECONDS", 3600.0)
    kept = [associated(scp.port) for _ in range(2)]  # a peer's share, and none is idle for long enough
    third = associated(scp.port)
    assert third.is_rejected
    assert (third.acceptor.primitive.result, third.acceptor.primitive.result_source) == (2, 3)
    assert counted.reasons == ["associations"]
    for one in kept:
        one.release()
    wait_for(lambda: echoed(scp.port))


def test_over_tls_80_peers_without_a_certificate_keep_nobody_out(tmp_path: Path, counted: Counted) -> None:
    authority = Authority(tmp_path / "authority")
    node, modality = authority.signed("node"), authority.signed("modality")
    context = ssl.create_default_context(cafile=authority.trusted)
    context.load_cert_chain(modality.certificate, modality.key)
    own = server_context(str(node.certificate), str(node.key), str(authority.trusted))
    for scp in serving(tmp_path, counted, own):
        with contextlib.ExitStack() as stack:
            hold(stack, scp.port, 80)
            assert all(echoed(scp.port, context) for _ in range(3))
