"""The queries by id, and what every answer keeps to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import BERT, a_folder, a_submission, an_association, an_entry
from tests.queries.desks import Questions, as_slots, questions
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Refused
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.datatypes import Code
from xds.metadata.vocabulary import ON_DEMAND, STABLE, AssociationType
from xds.queries import catalogue

MEMBER = AssociationType.HAS_MEMBER
CONTENTS = catalogue.GET_SUBMISSION_SET_AND_CONTENTS


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Questions]:
    with questions(tmp_path) as desk:
        yield desk


def ids(found: list[bytes]) -> set[str]:
    return {item.split(b' id="', 1)[1].split(b'"', 1)[0].decode() for item in found}


def listed(*values: str) -> str:
    return "(" + ",".join(f"'{value}'" for value in values) + ")"


def test_documents_are_got_by_either_id_and_unknown_ones_are_absent(desk: Questions) -> None:
    one, other = an_entry(), an_entry()
    desk.register(a_submission(entries=[one, other]))
    wanted = {one.entry_uuid, other.entry_uuid}
    by_uuid = listed(one.entry_uuid, "urn:uuid:unknown", other.entry_uuid)
    assert ids(desk.ask(catalogue.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=by_uuid)) == wanted
    by_unique_id = listed(one.unique_id, "1.2.unknown", other.unique_id)
    assert ids(desk.ask(catalogue.GET_DOCUMENTS, XDSDocumentEntryUniqueId=by_unique_id)) == wanted


def test_a_document_registered_twice_is_got_twice_by_its_unique_id(desk: Questions) -> None:
    one = an_entry()
    again = an_entry(unique_id=one.unique_id)
    for entry in (one, again):
        desk.register(a_submission(entries=[entry]))
    found = desk.ask(catalogue.GET_DOCUMENTS, XDSDocumentEntryUniqueId=listed(one.unique_id))
    assert ids(found) == {one.entry_uuid, again.entry_uuid}


def test_associations_are_got_by_either_end(desk: Questions) -> None:
    entry, folder = an_entry(), a_folder()
    member = an_association(MEMBER, folder.entry_uuid, entry.entry_uuid)
    submission = desk.register(a_submission(entries=[entry], folders=[folder], relations=[member]))
    desk.register(a_submission())
    found = desk.ask(catalogue.GET_ASSOCIATIONS, uuid=listed(entry.entry_uuid, "urn:uuid:unknown"))
    assert ids(found) == {a.entry_uuid for a in submission.associations if entry.entry_uuid in (a.source, a.target)}
    all_ends = listed(*(item.entry_uuid for item in submission.objects()))
    assert ids(desk.ask(catalogue.GET_ASSOCIATIONS, uuid=all_ends)) == {a.entry_uuid for a in submission.associations}


@pytest.fixture
def full(desk: Questions) -> Any:
    """A set with a plain entry, a restricted report in a folder, an on-demand entry, an addendum within."""
    plain = an_entry()
    report = an_entry(
        format_code=Code("f", "1.2.3", "f"),
        confidentiality_code=(Code("R", "1.2.3", "r"), Code("N", "2.16.840.1.113883.5.25", "n")),
    )
    on_demand = an_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None)
    folder = a_folder()
    member = an_association(MEMBER, folder.entry_uuid, report.entry_uuid)
    addendum = an_association(AssociationType.APND, plain.entry_uuid, report.entry_uuid)
    submission = a_submission(entries=[plain, report, on_demand], folders=[folder], relations=[member, addendum])
    # The addendum is no member, so it is not of the set's contents unless the set says so.
    held = an_association(MEMBER, submission.submission_set.entry_uuid, addendum.entry_uuid)
    return desk.register(replace(submission, associations=(*submission.associations, held)))


BOTH_TYPES = f"('{STABLE}','{ON_DEMAND}')"


def contents(desk: Questions, submission: Any, **more: str | list[str]) -> set[str]:
    more = {"XDSDocumentEntryType": BOTH_TYPES, **more}
    return ids(desk.ask(CONTENTS, XDSSubmissionSetEntryUUID=listed(submission.submission_set.entry_uuid), **more))


def test_a_set_comes_whole_by_either_id(desk: Questions, full: Any) -> None:
    everything = {item.entry_uuid for item in full.objects()}
    assert contents(desk, full) == everything
    by_unique_id = {"XDSSubmissionSetUniqueId": listed(full.submission_set.unique_id)}
    assert ids(desk.ask(CONTENTS, **by_unique_id, XDSDocumentEntryType=BOTH_TYPES)) == everything


def test_without_a_type_only_stable_entries_come(desk: Questions, full: Any) -> None:
    """ITI TF-2: 3.18.4.1.2.3.6.2."""
    found = contents(desk, full, XDSDocumentEntryType=f"('{STABLE}')")
    uuid = listed(full.submission_set.entry_uuid)
    assert ids(desk.ask(CONTENTS, XDSSubmissionSetEntryUUID=uuid)) == found
    assert full.document_entries[2].entry_uuid not in found


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        ({"FormatCode": "('f^^1.2.3')"}, {1}),
        ({"FormatCode": "('f^^1.2.3','1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1')"}, {0, 1, 2}),
        ({"FormatCode": "('g^^1.2.3')"}, set()),
        ({"ConfidentialityCode": "('R^^1.2.3')"}, {1}),
        ({"ConfidentialityCode": ["('R^^1.2.3')", "('N^^2.16.840.1.113883.5.25')"]}, {1}),
        ({"ConfidentialityCode": ["('R^^1.2.3','N^^2.16.840.1.113883.5.25')"]}, {0, 1, 2}),
        ({"ConfidentialityCode": ["('R^^1.2.3')", "('X^^1.2.3')"]}, set()),
        ({"Type": f"('{STABLE}')"}, {0, 1}),
        ({"Type": f"('{ON_DEMAND}')"}, {2}),
        ({"Type": "('urn:uuid:unknown')"}, set()),
    ],
)
def test_filters_leave_out_entries_and_what_leads_to_them(
    desk: Questions, full: Any, parameters: dict[str, Any], kept: set[int]
) -> None:
    entries = {full.document_entries[number].entry_uuid for number in kept}
    left_out = {entry.entry_uuid for entry in full.document_entries} - entries
    # The folder is not filtered; an association is there if its ends, and their ends, are.
    gone = set(left_out)
    for _ in range(2):
        gone |= {a.entry_uuid for a in full.associations if {a.source, a.target} & gone}
    found = contents(desk, full, **{f"XDSDocumentEntry{name}": value for name, value in parameters.items()})
    assert found == {item.entry_uuid for item in full.objects()} - gone


def test_a_malformed_filter_is_named(desk: Questions, full: Any) -> None:
    with pytest.raises(Refused) as refused:
        contents(desk, full, XDSDocumentEntryFormatCode="('f')")
    assert [f.code for f in refused.value.findings] == [ErrorCode.STORED_QUERY_PARAM_NUMBER]


def test_an_unknown_set_has_no_contents(desk: Questions) -> None:
    assert desk.ask(CONTENTS, XDSSubmissionSetEntryUUID="'urn:uuid:unknown'") == []
    assert desk.ask(CONTENTS, XDSSubmissionSetUniqueId="'1.2.3'") == []


def test_a_set_takes_one_id(desk: Questions) -> None:
    with pytest.raises(Refused) as refused:
        desk.ask(CONTENTS, XDSSubmissionSetUniqueId="('1.2.3','1.2.4')")
    assert [f.code for f in refused.value.findings] == [ErrorCode.STORED_QUERY_PARAM_NUMBER]


def test_a_member_by_reference_of_another_patient_is_given_as_a_reference_only(desk: Questions) -> None:
    other = an_entry(patient_id=BERT)
    desk.register(a_submission(patient=BERT, entries=[other]))
    submission = a_submission()
    by_reference = an_association(
        MEMBER, submission.submission_set.entry_uuid, other.entry_uuid,
        submission_set_status=SubmissionSetStatus.REFERENCE,
    )  # fmt: skip
    desk.register(replace(submission, associations=(*submission.associations, by_reference)))
    uuid = listed(submission.submission_set.entry_uuid)
    with pytest.raises(Refused) as refused:
        desk.ask(CONTENTS, XDSSubmissionSetEntryUUID=uuid)
    assert [f.code for f in refused.value.findings] == [ErrorCode.RESULT_NOT_SINGLE_PATIENT]
    references = ids(desk.ask(CONTENTS, "ObjectRef", XDSSubmissionSetEntryUUID=uuid))
    assert {other.entry_uuid, by_reference.entry_uuid} <= references


# Every answer.


def test_an_unknown_query_is_refused(desk: Questions) -> None:
    for query in ("", "urn:uuid:unknown", catalogue.GET_DOCUMENTS.id.removeprefix("urn:uuid:")):
        with pytest.raises(Refused) as refused:
            desk.send((), query)
        assert [f.code for f in refused.value.findings] == [ErrorCode.UNKNOWN_STORED_QUERY]


@pytest.mark.parametrize("return_type", ["RegistryObject", "LeafClassWithRepositoryItem", "", "leafclass"])
def test_a_return_type_of_xds_is_asked_for(desk: Questions, return_type: str) -> None:
    with pytest.raises(Refused) as refused:
        desk.send((Slot("$uuid", ("'a'",)),), catalogue.GET_ASSOCIATIONS.id, return_type)
    assert [f.code for f in refused.value.findings] == [ErrorCode.REGISTRY_ERROR]


def test_both_return_types_name_the_same_objects(desk: Questions, full: Any) -> None:
    slots = list(as_slots({"XDSSubmissionSetUniqueId": listed(full.submission_set.unique_id)}))
    assert ids(desk.send(slots, CONTENTS.id)) == ids(desk.send(slots, CONTENTS.id, "ObjectRef"))


@pytest.mark.parametrize("query", [catalogue.GET_DOCUMENTS, catalogue.GET_ASSOCIATIONS])
def test_over_the_limit_nothing_is_given(desk: Questions, query: catalogue.StoredQuery) -> None:
    submission = desk.register(a_submission(entries=[an_entry(), an_entry()]))
    uuids = listed(*(item.entry_uuid for item in submission.objects()))
    name = "uuid" if query is catalogue.GET_ASSOCIATIONS else "XDSDocumentEntryEntryUUID"
    with pytest.raises(Refused) as refused:
        Questions(desk.engine, most=1).ask(query, **{name: uuids})
    assert [f.code for f in refused.value.findings] == [ErrorCode.TOO_MANY_RESULTS]


def test_a_submission_set_over_the_limit_is_refused(desk: Questions, full: Any) -> None:
    with pytest.raises(Refused) as refused:
        contents(Questions(desk.engine, most=3), full)
    assert [f.code for f in refused.value.findings] == [ErrorCode.TOO_MANY_RESULTS]
