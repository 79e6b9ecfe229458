"""The registry takes submissions whole or not at all, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.builders import (
    ANNA,
    AUTHORITY,
    BERT,
    a_folder,
    a_submission,
    an_association,
    an_entry,
    symbolic,
)
from tests.queries.test_get import ids
from xds.actors.document_registry import DocumentRegistry
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Refused
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.queries import catalogue
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import association, document_entry, locator

APPROVED = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')"
BOTH = "('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved','urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated')"


class Desk:
    """A registry and its database, a transaction a call."""

    def __init__(self, engine: sa.Engine, *, open_patients: bool = False) -> None:
        self.engine = engine
        self.registry = DocumentRegistry([AUTHORITY], open_patients=open_patients, most_results=50)

    def __call__(self, do: Callable[[SqlRegistry], object]) -> object:
        with self.engine.begin() as connection:
            return do(SqlRegistry(connection, "default"))

    def register(self, submission: Submission) -> Submission:
        return self(lambda store: self.registry.register(submission, store))  # type: ignore[return-value]

    def refusal(self, submission: Submission) -> list[ErrorCode]:
        with pytest.raises(Refused) as refused:
            self.register(submission)
        return [finding.code for finding in refused.value.findings]

    def ask(self, query: catalogue.StoredQuery, return_type: str = "LeafClass", **parameters: str) -> list[bytes]:
        slots = tuple(Slot(f"${name}", (value,)) for name, value in parameters.items())
        return self(lambda store: self.registry.query(AdhocQuery(query.id, return_type, slots), store).fragments)

    def find(self, status: str = APPROVED, **more: str) -> list[bytes]:
        return self.ask(
            catalogue.FIND_DOCUMENTS, XDSDocumentEntryPatientId=f"'{ANNA}'", XDSDocumentEntryStatus=status, **more
        )

    def approved(self) -> set[str]:
        return ids(self.find())


@pytest.fixture
def desk(engine: sa.Engine) -> Desk:
    desk = Desk(engine)
    desk(lambda store: [store.add_patient(ANNA), store.add_patient(BERT)])
    return desk


def test_what_was_registered_is_found_with_its_symbolic_ids_replaced(desk: Desk) -> None:
    registered = desk.register(symbolic(a_submission()))
    (found,) = desk.find()
    assert registered.document_entries[0].entry_uuid.encode() in found
    assert b"StatusType:Approved" in found
    assert b"object" + b"1" not in found.replace(b"objectType", b"")


def test_an_unknown_patient_is_refused_by_name(desk: Desk) -> None:
    nobody = replace(ANNA, id="nobody")
    assert desk.refusal(a_submission(patient=nobody)) == [ErrorCode.UNKNOWN_PATIENT_ID]


def test_an_open_domain_makes_a_patient_of_its_own_authority(engine: sa.Engine) -> None:
    desk = Desk(engine, open_patients=True)
    desk.register(a_submission())
    assert len(desk.find()) == 1
    foreign = replace(ANNA, authority="9.9.9")  # type: ignore[arg-type]
    assert desk.refusal(a_submission(patient=foreign)) == [ErrorCode.UNKNOWN_PATIENT_ID]


def test_the_same_document_may_come_again_and_another_under_its_id_may_not(desk: Desk) -> None:
    entry = an_entry()
    desk.register(a_submission(entries=[entry]))
    again = replace(an_entry(), unique_id=entry.unique_id)
    desk.register(a_submission(entries=[again]))
    other = replace(an_entry(), unique_id=entry.unique_id, hash="0" * 40, size=7)
    codes = desk.refusal(a_submission(entries=[other]))
    assert set(codes) == {ErrorCode.NON_IDENTICAL_HASH, ErrorCode.NON_IDENTICAL_SIZE}
    assert len(desk.find()) == 2


def test_a_submission_set_id_is_used_once_and_a_refusal_leaves_nothing(desk: Desk, engine: sa.Engine) -> None:
    first = a_submission()
    desk.register(first)
    second = a_submission(unique_id=first.submission_set.unique_id)
    assert desk.refusal(second) == [ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY]
    with engine.connect() as connection:
        uuid = second.document_entries[0].entry_uuid
        assert connection.scalar(sa.select(sa.func.count()).where(locator.c.id == uuid)) == 0


def test_a_replacement_deprecates_the_old_document_and_its_addenda(desk: Desk) -> None:
    old, addendum, new = an_entry(), an_entry(), an_entry()
    desk.register(a_submission(entries=[old]))
    append = an_association(AssociationType.APND, addendum.entry_uuid, old.entry_uuid)
    desk.register(a_submission(entries=[addendum], relations=[append]))
    replace_ = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
    desk.register(a_submission(entries=[new], relations=[replace_]))
    (approved,) = desk.find()
    assert new.unique_id.encode() in approved
    assert len(desk.find(BOTH)) == 3
    again = an_entry()
    late = an_association(AssociationType.RPLC, again.entry_uuid, old.entry_uuid)
    codes = desk.refusal(a_submission(entries=[again], relations=[late]))
    assert codes == [ErrorCode.REGISTRY_DEPRECATED_DOCUMENT]


@pytest.mark.parametrize("together", [True, False], ids=["in its submission", "later"])
def test_what_xfrm_rplc_made_has_addenda_and_they_go_when_it_is_replaced(desk: Desk, together: bool) -> None:
    """Only another form of a document has none, and that is XFRM's (ITI TF-3: 4.2.2.2.1, 4.2.2.2.4)."""
    old, pdf, note, last = (an_entry() for _ in range(4))
    desk.register(a_submission(entries=[old]))
    made = an_association(AssociationType.XFRM_RPLC, pdf.entry_uuid, old.entry_uuid)
    addendum = an_association(AssociationType.APND, note.entry_uuid, pdf.entry_uuid)
    if together:
        desk.register(a_submission(entries=[pdf, note], relations=[made, addendum]))
    else:
        desk.register(a_submission(entries=[pdf], relations=[made]))
        desk.register(a_submission(entries=[note], relations=[addendum]))
    assert desk.approved() == {pdf.entry_uuid, note.entry_uuid}
    desk.register(
        a_submission(entries=[last], relations=[an_association(AssociationType.RPLC, last.entry_uuid, pdf.entry_uuid)])
    )
    assert desk.approved() == {last.entry_uuid}


