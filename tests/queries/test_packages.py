"""FindSubmissionSets, FindFolders and GetAll: each parameter restricts as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders import ANNA, BERT, SOURCE, a_folder, a_submission, an_association, an_entry
from tests.queries.desks import APPROVED, DEPRECATED, Questions, questions
from tests.queries.test_get import BOTH_TYPES, ids, listed
from xds.errors import ErrorCode, Refused
from xds.metadata.datatypes import Author, Code, Dtm, Xcn
from xds.metadata.identifiers import Oid
from xds.metadata.vocabulary import ON_DEMAND, STABLE, AssociationType
from xds.queries import catalogue
from xds.queries.catalogue import StoredQuery

ONC, CARD = Code("ONC", "1.2.3.4.11", "Oncology"), Code("CARD", "1.2.3.4.11", "Cardiology")
OLD, NEW = "20200101000000", "20240102030405"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    """Two sets of Anna that differ in everything, with a folder each; and one of Bert."""
    with questions(tmp_path_factory.mktemp("packages")) as desk:
        first = a_submission(
            entries=[an_entry(), an_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None)],
            folders=[a_folder(code_list=(ONC, CARD))],
            author=(Author(Xcn("^O'Brien^Flann")), Author(Xcn("^100%_Sure"))),
        )
        second = a_submission(
            folders=[a_folder(code_list=(CARD,))],
            source_id=Oid("1.2.3.4.99"),
            content_type_code=Code("REP", "1.2.3.4.10", "Reports"),
            submission_time=Dtm("2020"),
        )
        desk.sent = [desk.register(first), desk.register(second)]  # type: ignore[attr-defined]
        desk.register(a_submission(patient=BERT, folders=[a_folder(patient_id=BERT)]))
        yield desk


def sent(desk: Questions) -> Any:
    return desk.sent  # type: ignore[attr-defined]


def find(desk: Questions, query: StoredQuery, kind: str, **more: str | list[str]) -> set[str]:
    given: dict[str, str | list[str]] = {f"{kind}PatientId": f"'{ANNA}'", f"{kind}Status": f"('{APPROVED}')"}
    return ids(desk.ask(query, **(given | more)))


def sets(desk: Questions, **more: str | list[str]) -> set[str]:
    return find(desk, catalogue.FIND_SUBMISSION_SETS, "XDSSubmissionSet", **more)


def folders(desk: Questions, **more: str | list[str]) -> set[str]:
    return find(desk, catalogue.FIND_FOLDERS, "XDSFolder", **more)


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, {0, 1}),
        ({"Status": f"('{DEPRECATED}')"}, set()),
        ({"SourceId": f"('{SOURCE}')"}, {0}),
        ({"SourceId": f"('{SOURCE}','1.2.3.4.99')"}, {0, 1}),
        ({"ContentType": "('REP^^1.2.3.4.10')"}, {1}),
        ({"AuthorPerson": "'%Brien%'"}, {0}),
        ({"AuthorPerson": "'^O''Brien^Flann'"}, {0}),
        ({"AuthorPerson": "'%Sure'"}, {0}),
        ({"AuthorPerson": "'%Brien%Sure'"}, set()),  # each author by itself
        ({"AuthorPerson": "'%'"}, {0}),  # the other has none
        ({"SubmissionTimeFrom": "20240102030405"}, {0}),
        ({"SubmissionTimeTo": "20240102030405"}, {1}),
        ({"SubmissionTimeFrom": "2020", "SubmissionTimeTo": "20200101000001"}, {1}),
    ],
)
def test_submission_sets_are_found_by_what_they_are(
    desk: Questions, parameters: dict[str, str], found: set[int]
) -> None:
    given: dict[str, Any] = {f"XDSSubmissionSet{name}": value for name, value in parameters.items()}
    assert sets(desk, **given) == {sent(desk)[number].submission_set.entry_uuid for number in found}


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, {0, 1}),
        ({"CodeList": "('ONC^^1.2.3.4.11')"}, {0}),
        ({"CodeList": "('ONC^^1.2.3.4.11','CARD^^1.2.3.4.11')"}, {0, 1}),
        ({"CodeList": ["('ONC^^1.2.3.4.11')", "('CARD^^1.2.3.4.11')"]}, {0}),
        ({"CodeList": "('ONC^^1.2.3')"}, set()),
        ({"LastUpdateTimeFrom": "2020"}, {0, 1}),
        ({"LastUpdateTimeTo": "2020"}, set()),
    ],
)
def test_folders_are_found_by_what_they_are(desk: Questions, parameters: dict[str, Any], found: set[int]) -> None:
    given: dict[str, Any] = {f"XDSFolder{name}": value for name, value in parameters.items()}
    assert folders(desk, **given) == {sent(desk)[number].folders[0].entry_uuid for number in found}


@pytest.mark.parametrize(
    ("query", "kind", "parameter"),
    [
        (catalogue.FIND_SUBMISSION_SETS, "XDSSubmissionSet", "ContentType"),
        (catalogue.FIND_FOLDERS, "XDSFolder", "CodeList"),
    ],
)
def test_everything_that_is_wrong_is_named_at_once(
    desk: Questions, query: StoredQuery, kind: str, parameter: str
) -> None:
    with pytest.raises(Refused) as refused:
        find(desk, query, kind, **{f"{kind}Status": "('x')", f"{kind}{parameter}": "('a')", f"{kind}PatientId": "'x'"})
    codes = {ErrorCode.STORED_QUERY_MISSING_PARAM, ErrorCode.STORED_QUERY_PARAM_NUMBER, ErrorCode.REGISTRY_ERROR}
    assert len(refused.value.findings) == 3
    assert {finding.code for finding in refused.value.findings} == codes


# GetAll.


def everything(desk: Questions, patient: object = ANNA, **more: str | list[str]) -> set[str]:
    given: dict[str, str | list[str]] = {"patientId": f"'{patient}'"}
    given |= {f"XDS{kind}Status": f"('{APPROVED}')" for kind in ("DocumentEntry", "SubmissionSet", "Folder")}
    return ids(desk.ask(catalogue.GET_ALL, **(given | more)))


def test_all_of_a_patient_comes_with_the_associations_that_touch_it(desk: Questions) -> None:
    found = everything(desk, XDSDocumentEntryType=BOTH_TYPES)
    assert found == {item.entry_uuid for submission in sent(desk) for item in submission.objects()}


def test_of_all_what_a_filter_leaves_out_does_not_come(desk: Questions) -> None:
    first, second = sent(desk)
    found = everything(desk, XDSFolderStatus=f"('{DEPRECATED}')")
    assert not found & {folder.entry_uuid for submission in (first, second) for folder in submission.folders}
    assert first.document_entries[1].entry_uuid not in found  # on demand, and not asked for
    assert first.submission_set.entry_uuid in found
    # An association comes if one of its ends does.
    assert {a.entry_uuid for a in first.associations} <= found


def test_all_of_nobody_is_nothing(desk: Questions) -> None:
    assert everything(desk, "nobody^^^&1.2.3.4.5&ISO") == set()


def test_all_counts_every_object_towards_the_limit(desk: Questions) -> None:
    narrow = Questions(desk.engine, most=5)
    with pytest.raises(Refused) as refused:
        everything(narrow)
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.TOO_MANY_RESULTS]


# What leads from one object to others.


@pytest.fixture
def linked(tmp_path: Any) -> Iterator[tuple[Questions, Any]]:
    """A report with an addendum and a signature, in a folder."""
    with questions(tmp_path) as desk:
        report, addendum, signature, folder = an_entry(), an_entry(), an_entry(), a_folder()
        yield (
            desk,
            desk.register(
                a_submission(
                    entries=[report, addendum, signature],
                    folders=[folder],
                    relations=[
                        an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, report.entry_uuid),
                        an_association(AssociationType.APND, addendum.entry_uuid, report.entry_uuid),
                        an_association(AssociationType.SIGNS, signature.entry_uuid, report.entry_uuid),
                    ],
                )
            ),
        )


Linked = tuple[Questions, Any]


def uuids(*items: Any) -> set[str]:
    return {item.entry_uuid for item in items}


def relations(submission: Any) -> dict[str, Any]:
    members = uuids(submission.submission_set)
    return {a.type: a for a in submission.associations if a.source not in members}


def test_folders_are_got_by_either_id(linked: Linked) -> None:
    desk, submission = linked
    (folder,) = submission.folders
    for name, id_ in (("EntryUUID", folder.entry_uuid), ("UniqueId", folder.unique_id)):
        assert ids(desk.ask(catalogue.GET_FOLDERS, **{f"XDSFolder{name}": listed(id_, "1.2.9")})) == uuids(folder)


def test_documents_come_with_the_associations_that_touch_them(linked: Linked) -> None:
    desk, submission = linked
    addendum = submission.document_entries[1]
    found = desk.ask(catalogue.GET_DOCUMENTS_AND_ASSOCIATIONS, XDSDocumentEntryUniqueId=listed(addendum.unique_id))
    touching = [a for a in submission.associations if addendum.entry_uuid in (a.source, a.target)]
    assert len(touching) == 2
    assert ids(found) == uuids(addendum, *touching)


def test_submission_sets_are_got_by_their_members_with_these_memberships(linked: Linked) -> None:
    desk, submission = linked
    report, (folder,) = submission.document_entries[0], submission.folders
    found = desk.ask(catalogue.GET_SUBMISSION_SETS, uuid=listed(report.entry_uuid, folder.entry_uuid))
    members = [a for a in submission.associations if a.source == submission.submission_set.entry_uuid]
    wanted = [a for a in members if a.target in uuids(report, folder)]
    assert ids(found) == uuids(submission.submission_set, *wanted)


def test_a_folder_comes_with_its_entries_and_their_memberships(linked: Linked) -> None:
    desk, submission = linked
    report, (folder,) = submission.document_entries[0], submission.folders
    membership = relations(submission)[AssociationType.HAS_MEMBER]
    given = {"XDSFolderEntryUUID": listed(folder.entry_uuid)}
    assert ids(desk.ask(catalogue.GET_FOLDER_AND_CONTENTS, **given)) == uuids(folder, report, membership)
    filtered = desk.ask(catalogue.GET_FOLDER_AND_CONTENTS, **given, XDSDocumentEntryFormatCode="('x^^1.2')")
    assert ids(filtered) == uuids(folder)


def test_the_folders_of_a_document_are_those_that_hold_it(linked: Linked) -> None:
    desk, submission = linked
    report, addendum, _ = submission.document_entries
    query = catalogue.GET_FOLDERS_FOR_DOCUMENT
    assert ids(desk.ask(query, XDSDocumentEntryEntryUUID=listed(report.entry_uuid))) == uuids(*submission.folders)
    assert desk.ask(query, XDSDocumentEntryUniqueId=listed(addendum.unique_id)) == []


@pytest.mark.parametrize("types", [[AssociationType.APND], ["APND"], [AssociationType.APND, "RPLC"]])
def test_related_documents_come_with_the_relation_and_the_document_itself(linked: Linked, types: list[str]) -> None:
    desk, submission = linked
    report, addendum, _ = submission.document_entries
    given = {"XDSDocumentEntryEntryUUID": listed(report.entry_uuid), "AssociationTypes": listed(*types)}
    relation = relations(submission)[AssociationType.APND]
    assert ids(desk.ask(catalogue.GET_RELATED_DOCUMENTS, **given)) == uuids(report, addendum, relation)


def test_without_such_a_relation_there_is_nothing_at_all(linked: Linked) -> None:
    desk, submission = linked
    given = {"XDSDocumentEntryEntryUUID": listed(submission.document_entries[1].entry_uuid)}
    for types in (AssociationType.RPLC, AssociationType.HAS_MEMBER, "urn:unheard-of"):
        assert desk.ask(catalogue.GET_RELATED_DOCUMENTS, **given, AssociationTypes=listed(types)) == []
    only = {"AssociationTypes": listed("APND"), "XDSDocumentEntryType": f"('{ON_DEMAND}')"}
    assert desk.ask(catalogue.GET_RELATED_DOCUMENTS, **given, **only) == []
    assert desk.ask(catalogue.GET_RELATED_DOCUMENTS, **given, **(only | {"XDSDocumentEntryType": f"('{STABLE}')"}))


# Status and level.


def test_associations_are_the_approved_ones_unless_others_are_asked_for(linked: Linked) -> None:
    desk, submission = linked
    given = {"uuid": listed(submission.submission_set.entry_uuid)}
    assert desk.ask(catalogue.GET_ASSOCIATIONS, **given)
    assert desk.ask(catalogue.GET_ASSOCIATIONS, **given, XDSAssociationStatus=f"('{DEPRECATED}')") == []
    both = desk.ask(catalogue.GET_ASSOCIATIONS, **given, XDSAssociationStatus=f"('{DEPRECATED}','{APPROVED}')")
    assert ids(both) == ids(desk.ask(catalogue.GET_ASSOCIATIONS, **given))
    with pytest.raises(Refused):
        desk.ask(catalogue.GET_ASSOCIATIONS, **given, XDSAssociationStatus="('x')")


@pytest.mark.parametrize(("level", "good"), [("1", True), ("'2'", True), ("3", False), ("'one'", False)])
def test_the_metadata_level_is_one_or_two(linked: Linked, level: str, good: bool) -> None:
    desk, submission = linked
    given = {"XDSDocumentEntryEntryUUID": listed(submission.document_entries[0].entry_uuid), "MetadataLevel": level}
    if good:
        assert len(desk.ask(catalogue.GET_DOCUMENTS, **given)) == 1
        return
    with pytest.raises(Refused) as refused:
        desk.ask(catalogue.GET_DOCUMENTS, **given)
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.REGISTRY_ERROR]
