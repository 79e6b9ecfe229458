"""ITI-18 by zeep: the query as our WSDL has it; a peer's failure is one of two things, never zeep's own."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.wire.messages import AMessage, APart, a_server, an_answer, an_envelope
from xds.ebxml import query
from xds.queries import catalogue
from xds.wire.client import Faulted, NoReply
from xds.wire.faults import sender
from xds.wire.soap import fault_envelope
from xds.wire.stored_query_client import StoredQueryClient
from xds.wire.xml import name, parse

PARAMETERS = {"XDSDocumentEntryPatientId": ["'anna^^^&1.2&ISO'"], "XDSDocumentEntryStatus": ["('a')", "('b')"]}
RESPONSE = (
    "<q:AdhocQueryResponse xmlns:q='urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0' "
    "status='urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success'/>"
)
GOOD = an_answer(an_envelope(body=RESPONSE))


def ask(url: str, seconds: float = 10.0) -> object:
    return StoredQueryClient(url, seconds=seconds).send(catalogue.FIND_DOCUMENTS.id, "LeafClass", PARAMETERS)


def sending(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def test_the_response_is_handed_back_as_it_is() -> None:
    with a_server(sending(GOOD)) as url:
        answer = StoredQueryClient(url).send(catalogue.FIND_DOCUMENTS.id, "LeafClass", PARAMETERS)
    assert answer.tag == name("query:AdhocQueryResponse")


def packed(envelope: bytes, quote: str = '"') -> tuple[bytes, str]:
    """As JAX-WS packs an answer with MTOM on, whoever asked."""
    root = "<rootpart*0a1b2c3d@example.org>"
    kind = 'Content-Type: application/xop+xml;charset=utf-8;type="application/soap+xml"'
    part = APart(envelope, root, (kind, "Content-Transfer-Encoding: binary"))
    message = AMessage(parts=(part,), boundary="uuid:0a1b2c3d-5f06")
    given = {"start": root, "type": "application/xop+xml", "boundary": message.boundary,
             "start-info": "application/soap+xml"}  # fmt: skip
    return message.packed(), "multipart/related;" + ";".join(f"{k}={quote}{v}{quote}" for k, v in given.items())


@pytest.mark.parametrize("quote", ['"', ""])
def test_an_answer_and_a_fault_are_read_packed_in_mime(quote: str) -> None:
    data, kind = packed(an_envelope(body=RESPONSE), quote)
    with a_server(sending(an_answer(data, content_type=kind))) as url:
        answer = StoredQueryClient(url).send(catalogue.FIND_DOCUMENTS.id, "LeafClass", PARAMETERS)
    assert answer.tag == name("query:AdhocQueryResponse")
    data, kind = packed(fault_envelope(sender("the store is down"), ""), quote)
    reply = an_answer(data, content_type=kind, status="500 Internal Server Error")
    with a_server(sending(reply)) as url, pytest.raises(Faulted, match=r"^the store is down$"):
        ask(url)


SOAP_1_1 = "http://schemas.xmlsoap.org/soap/envelope/"
FAULT_1_1 = (
    f"<s:Envelope xmlns:s='{SOAP_1_1}'><s:Body><s:Fault><faultcode>s:Server</faultcode>"
    "<faultstring>the store is down</faultstring></s:Fault></s:Body></s:Envelope>"
).encode()


@pytest.mark.parametrize(
    ("data", "kind", "status", "said"),
    [
        (b"<html>Anna</html>", "text/html", "502 Bad Gateway", "HTTP 502, text/html"),
        (b"<html>Anna</html>", "text/xml", "502 Bad Gateway", "no SOAP 1.2 message"),
        (b"Anna", "application/soap+xml", "200 OK", "HTTP 200, not well-formed"),
        (b"", "", "503 Service Unavailable", "HTTP 503, no Content-Type"),
        (an_envelope(body="<Anna/>"), "application/soap+xml", "200 OK", "no AdhocQueryResponse"),
        (an_envelope(body=RESPONSE, namespace=SOAP_1_1), "text/xml", "200 OK", "is SOAP 1.1, and should be SOAP 1.2"),
        (an_envelope(body=RESPONSE), "application/soap+xml; charset=x", "200 OK", "charset=x"),
        (packed(b"Anna")[0], "multipart/related", "500 Internal Server Error", "HTTP 500, .*boundary"),
        (packed(b"Anna")[0][:-9], packed(b"")[1], "200 OK", "ends before"),
    ],
)
def test_what_came_instead_of_an_answer_is_said_plainly(data: bytes, kind: str, status: str, said: str) -> None:
    reply = an_answer(data, content_type=kind, status=status)
    with a_server(sending(reply)) as url, pytest.raises(NoReply, match=said) as problem:
        ask(url)
    assert "Anna" not in str(problem.value)


def test_a_fault_of_soap_1_1_is_told_by_its_reason_and_its_version() -> None:
    reply = an_answer(FAULT_1_1, content_type="text/xml", status="500 Internal Server Error")
    with a_server(sending(reply)) as url, pytest.raises(Faulted, match=r"^the store is down \(in SOAP 1\.1\)$"):
        ask(url)


def test_the_request_for_the_audit_log_is_the_query_that_was_asked() -> None:
    client = StoredQueryClient("http://127.0.0.1:1/registry")
    data = client.request(catalogue.FIND_DOCUMENTS.id, "LeafClass", PARAMETERS)
    asked = query.read_request(parse(data))
    assert (asked.id, asked.return_type) == (catalogue.FIND_DOCUMENTS.id, "LeafClass")
    assert {slot.name.removeprefix("$"): list(slot.values) for slot in asked.slots} == PARAMETERS


@pytest.mark.parametrize("status", ["400 Bad Request", "500 Internal Server Error", "200 OK"])
def test_a_fault_is_told_by_its_reason(status: str) -> None:
    data = an_answer(fault_envelope(sender("the reason"), ""), status=status)
    with a_server(sending(data)) as url, pytest.raises(Faulted, match=r"^the reason$"):
        ask(url)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:100],
        GOOD[:-30],
        b"not http\r\n\r\n",
        an_answer(b"<html", content_type="text/html", status="500 Internal Server Error"),
        an_answer(b"<html></html>", content_type="text/html", status="404 Not Found"),
        an_answer(an_envelope(body="<other/>")),
        an_answer(an_envelope(body="")),
        an_answer(an_envelope(prolog="<!DOCTYPE x>", body=RESPONSE)),
    ],
)
def test_what_is_no_response_is_no_reply(data: bytes) -> None:
    with a_server(sending(data)) as url, pytest.raises(NoReply) as problem:
        ask(url)
    assert url in str(problem.value)


def test_nobody_there_and_nobody_answering_are_no_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    with pytest.raises(NoReply):
        ask(url)

    def silent(connection: socket.socket) -> None:
        connection.settimeout(10)
        connection.recv(1)

    with a_server(silent) as url, pytest.raises(NoReply, match="Timeout"):
        ask(url, seconds=0.3)
