"""ITI-81's answers by HAPI FHIR's validator: every kind of record that we write is a valid AuditEvent of R4."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.extent import LONG
from tests.needs import missing
from tests.peers import maven
from tests.peers.validator import wrong
from tests.places import GOLDEN
from tests.server.test_application import Site, serving
from xds.audit.messages.message_xml import read
from xds.audit.search.indexing import indexed
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted

pytestmark = [pytest.mark.large, pytest.mark.skipif(not LONG, reason="HAPI is built and run by make test-long only")]

RECORDS = sorted(GOLDEN.glob("*.xml"))
PAGE = 25
"""Small enough that there are several."""


@pytest.fixture(scope="module")
def validator() -> Path:
    if not maven.is_there():
        missing("Java and Maven", "default-jdk maven")
    return maven.build("hapi")


@pytest.fixture
def site(sqlite_template: Path, tmp_path: Path) -> Iterator[Site]:
    """With a record of every kind, and what is none."""
    database = Path(shutil.copy(sqlite_template, tmp_path))
    recorded = [_recorded(number, path.read_bytes()) for number, path in enumerate(RECORDS, 1)]
    recorded.append(Recorded(b"nonsense", "unreadable", "", 0, recorded=1, origin="udp 192.0.2.1"))
    with serving(f"sqlite:///{database}", tmp_path, '[audit]\nreaders = ["127.0.0.0/8"]\n') as site:
        with site.application.engine.begin() as connection:
            store.record(connection, recorded)
            indexed(connection, search.found(connection, Wanted(), len(recorded) + 1)).keep(connection)
        yield site


def _recorded(number: int, message: bytes) -> Recorded:
    event = read(message).event
    types = [code.code for code in event.type_codes]
    return Recorded(message, event.event_id.code, types[0] if types else "", int(event.outcome), recorded=number * 1000)


def answer(url: str, file: Path) -> bytes:
    """What is answered there, kept in a file too."""
    try:
        with urlopen(url) as reply:  # noqa: S310
            body: bytes = reply.read()
    except HTTPError as problem:
        body = problem.read()
    file.write_bytes(body)
    return body


def test_every_audit_event_of_every_page_is_valid(site: Site, validator: Path, tmp_path: Path) -> None:
    year = urlencode([("date", "ge1970-01-01"), ("date", "le1970-12-31"), ("_count", str(PAGE))])
    url, pages, seen = f"{site.url}/fhir/AuditEvent?{year}", list[Path](), 0
    while url:
        pages.append(tmp_path / f"page{len(pages)}.json")
        bundle = json.loads(answer(url, pages[-1]))
        seen += len(bundle["entry"])
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    assert seen == len(RECORDS) + 1
    assert wrong(validator, *pages) == []


def test_what_is_said_of_a_malformed_search_is_valid(site: Site, validator: Path, tmp_path: Path) -> None:
    answer(f"{site.url}/fhir/AuditEvent?date=yesterday", tmp_path / "outcome.json")
    assert wrong(validator, tmp_path / "outcome.json") == []


def test_the_capability_statement_is_valid(site: Site, validator: Path, tmp_path: Path) -> None:
    said = json.loads(answer(f"{site.url}/fhir/metadata", tmp_path / "metadata.json"))
    assert said["resourceType"] == "CapabilityStatement"
    assert wrong(validator, tmp_path / "metadata.json") == []


def test_the_validator_finds_what_is_wrong(site: Site, validator: Path, tmp_path: Path) -> None:
    spoilt = {
        "resourceType": "AuditEvent", "type": {"system": "white space", "code": "110112"}, "recorded": "yesterday",
        "agent": [{"requestor": True}], "unheard-of": 1,
    }  # fmt: skip
    (tmp_path / "spoilt.json").write_text(json.dumps(spoilt), "utf-8")
    places = {line.split(":")[0] for line in wrong(validator, tmp_path / "spoilt.json")}
    assert len(places) >= 3, places
