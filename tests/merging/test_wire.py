"""A source whose answers are broken on the wire: nothing of what is here is lost, and nothing is told as if it were."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.merging.south import DORA, Merging, a_history

NAMESPACES = (
    'xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0" xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"'
)
SUCCESS, FAILURE = (f"urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:{one}" for one in ("Success", "Failure"))
SET = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"


def soap(inner: str) -> bytes:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">'
        "<s:Header><a:Action>urn:ihe:iti:2007:RegistryStoredQueryResponse</a:Action></s:Header>"
        f"<s:Body>{inner}</s:Body></s:Envelope>"
    ).encode()


def answer(objects: str, status: str = SUCCESS) -> bytes:
    return soap(
        f'<q:AdhocQueryResponse {NAMESPACES} status="{status}"><rim:RegistryObjectList>{objects}'
        "</rim:RegistryObjectList></q:AdhocQueryResponse>"
    )


BODIES = {
    "nothing": b"",
    "no XML": b"hello",
    "cut off": answer("")[:-40],
    "an empty body": soap(""),
    "another element": soap("<x/>"),
    "no status": soap(f"<q:AdhocQueryResponse {NAMESPACES}/>"),
    "no list": soap(f'<q:AdhocQueryResponse {NAMESPACES} status="{SUCCESS}"/>'),
    "no id": answer("<rim:ExtrinsicObject/>"),
    "no ends": answer('<rim:Association id="urn:uuid:1"/>'),
    "a slot of nothing": answer('<rim:ExtrinsicObject id="x"><rim:Slot/></rim:ExtrinsicObject>'),
    "of no kind": answer('<rim:RegistryPackage id="y"/>'),
    "foreign": answer('<x:y xmlns:x="z"/>'),
    "without codes": answer(
        f'<rim:RegistryPackage id="y"><rim:Classification id="c" classifiedObject="y" classificationNode="{SET}"/>'
        "</rim:RegistryPackage>"
    ),
    "an entity bomb": b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]>' + answer("&d;"),
    "deep": answer("<rim:Slot>" * 100_000 + "</rim:Slot>" * 100_000),
    "ends of nothing": answer(
        '<rim:Association id="urn:uuid:00000000-0000-0000-0000-000000000009" associationType="x" sourceObject=""'
        ' targetObject=""/>'
    ),
    "a failure": answer("", FAILURE),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # it is the same before any database is asked
@pytest.mark.parametrize("name", BODIES)
def test_a_broken_answer_is_told_and_takes_nothing_away(merging: Merging, name: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", "application/soap+xml; charset=UTF-8")
            self.send_header("Content-Length", str(len(BODIES[name])))
            self.end_headers()
            self.wfile.write(BODIES[name])

        def log_message(self, *_: object) -> None: ...

    a_history(merging)
    merging.run("copy")
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    true = merging.config.read_text()
    there = f'registry = "{merging.south.url}/registry"'
    merging.config.write_text(true.replace(there, f'registry = "http://127.0.0.1:{server.server_port}/"'))
    before = {one.entry_uuid: one.here for one in merging.objects(DORA)}
    done = merging.run("copy", "--json", "--jobs", 1)
    server.shutdown()
    server.server_close()
    assert done.out, done.err
    assert "Traceback" not in done.err
    assert {one.entry_uuid: one.here for one in merging.objects(DORA) if one.here} == before
    merging.config.write_text(true)
    again = merging.run("copy", "--json").json
    assert {one["state"] for one in again["objects"]} == {"copied"}, again["reasons"]
