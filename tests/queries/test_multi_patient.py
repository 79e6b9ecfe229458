"""ITI-51: what is found of several patients, or of all.  ITI TF-2: 3.51.4.1.2.3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.builders import ANNA, BERT, DCM, a_folder, a_submission, an_entry
from tests.queries.desks import APPROVED, Questions, as_slots, questions
from tests.queries.test_get import ids, listed
from xds.ebxml.query import AdhocQuery
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
    kind = "XDSDocumentEntry" if query is DOCUMENTS else "XDSFolder"
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


def test_references_name_the_patients_too(desk: Questions) -> None:
    found = ask(desk, DOCUMENTS, "ObjectRef", PatientId=listed(str(ANNA), str(BERT)))
    assert all(fragment.startswith(b"<rim:ObjectRef") for fragment in found.fragments)
    assert len(found.patient_keys) == 2


def test_a_query_of_the_other_transaction_is_unknown(desk: Questions) -> None:
    for query, among in ((DOCUMENTS, desk.registry.query), (catalogue.GET_ALL, desk.registry.query_multi_patient)):
        with reading(desk.engine) as connection, pytest.raises(Refused) as refused:
            among(AdhocQuery(query.id, "LeafClass", ()), SqlRegistry(connection, "default"))
        assert [finding.code for finding in refused.value.findings] == [ErrorCode.UNKNOWN_STORED_QUERY]
