"""ITI-81: the audit log searched by FHIR, by those who may; each search on record, and what is malformed named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.endpoints.fhir.shape import wrong
from tests.hostile.certificates import named
from tests.places import GOLDEN
from tests.server.test_application import Site, serving
from xds.audit.search.indexing import indexed
from xds.endpoints.fhir.audit_event import resource
from xds.endpoints.fhir.parameters import APPLIED, BadSearch, applied, wanted
from xds.endpoints.fhir.search import FORM, allowed
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted
from xds.store.tables import audit_record
from xds.wire.http import HttpRequest

ANNA = "anna^^^&1.2.3.4.5&ISO"
DAY = 86_400_000_000
YEAR = ("date", "ge1970-01-01"), ("date", "le2100-01-01")


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.xml").read_bytes()


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """With three records: a query, a retrieval that failed, and what is no record."""
    with serving(database_url, tmp_path, '[audit]\nreaders = ["127.0.0.0/8"]\n') as site:
        with site.application.engine.begin() as connection:
            store.record(connection, [
                Recorded(golden("iti18_responder"), "110112", "ITI-18", 0, ANNA, recorded=DAY),
                Recorded(golden("iti43_responder"), "110106", "ITI-43", 8, recorded=2 * DAY),
                Recorded(b"nonsense", "unreadable", "", 0, recorded=3 * DAY, origin="udp 192.0.2.1"),
            ])  # fmt: skip
            indexed(connection, search.found(connection, Wanted(), 10)).keep(connection)
        yield site


def got(site: Site, *asked: tuple[str, str], url: str = "") -> tuple[int, Any]:
    try:
        with urlopen(url or f"{site.url}/fhir/AuditEvent?{urlencode(asked)}") as reply:  # noqa: S310
            assert reply.headers["Content-Type"].startswith("application/fhir+json")
            status, said = reply.status, json.loads(reply.read())
    except HTTPError as problem:
        status, said = problem.code, json.loads(problem.read())
    assert wrong(said) == []
    return status, said


def found(site: Site, *asked: tuple[str, str]) -> list[str]:
    """What kind each found is of, newest first, without the records of searches."""
    status, bundle = got(site, *YEAR, *asked)
    assert (status, bundle["type"]) == (200, "searchset")
    assert bundle.get("entry") != []
    return [one["resource"]["type"]["code"] for one in bundle.get("entry", [])]


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ([], ["unreadable", "110106", "110112"]),
        ([("patient.identifier", "urn:oid:1.2.3.4.5|anna")], ["110112"]),
        ([("patient:identifier", "urn:oid:1.2.3.4.5|anna")], ["110112"]),
        ([("patient:identifier", "nosuchone")], []),
        ([("entity.identifier", "2.25.8.1")], ["110106"]),
        ([("agent:identifier", "HTTPS://xds.hospital.example/repository")], ["110106"]),
        ([("source:identifier", "xds.hospital.example")], ["110106", "110112"]),
        ([("source.identifier", "elsewhere")], []),
        ([("user:identifier", "nobody")], []),
        ([("outcome", "0"), ("outcome", "8")], []),
        ([("outcome", "0,8"), ("outcome", "8")], ["110106"]),
        ([("_sort", "-date")], ["unreadable", "110106", "110112"]),
        *(([(name, "")], []) for name in ("patient", "patient:identifier", "agent", "entity", "source", "type")),
        ([("entity", ANNA)], ["110112"]),
        ([("entity", "2.25.8.1")], ["110106"]),
        ([("agent", "HTTPS://xds.hospital.example/repository")], ["110106"]),
        ([("address", "192.0.2.7"), ("outcome", "0")], ["110112"]),
        ([("outcome", "4,8")], ["110106"]),
        ([("type", "http://dicom.nema.org/resources/ontology/DCM|110112")], ["110112"]),
        ([("subtype", "ITI-43")], ["110106"]),
        ([("source", "xds.hospital.example"), ("site", "hospital")], ["110106", "110112"]),
        ([("date", "1970-01-02")], ["110112"]),
        ([("date", "gt1970-01-02T00:00:00Z"), ("date", "lt1970-01-04")], ["110106"]),
        ([("date", "le1970-01-02T00:00:00+00:00")], ["110112"]),
        ([("patient", "urn:oid:1.2.3.4.5|nobody")], []),
        ([("unheard-of", "x")], ["unreadable", "110106", "110112"]),
        ([("type", "x|110112,110106")], ["110106", "110112"]),
        ([("subtype", "ITI-43,ITI-99")], ["110106"]),
        ([("outcome", "urn:x|8")], ["110106"]),
        ([("entity-role", "24")], ["110112"]),
        ([("entity-type", "http://x|1")], ["110112"]),
        ([("action", "R")], ["110106"]),
        ([("altid", "nosuch")], []),
        ([("_count", "0")], []),
        ([("date", "le9999"), ("date", "lt9999-12-31")], ["unreadable", "110106", "110112"]),
    ],
)
def test_records_are_found_by_what_a_consumer_asks(site: Site, asked: list[tuple[str, str]], kinds: list[str]) -> None:
    assert found(site, *asked) == kinds


@pytest.mark.parametrize(
    "asked",
    [
        [],
        [("patient", ANNA)],
        [("date", "yesterday")],
        [("date", "1970-13-01")],
        [("date", "1970-01-01T25:00")],
        [*YEAR, ("patient", "north|anna")],
        [*YEAR, ("outcome", "bad")],
        [*YEAR, ("_count", "-1")],
        [*YEAR, *[("patient", "urn:oid:1.2|x")] * 2, ("date", "x")],
    ],
)
def test_a_search_that_is_malformed_is_refused_by_the_name_of_its_parameter(
    site: Site, asked: list[tuple[str, str]]
) -> None:
    status, outcome = got(site, *asked)
    assert (status, outcome["resourceType"]) == (400, "OperationOutcome")
    assert re.match(r"(date|patient|outcome|_count)\b", outcome["issue"][0]["diagnostics"])


@pytest.mark.parametrize(
    "name",
    [
        *(f"{name}{more}" for name in sorted(APPLIED) for more in (":not", ":missing", ".name", ":Patient.identifier")),
        *(f"{name}:identifier" for name in ("date", "outcome", "type", "site", "address", "_count", "_format")),
        "patient:identifier:exact", "patient.identifier.value", "agent:Device.identifier", "patient:", "patient.",
        "agent-role", "entity-name", "entity-name:contains", "policy", "_id", "_lastUpdated", "_has:X:y:z",
    ],
)  # fmt: skip
def test_what_would_narrow_a_search_and_is_not_supported_is_refused_never_ignored(name: str) -> None:
    """Or «who saw this patient» would be answered with everybody's records."""
    with pytest.raises(BadSearch) as refused:
        applied([*YEAR, (name, "anna")])
    assert refused.value.code == "not-supported"
    assert "anna" not in str(refused.value)


