"""Documents of other communities: what of their answers is taken, and what is told of the rest.  ITI TF-2: 3.39."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.actors.test_initiating_gateway import MISSING, UNAVAILABLE, UNKNOWN, N, S, W
from tests.actors.test_responding_gateway import only
from tests.builders import BERT, an_entry
from tests.conftest import wait_for
from tests.regions import (
    ANNA_IN_SOUTH,
    NORTH,
    SOUTH,
    WEST,
    World,
    a_gateway,
    community,
    contents,
    documents,
    fetch,
    find,
    objects,
    outcome,
    region,
    said,
)
from xds.access.gate import Granted
from xds.access.peers import STRANGER
from xds.errors import ErrorCode, Finding, Severity, Status
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import Oid
from xds.store.documents import wrapping
from xds.wire.xml import Element, name

REPOSITORY = "1.2.3.4.77"


def test_documents_come_from_where_each_is_in_one_answer(world: World) -> None:
    world.south.answer = lambda _: documents((REPOSITORY, "2.25.1", b"of the south"))
    world.west.answer = lambda _: documents((REPOSITORY, "2.25.2", b"of the west"), home=W)
    got = fetch(
        world.north, (WEST, REPOSITORY, "2.25.2"), (NORTH, world.north.repository_unique_id, world.own.unique_id),
        (SOUTH, REPOSITORY, "2.25.1"),
    )  # fmt: skip
    assert outcome(got) == (Status.SUCCESS, [])
    assert contents(got) == {
        "2.25.2": b"of the west", world.own.unique_id: b"of the north", "2.25.1": b"of the south",
    }  # fmt: skip
    asked_for = [item.findtext(name("xds:HomeCommunityId")) for item in got.body.iter(name("xds:DocumentResponse"))]
    assert asked_for == [W, N, S]


def test_a_document_that_stands_in_the_message_itself_is_taken_too(world: World) -> None:
    inline = b"".join(one if isinstance(one, bytes) else b"SU5MSU5F" for one in documents((REPOSITORY, "2.25.1", b"x")))
    world.south.answer = lambda _: inline
    assert contents(fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"))) == {"2.25.1": b"INLINE"}


def test_no_file_is_left_of_what_was_fetched(world: World) -> None:
    world.south.answer = lambda _: documents((REPOSITORY, "2.25.1", b"x"))
    fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"))
    staging = world.domain.database.blobs.staging
    wait_for(lambda: not list(staging.glob("part-*")))


def test_documents_of_a_community_that_is_silent_are_told_one_by_one(world: World) -> None:
    world.hurry_west()
    world.west.go_on.clear()
    world.south.answer = lambda _: documents((REPOSITORY, "2.25.1", b"x"))
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"), (WEST, REPOSITORY, "2.25.2"), (WEST, REPOSITORY, "2.25.3"))
    assert outcome(got) == (
        Status.PARTIAL_SUCCESS, [(UNAVAILABLE, f"{W} 2.25.2"), (UNAVAILABLE, f"{W} 2.25.3")],
    )  # fmt: skip
    assert contents(got) == {"2.25.1": b"x"}
    world.west.go_on.set()
    staging = world.domain.database.blobs.staging
    wait_for(lambda: not list(staging.glob("part-*")))  # also of what came too late


@pytest.mark.parametrize("home", [None, W, ""])
def test_a_document_without_its_community_or_with_another_is_left_out(world: World, home: str | None) -> None:
    world.south.answer = lambda _: documents((REPOSITORY, "2.25.1", b"x"), home=home)
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"))
    assert outcome(got) == (Status.FAILURE, [(MISSING, "2.25.1")])
    assert contents(got) == {}


def test_what_was_not_asked_for_is_left_out_and_what_is_not_spoken_of_is_told(world: World) -> None:
    world.south.answer = lambda _: documents((REPOSITORY, "2.25.9", b"x"))
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"))
    assert outcome(got) == (
        Status.FAILURE, [(ErrorCode.REPOSITORY_ERROR, S), (ErrorCode.DOCUMENT_UNIQUE_ID, "2.25.1")],
    )  # fmt: skip


def test_errors_of_a_community_go_on_as_they_came(world: World) -> None:
    findings = [Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "gone", f"{S} 2.25.2")]
    world.south.answer = lambda _: documents(
        (REPOSITORY, "2.25.1", b"x"), status=Status.PARTIAL_SUCCESS, findings=findings
    )  # fmt: skip
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"), (SOUTH, REPOSITORY, "2.25.2"))
    assert outcome(got) == (Status.PARTIAL_SUCCESS, [(ErrorCode.DOCUMENT_UNIQUE_ID, f"{S} 2.25.2")])


@pytest.mark.parametrize("finding", [
    Finding(ErrorCode.REPOSITORY_ERROR, "old", f"{S} 2.25.2", Severity.WARNING),
    Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "gone", f"{S} 2.25.24"),
])  # fmt: skip
def test_a_document_that_did_not_come_is_told_of_also_beside_a_warning_or_an_error_of_another(
    world: World, finding: Finding
) -> None:
    world.south.answer = lambda _: documents((REPOSITORY, "2.25.1", b"x"), findings=[finding])
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"), (SOUTH, REPOSITORY, "2.25.2"))
    status, errors = outcome(got)
    assert status is Status.PARTIAL_SUCCESS
    assert (ErrorCode.DOCUMENT_UNIQUE_ID, "2.25.2") in errors


def test_a_document_without_an_entry_is_told_of_where_its_community_has_warned_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.north.application.gate, "ask", lambda *_, **__: Granted(STRANGER, "a test", only("any")))
    warning = Finding(ErrorCode.REGISTRY_ERROR, "some withheld", S, Severity.WARNING)
    world.south.answer = lambda _: objects(findings=[warning])
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"))
    assert outcome(got) == (Status.FAILURE, [(ErrorCode.DOCUMENT_UNIQUE_ID, f"{S} 2.25.1")])


def of_two_patients(*, silent_from: int = 9) -> tuple[list[DocumentEntry], Callable[[Element], Any]]:
    """Entries of two patients, and a community that refuses to answer about both of them at once."""
    patients = (ANNA_IN_SOUTH, BERT)
    entries = [an_entry(patient_id=one, repository_unique_id=REPOSITORY) for one in patients]
    refusal = Finding(ErrorCode.RESULT_NOT_SINGLE_PATIENT, "two patients", S)
    asked = list[Element]()

    def answer(body: Element) -> Any:
        text = etree.tostring(body).decode()
        wanted = [one for one in entries if one.unique_id in text]
        if body.tag == name("xds:RetrieveDocumentSetRequest"):
            return documents(*((REPOSITORY, one.unique_id, b"x") for one in wanted))
        asked.append(body)
        if len(asked) > silent_from:
            return b"<no/>"
        if len(wanted) > 1:
            return objects(status=Status.FAILURE, findings=[refusal])
        return objects(*wanted, home=S)

    return entries, answer


def test_documents_of_several_patients_of_a_community_are_asked_about_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, world.south.answer = of_two_patients()
    code = entries[0].class_code
    granted = Granted(STRANGER, "a test", only(f"{code.code}^^{code.scheme}"))
    monkeypatch.setattr(world.north.application.gate, "ask", lambda *_, **__: granted)
    got = fetch(world.north, *((SOUTH, REPOSITORY, one.unique_id) for one in entries))
    assert outcome(got) == (Status.SUCCESS, [])
    assert contents(got).keys() == {one.unique_id for one in entries}


def test_one_that_is_asked_one_by_one_and_falls_silent_is_not_asked_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, world.south.answer = of_two_patients(silent_from=1)
    monkeypatch.setattr(world.north.application.gate, "ask", lambda *_, **__: Granted(STRANGER, "a test", only("any")))
    got = fetch(world.north, *((SOUTH, REPOSITORY, one.unique_id) for one in entries))
    assert outcome(got) == (Status.FAILURE, [(UNAVAILABLE, f"{S} {one.unique_id}") for one in entries])
    assert len(world.south.asked) == 2


def test_documents_without_a_community_or_of_an_unknown_one_are_told_and_the_others_given(world: World) -> None:
    here = (NORTH, world.north.repository_unique_id, world.own.unique_id)
    got = fetch(world.north, here, (None, REPOSITORY, "2.25.1"), (Oid("1.9"), REPOSITORY, "2.25.2"))
    errors = [(MISSING, "2.25.1"), (UNKNOWN, "urn:oid:1.9 2.25.2")]
    assert outcome(got) == (Status.PARTIAL_SUCCESS, errors)
    assert contents(got) == {world.own.unique_id: b"of the north"}


def test_long_retrievals_leave_the_queries_of_their_community(world: World) -> None:
    west, held = world.domain.actors.gateways.initiating.communities.of(W), threading.Event()
    assert west is not None
    for _ in range(2):
        west.retrievals.start(lambda: held.wait(60))
    assert outcome(fetch(world.north, (WEST, REPOSITORY, "2.25.2"))) == (
        Status.FAILURE, [(UNAVAILABLE, f"{W} 2.25.2")],
    )  # fmt: skip
    assert said(find(world.north)) == (Status.SUCCESS, [])
    held.set()


def test_an_answer_that_breaks_off_is_none(world: World) -> None:
    def breaks(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", 'multipart/related; boundary="b"; start="<r>"')
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.wfile.write(b"\r\n--b\r\nContent-ID: <r>\r\n\r\n<half")
        handler.close_connection = True

    world.south.raw = breaks
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"))
    assert outcome(got) == (Status.FAILURE, [(UNAVAILABLE, f"{S} 2.25.1")])


def test_more_bytes_than_are_taken_are_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taking = world.domain.actors.gateways.taking
    monkeypatch.setattr(type(taking), "__setattr__", object.__setattr__)
    monkeypatch.setattr(taking, "document_bytes", 50_000)
    world.south.answer = lambda _: documents((REPOSITORY, "2.25.1", bytes(60_000)))
    got = fetch(world.north, (SOUTH, REPOSITORY, "2.25.1"))
    assert outcome(got) == (Status.FAILURE, [(UNAVAILABLE, f"{S} 2.25.1")])


def test_what_comes_for_an_encrypted_store_s_node_is_not_on_its_disk_in_clear(
    sqlite_template: Path, tmp_path: Path
) -> None:
    wrapping.add(tmp_path / "documents.keys")
    text = b"Anna Schmidt " * 10_000
    with ExitStack() as stack:
        south, west = (stack.enter_context(a_gateway(tmp_path / "stub")) for _ in range(2))
        south.answer = lambda _: documents((REPOSITORY, "2.25.1", text))
        west.answer = lambda _: documents((REPOSITORY, "2.25.2", b"late"), home=W)
        known = community("south", SOUTH, south.url, tmp_path) + community("west", WEST, west.url, tmp_path)
        server = f'documents_key = "{tmp_path}/documents.keys"'
        north = stack.enter_context(region(tmp_path / "north", sqlite_template, NORTH, known, server=server))
        staging, pool = tmp_path / "north" / "data" / "documents" / "staging", stack.enter_context(ThreadPoolExecutor())
        west.go_on.clear()  # what South has sent lies there meanwhile
        stack.callback(west.go_on.set)
        asked = pool.submit(fetch, north, (SOUTH, REPOSITORY, "2.25.1"), (WEST, REPOSITORY, "2.25.2"))
        wait_for(lambda: sum(one.stat().st_size for one in staging.iterdir()) >= len(text))
        assert not [one for one in staging.iterdir() if b"Schmidt" in one.read_bytes()]
        west.go_on.set()
        assert contents(asked.result(60)) == {"2.25.1": text, "2.25.2": b"late"}
