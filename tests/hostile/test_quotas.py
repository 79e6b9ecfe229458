"""A peer that sends all day: over its quota it is refused in its own protocol, by every process and after a restart.

Others are served on, an audit source is never refused, and the audit log does not grow by what is refused.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.filewriter import dcmwrite

from tests.cli.command import xds
from tests.conftest import wait_for
from tests.endpoints.test_cstore import associated
from tests.hl7.test_v2 import adt
from tests.hostile.server import Reply, Served, ask, head
from tests.hostile.test_told_busy import a_query
from tests.imaging.images import an_instance
from xds.demo.site import free_port
from xds.errors import ErrorCode, Refused
from xds.store.engine import make_engine, reading
from xds.store.tables import audit_record, peer_use
from xds.wire import mllp
from xds.wire.xml import name

GREEDY, OTHER = "127.0.0.2", "127.0.0.3"
RECORDS = 40


@contextmanager
def reached(served: Served) -> Iterator[sa.Engine]:
    engine = make_engine(served.settings.database_url, connections=1)
    try:
        yield engine
    finally:
        engine.dispose()


def records(served: Served) -> int:
    with reached(served) as engine, reading(engine) as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(audit_record)) or 0


def used(served: Served, peer: str) -> int:
    with reached(served) as engine, reading(engine) as connection:
        return connection.scalar(sa.select(peer_use.c.records).where(peer_use.c.peer == peer)) or 0


def queried(served: Served, source: str) -> Reply:
    envelope = a_query()
    got = ask(served.port, [head("/registry", length=len(envelope)) + envelope], source=source)
    assert got is not None
    return got


def codes(got: Reply, folder: Path) -> list[str | None]:
    return [error.get("errorCode") for error in got.envelope(folder).iter(name("rs:RegistryError"))]


def use_up(served: Served, folder: Path, source: str) -> int:
    """How many queries are answered until one is refused."""
    for count in range(20 * RECORDS):
        if codes(queried(served, source), folder) == ["XDSRegistryBusy"]:
            return count
    raise AssertionError("it was never refused")


def test_a_quota_of_records_holds_in_all_processes_and_after_a_restart(tmp_path: Path) -> None:
    served = Served(tmp_path / "site", {"server": {"workers": 4, "peer_records": RECORDS}}).start()
    assert use_up(served, tmp_path, GREEDY) >= RECORDS
    wait_for(lambda: all(codes(queried(served, GREEDY), tmp_path) for _ in range(100)))  # by all four processes
    assert codes(queried(served, OTHER), tmp_path) == []
    before = records(served)
    for _ in range(50):
        assert queried(served, GREEDY).status == 200
    # An alert of each process at most, and what the node itself does meanwhile.
    assert records(served) - before < 10
    metrics = ask(served.port, [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert metrics is not None
    assert b'xds_refused_total{reason="quota"}' in metrics.body
    assert b'xds_peer_records_today{peer="this-machine"}' in metrics.body
    assert served.stop() == 0
    kept = used(served, GREEDY)
    assert kept >= RECORDS
    served.start()
    assert codes(queried(served, GREEDY), tmp_path) == ["XDSRegistryBusy"]
    assert codes(queried(served, OTHER), tmp_path) == []
    assert served.stop() == 0


def test_that_a_peer_is_over_is_on_record_once_in_a_while(tmp_path: Path) -> None:
    served = Served(tmp_path / "site", {"server": {"peer_records": 5}}).start()
    use_up(served, tmp_path, GREEDY)
    for _ in range(20):
        queried(served, GREEDY)
    listed = [row for row in alerts(served) if "urn:xds:quota" in row]
    assert len(listed) == 1
    assert served.stop() == 0


def alerts(served: Served) -> list[str]:
    with reached(served) as engine, reading(engine) as connection:
        return [bytes(message).decode() for message in connection.scalars(sa.select(audit_record.c.message))]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Where a byte a day is too much, and this machine has sent one."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "images").mkdir()
    imaging = {"folder": str(folder / "images"), "cstore_listen": f"127.0.0.1:{free_port()}", "stow_rs": True}
    sections: dict[str, dict[str, Any]] = {
        "server": {"peer_bytes": 1},
        "imaging_source": imaging,
        "mllp": {"listen": f"127.0.0.1:{free_port()}"},
        "syslog": {"tcp": f"127.0.0.1:{free_port()}"},
    }
    served = Served(folder, sections).start()
    served.provide(b"the first", folder / "spool")
    wait_for(lambda: used(served, "127.0.0.1") > 0)
    yield served
    assert served.stop() == 0


def test_bytes_count_for_documents_and_not_for_those_who_read(full: Served, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        full.provide(b"the second", tmp_path)
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.REPOSITORY_BUSY]
    assert codes(queried(full, "127.0.0.1"), tmp_path) == []
    assert full.found()


def test_an_image_is_refused_by_both_ways_in(full: Served, tmp_path: Path) -> None:
    instance = an_instance(7)
    wait_for(lambda: associated(full) is not None)

    def status() -> int:
        association = associated(full)
        try:
            return int(association.send_c_store(instance).Status)
        finally:
            association.release()

    assert status() == 0xA700
    dcmwrite(tmp_path / "7.dcm", instance, enforce_file_format=True)
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + (tmp_path / "7.dcm").read_bytes() + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    got = ask(full.port, [head("/dicomweb/studies", kind, length=len(body)) + body])
    assert got is not None
    assert got.status == 503
    assert 0 < int(got.headers["retry-after"]) <= 86_400


def test_a_patient_is_refused_with_ar(full: Served) -> None:
    host, _, port = full.settings.mllp.listen.rpartition(":")
    wait_for(lambda: b"\rMSA|AR|17|this peer has sent" in mllp.send(host, int(port), adt("A01").encode()))


def test_nonsense_over_the_quota_is_refused_as_well(full: Served) -> None:
    host, _, port = full.settings.mllp.listen.rpartition(":")
    assert b"\rMSA|AR|" in mllp.send(host, int(port), b"\xff\x00nonsense")


def test_an_audit_source_is_never_refused(full: Served) -> None:
    host, _, port = full.settings.syslog.tcp.rpartition(":")
    message = b"<85>1 2026-11-30T01:02:03Z host xds 1 IHE+RFC-3881 - <AuditMessage/>"
    before = records(full)
    for _ in range(20):
        with socket.create_connection((host, int(port)), 10) as sock:
            sock.sendall(b"%d %s" % (len(message), message))
    wait_for(lambda: records(full) >= before + 20)


def test_an_operator_sees_who_has_used_it_up(full: Served) -> None:
    checks = xds("doctor", "deployment", "--json", "--config", full.config).json
    (said,) = (one for one in checks if one["name"] == "quotas")
    assert "this-machine" in said["wrong"]