def test_what_xfrm_rplc_made_leaves_the_addenda_of_the_old_behind(desk: Desk) -> None:
    """It replaces as RPLC does (ITI TF-3: 4.2.2.2.4): transformations and addenda of the old are Deprecated with it."""
    old, note, html, pdf = (an_entry() for _ in range(4))
    relations = [
        an_association(AssociationType.APND, note.entry_uuid, old.entry_uuid),
        an_association(AssociationType.XFRM, html.entry_uuid, old.entry_uuid),
    ]
    desk.register(a_submission(entries=[old, note, html], relations=relations))
    made = an_association(AssociationType.XFRM_RPLC, pdf.entry_uuid, old.entry_uuid)
    desk.register(a_submission(entries=[pdf], relations=[made]))
    assert desk.approved() == {pdf.entry_uuid}


def test_a_transformation_has_no_addenda_and_may_be_replaced_by_what_has(desk: Desk) -> None:
    """ITI TF-3: 4.2.2.2.1 and 4.2.2.2.3."""
    old, html, note, later = (an_entry() for _ in range(4))
    made = an_association(AssociationType.XFRM, html.entry_uuid, old.entry_uuid)
    desk.register(a_submission(entries=[old, html], relations=[made]))
    addendum = an_association(AssociationType.APND, note.entry_uuid, html.entry_uuid)
    assert desk.refusal(a_submission(entries=[note], relations=[addendum])) == [ErrorCode.REGISTRY_METADATA]
    instead = an_association(AssociationType.RPLC, later.entry_uuid, html.entry_uuid)
    desk.register(a_submission(entries=[later], relations=[instead]))
    again = replace(addendum, target=later.entry_uuid)
    desk.register(a_submission(entries=[note], relations=[again]))
    assert desk.approved() == {old.entry_uuid, later.entry_uuid, note.entry_uuid}


