"""The Initiating Gateway: what it makes of the answers of others, whatever they are.  ITI TF-2: 3.38, 3.39."""

from __future__ import annotations

import logging
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from lxml import etree

from tests.builders import ANNA, BERT, an_entry, text
from tests.conftest import wait_for
from tests.regions import (
    ANNA_IN_SOUTH,
    NORTH,
    SOUTH,
    WEST,
    Stub,
    World,
    asked,
    find,
    homes,
    objects,
    said,
)
from tests.server.test_application import APPROVED
from xds.actors import fetching
from xds.errors import ErrorCode, Finding, Severity, Status
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.homes import home_of
from xds.metadata.identifiers import PatientId
from xds.queries import catalogue
from xds.wire.addressing import reply_headers
from xds.wire.soap import around
from xds.wire.xml import Element, name

MISSING, UNAVAILABLE, UNKNOWN = (
    ErrorCode.MISSING_HOME_COMMUNITY_ID, ErrorCode.UNAVAILABLE_COMMUNITY, ErrorCode.UNKNOWN_COMMUNITY,
)  # fmt: skip
S, W, N = home_of(SOUTH), home_of(WEST), home_of(NORTH)


def of_south(**changes: Any) -> DocumentEntry:
    return an_entry(**{"patient_id": ANNA_IN_SOUTH, **changes})


def answers(stub: Stub, *entries: DocumentEntry, home: str | None = S, **more: Any) -> None:
    stub.answer = lambda _: objects(*entries, home=home, **more)


# Whom it asks.


def test_a_patient_s_documents_are_those_of_all_communities_each_with_its_home(world: World) -> None:
    entries = [of_south(), of_south()]
    answers(world.south, entries[0])
    answers(world.west, entries[1], home=W)
    found = find(world.north)
    assert said(found) == (Status.SUCCESS, [])
    assert homes(found) == {world.own.unique_id: N, entries[0].unique_id: S, entries[1].unique_id: W}


def test_a_community_is_asked_by_its_own_id_of_the_patient_and_with_every_other_parameter(world: World) -> None:
    find(world.north, asked(**{
        "XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED, "urn:x:unheard": "'of'",
    }))  # fmt: skip
    (sent,) = world.south.asked
    slots = {one.get("name"): one.findtext(f".//{name('rim:Value')}") for one in sent.iter(name("rim:Slot"))}
    assert slots == {
        "$XDSDocumentEntryPatientId": f"'{ANNA_IN_SOUTH}'", "$XDSDocumentEntryStatus": APPROVED,
        "$urn:x:unheard": "'of'",
    }  # fmt: skip
    assert str(ANNA) not in etree.tostring(sent).decode()


def test_a_community_that_does_not_know_the_patient_is_not_asked(world: World) -> None:
    patient = {"XDSDocumentEntryPatientId": f"'{BERT}'", "XDSDocumentEntryStatus": APPROVED}
    assert said(find(world.north, asked(**patient))) == (Status.SUCCESS, [])
    assert world.south.asked == world.west.asked == []


@pytest.mark.parametrize(("targets", "south", "west", "here"), [
    (f"('{S}')", 1, 0, False), (f"('{S}','{N}')", 1, 0, True), ("()", 1, 1, True), ("", 1, 1, True),
])  # fmt: skip
def test_only_the_communities_that_a_query_names_are_asked(
    world: World, targets: str, south: int, west: int, here: bool
) -> None:
    parameters = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}
    found = find(world.north, asked(**parameters, targetCommunityIdList=targets))
    assert (said(found), len(world.south.asked), len(world.west.asked)) == ((Status.SUCCESS, []), south, west)
    assert (world.own.unique_id in homes(found)) == here


def test_of_targets_that_nobody_knows_each_is_told_and_the_others_are_asked(world: World) -> None:
    parameters = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}
    found = find(world.north, asked(**parameters, targetCommunityIdList=[f"('{S}')", "('urn:oid:1.9')"]))
    assert said(found) == (Status.PARTIAL_SUCCESS, [(UNKNOWN, "urn:oid:1.9")])
    (sent,) = world.south.asked
    assert "urn:oid:1.9" not in etree.tostring(sent).decode()
    alone = find(world.north, asked(**parameters, targetCommunityIdList="('urn:oid:1.9')"))
    assert said(alone) == (Status.FAILURE, [(UNKNOWN, "urn:oid:1.9")])


def test_a_query_for_ids_goes_to_the_community_that_it_names_and_must_name_one(world: World) -> None:
    entry = of_south()
    answers(world.south, entry)
    ids = {"XDSDocumentEntryUniqueId": f"('{entry.unique_id}')"}
    found = find(world.north, asked(catalogue.GET_DOCUMENTS.id, home=S, **ids))
    assert (said(found), homes(found)) == ((Status.SUCCESS, []), {entry.unique_id: S})
    (sent,) = world.south.asked
    assert sent.find(name("rim:AdhocQuery")).get("home") == S
    assert world.west.asked == []
    assert said(find(world.north, asked(catalogue.GET_DOCUMENTS.id, **ids))) == (Status.FAILURE, [(MISSING, "")])
    nowhere = find(world.north, asked(catalogue.GET_DOCUMENTS.id, home="urn:oid:1.9", **ids))
    assert said(nowhere) == (Status.FAILURE, [(UNKNOWN, "urn:oid:1.9")])


