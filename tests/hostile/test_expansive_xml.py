"""XML that grows, reaches out, or is dear to read: refused or answered, in bounded memory, and nothing is fetched."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.builders import ANNA
from tests.hostile.server import Served, ask, head
from tests.wire.conftest import A_QUERY
from tests.wire.messages import ACTION, an_envelope
from xds.queries.catalogue import FIND_DOCUMENTS


class Listening(http.server.BaseHTTPRequestHandler):
    """Stands for a host inside: whatever asks it is caught."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def inside() -> Iterator[str]:
    """The address of a host that must not be asked for anything."""
    Listening.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()
    assert Listening.asked == []


def posted(served: Served, data: bytes) -> tuple[int, bytes]:
    got = ask(served.port, [head("/registry", length=len(data)), data])
    assert got is not None
    return got.status, got.body


def named(count: int) -> str:
    """So many declarations of namespaces."""
    return " ".join(f"xmlns:n{n}='urn:{n}'" for n in range(count))


def entity(letter: int) -> str:
    """One that is ten times the one before."""
    return f"<!ENTITY {chr(letter)} '" + f"&{chr(letter - 1)};" * 10 + "'>"


LAUGHS = "<!DOCTYPE l [<!ENTITY a 'lol'>" + "".join(map(entity, range(ord("b"), ord("k")))) + "]>"

REFUSED = {
    "entities of entities": an_envelope(prolog=LAUGHS, body="<x>&j;</x>"),
    "an entity of a file": an_envelope(
        prolog="<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>", body="<a>&e;</a>"),
    "an entity of an address": an_envelope(prolog="<!DOCTYPE x [<!ENTITY % e SYSTEM '{inside}/x.dtd'> %e;]>"),
    "a DTD in UTF-16": '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY e "x">]><x/>'.encode("utf-16"),
    "a DTD in UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-<x/>',
    "elements 100,000 deep": an_envelope(body="<a>" * 100_000 + "</a>" * 100_000),
    "elements 100,000 deep behind 11 MB": an_envelope(
        body="<x>" + "A" * 11_000_000 + "<a>" * 100_000 + "</a>" * 100_000 + "</x>"),
    "10,000 namespaces": an_envelope(body=f"<x {named(10_000)}><y/></x>"),
    "20,000 attributes": an_envelope(body="<x " + " ".join(f"a{n}=''" for n in range(20_000)) + "/>"),
    "4,000 namespaces over 100,000 elements": an_envelope(
        body=f"<x {named(4000)}>" + "<n0:y/>" * 100_000 + "</x>"),
    "100,000 names of elements": an_envelope(body="<x>" + "".join(f"<n{n}/>" for n in range(100_000)) + "</x>"),
    "2 million elements": an_envelope(body="<x>" + "<a/>" * 2_000_000 + "</x>"),
    "XInclude": an_envelope(
        body="<x><i:include xmlns:i='http://www.w3.org/2001/XInclude' href='file:///etc/passwd' parse='text'/></x>"),
}  # fmt: skip


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_grows_or_reaches_out_is_refused_and_fetches_nothing(served: Served, inside: str, data: bytes) -> None:
    status, body = posted(served, data.replace(b"{inside}", inside.encode()))
    assert status == 400 or b"ResponseStatusType:Failure" in body  # what a schema forbids is the registry's to refuse
    assert b"root:" not in body
    assert b"lollol" not in body


FIND = (
    "<q:AdhocQueryRequest xmlns:q='urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0'"
    " xmlns:rim='urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0'{root}>"
    "<q:ResponseOption returnType='LeafClass' returnComposedObjects='true'{option}/>"
    "<rim:AdhocQuery id='{id}'>"
    "<rim:Slot name='$XDSDocumentEntryPatientId'><rim:ValueList><rim:Value>"
    f"'{escape(str(ANNA))}'"
    "</rim:Value></rim:ValueList></rim:Slot><rim:Slot name='$XDSDocumentEntryStatus'><rim:ValueList>"
    "<rim:Value>('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')</rim:Value>{values}</rim:ValueList></rim:Slot>"
    "{slots}</rim:AdhocQuery></q:AdhocQueryRequest>"
)
XSI = " xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'"
STATUS = "<rim:Value>('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')</rim:Value>"
SLOT = "<rim:Slot name='$x'><rim:ValueList><rim:Value>1</rim:Value></rim:ValueList></rim:Slot>"


def find(**parts: str) -> bytes:
    given = {"id": FIND_DOCUMENTS.id, "root": "", "option": "", "values": "", "slots": ""} | parts
    return an_envelope(body=FIND.format(**given), action=ACTION)


def test_a_place_of_a_schema_is_not_looked_at(served: Served, inside: str) -> None:
    status, body = posted(served, find(root=f"{XSI} xsi:schemaLocation='urn:x {inside}/x.xsd'"))
    assert status == 200
    assert b"ResponseStatusType:Success" in body


@pytest.mark.parametrize("parts", [
    {"option": f"{XSI} xsi:type='q:AdhocQueryRequestType'"},
    {"values": STATUS * 60_000},
    {"slots": SLOT * 60_000},
], ids=["a type of another element", "60,000 values", "60,000 slots"])  # fmt: skip
def test_a_query_of_another_form_or_without_measure_is_refused(served: Served, parts: dict[str, str]) -> None:
    status, body = posted(served, find(**parts))
    assert status in (200, 400)
    assert b"ResponseStatusType:Success" not in body
    assert b"ResponseStatusType:Failure" in body or b":Fault" in body


def test_what_ws_addressing_names_is_not_called(served: Served, inside: str, tmp_path: Path) -> None:
    for block in ("ReplyTo", "FaultTo"):
        headers = f"<wsa:{block}><wsa:Address>{inside}/{block}</wsa:Address></wsa:{block}>"
        status, _ = posted(served, an_envelope(body=A_QUERY, headers=headers))
        assert status == 400
    status, _ = posted(served, an_envelope(body=A_QUERY, headers=f"<wsa:To>{inside}/to</wsa:To>"))
    assert status == 200
