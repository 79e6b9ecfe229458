"""A disk that is nearly full: nothing more is taken in, each sender is told so, and what reads or audits goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.filewriter import dcmwrite

from tests.conftest import wait_for
from tests.endpoints.test_cstore import associated
from tests.endpoints.test_mllp import adt
from tests.hostile.server import Served, ask
from tests.imaging.images import an_instance
from xds.demo.site import free_port
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Refused
from xds.store.engine import make_engine, reading
from xds.store.tables import audit_record
from xds.wire import mllp
from xds.wire.client import Faulted

MORE_THAN_ANY_DISK_HAS = 2**62


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DocumentRequest]:
    """A deployment's folder, with a document that came while there was room."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "images").mkdir()
    served = Served(folder).start()
    kept = served.provide(b"kept", folder / "spool")
    assert served.stop() == 0
    return folder, kept


@pytest.fixture(scope="module")
def full(document: tuple[Path, DocumentRequest]) -> Iterator[Served]:
    folder, _ = document
    imaging = {"folder": str(folder / "images"), "cstore_listen": f"127.0.0.1:{free_port()}", "stow_rs": True}
    sections = {
        "server": {"least_free_bytes": MORE_THAN_ANY_DISK_HAS},
        "imaging_source": imaging,
        "mllp": {"listen": f"127.0.0.1:{free_port()}"},
        "syslog": {"tcp": f"127.0.0.1:{free_port()}"},
    }
    served = replace(Served(folder), sections=sections)
    served.launch()
    wait_for(lambda: said(served, "/readyz") is not None, 60)
    yield served
    assert served.stop() == 0


def said(served: Served, path: str) -> tuple[int, str] | None:
    try:
        got = ask(served.port, [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()])
    except OSError:
        return None
    return None if got is None else (got.status, got.body.decode())


def records(served: Served) -> int:
    engine = make_engine(served.settings.database_url, connections=1)
    try:
        with reading(engine) as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(audit_record)) or 0
    finally:
        engine.dispose()


def test_a_document_is_refused_and_that_is_on_record(full: Served, tmp_path: Path) -> None:
    before = records(full)
    with pytest.raises(Refused) as refused:
        full.provide(b"new", tmp_path)
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.REPOSITORY_OUT_OF_RESOURCES]
    assert records(full) > before
    assert full.staged() == []


def test_a_long_document_is_not_read_to_its_end(full: Served, tmp_path: Path) -> None:
    with pytest.raises(Faulted, match="XDSRepositoryOutOfResources: "):
        full.provide(b"x" * 5_000_000, tmp_path)
    assert full.staged() == []


def test_what_is_there_is_found_and_given_and_that_is_on_record(
    full: Served, document: tuple[Path, DocumentRequest]
) -> None:
    before = records(full)
    assert document[1].document_unique_id in full.found()
    assert full.retrieved(document[1]) == b"kept"
    wait_for(lambda: records(full) >= before + 2)


def test_a_patient_is_refused_with_ar(full: Served) -> None:
    host, _, port = full.settings.mllp.listen.rpartition(":")
    answer = mllp.send(host, int(port), adt("A01").encode())
    assert b"\rMSA|AR|" in answer


def test_an_image_is_refused_by_both_ways_in(full: Served, tmp_path: Path) -> None:
    instance = an_instance(7)
    association = associated(full)
    assert int(association.send_c_store(instance).Status) == 0xA700
    association.release()
    dcmwrite(tmp_path / "7.dcm", instance, enforce_file_format=True)
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + (tmp_path / "7.dcm").read_bytes() + b"\r\n--b--\r\n"
    head = (
        "POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n"
        'Content-Type: multipart/related; type="application/dicom"; boundary=b\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    got = ask(full.port, [head + body])
    assert got is not None
    assert got.status == 503
    assert int(got.headers["retry-after"]) > 0
    assert not [path for path in (full.folder / "images").rglob("*") if path.is_file()]


def test_audit_records_of_others_are_taken(full: Served) -> None:
    host, _, port = full.settings.syslog.tcp.rpartition(":")
    before = records(full)
    message = b"<85>1 2026-11-30T01:02:03Z host xds 1 IHE+RFC-3881 - <AuditMessage/>"
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(b"%d %s" % (len(message), message))
    wait_for(lambda: records(full) > before)


def test_an_operator_sees_why(full: Served) -> None:
    status, text = said(full, "/readyz") or (0, "")
    assert status == 503
    assert "documents: nothing is taken in" in text
    assert b'xds_refused_total{reason="disk"}' in (said(full, "/metrics") or (0, ""))[1].encode()