def test_a_query_for_ids_of_ours_is_answered_here(world: World) -> None:
    ids = {"XDSDocumentEntryUniqueId": f"('{world.own.unique_id}')"}
    for return_type in ("LeafClass", "ObjectRef"):
        found = find(world.north, asked(catalogue.GET_DOCUMENTS.id, return_type, home=N, **ids))
        assert (said(found), list(homes(found).values())) == ((Status.SUCCESS, []), [N])


def test_a_query_that_the_registry_does_not_know_is_refused_by_it(world: World) -> None:
    found = find(world.north, asked("urn:uuid:00000000-0000-4000-8000-000000000000"))
    assert said(found) == (Status.FAILURE, [(ErrorCode.UNKNOWN_STORED_QUERY, N)])


# What they answer.


def test_a_community_that_is_down_is_told_and_does_not_keep_the_others_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    south = world.domain.actors.gateways.initiating.communities.of(S)
    assert south is not None
    monkeypatch.setattr(south.query[0], "url", "http://127.0.0.1:9/down")
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, S)])
    (error,) = found.iter(name("rs:RegistryError"))
    assert "south" in (context := error.get("codeContext", ""))
    assert S in context
    assert "127.0.0.1:9: no connection" in context
    assert homes(found) == {world.own.unique_id: N}


def test_a_community_that_is_slow_is_not_waited_for_beyond_its_time(world: World) -> None:
    world.hurry_west()
    world.west.go_on.clear()
    answers(world.south, entry := of_south())
    started = time.monotonic()
    found = find(world.north)
    assert time.monotonic() - started < 5
    assert said(found) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, W)])
    assert homes(found) == {world.own.unique_id: N, entry.unique_id: S}


def test_a_community_is_not_called_when_its_id_for_the_patient_was_found_too_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    west = world.domain.actors.gateways.initiating.communities.of(W)
    assert west is not None
    world.within(west, 0.1)

    def late(_: object) -> PatientId:
        time.sleep(0.3)
        return ANNA_IN_SOUTH

    monkeypatch.setattr(west.patients, "mapped", late)
    assert said(find(world.north)) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, W)])
    wait_for(lambda: west.calls._free._value == 2)
    assert world.west.asked == []


def test_one_that_dribbles_is_not_read_beyond_its_time(world: World) -> None:
    def dribbles(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/soap+xml")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    world.hurry_west()
    world.west.raw = dribbles
    assert said(find(world.north)) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, W)])
    places = world.domain.actors.gateways.initiating.communities.of(W).calls._free  # type: ignore[union-attr]
    wait_for(lambda: places._value == 2)  # its thread has ended, though it would go on for a minute


def test_of_one_that_does_not_answer_no_more_calls_are_under_way_than_it_may_have(world: World) -> None:
    calls, held = world.domain.actors.gateways.initiating.communities.of(W).calls, threading.Event()  # type: ignore[union-attr]
    for _ in range(2):
        calls.start(lambda: held.wait(60))
    assert said(find(world.north)) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, W)])
    assert world.west.asked == []
    held.set()
    wait_for(lambda: calls._free._value == 2)
    assert said(find(world.north)) == (Status.SUCCESS, [])


def test_a_fault_is_no_answer(world: World) -> None:
    fault = (
        '<soap:Fault xmlns:soap="http://www.w3.org/2003/05/soap-envelope"><soap:Code><soap:Value>soap:Sender'
        '</soap:Value></soap:Code><soap:Reason><soap:Text xml:lang="en">not you</soap:Text></soap:Reason></soap:Fault>'
    )
    world.south.answer, world.south.status = lambda _: fault.encode(), 500
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, S)])
    assert b"not you" in etree.tostring(found)


@pytest.mark.parametrize("home", [None, "", W, N, "1.2.3.4.102", "urn:oid:1.9"])
def test_an_answer_without_home_or_with_that_of_another_is_left_out_and_told(world: World, home: str | None) -> None:
    """South speaks for itself, and for nobody else; not even for us."""
    good, bad = of_south(), of_south()

    def answer(_: Element) -> bytes:
        whole = objects(good, bad, home=S)
        place = whole.rindex(f' home="{S}"'.encode())
        said_ = b"" if home is None else f' home="{home}"'.encode()
        return whole[:place] + said_ + whole[place + len(f' home="{S}"') :]

    world.south.answer = answer
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(MISSING, S)])
    assert homes(found) == {world.own.unique_id: N}
    (error,) = found.iter(name("rs:RegistryError"))
    assert "south" in error.get("codeContext", "")
    assert bad.entry_uuid in error.get("codeContext", "")