def test_a_replacement_takes_its_place_in_the_folders_of_the_old(desk: Desk, engine: sa.Engine) -> None:
    old, new, folder = an_entry(), an_entry(), a_folder()
    member = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, old.entry_uuid)
    desk.register(a_submission(entries=[old], folders=[folder], relations=[member]))
    replace_ = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
    desk.register(a_submission(entries=[new], relations=[replace_]))
    with engine.connect() as connection:
        targets = connection.scalars(sa.select(association.c.target).where(association.c.source == folder.entry_uuid))
        assert set(targets) == {old.entry_uuid, new.entry_uuid}


def test_an_end_that_is_nowhere_is_named(desk: Desk) -> None:
    new = an_entry()
    relation = an_association(AssociationType.RPLC, new.entry_uuid, an_entry().entry_uuid)
    assert desk.refusal(a_submission(entries=[new], relations=[relation])) == [ErrorCode.UNRESOLVED_REFERENCE]


def test_a_document_of_another_patient_cannot_be_replaced(desk: Desk) -> None:
    old = an_entry(patient_id=BERT)
    desk.register(a_submission(patient=BERT, entries=[old]))
    new = an_entry()
    relation = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
    assert desk.refusal(a_submission(entries=[new], relations=[relation])) == [ErrorCode.PATIENT_ID_DOES_NOT_MATCH]


def test_a_member_by_reference_may_be_of_another_patient_and_is_found_from_it(desk: Desk) -> None:
    other = an_entry(patient_id=BERT)
    desk.register(a_submission(patient=BERT, entries=[other]))
    submission = a_submission(relations=[])
    member = an_association(AssociationType.HAS_MEMBER, submission.submission_set.entry_uuid, other.entry_uuid)
    member = replace(member, submission_set_status=SubmissionSetStatus.REFERENCE)
    submission = replace(submission, associations=(*submission.associations, member))
    desk.register(submission)
    found = desk.ask(catalogue.GET_ASSOCIATIONS, uuid=f"('{other.entry_uuid}')")
    assert any(member.entry_uuid.encode() in item for item in found)


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"XDSDocumentEntryClassCode": "('IMAGES^^1.3.6.1.4.1.19376.1.2.6.1','X^^Y')"}, 1),
        ({"XDSDocumentEntryClassCode": "('X^^Y')"}, 0),
        ({"XDSDocumentEntryEventCodeList": "('CT^^1.2.840.10008.2.16.4')"}, 1),
        ({"XDSDocumentEntryEventCodeList": "('MR^^1.2.840.10008.2.16.4')"}, 0),
        ({"XDSDocumentEntryAuthorPerson": "('%Röntgen%')"}, 1),
        ({"XDSDocumentEntryAuthorPerson": "('Röntgen')"}, 0),
        ({"XDSDocumentEntryCreationTimeFrom": "20240102030405"}, 1),
        ({"XDSDocumentEntryCreationTimeTo": "20240102030405"}, 0),
        ({"XDSDocumentEntryServiceStopTimeFrom": "2030"}, 1),
        ({"XDSDocumentEntryType": "('urn:uuid:34268e47-fdf5-41a6-ba33-82133c465248')"}, 0),
        ({"unheardOf": "7"}, 1),
    ],
)
def test_find_documents_restricts_as_its_parameters_say(desk: Desk, parameters: dict[str, str], count: int) -> None:
    desk.register(a_submission())
    assert len(desk.find(**parameters)) == count


def test_a_document_is_found_by_its_study_and_by_nothing_like_it(desk: Desk) -> None:
    desk.register(a_submission())
    common = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": APPROVED}
    for value, count in (("1.2.840.1^^^^urn:ihe:iti:xds:2016:studyInstanceUID", 1), ("1.2.840._^^^^urn", 0)):
        found = desk.ask(
            catalogue.FIND_DOCUMENTS_BY_REFERENCE_ID, XDSDocumentEntryReferenceIdList=f"('{value}')", **common
        )
        assert len(found) == count


def test_an_unknown_patient_has_no_documents(desk: Desk) -> None:
    found = desk.ask(
        catalogue.FIND_DOCUMENTS, XDSDocumentEntryPatientId="'x^^^&1.2&ISO'", XDSDocumentEntryStatus=APPROVED
    )
    assert found == []


