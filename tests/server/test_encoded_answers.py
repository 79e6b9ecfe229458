"""Answers over a real socket in the encoding that their reader takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from lxml import etree

from tests.builders import ANNA, a_submission, an_entry, symbolic
from tests.server.test_application import Site, of_bytes, serving
from xds.actors.document_consumer import Search
from xds.ebxml import query, rs
from xds.ebxml.rim import Slot
from xds.errors import Status
from xds.transactions.iti18_registry_stored_query import TRANSACTION as ITI_18
from xds.wire.addressing import request_headers
from xds.wire.soap import around

DOCUMENTS, BODY = 5, b"Body>"


@pytest.fixture
def site(sqlite_template: Path, tmp_path: Path) -> Iterator[Site]:
    database = tmp_path / "xds.sqlite"
    database.write_bytes(sqlite_template.read_bytes())
    with serving(f"sqlite:///{database}", tmp_path) as site:
        yield site


def found(site: Site, accepts: str) -> requests.Response:
    query_id, parameters = Search(ANNA).query()
    slots = tuple(Slot(f"${name}", tuple(values)) for name, values in parameters.items())
    head, tail = around(request_headers(ITI_18.action, f"{site.url}/registry", "urn:uuid:one"))
    body = head + etree.tostring(query.write_request(query.AdhocQuery(query_id, "LeafClass", slots))) + tail
    headers = {"Content-Type": "application/soap+xml", "Accept-Encoding": accepts}
    return requests.post(f"{site.url}/registry", body, headers=headers, timeout=30)


def test_an_answer_is_the_same_compressed_and_far_shorter(site: Site) -> None:
    entries = [an_entry(**of_bytes(b"content")) for _ in range(DOCUMENTS)]
    answer = site.provide(symbolic(a_submission(entries=entries)), [b"content"] * DOCUMENTS)
    assert rs.read_response(answer.body)[0] is Status.SUCCESS
    plain, packed = found(site, "identity"), found(site, "gzip")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content.partition(BODY)[1:] == plain.content.partition(BODY)[1:]  # a MessageID differs before it
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 5
    assert plain.content.count(b"<rim:ExtrinsicObject") == DOCUMENTS
