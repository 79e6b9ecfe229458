"""Rows and their ebXML, kept in step; ids in any number; and who wins when two come at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT, a_folder, a_submission, a_unique_id, an_association, an_entry, symbolic
from tests.store.databases import Domain, at_once, domain, shared_engine
from xds.ebxml import rim
from xds.errors import ErrorCode, Refused
from xds.metadata import from_ebxml
from xds.metadata.datatypes import Dtm
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType, AvailabilityStatus
from xds.store.interface import Kind
from xds.store.registry.rows import short
from xds.store.registry.sql_reader import BATCH
from xds.store.registry.sql_registry import SqlRegistry, Taken
from xds.store.tables import document_entry, folder, submission_set
from xds.wire.xml import parse

__all__ = ["domain", "shared_engine"]

MEMBER = AssociationType.HAS_MEMBER


def status_in(ebxml: bytes) -> str:
    return short(parse(ebxml).get("status"))


def test_ids_in_hundreds_are_all_located(domain: Domain) -> None:
    """More than two batches, registered and not, each once though asked for twice."""
    entries = [an_entry() for _ in range(2 * BATCH + 200)]
    domain.register(a_submission(entries=entries))
    uuids = [entry.entry_uuid for entry in entries]
    asked = [*uuids, *(new_entry_uuid() for _ in range(50)), *uuids[:10]]
    found = domain(lambda store: store.documents_by_uuid(asked))
    assert [one.entry_uuid for one in found] == sorted(uuids)
    by_unique_id = domain(lambda store: store.documents_by_unique_id(entry.unique_id for entry in entries))
    assert {one.unique_id for one in by_unique_id} == {entry.unique_id for entry in entries}
    kinds = domain(lambda store: store.kinds_of(asked))
    assert set(kinds) == set(uuids)
    assert {kind for kind, _ in kinds.values()} == {Kind.DOCUMENT_ENTRY}
    assert len(domain(lambda store: store.associations_of(uuids))) == len(uuids)
    key = found[0].patient_key
    values = domain(lambda store: store.values_of(key, "eventCodeList", uuids))
    assert set(values) == set(uuids)
    assert set(map(len, values.values())) == {1}


def test_no_ids_are_no_objects(domain: Domain) -> None:
    assert domain(lambda store: list(store.documents_by_uuid([]))) == []
    assert domain(lambda store: list(store.associations_of([]))) == []
    assert domain(lambda store: store.kinds_of([])) == {}
    assert domain(lambda store: store.values_of(1, "eventCodeList", [])) == {}


def test_a_domain_does_not_see_the_objects_of_another(domain: Domain) -> None:
    submission = domain.register(a_submission(folders=[a_folder()]))
    other = Domain(domain.engine)
    uuids = [item.entry_uuid for item in submission.objects()]
    assert other(lambda store: store.kinds_of(uuids)) == {}
    assert other(lambda store: list(store.documents_by_uuid(uuids))) == []
    assert other(lambda store: list(store.associations_of(uuids))) == []
    assert other(lambda store: list(store.submission_sets_by_uuid(uuids))) == []
    assert other(lambda store: list(store.folders_by_uuid(uuids))) == []
    other.register(a_submission(unique_id=submission.submission_set.unique_id))


def test_an_entry_is_read_back_as_it_was_registered(domain: Domain) -> None:
    registered = domain.register(symbolic(a_submission()))
    (found,) = domain(lambda store: store.documents_by_uuid([registered.document_entries[0].entry_uuid]))
    read = rim.read_object(parse(found.ebxml))
    assert isinstance(read, rim.ExtrinsicObject)
    assert from_ebxml.document_entry(read) == (registered.document_entries[0], [])
    assert (found.status, found.hash, found.size) == ("Approved", registered.document_entries[0].hash, 0)


def test_deprecating_changes_row_and_ebxml_together(domain: Domain) -> None:
    entry, other = an_entry(), an_entry()
    domain.register(a_submission(entries=[entry, other]))
    (before,) = domain(lambda store: store.documents_by_uuid([entry.entry_uuid]))
    domain(lambda store: store.deprecate(store.documents_by_uuid([entry.entry_uuid])))
    (after,) = domain(lambda store: store.documents_by_uuid([entry.entry_uuid]))
    assert (after.status, status_in(after.ebxml)) == ("Deprecated", "Deprecated")
    assert after.ebxml.replace(b"StatusType:Deprecated", b"StatusType:Approved") == before.ebxml
    (untouched,) = domain(lambda store: store.documents_by_uuid([other.entry_uuid]))
    assert (untouched.status, status_in(untouched.ebxml)) == ("Approved", "Approved")


def test_touching_a_folder_changes_row_and_ebxml_together(domain: Domain) -> None:
    one = a_folder(extra_slots=(rim.Slot("urn:x:kept", ("1", "2")),))
    registered = domain.register(a_submission(folders=[one])).folders[0]
    domain(lambda store: store.touch_folder(store.folders_by_uuid([one.entry_uuid])[0], "20300102030405"))
    (found,) = domain(lambda store: store.folders_by_uuid([one.entry_uuid]))
    read = rim.read_object(parse(found.ebxml))
    assert isinstance(read, rim.RegistryPackage)
    assert from_ebxml.folder(read) == (replace(registered, last_update_time=Dtm("20300102030405")), [])
    (row,) = domain.rows(sa.select(folder.c.last_update_time).where(folder.c.entry_uuid == one.entry_uuid))
    assert row.last_update_time == "20300102030405"


def test_every_status_in_a_row_is_the_one_in_its_ebxml_after_a_replacement(domain: Domain) -> None:
    old, addendum, new = an_entry(), an_entry(), an_entry()
    domain.register(a_submission(entries=[old]))
    domain.register(
        a_submission(
            entries=[addendum], relations=[an_association(AssociationType.APND, addendum.entry_uuid, old.entry_uuid)]
        )
    )
    relation = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
    domain.register(a_submission(entries=[new], relations=[relation]))
    found = domain(lambda store: store.documents_by_uuid(e.entry_uuid for e in (old, addendum, new)))
    assert {one.entry_uuid: one.status for one in found} == {
        old.entry_uuid: "Deprecated", addendum.entry_uuid: "Deprecated", new.entry_uuid: "Approved",
    }  # fmt: skip
    assert all(status_in(one.ebxml) == one.status for one in found)


def test_an_id_that_is_taken_is_said_so_and_nothing_is_written(domain: Domain) -> None:
    submission = domain.register(a_submission())
    key = domain(lambda store: store.patient_key(ANNA))
    assert key is not None
    fresh = replace(an_entry(), logical_id="x")
    with pytest.raises(Taken):
        domain(lambda store: store.insert(key, [fresh, submission.submission_set]))
    assert domain(lambda store: store.kinds_of([fresh.entry_uuid])) == {}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, "Approved"), (AvailabilityStatus.DEPRECATED, "Deprecated"), (AvailabilityStatus.APPROVED, "Approved")],
)
def test_a_status_is_short_in_its_row(status: str | None, expected: str) -> None:
    assert short(status) == expected


def test_a_hash_is_compared_without_regard_to_case(domain: Domain) -> None:
    entry = an_entry()
    assert entry.hash is not None
    domain.register(a_submission(entries=[entry]))
    domain.register(a_submission(entries=[an_entry(unique_id=entry.unique_id, hash=entry.hash.upper())]))


def test_the_largest_size_that_can_be_said_is_kept(domain: Domain) -> None:
    entry = an_entry(size=2**63 - 1)
    domain.register(a_submission(entries=[entry]))
    (found,) = domain(lambda store: store.documents_by_uuid([entry.entry_uuid]))
    assert found.size == entry.size


# Who comes at once.


def outcomes(results: list[Any]) -> tuple[int, list[ErrorCode]]:
    """How many were registered, and why the others were not; anything else is an error of ours."""
    refused = [one for one in results if isinstance(one, Refused)]
    others = [one for one in results if isinstance(one, Exception) and not isinstance(one, Refused)]
    assert others == []
    return sum(isinstance(one, Submission) for one in results), [r.findings[0].code for r in refused]


def registering(domain: Domain, submissions: list[Submission]) -> list[Callable[[], Submission]]:
    return [lambda one=one: domain.register(one) for one in submissions]  # type: ignore[misc]


@pytest.mark.parametrize("patients", [(ANNA,), (ANNA, BERT)])
def test_of_sets_with_one_unique_id_that_come_at_once_one_is_registered(domain: Domain, patients: Any) -> None:
    for _ in range(3):
        unique_id = a_unique_id()
        sets = [a_submission(patient=patients[n % len(patients)], unique_id=unique_id) for n in range(6)]
        registered, codes = outcomes(at_once(registering(domain, sets)))
        assert registered == 1
        assert set(codes) == {ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY}
        statement = sa.select(submission_set.c.entry_uuid).where(submission_set.c.unique_id == unique_id)
        assert len(domain.rows(statement)) == 1
        uuids = [one.document_entries[0].entry_uuid for one in sets]
        assert len(domain(lambda store, uuids=uuids: list(store.documents_by_uuid(uuids)))) == 1


@pytest.mark.parametrize("patients", [(ANNA,), (ANNA, BERT)])
def test_of_documents_that_differ_under_one_unique_id_one_is_registered(domain: Domain, patients: Any) -> None:
    for _ in range(3):
        unique_id, sets = a_unique_id(), []
        for number in range(6):
            patient = patients[number % len(patients)]
            entry = an_entry(unique_id=unique_id, patient_id=patient, hash=f"{number}" * 40)
            sets.append(a_submission(patient=patient, entries=[entry]))
        registered, codes = outcomes(at_once(registering(domain, sets)))
        assert registered == 1
        assert set(codes) == {ErrorCode.NON_IDENTICAL_HASH}
        statement = sa.select(document_entry.c.hash).where(document_entry.c.unique_id == unique_id)
        assert len(domain.rows(statement)) == 1


def test_one_document_that_is_sent_by_many_is_registered_by_each(domain: Domain) -> None:
    unique_id = a_unique_id()
    sets = [a_submission(entries=[an_entry(unique_id=unique_id)]) for _ in range(8)]
    assert outcomes(at_once(registering(domain, sets))) == (8, [])


def test_of_replacements_of_one_document_that_come_at_once_one_is_registered(domain: Domain) -> None:
    old = an_entry()
    domain.register(a_submission(entries=[old]))
    sets = []
    for _ in range(6):
        new = an_entry()
        relation = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
        sets.append(a_submission(entries=[new], relations=[relation]))
    registered, codes = outcomes(at_once(registering(domain, sets)))
    assert registered == 1
    assert set(codes) == {ErrorCode.REGISTRY_DEPRECATED_DOCUMENT}


def test_a_hundred_submissions_by_eight_threads_are_all_registered(domain: Domain) -> None:
    shared = an_entry()
    sets = [
        a_submission(patient=(ANNA, BERT)[n % 2], entries=[
            an_entry(patient_id=(ANNA, BERT)[n % 2]),
            an_entry(patient_id=(ANNA, BERT)[n % 2], unique_id=shared.unique_id),
        ], folders=[a_folder(patient_id=(ANNA, BERT)[n % 2])])
        for n in range(100)
    ]  # fmt: skip
    assert outcomes(at_once(registering(domain, sets))) == (100, [])
    uuids = [entry.entry_uuid for one in sets for entry in one.document_entries]
    assert len(domain(lambda store: list(store.documents_by_uuid(uuids)))) == 200


def test_a_new_patient_whose_first_submissions_come_at_once_is_known_to_all(domain: Domain) -> None:
    """One makes the patient and has not committed yet when the other looks."""
    carl = replace(ANNA, id="carl")
    made, result = threading.Event(), []

    def second() -> None:
        made.wait(10)
        result.append(domain.register(a_submission(patient=carl)))

    with ThreadPoolExecutor(1) as pool:
        with domain.engine.begin() as connection:
            SqlRegistry(connection, domain.name).add_patient(carl)
            waiting = pool.submit(second)
            made.set()
            threading.Event().wait(0.3)
        waiting.result(30)
    assert len(result) == 1
