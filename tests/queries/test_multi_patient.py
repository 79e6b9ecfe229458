"""ITI-51: what is found of several patients, or of all.  ITI TF-2: 3.51.4.1.2.1."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import ANNA, BERT, DCM, a_folder, a_submission, an_entry
from tests.extent import examples
from tests.queries.desks import APPROVED, DEPRECATED, Questions, as_slots, questions
from tests.queries.test_get import ids, listed
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Refused
from xds.metadata.datatypes import Code
from xds.metadata.identifiers import PatientId
from xds.queries import catalogue
from xds.queries.catalogue import StoredQuery
from xds.queries.returns import Answer
from xds.store.engine import reading
from xds.store.registry.sql_registry import SqlRegistry

DOCUMENTS = catalogue.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS
FOLDERS = catalogue.FIND_FOLDERS_FOR_MULTIPLE_PATIENTS
BY_REFERENCE = catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID_FOR_MULTIPLE_PATIENTS
STUDY, OTHER = (f"1.2.840.{number}^^^^urn:ihe:iti:xds:2016:studyInstanceUID" for number in (1, 9))
CARL = PatientId("carl", ANNA.authority)
MR = Code("MR", DCM, "MR")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    """A CT of Anna and an MR of Bert, and a folder of each."""
    with questions(tmp_path_factory.mktemp("many")) as desk:
        for patient, changes in ((ANNA, {}), (BERT, {"event_code_list": (MR,)})):
            entry = an_entry(patient_id=patient, **changes)
            desk.register(a_submission(patient=patient, entries=[entry], folders=[a_folder(patient_id=patient)]))
        yield desk


def ask(desk: Questions, query: StoredQuery, return_type: str = "LeafClass", **given: str) -> Answer:
    kind = "XDSFolder" if query is FOLDERS else "XDSDocumentEntry"
    slots = tuple(as_slots({f"{kind}{name}": value for name, value in ({"Status": f"('{APPROVED}')"} | given).items()}))
    with reading(desk.engine) as connection:
        store = SqlRegistry(connection, "default")
        return desk.registry.query_multi_patient(AdhocQuery(query.id, return_type, slots), store)


@pytest.mark.parametrize("query", [DOCUMENTS, FOLDERS])
@pytest.mark.parametrize(
    ("patients", "count"), [([ANNA], 1), ([ANNA, BERT], 2), ([CARL], 0), ([CARL, BERT], 1), ([BERT, BERT], 1)]
)
def test_the_patients_asked_for_are_found_together(
    desk: Questions, query: StoredQuery, patients: list[PatientId], count: int
) -> None:
    found = ask(desk, query, PatientId=listed(*map(str, patients)))
    assert (len(ids(found.fragments)), len(found.patient_keys)) == (count, count)


def test_of_all_patients_what_meets_the_codes_is_found(desk: Questions) -> None:
    assert len(ask(desk, DOCUMENTS, EventCodeList=f"('MR^^{DCM}')").fragments) == 1
    assert len(ask(desk, DOCUMENTS, ClassCode="('IMAGES^^1.3.6.1.4.1.19376.1.2.6.1')").fragments) == 2
    assert len(ask(desk, FOLDERS, CodeList="('ONC^^1.2.3.4.11')").fragments) == 2


@pytest.mark.parametrize("query", [DOCUMENTS, FOLDERS])
def test_patient_or_code_is_required(desk: Questions, query: StoredQuery) -> None:
    with pytest.raises(Refused) as refused:
        ask(desk, query)
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.STORED_QUERY_MISSING_PARAM]


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 2),  # of all
        ({"PatientId": listed(str(ANNA), str(BERT))}, 2),
        ({"PatientId": listed(str(BERT))}, 1),
        ({"PatientId": listed(str(CARL))}, 0),
        ({"EventCodeList": f"('MR^^{DCM}')"}, 1),
        ({"ReferenceIdList": listed(OTHER)}, 0),
        ({"ReferenceIdList": listed(OTHER, STUDY)}, 2),
        ({"Status": f"('{DEPRECATED}')"}, 0),
    ],
)
def test_documents_of_several_patients_are_found_by_a_reference_id(
    desk: Questions, given: dict[str, str], count: int
) -> None:
    found = ask(desk, BY_REFERENCE, **({"ReferenceIdList": listed(STUDY)} | given))
    assert (len(ids(found.fragments)), len(found.patient_keys)) == (count, count)


def test_slots_of_reference_ids_must_all_be_met(desk: Questions) -> None:
    """AND of slots, OR of the values of each, as FindDocumentsByReferenceId has it (ITI TF-2: 3.18.4.1.2.3.5)."""
    given = {"$XDSDocumentEntryStatus": f"('{APPROVED}')"}
    for second, count in ((listed(STUDY, OTHER), 2), (listed(OTHER), 0)):
        slots = [*(Slot(n, (v,)) for n, v in given.items())]
        slots += [Slot("$XDSDocumentEntryReferenceIdList", (value,)) for value in (listed(STUDY), second)]
        with reading(desk.engine) as connection:
            sent = AdhocQuery(BY_REFERENCE.id, "ObjectRef", tuple(slots))
            found = desk.registry.query_multi_patient(sent, SqlRegistry(connection, "default"))
        assert len(found.fragments) == count


def test_a_reference_id_is_required_to_find_by_it(desk: Questions) -> None:
    with pytest.raises(Refused) as refused:
        ask(desk, BY_REFERENCE, PatientId=listed(str(ANNA)))
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.STORED_QUERY_MISSING_PARAM]


spoilt = st.sampled_from(["'", "('a'", "()", "('CT')", "('a','b')", "('anna')", "2024-01-02", "('urn:gone')", "3"])
names = st.sampled_from(sorted({p.name for q in catalogue.MULTI_PATIENT_QUERIES.values() for p in q.parameters}))
known = st.sampled_from([*catalogue.MULTI_PATIENT_QUERIES, "urn:uuid:unknown"])


@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(known, st.sampled_from(["LeafClass", "RepositoryItem"]), st.lists(st.tuples(names, spoilt), max_size=4))
def test_whatever_is_wrong_is_told_by_the_clauses_of_iti_51(
    desk: Questions, query: str, return_type: str, given: list[tuple[str, str]]
) -> None:
    slots = tuple(Slot(f"${name}", (value,)) for name, value in given)
    try:
        with reading(desk.engine) as connection:
            store = SqlRegistry(connection, "default")
            desk.registry.query_multi_patient(AdhocQuery(query, return_type, slots), store)
    except Refused as refused:
        for finding in refused.findings:
            assert "3.18" not in finding.context
            assert "3.51.4.1" in finding.context or "ITI TF-3: 4.2" in finding.context


def test_references_name_the_patients_too(desk: Questions) -> None:
    found = ask(desk, DOCUMENTS, "ObjectRef", PatientId=listed(str(ANNA), str(BERT)))
    assert all(fragment.startswith(b"<rim:ObjectRef") for fragment in found.fragments)
    assert len(found.patient_keys) == 2


def test_a_query_of_the_other_transaction_is_unknown(desk: Questions) -> None:
    of_many, of_one = desk.registry.query_multi_patient, desk.registry.query
    by_reference = catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID
    asked = ((DOCUMENTS, of_one), (BY_REFERENCE, of_one), (catalogue.GET_ALL, of_many), (by_reference, of_many))
    for query, among in asked:
        with reading(desk.engine) as connection, pytest.raises(Refused) as refused:
            among(AdhocQuery(query.id, "LeafClass", ()), SqlRegistry(connection, "default"))
        assert [finding.code for finding in refused.value.findings] == [ErrorCode.UNKNOWN_STORED_QUERY]