def test_a_modifier_that_is_not_supported_is_answered_so_and_on_record(site: Site) -> None:
    status, outcome = got(site, *YEAR, ("patient:missing", "false"))
    assert (status, outcome["issue"][0]["code"]) == (400, "not-supported")
    assert outcome["issue"][0]["diagnostics"].startswith("patient ")
    with site.application.engine.connect() as connection:
        (newest,) = search.found(connection, Wanted(), 1)
    assert (newest.transaction, newest.outcome) == ("ITI-81", 4)


def asked_for(site: Site, path: str, body: str | None = None, **headers: str) -> tuple[int, str, Any]:
    """A request as it is written here: status, Content-Type and what came."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(f"{site.url}/fhir/{path}", None if body is None else body.encode(), named)  # noqa: S310
    try:
        with urlopen(request) as reply:  # noqa: S310
            status, kind, said = reply.status, reply.headers["Content-Type"], json.loads(reply.read())
    except HTTPError as problem:
        status, kind, said = problem.code, problem.headers["Content-Type"], json.loads(problem.read())
    assert wrong(said) == []
    return status, kind, said


def test_who_wants_unknown_parameters_refused_is_heard(site: Site) -> None:
    path = f"AuditEvent?{urlencode([*YEAR, ('unheard-of', 'x')])}"
    assert asked_for(site, path, Prefer="handling=strict")[0] == 400
    assert asked_for(site, path, Prefer="handling=lenient")[0] == 200


def test_a_search_by_post_finds_the_same_and_its_links_can_be_followed(site: Site) -> None:
    asks = [*YEAR, ("_count", "1"), ("patient.identifier", "urn:oid:1.2.3.4.5|anna")]
    status, _, bundle = asked_for(site, "AuditEvent/_search", urlencode(asks), Content_Type=FORM)
    assert (status, [one["resource"]["type"]["code"] for one in bundle["entry"]]) == (200, ["110112"])
    links = {one["relation"]: one["url"] for one in bundle["link"]}
    assert got(site, url=links["self"])[1]["entry"] == bundle["entry"]
    # In part in the address.
    path = f"AuditEvent/_search?{urlencode(asks[:2])}"
    assert asked_for(site, path, urlencode(asks[2:]), Content_Type=FORM)[2]["entry"] == bundle["entry"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("", FORM, 400),
        ("patient:missing=true&date=2026", FORM, 400),
        ('{"date": "2026"}', "application/json", 415),
        ("date=2026", "multipart/form-data; boundary=x", 415),
        ("%FF%00=%FF&date=%00", FORM, 400),
    ],
)
def test_a_search_by_post_that_is_wrong_is_refused(site: Site, body: str, kind: str, status: int) -> None:
    answer = asked_for(site, "AuditEvent/_search", body, Content_Type=kind)
    assert (answer[0], answer[2]["resourceType"]) == (status, "OperationOutcome")


@pytest.mark.parametrize(
    ("accept", "format_", "status"),
    [
        ("application/fhir+xml", "", 406),
        ("application/xml, text/xml", "", 406),
        ("text/html", "", 406),
        ("application/fhir+json;q=0, application/fhir+xml", "", 406),
        ("application/fhir+xml;q=1.0, application/fhir+json;q=0.9", "", 200),
        ("application/json", "", 200),
        ("*/*", "", 200),
        ("application/fhir+xml", "json", 200),
        ("*/*", "xml", 406),
        ("*/*", "application/fhir+xml", 406),
        ("application/fhir+json", "nojson", 406),
        ("*/*", "application/fhir+json", 200),
        ("*/*", "application/json;fhirVersion=4.0", 200),
    ],
)
@pytest.mark.parametrize("path", ["AuditEvent?date=2026", "metadata?"])
def test_json_is_written_or_406(site: Site, path: str, accept: str, format_: str, status: int) -> None:
    for escaped in {format_, format_.replace("+", "%2B")}:
        asked = path + (f"&_format={escaped}" if escaped else "")
        found, kind, said = asked_for(site, asked, Accept=accept)
        assert (found, kind) == (status, "application/fhir+json; charset=utf-8")
        assert (said["resourceType"] == "OperationOutcome") is (status == 406)


def test_what_may_be_asked_is_told_before_anybody_asks(site: Site) -> None:
    status, _, said = asked_for(site, "metadata")
    assert (status, said["resourceType"], said["fhirVersion"]) == (200, "CapabilityStatement", "4.0.1")
    assert said["implementation"]["url"] == f"{site.url}/fhir"
    (audit_event,) = said["rest"][0]["resource"]
    assert {one["name"] for one in audit_event["searchParam"]} == set(APPLIED)


def test_pages_follow_each_other(site: Site) -> None:
    status, bundle = got(site, *YEAR, ("_count", "2"), ("source", "xds.hospital.example"))
    assert (status, len(bundle["entry"])) == (200, 2)
    _, bundle = got(site, *YEAR, ("_count", "1"), ("source", "xds.hospital.example"))
    seen = [bundle["entry"][0]["resource"]["id"]]
    while following := [one["url"] for one in bundle["link"] if one["relation"] == "next"]:
        _, bundle = got(site, url=following[0])
        seen += [one["resource"]["id"] for one in bundle["entry"]]
    assert len(seen) == len(set(seen)) == 2


def test_a_resource_is_read_where_a_search_says_it_is(site: Site) -> None:
    _, bundle = got(site, *YEAR, ("unheard-of", "x"))
    (first, *_) = bundle["entry"]
    status, resource_ = got(site, url=first["fullUrl"])
    assert (status, resource_) == (200, first["resource"])
    assert resource_["meta"] == {"source": "urn:xds:audit:origin:udp%20192.0.2.1"}
    assert got(site, url=f"{site.url}/fhir/AuditEvent/99999")[0] == 404
    assert "unheard-of" not in bundle["link"][0]["url"]


def test_each_search_is_on_record_and_so_is_that_the_log_was_read(site: Site) -> None:
    found(site)
    got(site, ("date", "x"))
    with site.application.engine.connect() as connection:
        rows = connection.execute(sa.select(audit_record).order_by(audit_record.c.id)).all()[3:]
    assert sorted((row.event, row.transaction, row.outcome) for row in rows) == [
        ("110101", "ITI-81", 0), ("110112", "ITI-81", 0), ("110112", "ITI-81", 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("readers", "address", "certificate", "may"),
    [
        (["10.0.0.0/8"], "10.1.2.3", "", True),
        (["10.0.0.0/8"], "11.1.2.3", "", False),
        (["commonName=auditor"], "11.1.2.3", "CN=auditor", True),
        (["commonName=auditor"], "11.1.2.3", "CN=audito", False),
        (["CN=auditor, O=North"], "11.1.2.3", "O=North,CN=auditor", True),
        (["CN=auditor"], "11.1.2.3", "O=South,CN=auditor", False),
        (["CN=auditor, O=North"], "11.1.2.3", r"CN=auditor\, O=North", False),
        (["commonName=auditor"], "commonName=auditor", "", False),
        ([], "10.1.2.3", "", False),
    ],
)
def test_who_is_not_named_may_not_read(readers: list[str], address: str, certificate: str, may: bool) -> None:
    presented = named(certificate) if certificate else None
    caller = HttpRequest("GET", "/fhir/AuditEvent", "", "", lambda _: b"", address, "http://x", presented)
    assert allowed(readers, caller) is may


def test_who_may_not_read_is_told_so_and_is_on_record(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path, '[audit]\nreaders = ["192.0.2.1"]\n') as site:
        assert got(site, *YEAR)[0] == 403
        with site.application.engine.connect() as connection:
            (row,) = connection.execute(sa.select(audit_record)).all()
        assert (row.transaction, row.outcome) == ("ITI-81", 4)


def test_where_nobody_is_named_there_is_no_such_address(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, tmp_path) as site, pytest.raises(HTTPError, match="404"):
        urlopen(f"{site.url}/fhir/AuditEvent?date=2026")  # noqa: S310


def test_a_resource_says_what_the_record_says() -> None:
    said = resource(Recorded(golden("iti18_responder"), "110112", "ITI-18", 0, id=7))
    assert said["id"] == "7"
    assert said["type"] == {
        "system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110112", "display": "Query",
    }  # fmt: skip
    assert said["subtype"][0]["code"] == "ITI-18"
    assert (said["action"], said["outcome"], said["recorded"]) == ("E", "0", "2026-03-01T08:00:00.000+00:00")
    assert [one["requestor"] for one in said["agent"]] == [True, False]
    assert said["source"] == {
        "site": "Hospital", "observer": {"identifier": {"value": "xds.hospital.example"}},
    }  # fmt: skip
    patient, query = said["entity"]
    assert (patient["what"]["identifier"]["value"], patient["role"]["code"]) == (ANNA, "1")
    assert query["query"] == "PHF1ZXJ5Lz4="


@given(
    st.lists(st.tuples(st.sampled_from(("date", "patient", "entity", "outcome", "_count", "type", "agent")), st.text()))
)
def test_no_search_breaks_the_reader(asked: list[tuple[str, str]]) -> None:
    try:
        what, most = wanted(applied(asked))
    except BadSearch:
        return
    assert 0 <= most <= 1000
    assert what.since or what.until


def test_a_date_stands_for_its_whole_period() -> None:
    for text, begin, end in (
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("eq2026-12-31", "2026-12-31", "2027-01-01"),
        ("2026-12-31T23:59", "2026-12-31T23:59", "2027-01-01"),
        ("2026-12-31T23:59:59+01:00", "2026-12-31T22:59:59", "2026-12-31T23:00"),
    ):
        what, _ = wanted([("date", text)])
        times = [datetime.fromisoformat(one).replace(tzinfo=UTC).timestamp() * 1e6 for one in (begin, end)]
        assert [what.since, what.until] == times
