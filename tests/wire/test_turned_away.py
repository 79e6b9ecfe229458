"""What is said to who has its share already: to a SOAP client by a fault that it can read, to others in words."""

from __future__ import annotations

import pytest
from lxml import etree

from xds.wire.head import Head
from xds.wire.turned_away import unread
from xds.wire.xml import name

ADDRESSES = {"/registry": "XDSRegistryBusy", "/repository": "XDSRepositoryBusy"}


def said(method: str, path: str) -> tuple[bytes, bytes]:
    head, _, body = unread(Head(method, path, 5, 100), ADDRESSES, "later").partition(b"\r\n\r\n")
    assert b"HTTP/1.1 503 " in head
    assert b"\r\nRetry-After: 5" in head
    assert b"\r\nContent-Length: %d" % len(body) in head
    return head, body


@pytest.mark.parametrize(("path", "code"), [("/registry", "XDSRegistryBusy"), ("/repository/", "XDSRepositoryBusy")])
def test_a_message_that_was_not_read_has_a_fault_that_names_what_its_answer_would_have_said(
    path: str, code: str
) -> None:
    head, body = said("POST", path)
    assert b"Content-Type: application/soap+xml" in head
    envelope = etree.fromstring(body)
    fault = envelope.find(f"{name('soap:Body')}/{name('soap:Fault')}")
    assert fault is not None
    assert [one.text for one in fault.iter(name("soap:Value"))] == ["soap:Receiver", "wsa:EndpointUnavailable"]
    assert (fault.findtext(f".//{name('soap:Text')}") or "").startswith(f"{code}: ")
    assert fault.findtext(f".//{name('wsa:RetryAfter')}") == "5000"
    assert envelope.find(f".//{name('wsa:RelatesTo')}") is None


@pytest.mark.parametrize(("method", "path"), [("GET", "/registry"), ("POST", "/dicomweb/studies"), ("POST", "")])
def test_who_speaks_no_soap_is_told_in_words(method: str, path: str) -> None:
    head, body = said(method, path)
    assert b"Content-Type: text/plain" in head
    assert body == b"later\n"
