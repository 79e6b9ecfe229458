"""A request may name so much and no more; what is refused is kept by its hash and beginning, and a flood is counted."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from lxml import etree

from tests.builders import ANNA, a_submission, an_entry, symbolic
from tests.conftest import wait_for
from tests.endpoints.console.test_looking import got
from tests.server.test_application import APPROVED, Site, serving
from xds.ebxml import lcm, query, rs, xdsb
from xds.ebxml.rim import Slot
from xds.endpoints import failures
from xds.endpoints.failures import Failures
from xds.errors import ErrorCode, Status
from xds.metadata import to_ebxml
from xds.queries import catalogue
from xds.store.audit.records import Recorded
from xds.store.tables import audit_record
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions import iti62_remove_metadata as iti62
from xds.transactions import iti86_remove_documents as iti86
from xds.transactions import rad69_retrieve_imaging_document_set as rad69
from xds.wire.client import Answer
from xds.wire.xml import NAMESPACES

LIMITS = """
[registry]
submission_objects = 5
[repository]
documents = 3
[imaging_source]
instances = 3
[audit]
failures_per_minute = 3
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, LIMITS) as made:
        yield made


def error_of(answer: Answer) -> tuple[str, str]:
    """The one error of a refusal."""
    response = answer.body if answer.body.tag.endswith("RegistryResponse") else answer.body[0]
    if answer.body.tag.endswith("AdhocQueryResponse"):
        assert answer.body.get("status") == Status.FAILURE
        (error,) = answer.body.iter(f"{{{NAMESPACES['rs']}}}RegistryError")
        return str(error.get("errorCode")), str(error.get("codeContext"))
    status, (finding,) = rs.read_response(response)
    assert status == Status.FAILURE
    return finding.code, finding.context


def asked(site: Site, padding: int) -> Answer:
    slots = (
        Slot("$XDSDocumentEntryPatientId", (f"'{ANNA}'",)),
        Slot("$XDSDocumentEntryStatus", (APPROVED,)),
        Slot("$unknown", ("'" + "x" * 200 + "'",) * (padding // 228)),
    )
    body = query.write_request(query.AdhocQuery(catalogue.FIND_DOCUMENTS.id, "LeafClass", slots))
    return site.send("/registry", iti18.TRANSACTION.action, [etree.tostring(body)], mtom=False)


def records(site: Site, transaction: str) -> list[bytes]:
    with site.application.engine.connect() as connection:
        statement = sa.select(audit_record.c.message).where(audit_record.c.transaction == transaction)
        return [bytes(one) for one in connection.scalars(statement)]


def test_a_query_over_its_limit_is_refused_and_kept_by_hash_length_and_beginning(site: Site) -> None:
    assert asked(site, 60_000).body.get("status") == Status.SUCCESS
    before = len(records(site, "ITI-18"))
    answer = asked(site, 3_000_000)
    assert error_of(answer) == (ErrorCode.STORED_QUERY_PARAM_NUMBER, "more than 65536 bytes in a query")
    (one,) = records(site, "ITI-18")[before:]
    assert len(one) < 12_000
    kept = etree.fromstring(one).findtext(".//ParticipantObjectQuery")
    assert kept is not None
    beginning = base64.b64decode(kept)
    assert len(beginning) == 4096
    assert beginning.startswith(b"<query:AdhocQueryRequest")
    details = {item.get("type"): base64.b64decode(item.get("value") or "").decode()
               for item in etree.fromstring(one).iter("ParticipantObjectDetail")}  # fmt: skip
    assert int(details["Query Length"]) > 2_900_000
    assert len(details["Query SHA-256"]) == 64


def test_a_query_that_is_refused_for_anything_else_is_not_kept_whole_either(site: Site) -> None:
    slots = (Slot("$XDSDocumentEntryPatientId", (f"'{ANNA}'",)), Slot("$unknown", ("'" + "x" * 200 + "'",) * 100))
    body = etree.tostring(query.write_request(query.AdhocQuery(catalogue.FIND_DOCUMENTS.id, "LeafClass", slots)))
    assert error_of(site.send("/registry", iti18.TRANSACTION.action, [body], mtom=False))[0] == (
        ErrorCode.STORED_QUERY_MISSING_PARAM
    )
    (one,) = records(site, "ITI-18")
    assert len(one) < 12_000
    assert hashlib.sha256(b"").hexdigest() not in one.decode()


def test_a_submission_of_more_objects_than_one_may_have_is_refused(site: Site) -> None:
    def sent(entries: int) -> Answer:
        made = a_submission(entries=[an_entry(repository_unique_id="1.2.3") for _ in range(entries)])
        body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(symbolic(made))))
        return site.send("/registry", iti42.TRANSACTION.action, [body], mtom=False)

    assert rs.read_response(sent(2).body)[0] == Status.SUCCESS  # two entries, two associations, a set
    assert error_of(sent(3)) == (ErrorCode.REGISTRY_METADATA, "more than 5 objects in one message")
    made = a_submission(entries=[an_entry(hash=hashlib.sha1(b"x", usedforsecurity=False).hexdigest(), size=1,
                                          repository_unique_id=None) for _ in range(3)])  # fmt: skip
    assert error_of(site.provide(symbolic(made), [b"x"] * 3))[1] == "more than 5 objects in one message"


