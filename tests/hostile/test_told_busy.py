"""Who has its share already is told so in its own protocol: a SOAP client reads it, and when to come again."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep
from lxml import etree

from tests.builders import ANNA
from tests.hostile.server import Reply, Served, ask, connected, head
from tests.server.test_application import APPROVED
from tests.wire.messages import an_envelope
from xds.ebxml import query, xdsb
from xds.ebxml.rim import Slot
from xds.errors import Status
from xds.queries.catalogue import FIND_DOCUMENTS
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.transactions.iti43_retrieve_document_set import TRANSACTION as ITI_43
from xds.wire.stored_query_client import _Addressing
from xds.wire.xml import name, parse

OTHER = "127.0.0.2"
WAITING = 400
"""More than may wait of one peer."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Where the one short request of a peer's is under way, and so many wait that no more may."""
    folder = tmp_path_factory.mktemp("busy")
    served = Served(folder, {"server": {"threads": 1}}).start()
    big = served.provide(os.urandom(12_000_000), folder / "spool")
    with contextlib.ExitStack() as stack:
        stop = threading.Event()
        slow = stack.enter_context(asked("/repository", retrieval(big), served.port))
        reading = threading.Thread(target=read_slowly, args=(slow, stop))
        reading.start()
        stack.callback(reading.join)
        stack.callback(stop.set)
        waiting = [stack.enter_context(asked("/registry", a_query(), served.port)) for _ in range(WAITING)]
        select.select(waiting, [], [], 60)  # the first that is turned away
        yield served
    assert served.stop() == 0


def asked(path: str, envelope: bytes, port: int) -> socket.socket:
    sock = connected(port, buffer_bytes=65536)
    sock.sendall(head(path, length=len(envelope)) + envelope)
    return sock


def read_slowly(sock: socket.socket, stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not stop.wait(0.1) and sock.recv(16384):
            pass


def retrieval(document: xdsb.DocumentRequest) -> bytes:
    body = etree.tostring(xdsb.write_retrieve_request([document])).decode()
    return an_envelope(body=body, action=ITI_43.action)


def a_query() -> bytes:
    slots = (Slot("$XDSDocumentEntryPatientId", (f"'{ANNA}'",)), Slot("$XDSDocumentEntryStatus", (APPROVED,)))
    body = query.write_request(query.AdhocQuery(FIND_DOCUMENTS.id, "LeafClass", slots))
    return an_envelope(body=etree.tostring(body).decode(), action=ITI_18.action)


def sent(served: Served, path: str, envelope: bytes) -> Reply:
    got = ask(served.port, [head(path, length=len(envelope)) + envelope])
    assert got is not None
    return got


@pytest.mark.parametrize(
    ("path", "envelope", "code", "answer"),
    [
        ("/registry", a_query(), "XDSRegistryBusy", "query:AdhocQueryResponse"),
        (
            "/repository",
            retrieval(xdsb.DocumentRequest("1.2", "1.3")),
            "XDSRepositoryBusy",
            "xds:RetrieveDocumentSetResponse",
        ),
    ],
    ids=["registry", "repository"],
)
def test_a_message_that_was_read_has_its_transaction_s_answer_with_the_code_for_that(
    full: Served, tmp_path: Path, path: str, envelope: bytes, code: str, answer: str
) -> None:
    got = sent(full, path, envelope)
    assert got.status == 200
    read = got.envelope(tmp_path)
    body = read.find(f"{name('soap:Body')}/*")
    assert body is not None
    assert body.tag == name(answer)
    (error,) = body.iter(name("rs:RegistryError"))
    assert error.get("errorCode") == code
    relates_to = parse(envelope).findtext(f".//{name('wsa:MessageID')}")
    assert read.findtext(f".//{name('wsa:RelatesTo')}") == relates_to


def test_what_is_no_message_is_not_answered_as_one(full: Served, tmp_path: Path) -> None:
    got = sent(full, "/registry", b"<a/>")
    assert (got.status, got.codes(tmp_path)) == (400, ["soap:Sender"])


def test_who_speaks_no_soap_is_told_in_words(full: Served) -> None:
    got = ask(full.port, [b"GET /registry?wsdl HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert got is not None
    assert got.status == 503
    assert int(got.headers["retry-after"]) > 0
    assert got.headers["content-type"].startswith("text/plain")


def test_another_is_served_meanwhile(full: Served, tmp_path: Path) -> None:
    envelope = a_query()
    got = ask(full.port, [head("/registry", length=len(envelope)) + envelope], source=OTHER)
    assert got is not None
    body = got.envelope(tmp_path).find(f"{name('soap:Body')}/*")
    assert body is not None
    assert body.get("status") == Status.SUCCESS


def client(served: Served, path: str) -> Any:
    """zeep by our WSDL, which somebody else has asked for."""
    wsdl = ask(served.port, [f"GET {path}?wsdl HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()], source=OTHER)
    assert wsdl is not None
    file = served.folder / "service.wsdl"
    file.write_bytes(wsdl.body)
    session = requests.Session()
    session.trust_env = False
    return zeep.Client(str(file), transport=FromOther(served, session), plugins=[_Addressing()])


class FromOther(zeep.Transport):  # type: ignore[misc]
    """Loads schemas as somebody who is not turned away."""

    def __init__(self, served: Served, session: requests.Session) -> None:
        super().__init__(session=session)
        self._served = served

    def load(self, url: str) -> bytes:
        if not url.startswith("http"):
            return Path(url.removeprefix("file://")).read_bytes()
        target = url.partition("127.0.0.1")[2].partition("/")[2]
        line = f"GET /{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        got = ask(self._served.port, [line], source=OTHER)
        assert got is not None
        return got.body


def find(service: Any, patient: str) -> Any:
    slots = [
        {"name": "$XDSDocumentEntryPatientId", "ValueList": {"Value": [patient]}},
        {"name": "$XDSDocumentEntryStatus", "ValueList": {"Value": [APPROVED]}},
    ]
    option = {"returnType": "LeafClass", "returnComposedObjects": True}
    return service.DocumentRegistry_RegistryStoredQuery(
        ResponseOption=option, AdhocQuery={"id": FIND_DOCUMENTS.id, "Slot": slots}
    )


def address(made: Any, served: Served) -> Any:
    binding = next(iter(made.wsdl.bindings))
    return made.create_service(binding, f"{served.url}/registry")


def test_zeep_reads_the_answer(full: Served) -> None:
    made = client(full, "/registry")
    answer = find(address(made, full), f"'{ANNA}'")
    (error,) = answer.RegistryErrorList.RegistryError
    assert error.errorCode == "XDSRegistryBusy"


def test_zeep_reads_the_fault_of_a_message_that_is_too_long_to_be_read_first(full: Served) -> None:
    made = client(full, "/registry")
    with contextlib.ExitStack() as stack:
        for _ in range(WAITING):
            sock = stack.enter_context(connected(full.port))
            sock.sendall(head("/registry", length=1_000_000))
        with pytest.raises(zeep.exceptions.Fault, match="XDSRegistryBusy: ") as faulted:
            find(address(made, full), f"'{ANNA}'" + " " * 100_000)
    assert faulted.value.code == "soap:Receiver"
    assert faulted.value.detail.findtext(name("wsa:RetryAfter")) == "5000"
