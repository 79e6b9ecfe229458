"""What the consumer, the audit log and the metrics say when a part fails: each seen on a real server.

A source that is killed or a consumer that leaves in mid-stream, an object store that is gone, a PACS that does not
answer.  Disks that are full are in ``test_order_of_writes.py`` and ``archives/test_folder.py``.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.cli.command import xds
from tests.conftest import wait_for
from tests.endpoints.dicomweb.test_service import got as fetched
from tests.hostile.server import Served
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.store.object_stores import Server, s3_server
from xds.ebxml import rs, xdsb
from xds.errors import ErrorCode, Refused, Status
from xds.imaging.part10 import EXPLICIT_LITTLE
from xds.store.engine import make_engine
from xds.store.tables import audit_open
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69
from xds.wire.addressing import new_message_id, request_headers
from xds.wire.client import Client, Faulted
from xds.wire.soap import around
from xds.wire.spool import Spool

__all__ = ["s3_server"]

OUTCOMES = {"0": "success", "4": "minor failure", "8": "serious failure"}
COUNT, SIDE = 60, 700
"""Enough bytes that no socket's buffers hold them."""


def records(site: Served) -> list[tuple[str, str]]:
    """Transaction and outcome of what was retrieved or provided, by ``xds audit list``, once no stream is open."""
    wait_for(lambda: not open_streams(site), 20)
    listed = xds("audit", "list", "--json", "--data", site.data).json
    return [(one["transaction"], OUTCOMES[one["outcome"]]) for one in reversed(listed) if one["transaction"]]


def open_streams(site: Served) -> int:
    engine = make_engine(site.settings.database_url, connections=1)
    with engine.connect() as connection:
        found = connection.scalar(sa.select(sa.func.count()).select_from(audit_open))
    engine.dispose()
    return int(found or 0)


def counted(site: Served, metric: str) -> dict[str, float]:
    """The values of a metric by its labels."""
    text = fetched(f"{site.url}/metrics")[2].decode()
    found = re.findall(rf"^{metric}_total{{(.*)}} (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def request(site: Served, *numbers: int) -> bytes:
    source = site.settings.imaging_source.retrieve_location_uid
    instances = tuple(
        xdsb.InstanceRequest(STUDY, SERIES, xdsb.DocumentRequest(source, f"{SERIES}.{n}")) for n in numbers
    )
    return etree.tostring(xdsb.write_imaging_request(xdsb.ImagingRequest(instances, (EXPLICIT_LITTLE,))))


def retrieved(site: Served, *numbers: int) -> tuple[Status, set[str]]:
    """Status and codes of a RAD-69."""
    with Spool(site.folder / "spool") as spool:
        client = Client(f"{site.url}/imaging-source", seconds=30)
        answer = client.send(RAD_69.action, [request(site, *numbers)], spool, as_mtom=True)
        status, findings = rs.read_response(answer.body[0])
        return status, {finding.code for finding in findings}


@contextmanager
def half_read(site: Served) -> Iterator[Any]:
    """A RAD-69 of everything, of which the consumer has read a little."""
    head, tail = around(request_headers(RAD_69.action, f"{site.url}/imaging-source", new_message_id()))
    connection = HTTPConnection("127.0.0.1", site.port, timeout=20)
    body = head + request(site, *range(1, COUNT + 1)) + tail
    connection.request("POST", "/imaging-source", body, {"Content-Type": "application/soap+xml"})
    response = connection.getresponse()
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > COUNT * SIDE * SIDE * 2
    response.read(100_000)
    try:
        yield response
    finally:
        connection.close()


@pytest.fixture
def imaging(tmp_path: Path) -> Iterator[Served]:
    for number in range(1, COUNT + 1):
        pixels = os.urandom(SIDE * SIDE * 2)
        put(tmp_path / "images", f"{number}.dcm", an_instance(number, Rows=SIDE, Columns=SIDE, PixelData=pixels))
    served = Served(tmp_path / "site", {"imaging_source": {"folder": str(tmp_path / "images"), "refresh_seconds": 0.2}})
    served.start()
    wait_for(lambda: retrieved(served, 1)[0] is Status.SUCCESS, 20)
    yield served
    if served.process is not None and served.process.poll() is None:
        served.stop()


def test_of_a_source_killed_in_mid_stream_the_consumer_has_half_and_the_log_says_interrupted(imaging: Served) -> None:
    before = len(records(imaging))
    with half_read(imaging) as response:
        imaging.kill()
        with suppress(ConnectionResetError), pytest.raises(IncompleteRead):
            response.read()
    imaging.start()
    # That the server starts is on record too, before or after what the dead one left.
    wait_for(lambda: len(records(imaging)) > before + 1, 20)
    assert sorted(records(imaging)[before:]) == [("110120", "success"), ("RAD-69", "serious failure")]
    assert retrieved(imaging, 1, 2) == (Status.SUCCESS, set())


def test_a_consumer_that_leaves_in_mid_stream_is_on_record_as_failed_and_counted(imaging: Served) -> None:
    with half_read(imaging):
        pass
    broken = 'outcome="broken",transaction="RAD-69"'
    wait_for(lambda: counted(imaging, "xds_streams").get(broken) == 1, 40)
    assert counted(imaging, "xds_streams")['outcome="whole",transaction="RAD-69"'] >= 1
    assert records(imaging)[-1] == ("RAD-69", "serious failure")


def test_of_an_object_store_that_is_gone_everybody_is_told_and_later_all_is_well(
    s3_server: Server, tmp_path: Path
) -> None:
    store = Server()
    s3 = {"endpoint": store.url, "region": "us-east-1"}
    served = Served(tmp_path / "site", {"server": {"documents": f"s3://{store.bucket()}/xds"}, "s3": s3})
    try:
        served.start()
        kept = served.provide(b"kept before", tmp_path)
        assert served.retrieved(kept) == b"kept before"
        store.stop()
        with pytest.raises((Faulted, Refused)) as problem:
            served.provide(b"and after", tmp_path)
        assert not any(word in str(problem.value) for word in ("Traceback", "Generic", "127.0.0.1"))
        assert served.retrieved(kept) is None
        status, _, said = fetched(f"{served.url}/readyz")
        assert (status, b"object store does not answer" in said) == (503, True)
        outcomes = records(served)
        assert outcomes.count(("ITI-43", "success")) == 1
        assert {outcome for transaction, outcome in outcomes[-2:]} <= {"minor failure", "serious failure"}
        assert served.found() == {kept.document_unique_id}
    finally:
        served.stop()
        store.stop()


def test_a_pacs_that_does_not_answer_costs_its_time_limit_and_is_said_to_the_consumer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.listen()
        held: list[socket.socket] = []
        threading.Thread(target=_accept, args=(silent, held), daemon=True).start()
        port = silent.getsockname()[1]
        source = {"dicomweb": f"http://127.0.0.1:{port}/dicom-web", "pacs_seconds": 1.0}
        served = Served(tmp_path / "site", {"imaging_source": source}).start()
        try:
            assert retrieved(served, 1, 2) == (Status.FAILURE, {ErrorCode.REPOSITORY_ERROR})
            assert records(served)[-1] == ("RAD-69", "minor failure")
            assert counted(served, "xds_transactions")['outcome="refused",transaction="RAD-69"'] == 1
            assert served.ready()
        finally:
            served.stop()
            for one in held:
                one.close()


def _accept(listener: socket.socket, held: list[socket.socket]) -> None:
    with suppress(OSError):
        while True:
            held.append(listener.accept()[0])