@pytest.mark.parametrize("other", [ANNA, BERT])
def test_an_answer_about_another_patient_is_left_out_and_told_without_their_data(
    world: World, other: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one by our own id of the patient: that is not the one that South was asked about."""
    answers(world.south, of_south(), of_south(patient_id=other, title=text("of somebody else")))
    with caplog.at_level(logging.DEBUG):
        found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(ErrorCode.RESULT_NOT_SINGLE_PATIENT, S)])
    assert homes(found) == {world.own.unique_id: N}
    (error,) = found.iter(name("rs:RegistryError"))
    for private in (str(BERT), "somebody else", "anna-south", "Müller"):
        assert private not in str(error.attrib)
        assert private not in caplog.text


def test_too_many_objects_of_one_community_are_left_out_and_told(world: World) -> None:
    answers(world.south, *(of_south() for _ in range(51)))
    answers(world.west, entry := of_south(), home=W)
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(ErrorCode.TOO_MANY_RESULTS, S)])
    assert homes(found) == {world.own.unique_id: N, entry.unique_id: W}


def test_too_many_objects_of_all_together_are_left_out_from_where_they_are_too_many(world: World) -> None:
    answers(world.south, *(of_south() for _ in range(40)))
    answers(world.west, *(of_south() for _ in range(11)), home=W)
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(ErrorCode.TOO_MANY_RESULTS, W)])
    assert len(homes(found)) == 41


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;">]>'


def _too_long(_: Element) -> bytes:
    return objects(of_south(), home=S) + b" " * 1_100_000


@pytest.mark.parametrize(("answer", "why"), [
    (lambda _: b"<a>" * 300 + b"</a>" * 300, "well-formed"),
    (_too_long, "bytes"),
    (lambda _: b"<x>" + b"<a/>" * 100_001 + b"</x>", "elements"),
    (lambda _: b"<no", "well-formed"),
    (lambda _: b"<rs:RegistryResponse xmlns:rs='urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0'/>", "AdhocQueryResponse"),
    (lambda _: objects().replace(b"ResponseStatusType:Success", b"ResponseStatusType:Good"), "status"),
])  # fmt: skip
def test_what_is_no_answer_is_told_of_and_kept_from_the_others(
    world: World, answer: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ELEMENTS", 100_000)
    world.south.answer = answer
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, S)])
    assert homes(found) == {world.own.unique_id: N}
    (error,) = found.iter(name("rs:RegistryError"))
    assert why in error.get("codeContext", "")


def test_an_answer_may_come_in_chunks(world: World) -> None:
    entry = of_south()

    def raw(handler: BaseHTTPRequestHandler) -> None:
        head, tail = around(reply_headers("urn:x", "urn:uuid:1"))
        body = head + objects(entry, home=S) + tail
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", "application/soap+xml")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for at in range(0, len(body), 1000):
            piece = body[at : at + 1000]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    world.south.raw = raw
    found = find(world.north)
    assert (said(found), homes(found)) == ((Status.SUCCESS, []), {world.own.unique_id: N, entry.unique_id: S})


def test_entities_are_not_expanded(world: World) -> None:
    def raw(handler: BaseHTTPRequestHandler) -> None:
        body = BOMB + (
            b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>' + objects() + b"&c;</s:Body>"
            b"</s:Envelope>"
        )
        handler.send_response(200)
        handler.send_header("Content-Type", "application/soap+xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    world.south.raw = raw
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(UNAVAILABLE, S)])
    assert b"bbbb" not in etree.tostring(found)


def test_who_does_not_know_the_patient_has_answered_with_nothing(world: World) -> None:
    finding = Finding(ErrorCode.UNKNOWN_PATIENT_ID, str(ANNA_IN_SOUTH), S)
    answers(world.south, status=Status.FAILURE, findings=[finding])
    assert said(find(world.north)) == (Status.SUCCESS, [])


def test_other_errors_of_a_community_go_on_with_what_it_has_found(world: World) -> None:
    findings = [Finding(ErrorCode.REGISTRY_BUSY, "half of it", S)]
    answers(world.south, entry := of_south(), status=Status.PARTIAL_SUCCESS, findings=findings)
    found = find(world.north)
    assert said(found) == (Status.PARTIAL_SUCCESS, [(ErrorCode.REGISTRY_BUSY, S)])
    assert homes(found) == {world.own.unique_id: N, entry.unique_id: S}


def test_a_warning_alone_leaves_it_a_success(world: World) -> None:
    answers(world.south, findings=[Finding(ErrorCode.REGISTRY_ERROR, "some withheld", S, Severity.WARNING)])
    assert said(find(world.north)) == (Status.SUCCESS, [(ErrorCode.REGISTRY_ERROR, S)])


def test_where_nobody_has_answered_it_is_a_failure(world: World) -> None:
    world.south.answer = lambda _: b"<no/>"
    parameters = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}
    found = find(world.north, asked(**parameters, targetCommunityIdList=f"('{S}')"))
    assert said(found) == (Status.FAILURE, [(UNAVAILABLE, S)])


def test_what_the_registry_refuses_is_told_beside_what_the_others_have(world: World) -> None:
    answers(world.south, of_south())
    wrong = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": "('urn:none')"}
    status, errors = said(find(world.north, asked(**wrong)))
    assert status is Status.PARTIAL_SUCCESS
    assert {place for _, place in errors} == {N}
