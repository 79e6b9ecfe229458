"""What a stored query says of communities is read, and written for others, as the coding style has it."""

from __future__ import annotations

import pytest

from tests.builders import ANNA, AUTHORITY
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Refused
from xds.metadata.identifiers import PatientId
from xds.queries import catalogue
from xds.queries.communities import MOST_TARGETS, for_community, names_patient, patient_of, target_communities


def a_query(query_id: str = catalogue.FIND_DOCUMENTS.id, **parameters: str) -> AdhocQuery:
    return AdhocQuery(query_id, "LeafClass", tuple(Slot(f"${key}", (value,)) for key, value in parameters.items()))


PARAMETER = {
    catalogue.FIND_DOCUMENTS: "XDSDocumentEntryPatientId",
    catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID: "XDSDocumentEntryPatientId",
    catalogue.FIND_SUBMISSION_SETS: "XDSSubmissionSetPatientId",
    catalogue.FIND_FOLDERS: "XDSFolderPatientId",
    catalogue.GET_ALL: "patientId",
}


@pytest.mark.parametrize("query", catalogue.STORED_QUERIES.values(), ids=lambda one: one.title)
def test_the_queries_about_a_patient_are_these_five(query: catalogue.StoredQuery) -> None:
    assert names_patient(a_query(query.id)) == (query in PARAMETER)


@pytest.mark.parametrize("query", PARAMETER, ids=lambda one: one.title)
def test_the_patient_is_that_of_the_query_s_own_parameter_and_is_replaced_there(query: catalogue.StoredQuery) -> None:
    theirs = PatientId("o'brien", AUTHORITY)
    sent = a_query(query.id, **{PARAMETER[query]: f"'{ANNA}'", "other": "'x'"})
    assert patient_of(sent) == ANNA
    asked = for_community(sent, theirs, ())
    assert patient_of(asked) == theirs
    assert {slot.name for slot in asked.slots} == {slot.name for slot in sent.slots}


@pytest.mark.parametrize(("value", "code"), [
    ("", ErrorCode.STORED_QUERY_MISSING_PARAM), (f"('{ANNA}','{ANNA}')", ErrorCode.STORED_QUERY_PARAM_NUMBER),
    ("'anna'", ErrorCode.REGISTRY_ERROR), ("('x", ErrorCode.STORED_QUERY_PARAM_NUMBER),
])  # fmt: skip
def test_a_patient_who_is_not_named_or_not_by_one_cx_is_refused_without_being_told(value: str, code: ErrorCode) -> None:
    with pytest.raises(Refused) as refused:
        patient_of(a_query(XDSDocumentEntryPatientId=value))
    (finding,) = refused.value.findings
    assert finding.code is code
    assert "anna" not in finding.context


def test_targets_are_a_list_and_an_empty_one_is_none() -> None:
    assert target_communities(a_query()) == target_communities(a_query(targetCommunityIdList="()")) == ()
    assert target_communities(a_query(targetCommunityIdList="('urn:oid:1.2','urn:oid:1.3')")) == (
        "urn:oid:1.2", "urn:oid:1.3",
    )  # fmt: skip
    asked = for_community(a_query(XDSDocumentEntryPatientId=f"'{ANNA}'"), ANNA, ("urn:oid:1.2", "urn:oid:1.3"))
    assert target_communities(asked) == ("urn:oid:1.2", "urn:oid:1.3")


def test_too_many_targets_are_refused() -> None:
    many = tuple(f"('urn:oid:1.{n}')" for n in range(MOST_TARGETS + 1))
    with pytest.raises(Refused):
        target_communities(
            AdhocQuery(catalogue.FIND_DOCUMENTS.id, "LeafClass", (Slot("$targetCommunityIdList", many),))
        )
