"""FindDocuments over real rows: each parameter restricts as it says, and nothing a sender writes is SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, AUTHORITY, BERT, DCM, a_submission, an_entry
from tests.queries.desks import APPROVED, DEPRECATED, STATUS, Questions, as_slots, questions
from xds.actors.document_registry import DocumentRegistry
from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Refused
from xds.metadata.datatypes import Author, Code, Dtm, ReferenceId, Xcn
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.vocabulary import OFFLINE, ON_DEMAND, ONLINE, STABLE
from xds.queries import catalogue
from xds.store.engine import reading
from xds.store.registry import sql_reader, sql_registry

STUDY = "urn:ihe:iti:xds:2016:studyInstanceUID"
NUMBER, MISSING = ErrorCode.STORED_QUERY_PARAM_NUMBER, ErrorCode.STORED_QUERY_MISSING_PARAM
MR, CT, CHEST = Code("MR", DCM, "MR"), Code("CT", DCM, "CT"), Code("51185008", "2.16.840.1.113883.6.96", "Chest")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    """Two entries of Anna that differ in everything, and one of Bert."""
    with questions(tmp_path_factory.mktemp("find")) as desk:
        first = an_entry(
            author=(Author(Xcn("7^O'Brien^100%_sure")), Author(Xcn("^Second\\Author"))),
            event_code_list=(CT, CHEST),
            confidentiality_code=(Code("N", "2.16.840.1.113883.5.25", "n"), Code("local", "1.2.3", "l")),
            reference_id_list=(ReferenceId.of("1.2.840.1", STUDY), ReferenceId.of("A_1", "urn:x", "1.2.3")),
            service_stop_time=Dtm("202401020310"),
        )
        second = an_entry(
            class_code=Code("REPORTS", "1.2.3.9", "Reports"),
            type_code=Code("t", "1.2.3.9", "t"),
            practice_setting_code=Code("p", "1.2.3.9", "p"),
            healthcare_facility_type_code=Code("h", "1.2.3.9", "h"),
            format_code=Code("f", "1.2.3.9", "f"),
            author=(Author(Xcn("^Mu\u0308ller^Eva")),),
            event_code_list=(MR, CHEST),
            reference_id_list=(),
            creation_time=Dtm("2023"),
            service_start_time=None,
            document_availability=OFFLINE,
        )
        on_demand = an_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None, reference_id_list=())
        desk.register(a_submission(entries=[first, second, on_demand]))
        desk.register(a_submission(patient=BERT))
        yield desk


def p(name: str) -> str:
    return f"XDSDocumentEntry{name}"


BOTH_TYPES = f"('{STABLE}','{ON_DEMAND}')"


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({}, 2),
        # Codes of one value: any of the listed.
        ({"ClassCode": "('REPORTS^^1.2.3.9')"}, 1),
        ({"ClassCode": "('REPORTS^^1.2.3.9','IMAGES^^1.3.6.1.4.1.19376.1.2.6.1')"}, 2),
        ({"ClassCode": "('REPORTS^^other')"}, 0),
        ({"TypeCode": "('t^^1.2.3.9')"}, 1),
        ({"PracticeSettingCode": "('p^^1.2.3.9')"}, 1),
        ({"HealthcareFacilityTypeCode": "('h^^1.2.3.9')"}, 1),
        ({"FormatCode": "('f^^1.2.3.9')"}, 1),
        ({"ClassCode": "('REPORTS^^1.2.3.9')", "TypeCode": "('t^^1.2.3.9')"}, 1),
        ({"ClassCode": "('REPORTS^^1.2.3.9')", "TypeCode": "('t^^other')"}, 0),
        # Codes of several values: AND of ORs.
        ({"EventCodeList": f"('CT^^{DCM}')"}, 1),
        ({"EventCodeList": f"('CT^^{DCM}','MR^^{DCM}')"}, 2),
        ({"EventCodeList": [f"('CT^^{DCM}','MR^^{DCM}')", "('51185008^^2.16.840.1.113883.6.96')"]}, 2),
        ({"EventCodeList": [f"('CT^^{DCM}')", f"('MR^^{DCM}')"]}, 0),
        ({"EventCodeList": [f"('CT^^{DCM}')", "('51185008^^2.16.840.1.113883.6.96')"]}, 1),
        ({"ConfidentialityCode": ["('N^^2.16.840.1.113883.5.25')", "('local^^1.2.3')"]}, 1),
        ({"ConfidentialityCode": "('N^^2.16.840.1.113883.5.25','local^^1.2.3')"}, 2),
        ({"ConfidentialityCode": "('R^^2.16.840.1.113883.5.25')"}, 0),
        # LIKE against each author's whole XCN.
        ({"AuthorPerson": "('%Brien%')"}, 1),
        ({"AuthorPerson": "('7^O''Brien^100%')"}, 1),
        ({"AuthorPerson": "('_^O''Brien^100__sure')"}, 1),
        ({"AuthorPerson": "('Brien')"}, 0),
        ({"AuthorPerson": "('%brien%')"}, 0),
        ({"AuthorPerson": "('%Second\\Author')"}, 1),
        ({"AuthorPerson": "('%Second\\\\Author')"}, 0),
        ({"AuthorPerson": "('%Second\\_uthor')"}, 1),  # no escape: a backslash, and any character
        ({"AuthorPerson": "('%Brien%','%ller%')"}, 2),
        ({"AuthorPerson": "('%M\u00fcller%')"}, 1),
        ({"AuthorPerson": "('%Mu\u0308ller%')"}, 1),
        ({"AuthorPerson": "('%')"}, 2),
        # What comes is a value, whatever it looks like.
        ({"AuthorPerson": "(''' OR ''1''=''1')"}, 0),
        ({"AuthorPerson": "('%''); DROP TABLE document_entry; --')"}, 0),
        ({"ClassCode": "('x'' OR 1=1 --^^y')"}, 0),
        # Times: from ≤ value < to, an entry without the attribute is not excluded.
        ({"CreationTimeFrom": "20240102030405"}, 1),
        ({"CreationTimeFrom": "'20240102030405'"}, 1),
        ({"CreationTimeFrom": "20240102030406"}, 0),
        ({"CreationTimeTo": "20240102030405"}, 1),
        ({"CreationTimeTo": "20240102030406"}, 2),
        ({"CreationTimeFrom": "2023", "CreationTimeTo": "2024"}, 1),
        ({"CreationTimeFrom": "202302"}, 1),
        ({"CreationTimeTo": "2023"}, 0),
        ({"ServiceStartTimeFrom": "202401020300"}, 2),
        ({"ServiceStartTimeFrom": "2025"}, 1),
        ({"ServiceStartTimeTo": "2024"}, 1),
        ({"ServiceStopTimeFrom": "202401020311"}, 1),
        ({"ServiceStopTimeTo": "202401020311"}, 2),
        # Kinds of entry.
        ({"Type": f"('{STABLE}')"}, 2),
        ({"Type": f"('{ON_DEMAND}')"}, 1),
        ({"Type": BOTH_TYPES}, 3),
        ({"Type": "('urn:uuid:10aa1a4b-715a-4120-bfd0-9760414112c8')"}, 0),
        ({"Type": BOTH_TYPES, "CreationTimeFrom": "2025"}, 1),
        # Statuses.
        ({"Status": f"('{DEPRECATED}')"}, 0),
        ({"Status": f"('{APPROVED}','{DEPRECATED}')"}, 2),
        ({"Status": f"('{APPROVED}','urn:x:unheard-of')"}, 2),
        ({"Status": "('urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Approved')"}, 2),
        ({"Status": f"'{APPROVED}'"}, 2),
    ],
)
def test_a_parameter_restricts_as_it_says(desk: Questions, parameters: dict[str, Any], count: int) -> None:
    assert len(desk.find(**{p(name): value for name, value in parameters.items()})) == count


def test_metadata_level_and_what_else_we_do_not_know_has_no_effect(desk: Questions) -> None:
    assert len(desk.find(MetadataLevel="2", XDSDocumentEntryClassCodeScheme="('broken")) == 2


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([f"('1.2.840.1^^^^{STUDY}')"], 1),
        ([f"('1.2.840.1^^^^{STUDY}^')"], 1),
        ([f"('1.2.840.1^^^^{STUDY}')", "('A_1^^^&1.2.3&ISO^urn:x')"], 1),
        ([f"('1.2.840.1^^^^{STUDY}')", "('A_2^^^&1.2.3&ISO^urn:x')"], 0),
        ([f"('1.2.840.1^^^^{STUDY}','A_2^^^&1.2.3&ISO^urn:x')"], 1),
        (["('AB1^^^&1.2.3&ISO^urn:x')"], 0),
        (["('%')"], 0),
    ],
)
def test_references_are_compared_exactly(desk: Questions, values: list[str], count: int) -> None:
    found = desk.ask(
        catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID,
        XDSDocumentEntryPatientId=f"'{ANNA}'",
        XDSDocumentEntryStatus=f"('{APPROVED}')",
        XDSDocumentEntryReferenceIdList=values,
    )
    assert len(found) == count


@pytest.mark.parametrize(
    ("parameters", "codes"),
    [
        ({"ClassCode": "('IMAGES')"}, [NUMBER]),
        ({"ClassCode": "('IMAGES^1.2.3')"}, [NUMBER]),
        ({"ClassCode": "('IMAGES^x^1.2.3')"}, [NUMBER]),
        ({"ClassCode": "('^^1.2.3')"}, [NUMBER]),
        ({"ClassCode": "('IMAGES^^')"}, [NUMBER]),
        ({"ClassCode": "('IMAGES^^1.2^3')"}, [NUMBER]),
        ({"ClassCode": "('a','b')"}, [NUMBER, NUMBER]),
        ({"EventCodeList": ["('a')", "('b')"]}, [NUMBER, NUMBER]),
        (
            {"ClassCode": "('a')", "EventCodeList": "('b')", "CreationTimeTo": "x"},
            [NUMBER, NUMBER, ErrorCode.REGISTRY_ERROR],
        ),
        ({"CreationTimeFrom": "2024-01-02"}, [ErrorCode.REGISTRY_ERROR]),
        ({"CreationTimeFrom": "20241301"}, [ErrorCode.REGISTRY_ERROR]),
        ({"CreationTimeFrom": ["2024", "2025"]}, [NUMBER]),
        ({"CreationTimeFrom": "('2024','2025')"}, [NUMBER]),
        ({"PatientId": "'anna'"}, [ErrorCode.REGISTRY_ERROR]),
        ({"PatientId": "'anna^^^&1.2.3.4.5&DNS'"}, [ErrorCode.REGISTRY_ERROR]),
        ({"PatientId": []}, [MISSING]),
        ({"Status": []}, [MISSING]),
        ({"Status": "('urn:x:unheard-of')"}, [MISSING]),
        ({"Status": f"('{STATUS}Submitted')"}, [MISSING]),
        ({"Status": "('Approved')"}, [MISSING]),
        ({"Status": "()"}, [NUMBER]),
    ],
)
def test_what_is_malformed_is_named(desk: Questions, parameters: dict[str, Any], codes: list[ErrorCode]) -> None:
    assert sorted(desk.refusal(**{p(name): value for name, value in parameters.items()})) == sorted(codes)


def test_no_finding_holds_a_value(desk: Questions) -> None:
    with pytest.raises(Refused) as refused:
        desk.find(**{p("PatientId"): "'Geheim'", p("ClassCode"): "('Geheim')", p("CreationTimeTo"): "'Geheim'"})
    assert len(refused.value.findings) == 3
    assert not any("Geheim" in finding.context for finding in refused.value.findings)


def test_a_patient_without_quotes_is_understood(desk: Questions) -> None:
    assert len(desk.find(**{p("PatientId"): str(ANNA)})) == 2


def test_another_patient_has_other_documents_and_an_unknown_one_none(desk: Questions) -> None:
    assert len(desk.find(BERT)) == 1
    assert desk.find(PatientId("nobody", Oid("1.2.3.4.5"))) == []
    assert desk.find(PatientId("' OR 1=1 --".replace("'", "''"), Oid("1.2.3.4.5"))) == []


@pytest.mark.parametrize("parameter", ["AuthorPerson", "EventCodeList", "ClassCode"])
@pytest.mark.parametrize("repeated", [False, True])
def test_thousands_of_values_are_an_answer_or_a_refusal(desk: Questions, parameter: str, repeated: bool) -> None:
    values = [f"'x{number}^^y'" for number in range(5000)]
    given: Any = [f"({value})" for value in values] if repeated else "(" + ",".join(values) + ")"
    try:
        assert desk.find(**{p(parameter): given}) == []
    except Refused as refused:
        assert {finding.code for finding in refused.findings} == {NUMBER}


def test_over_the_limit_nothing_is_given(desk: Questions) -> None:
    desk = Questions(desk.engine, most=1)
    with pytest.raises(Refused) as refused:
        desk.find()
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.TOO_MANY_RESULTS]
    assert len(desk.find(**{p("FormatCode"): "('f^^1.2.3.9')"})) == 1


def test_where_the_domain_wants_it_a_query_for_an_unknown_patient_is_refused(desk: Questions) -> None:
    strict = Questions(desk.engine)
    strict.refuse_unknown = True
    assert len(strict.find()) == len(desk.find())
    nobody = PatientId("nobody", Oid("1.2.3.4.5"))
    assert desk.find(nobody) == []
    with pytest.raises(Refused) as refused:
        strict.find(nobody)
    (finding,) = refused.value.findings
    assert (finding.code, finding.context) == (ErrorCode.UNKNOWN_PATIENT_ID, str(nobody))
    with pytest.raises(Refused) as refused:
        strict.find(**{p("PatientId"): "'x'"})
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.REGISTRY_ERROR]


@pytest.mark.parametrize(
    ("parameter", "values"), [("AuthorPerson", "('%Brien%')"), ("EventCodeList", f"('CT^^{DCM}')")]
)
def test_a_value_is_looked_for_once_and_not_again_for_every_document(
    desk: Questions, parameter: str, values: str
) -> None:
    """Else, as all authors are looked through for every document, 5,000 documents of a patient take seconds."""
    asked = []

    def hear(_connection: Any, _cursor: Any, statement: str, given: Any, *_rest: Any) -> None:
        asked.append((statement, given))

    sa.event.listen(desk.engine, "before_cursor_execute", hear)
    try:
        desk.find(**{f"XDSDocumentEntry{parameter}": values})
    finally:
        sa.event.remove(desk.engine, "before_cursor_execute", hear)
    statement, given = next(one for one in asked if "document_entry_value" in one[0])
    with desk.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given).all()
    assert [step.detail for step in plan if "CORRELATED" in step.detail] == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [(f"('{OFFLINE}')", ["2023"]), (f"('{ONLINE}')", ["2024"]), (f"('{ONLINE}','{OFFLINE}')", ["2023", "2024"])],
)
def test_documents_are_found_by_their_availability(desk: Questions, asked: str, found: list[str]) -> None:
    """What says nothing of it is online (XDS Metadata Update: 3.18)."""
    shown = b"".join(desk.find(**{p("DocumentAvailability"): asked})).decode()
    years = sorted(re.findall(r'name="creationTime".*?<rim:Value>(\d{4})', shown))
    assert years == found


@pytest.mark.parametrize(("probe", "most", "answered"), [(1, 2, True), (2, 2, True), (9, 2, True), (1, 1, False)])
def test_the_limit_holds_however_many_are_read_before_they_are_counted(
    desk: Questions, monkeypatch: pytest.MonkeyPatch, probe: int, most: int, answered: bool
) -> None:
    monkeypatch.setattr(sql_reader, "PROBE", probe)
    desk = Questions(desk.engine, most=most)
    if answered:
        assert len(desk.find()) == 2
    else:
        assert desk.refusal() == [ErrorCode.TOO_MANY_RESULTS]


def test_more_references_than_documents_are_given(desk: Questions) -> None:
    limited = DocumentRegistry([AUTHORITY], open_patients=True, most_results=1, most_references=2)
    given = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": f"('{APPROVED}')"}

    def ask(return_type: str) -> Any:
        sent = AdhocQuery(catalogue.FIND_DOCUMENTS.id, return_type, tuple(as_slots(given)))
        with reading(desk.engine) as connection:
            return limited.query(sent, sql_registry.SqlRegistry(connection, "default"))

    references = ask("ObjectRef").fragments
    assert [re.findall(rb' id="(urn:uuid:[-0-9a-f]+)"', one)[0] in one for one in references] == [True, True]
    with pytest.raises(Refused):
        ask("LeafClass")
