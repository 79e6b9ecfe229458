"""The Responding Gateway: what other communities are told, and by which name.  ITI TF-2: 3.38, 3.39."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.builders import ANNA, BERT, a_folder, a_submission, an_association, an_entry, symbolic
from tests.regions import (
    NORTH,
    SOUTH,
    Stub,
    a_gateway,
    asked,
    contents,
    documents,
    fetch,
    find,
    homes,
    kept,
    outcome,
    region,
    said,
)
from tests.server.test_application import APPROVED, Site
from xds.access.gate import Granted
from xds.access.peers import STRANGER
from xds.ebxml import rs
from xds.errors import ErrorCode, Status
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.homes import home_of
from xds.metadata.identifiers import Oid
from xds.metadata.visible import Access, Clause, Those, Visible
from xds.metadata.vocabulary import AssociationType
from xds.queries import catalogue
from xds.transactions.iti38_cross_gateway_query import TRANSACTION as ITI_38
from xds.transactions.iti39_cross_gateway_retrieve import TRANSACTION as ITI_39
from xds.wire.xml import Element, name, schema

OLD, ELSEWHERE = Oid("1.2.3.4.109"), "1.2.3.4.78"
N, BEFORE = home_of(NORTH), home_of(OLD)
ABOUT_ANNA = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}


@dataclass
class World:
    """North, with a document of its own repository, and one of a repository that is elsewhere."""

    north: Site
    other: Stub
    own: DocumentEntry

    def find(self, body: bytes = b"") -> Element:
        found = find(self.north, body or asked(**ABOUT_ANNA), "/responding-gateway", ITI_38.action)
        schema("query.xsd").assertValid(found)
        return found

    def fetch(self, *wanted: tuple[Oid | None, str, str], as_mtom: bool = True) -> Any:
        return fetch(self.north, *wanted, path="/responding-gateway", action=ITI_39.action, as_mtom=as_mtom)

    @property
    def here(self) -> tuple[str, str]:
        return self.north.repository_unique_id, self.own.unique_id


@pytest.fixture(scope="module")
def regions(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("regions")
    text = f'home_community_also = ["{OLD}"]\n[repositories]\n"{ELSEWHERE}" = "URL"\n'
    with (
        a_gateway(folder / "stub") as other,
        region(folder / "north", sqlite_template, NORTH, text.replace("URL", other.url)) as north,
    ):
        yield World(north, other, kept(north, b"of the north"))


@pytest.fixture
def world(regions: World) -> World:
    regions.other.asked.clear()
    regions.other.answer = lambda _: documents((ELSEWHERE, "2.25.1", b"elsewhere"), home=None)
    return regions


def test_every_object_says_of_which_community_it_is(world: World) -> None:
    for return_type in ("LeafClass", "ObjectRef"):
        found = world.find(asked(return_type=return_type, **ABOUT_ANNA))
        assert said(found) == (Status.SUCCESS, [])
        assert set(homes(found).values()) == {N}


def test_folders_and_submission_sets_do_too(world: World) -> None:
    folder = a_folder(patient_id=BERT)
    entry = an_entry(patient_id=BERT, hash=None, size=None, repository_unique_id=None, home_community_id=None)
    within = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, entry.entry_uuid)
    submission = a_submission(patient=BERT, entries=[entry], folders=[folder], relations=[within])
    assert rs.read_response(world.north.provide(symbolic(submission), [b"x"]).body) == (Status.SUCCESS, ())
    every = {"patientId": f"'{BERT}'", "XDSDocumentEntryStatus": APPROVED, "XDSSubmissionSetStatus": APPROVED}
    found = world.find(asked(catalogue.GET_ALL.id, **every, XDSFolderStatus=APPROVED))
    kinds = {(etree.QName(one).localname, one.get("home")) for one in found.find(name("rim:RegistryObjectList"))}
    assert kinds == {("ExtrinsicObject", N), ("RegistryPackage", N), ("Association", None)}


@pytest.mark.parametrize("home", [N, BEFORE])
def test_it_answers_by_the_name_by_which_it_was_asked(world: World, home: str) -> None:
    ids = {"XDSDocumentEntryUniqueId": f"('{world.own.unique_id}')"}
    found = world.find(asked(catalogue.GET_DOCUMENTS.id, home=home, **ids))
    assert (said(found), homes(found)) == ((Status.SUCCESS, []), {world.own.unique_id: home})


def test_another_community_is_none_of_its_own(world: World) -> None:
    unknown = (Status.FAILURE, [(ErrorCode.UNKNOWN_COMMUNITY, N)])
    ids = {"XDSDocumentEntryUniqueId": f"('{world.own.unique_id}')"}
    assert said(world.find(asked(catalogue.GET_DOCUMENTS.id, home=home_of(SOUTH), **ids))) == unknown
    assert said(world.find(asked(home=home_of(SOUTH), **ABOUT_ANNA))) == unknown
    assert said(world.find(asked(**ABOUT_ANNA, targetCommunityIdList=f"('{home_of(SOUTH)}')"))) == unknown


def test_of_communities_that_are_named_it_answers_for_its_own_and_tells_of_the_others(world: World) -> None:
    found = world.find(asked(**ABOUT_ANNA, targetCommunityIdList=f"('{home_of(SOUTH)}','{BEFORE}')"))
    assert said(found) == (Status.PARTIAL_SUCCESS, [(ErrorCode.UNKNOWN_COMMUNITY, N)])
    assert homes(found) == {world.own.unique_id: BEFORE}


@pytest.mark.parametrize(
    "query_id",
    [one.id for one in catalogue.STORED_QUERIES.values() if not any("atientId" in p.name for p in one.parameters)],
)
def test_a_query_for_ids_must_say_which_community(world: World, query_id: str) -> None:
    ids = {"XDSDocumentEntryUniqueId": f"('{world.own.unique_id}')", "uuid": f"('{world.own.entry_uuid}')"}
    assert said(world.find(asked(query_id, **ids))) == (
        Status.FAILURE, [(ErrorCode.MISSING_HOME_COMMUNITY_ID, N)],
    )  # fmt: skip


def test_every_error_says_of_which_community_it_is(world: World) -> None:
    for wrong in (
        asked("urn:uuid:00000000-0000-4000-8000-000000000000"),
        asked(**{**ABOUT_ANNA, "XDSDocumentEntryStatus": "('x')"}),
        asked(XDSDocumentEntryStatus=APPROVED), asked(return_type="Nothing", **ABOUT_ANNA),
        b'<query:AdhocQueryRequest xmlns:query="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"/>',
    ):  # fmt: skip
        status, errors = said(world.find(wrong))
        assert status is Status.FAILURE
        assert {place for _, place in errors} == {N}


def test_documents_come_with_the_community_that_was_asked(world: World) -> None:
    got = world.fetch((OLD, *world.here))
    assert outcome(got) == (Status.SUCCESS, [])
    assert contents(got) == {world.own.unique_id: b"of the north"}
    assert got.body.findtext(f".//{name('xds:HomeCommunityId')}") == BEFORE


def test_what_is_wrong_with_a_document_is_told_by_community_and_document(world: World) -> None:
    got = world.fetch(
        (NORTH, *world.here), (NORTH, world.north.repository_unique_id, "2.25.404"), (None, "1.2", "2.25.405"),
        (SOUTH, "1.2", "2.25.406"), (NORTH, "1.2.3.999", "2.25.407"),
    )  # fmt: skip
    status, errors = outcome(got)
    assert (status, contents(got)) == (Status.PARTIAL_SUCCESS, {world.own.unique_id: b"of the north"})
    assert sorted(errors, key=lambda one: one[1]) == [
        (ErrorCode.DOCUMENT_UNIQUE_ID, f"{N} 2.25.404"), (ErrorCode.MISSING_HOME_COMMUNITY_ID, f"{N} 2.25.405"),
        (ErrorCode.UNKNOWN_COMMUNITY, f"{N} 2.25.406"), (ErrorCode.UNKNOWN_REPOSITORY_ID, f"{N} 2.25.407"),
    ]  # fmt: skip


def test_a_document_of_a_repository_that_is_elsewhere_is_fetched_there(world: World) -> None:
    got = world.fetch((NORTH, ELSEWHERE, "2.25.1"), (NORTH, *world.here))
    assert outcome(got) == (Status.SUCCESS, [])
    assert contents(got) == {"2.25.1": b"elsewhere", world.own.unique_id: b"of the north"}
    (sent,) = world.other.asked
    assert sent.find(f".//{name('xds:HomeCommunityId')}") is None
    assert [item.findtext(name("xds:HomeCommunityId")) for item in got.body.iter(name("xds:DocumentResponse"))] == [
        N,
        N,
    ]


def test_a_repository_that_is_elsewhere_and_silent_is_told_by_document(world: World) -> None:
    world.other.answer = lambda _: b"<no/>"
    got = world.fetch((NORTH, ELSEWHERE, "2.25.1"), (NORTH, *world.here))
    assert outcome(got) == (Status.PARTIAL_SUCCESS, [(ErrorCode.REPOSITORY_ERROR, f"{N} 2.25.1")])


def only(*codes: str) -> Access:
    """What who may see documents of these classes only may see."""
    clause = Clause(permit=True, those=Those(single=(("class_code", frozenset(codes)),)))
    return Access(see=Visible.by((clause,)))


def test_what_is_withheld_is_absent_from_either_gateway_s_answer_and_nothing_is_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = Granted(STRANGER, "a test", only("none"))
    monkeypatch.setattr(world.north.application.gate, "ask", lambda *_, **__: granted)
    assert homes(world.find()) == {}
    got = world.fetch((NORTH, *world.here), (NORTH, ELSEWHERE, "2.25.1"))
    assert outcome(got)[0] is Status.FAILURE
    assert {code for code, _ in outcome(got)[1]} == {ErrorCode.DOCUMENT_UNIQUE_ID}
    assert world.other.asked == []
