"""A merged patient: found under the surviving id only, shown with it, and undone at will.  ITI TF-2: 3.8.4.2.3."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT, a_folder, a_submission, an_association, an_entry
from tests.queries.desks import APPROVED, DEPRECATED, as_slots
from tests.queries.test_get import ids, listed
from tests.store.databases import Domain, at_once, domain, shared_engine
from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Refused
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.queries import catalogue
from xds.queries.catalogue import StoredQuery
from xds.store.registry import patients
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import patient

__all__ = ["domain", "shared_engine"]

CARL, DORA = PatientId("carl", ANNA.authority), PatientId("dora", ANNA.authority)


@pytest.fixture
def site(domain: Domain) -> Domain:
    domain(lambda store: [store.add_patient(CARL), store.add_patient(DORA)])
    return domain


def merge(site: Domain, subsumed: PatientId, surviving: PatientId) -> None:
    site(lambda store: store.merge(subsumed, surviving))


def unmerge(site: Domain, subsumed: PatientId) -> PatientId:
    with site.engine.begin() as connection:
        return patients.unmerge(connection, site.name, subsumed)


def ask(site: Domain, query: StoredQuery, **parameters: str) -> list[bytes]:
    sent = AdhocQuery(query.id, "LeafClass", tuple(as_slots(dict(parameters))))
    return site(lambda store: site.registry.query(sent, store).fragments)


def find(site: Domain, patient: PatientId, status: str = APPROVED) -> list[bytes]:
    given = {"XDSDocumentEntryPatientId": f"'{patient}'", "XDSDocumentEntryStatus": f"('{status}')"}
    return ask(site, catalogue.FIND_DOCUMENTS, **given)


def entry(submission: Submission) -> DocumentEntry:
    return submission.document_entries[0]


def test_what_either_had_is_found_under_the_surviving_id_and_shown_with_it(site: Domain) -> None:
    hers = site.register(a_submission(patient=ANNA, entries=[an_entry(patient_id=ANNA)]))
    his = site.register(a_submission(patient=BERT))
    merge(site, BERT, ANNA)
    found = find(site, ANNA)
    assert ids(found) == {entry(hers).entry_uuid, entry(his).entry_uuid}
    for ebxml in found:
        assert str(ANNA).replace("&", "&amp;").encode() in ebxml
        assert BERT.id.encode() + b"^^^" not in ebxml
        assert b"mrn-1^^^" in ebxml  # the source's own id stays
    assert find(site, BERT) == []


def test_by_id_too_the_surviving_id_is_shown(site: Domain) -> None:
    his = site.register(a_submission(patient=BERT, folders=[a_folder(patient_id=BERT)]))
    merge(site, BERT, ANNA)
    for query, parameter, item in (
        (catalogue.GET_DOCUMENTS, "XDSDocumentEntryEntryUUID", entry(his)),
        (catalogue.GET_FOLDERS, "XDSFolderEntryUUID", his.folders[0]),
        (catalogue.GET_SUBMISSION_SET_AND_CONTENTS, "XDSSubmissionSetEntryUUID", his.submission_set),
    ):
        found = ask(site, query, **{parameter: listed(item.entry_uuid)})
        assert item.entry_uuid in ids(found)
        assert not any(BERT.id.encode() + b"^^^&amp;" + ANNA.authority.encode() in ebxml for ebxml in found)


def test_merged_patients_are_one_patient_in_an_answer(site: Domain) -> None:
    hers, his = site.register(a_submission()), site.register(a_submission(patient=BERT))
    both = listed(entry(hers).entry_uuid, entry(his).entry_uuid)
    with pytest.raises(Refused) as refused:
        ask(site, catalogue.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=both)
    assert [f.code for f in refused.value.findings] == [ErrorCode.RESULT_NOT_SINGLE_PATIENT]
    merge(site, BERT, ANNA)
    assert len(ask(site, catalogue.GET_DOCUMENTS, XDSDocumentEntryEntryUUID=both)) == 2


def test_a_chain_of_merges_is_followed_to_its_end(site: Domain) -> None:
    sent = [site.register(a_submission(patient=one)) for one in (ANNA, BERT, CARL, DORA)]
    merge(site, ANNA, BERT)
    merge(site, DORA, BERT)
    merge(site, BERT, CARL)
    assert ids(find(site, CARL)) == {entry(one).entry_uuid for one in sent}
    assert all(b"carl^^^" in ebxml for ebxml in find(site, CARL))
    assert [find(site, one) for one in (ANNA, BERT, DORA)] == [[], [], []]


def test_a_submission_for_a_subsumed_patient_is_refused(site: Domain) -> None:
    merge(site, BERT, ANNA)
    with pytest.raises(Refused) as refused:
        site.register(a_submission(patient=BERT))
    assert [f.code for f in refused.value.findings] == [ErrorCode.UNKNOWN_PATIENT_ID]


def test_a_document_of_the_subsumed_is_replaced_under_the_surviving_id(site: Domain) -> None:
    folder, old = a_folder(patient_id=BERT), an_entry(patient_id=BERT)
    member = an_association(AssociationType.HAS_MEMBER, folder.entry_uuid, old.entry_uuid)
    site.register(a_submission(patient=BERT, entries=[old], folders=[folder], relations=[member]))
    merge(site, BERT, ANNA)
    new = an_entry()
    replaces = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
    site.register(a_submission(entries=[new], relations=[replaces]))
    assert ids(find(site, ANNA)) == {new.entry_uuid}
    assert ids(find(site, ANNA, DEPRECATED)) == {old.entry_uuid}
    held = ask(site, catalogue.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=listed(folder.entry_uuid))
    assert {new.entry_uuid, old.entry_uuid} <= ids(held)
    around = ask(site, catalogue.GET_ASSOCIATIONS, uuid=listed(old.entry_uuid))
    assert replaces.entry_uuid in ids(around)


def test_undone_each_stands_for_themselves_again(site: Domain) -> None:
    his, hers = site.register(a_submission(patient=BERT)), site.register(a_submission())
    merge(site, BERT, ANNA)
    assert unmerge(site, BERT) == ANNA
    assert ids(find(site, BERT)) == {entry(his).entry_uuid}
    assert ids(find(site, ANNA)) == {entry(hers).entry_uuid}
    with pytest.raises(patients.NotMerged):
        unmerge(site, BERT)


@pytest.mark.parametrize(
    ("subsumed", "surviving", "why"),
    [
        (ANNA, ANNA, "itself"),
        (PatientId("nobody", ANNA.authority), ANNA, "subsumed"),
        (ANNA, PatientId("nobody", ANNA.authority), "surviving"),
        (ANNA, PatientId("bert", Oid("9.9")), "surviving"),
        (DORA, ANNA, "subsumed"),  # merged away already
        (ANNA, DORA, "surviving"),
    ],
)
def test_what_is_no_merge_changes_nothing(site: Domain, subsumed: PatientId, surviving: PatientId, why: str) -> None:
    merge(site, DORA, CARL)
    with pytest.raises(patients.NotMerged, match=why):
        merge(site, subsumed, surviving)
    with site.engine.connect() as connection:
        assert patients.merges(connection, site.name) == [(DORA, CARL)]


def test_merges_never_form_a_circle_however_many_come_at_once(site: Domain) -> None:
    everyone = (ANNA, BERT, CARL, DORA)
    pairs = [(one, other) for one in everyone for other in everyone if one != other]
    at_once([lambda pair=pair: merge(site, *pair) for pair in pairs])  # type: ignore[misc]
    with site.engine.connect() as connection:
        done = patients.merges(connection, site.name)
        (living,) = patients.all_of(connection, site.name)
        assert len(done) == 3
        assert len(patients.chain(connection, site.name, living)) == 4


def test_a_merge_during_a_submission_comes_before_it_or_after_it(site: Domain) -> None:
    sent = a_submission(patient=BERT)
    done = at_once([lambda: merge(site, BERT, ANNA), lambda: site.register(sent)])  # type: ignore[list-item, return-value]
    refused = [one for one in done if isinstance(one, Refused)]
    assert [finding.code for one in refused for finding in one.findings] in ([], [ErrorCode.UNKNOWN_PATIENT_ID])
    assert len(find(site, ANNA)) == 1 - len(refused)


# A patient's key is remembered by the process: whether it still stands for the patient is looked up each time.


def test_who_was_merged_away_by_another_process_is_unknown_though_remembered(site: Domain) -> None:
    site.register(a_submission(patient=BERT))
    assert site(lambda store: store.remembered_key(BERT)) is not None
    other = sa.create_engine(site.engine.url)  # nothing that this process does tells the first
    with other.begin() as connection:
        patients.merge(connection, site.name, BERT, ANNA)
    other.dispose()
    with pytest.raises(Refused) as refused:
        site.register(a_submission(patient=BERT))
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.UNKNOWN_PATIENT_ID]
    site.register(a_submission(patient=ANNA))
    unmerge(site, BERT)
    site.register(a_submission(patient=BERT))


def test_a_patient_who_was_made_in_a_transaction_that_was_undone_is_made_anew(site: Domain) -> None:
    emil, fred = (PatientId(name, ANNA.authority) for name in ("emil", "fred"))
    with site.engine.connect() as connection:
        site.registry.register(a_submission(patient=emil), SqlRegistry(connection, site.name))
        connection.rollback()
    site.register(a_submission(patient=fred))  # who may have the key that emil had
    mine = site.register(a_submission(patient=emil))
    assert ids(find(site, emil)) == {entry(mine).entry_uuid}
    assert len(find(site, fred)) == 1


def test_as_many_patients_are_remembered_as_may_be(site: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patients, "REMEMBERED", 3)
    for one in (ANNA, BERT, CARL, DORA, ANNA):
        site.register(a_submission(patient=one))
    assert len(patients._seen[site.engine]) <= 3


def test_a_key_that_has_become_anothers_is_not_taken_for_the_patients(site: Domain) -> None:
    """As of one who was made in a transaction that was undone, when the other was merged into the patient later."""
    site.register(a_submission(patient=ANNA))
    site.register(a_submission(patient=BERT))
    merge(site, BERT, ANNA)
    anna, bert = (site.rows(sa.select(patient.c.patient_key).where(
        patient.c.domain == site.name, patient.c.id == one.id))[0].patient_key for one in (ANNA, BERT))  # fmt: skip
    with site.engine.connect() as connection:
        patients.remember(connection, site.name, ANNA, bert)
    mine = site.register(a_submission(patient=ANNA, entries=[an_entry(patient_id=ANNA)]))
    assert site(lambda store: store.kinds_of([entry(mine).entry_uuid]))[entry(mine).entry_uuid][1] == anna