def test_a_removal_of_more_objects_is_refused(site: Site) -> None:
    body = etree.tostring(lcm.write_remove_objects([f"urn:uuid:{uuid4()}" for _ in range(6)]))
    answer = site.send("/registry", iti62.TRANSACTION.action, [body], mtom=False)
    assert error_of(answer) == (ErrorCode.REGISTRY_ERROR, "more than 5 objects in one message")


def test_more_documents_than_one_may_ask_for_are_neither_looked_for_nor_recorded_singly(site: Site) -> None:
    answer = site.retrieve(*(f"1.2.{number}" for number in range(4)))
    assert error_of(answer) == (ErrorCode.TOO_MANY_RESULTS, "more than 3 documents in one request")
    (one,) = records(site, "ITI-43")
    assert b"Report Number" not in one
    removal = etree.tostring(xdsb.write_retrieve_request(
        [xdsb.DocumentRequest(site.repository_unique_id, f"1.2.{number}") for number in range(4)]
    )).replace(b"RetrieveDocumentSetRequest", b"RemoveDocumentsRequest")  # fmt: skip
    rmd = NAMESPACES["rmd"].encode()
    removal = removal.replace(b"<xds:RemoveDocumentsRequest", b'<rmd:RemoveDocumentsRequest xmlns:rmd="%b"' % rmd)
    removal = removal.replace(b"</xds:RemoveDocumentsRequest", b"</rmd:RemoveDocumentsRequest")
    gone = site.send("/repository", iti86.TRANSACTION.action, [removal], mtom=False)
    assert error_of(gone) == (ErrorCode.REPOSITORY_ERROR, "more than 3 documents in one request")


def test_more_instances_than_one_may_ask_for_are_refused(site: Site) -> None:
    one = xdsb.DocumentRequest("1.2.3", "1.2.4")
    wanted = [xdsb.InstanceRequest("1.2", f"1.2.{number}", one) for number in range(4)]
    body = etree.tostring(xdsb.write_imaging_request(xdsb.ImagingRequest(tuple(wanted), ("1.2.840.10008.1.2",))))
    answer = site.send("/imaging-source", rad69.TRANSACTION.action, [body], mtom=False)
    assert error_of(answer) == (ErrorCode.TOO_MANY_RESULTS, "more than 3 instances in one request")


def test_a_flood_of_failures_is_counted_in_one_record(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "WINDOW_SECONDS", 1.0)
    for _ in range(20):
        site.retrieve("1.2.3", repository="9.9.9")
        got(site, "/dicomweb/studies/1.2.3")
    assert len(records(site, "ITI-43")) + len(records(site, "RAD-107")) <= 2 * 3 + 1 + 6
    wait_for(lambda: len([one for one in records(site, "") if b"urn:xds:failures" in one]) >= 2, 10)


def _one() -> Recorded:
    return Recorded(b"<a/>", "110112", "ITI-18", 4, "")


def test_each_peer_has_a_share_of_its_own_and_a_minute_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], list[tuple[str, str]]()
    counting = Failures(2, lambda peer, said: told.append((peer, said)), lambda: now[0])
    assert [len(counting.kept("a", [_one()])) for _ in range(4)] == [1, 1, 0, 0]
    assert len(counting.kept("b", [_one()])) == 1
    now[0] = 61.0
    assert len(counting.kept("a", [_one()])) == 1
    wait_for(lambda: len(told) == 1, 5)
    assert told[0][0] == "a"


def test_many_peers_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "PEERS", 10)
    counting = Failures(2, lambda _peer, _said: None)
    for number in range(100):
        counting.kept(f"2001:db8::{number}", [_one()])
    assert len(counting._windows) == 10