def test_an_object_ref_answer_names_ids_only(desk: Desk) -> None:
    submission = desk.register(a_submission())
    uuid = submission.document_entries[0].entry_uuid
    found = desk.ask(catalogue.GET_DOCUMENTS, "ObjectRef", XDSDocumentEntryEntryUUID=f"('{uuid}')")
    assert found == [b'<rim:ObjectRef id="%b"/>' % uuid.encode()]


def test_a_submission_set_comes_with_its_contents_and_nothing_else(desk: Desk) -> None:
    entry, folder = an_entry(), a_folder()
    member = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, entry.entry_uuid)
    submission = a_submission(entries=[entry], folders=[folder], relations=[member])
    desk.register(submission)
    desk.register(a_submission())
    found = desk.ask(
        catalogue.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId=f"'{submission.submission_set.unique_id}'"
    )
    assert len(found) == 1 + 1 + 1 + 1 + 3
    filtered = desk.ask(
        catalogue.GET_SUBMISSION_SET_AND_CONTENTS,
        XDSSubmissionSetUniqueId=f"'{submission.submission_set.unique_id}'",
        XDSDocumentEntryFormatCode="('other^^scheme')",
    )
    assert len(filtered) == 1 + 1 + 1


def test_two_patients_in_one_leaf_class_answer_are_refused(desk: Desk) -> None:
    one, two = a_submission(), a_submission(patient=BERT)
    desk.register(one)
    desk.register(two)
    ids = ",".join(f"'{s.document_entries[0].unique_id}'" for s in (one, two))
    with pytest.raises(Refused) as refused:
        desk.ask(catalogue.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"({ids})")
    assert refused.value.findings[0].code is ErrorCode.RESULT_NOT_SINGLE_PATIENT
    assert len(desk.ask(catalogue.GET_DOCUMENTS, "ObjectRef", XDSDocumentEntryUniqueId=f"({ids})")) == 2


def test_more_results_than_the_limit_are_refused(desk: Desk) -> None:
    desk.register(a_submission(entries=[an_entry() for _ in range(51)]))
    with pytest.raises(Refused) as refused:
        desk.find()
    assert refused.value.findings[0].code is ErrorCode.TOO_MANY_RESULTS


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, ErrorCode.STORED_QUERY_MISSING_PARAM),
        ({"XDSDocumentEntryUniqueId": "'a'", "XDSDocumentEntryEntryUUID": "'b'"}, ErrorCode.STORED_QUERY_PARAM_NUMBER),
        ({"XDSDocumentEntryUniqueId": "()"}, ErrorCode.STORED_QUERY_PARAM_NUMBER),
        ({"XDSDocumentEntryUniqueId": "('a"}, ErrorCode.STORED_QUERY_PARAM_NUMBER),
        ({"XDSDocumentEntryUniqueId": "('a',)"}, ErrorCode.STORED_QUERY_PARAM_NUMBER),
    ],
)
def test_wrong_parameters_are_named(desk: Desk, parameters: dict[str, str], code: ErrorCode) -> None:
    with pytest.raises(Refused) as refused:
        desk.ask(catalogue.GET_DOCUMENTS, **parameters)
    assert refused.value.findings[0].code is code


def test_rows_of_a_patient_carry_the_patient_key_first() -> None:
    for table in (document_entry, association):
        assert next(iter(table.primary_key.columns)).name == "patient_key"


def test_what_comes_with_the_replacement_of_a_document_is_not_deprecated_with_it(desk: Desk) -> None:
    old = an_entry()
    desk.register(a_submission(entries=[old]))
    new, note = an_entry(), an_entry()
    relations = [
        an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid),
        an_association(AssociationType.XFRM, new.entry_uuid, old.entry_uuid),
        an_association(AssociationType.APND, note.entry_uuid, old.entry_uuid),
    ]
    desk.register(a_submission(entries=[new, note], relations=relations))
    approved = desk.ask(catalogue.GET_RELATED_DOCUMENTS, XDSDocumentEntryEntryUUID=f"'{new.entry_uuid}'",
                        AssociationTypes=f"('{AssociationType.XFRM}')")  # fmt: skip
    assert approved
    found = desk.find()
    assert len(found) == 2
    assert not any(old.entry_uuid.encode() in item for item in found)
