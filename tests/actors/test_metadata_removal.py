"""ITI-62: all that is named goes or nothing does, and nothing is left dangling.  ITI TF-2: 3.62."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.actors.histories import around
from tests.actors.test_metadata_update import an_update, becomes, replaces, update, version_of
from tests.builders import ANNA, BERT, a_folder, a_submission, an_association, an_entry
from tests.queries.desks import APPROVED, DEPRECATED
from tests.store.databases import Domain, at_once, domain, shared_engine
from xds.actors.metadata_removal import MOST, Removed
from xds.errors import ErrorCode, Refused
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import RELATIONSHIPS, REPLACING, STABLE, AssociationType
from xds.store.interface import Found
from xds.store.registry.sql_registry import SqlRegistry
from xds.store.tables import (
    association,
    document_entry,
    document_entry_value,
    folder,
    foreign_association,
    locator,
    package_value,
    submission_set,
)

__all__ = ["domain", "shared_engine"]

MEMBER = AssociationType.HAS_MEMBER


def remove(site: Domain, items: Iterable[Any]) -> list[Removed]:
    ids = [item if isinstance(item, str) else item.entry_uuid for item in items]
    return site(lambda store: site.registry.remove(ids, store))


def refusal(site: Domain, items: Iterable[Any]) -> set[tuple[ErrorCode, str]]:
    with pytest.raises(Refused) as refused:
        remove(site, items)
    return {(finding.code, finding.location) for finding in refused.value.findings}


def is_there(site: Domain, items: Iterable[Any]) -> set[str]:
    ids = [item.entry_uuid for item in items]
    return set(site(lambda store: store.kinds_of(ids)))


def statuses(site: Domain, *entries: DocumentEntry) -> list[str]:
    found = site(lambda store: {d.entry_uuid: d.status for d in store.documents_by_uuid(e.entry_uuid for e in entries)})
    return [found[entry.entry_uuid] for entry in entries]


def versions_of(store: SqlRegistry, kind: str, logical_id: str) -> list[Found]:
    by_logical_id = store.documents_by_logical_id if kind == "entry" else store.folders_by_logical_id
    return sorted(by_logical_id([logical_id]), key=lambda found: found.version)


@pytest.fixture
def filed(domain: Domain) -> Submission:
    """A report in a folder."""
    report, binder = an_entry(), a_folder()
    member = an_association(MEMBER, binder.entry_uuid, report.entry_uuid)
    return domain.register(a_submission(entries=[report], folders=[binder], relations=[member]))


def test_all_of_a_submission_goes_and_leaves_no_row(domain: Domain, filed: Submission) -> None:
    removed = remove(domain, filed.objects())
    assert {item.entry_uuid for item in removed} == {item.entry_uuid for item in filed.objects()}
    assert {item.patient_id for item in removed} == {ANNA}
    assert {item.code for item in removed} >= {STABLE, MEMBER}
    uuids = [item.entry_uuid for item in filed.objects()]
    tables = (document_entry, document_entry_value, submission_set, folder, package_value, association, locator)
    for table in tables:
        statement = sa.select(sa.func.count()).select_from(table).where(table.c.entry_uuid.in_(uuids))
        assert domain.rows(statement) == [(0,)], table.name
    domain.register(filed)  # every id is free again


def test_what_is_not_there_is_named_and_nothing_goes(domain: Domain, filed: Submission) -> None:
    unknown = new_entry_uuid()
    assert refusal(domain, [*filed.objects(), unknown]) == {(ErrorCode.UNRESOLVED_REFERENCE, unknown)}
    assert is_there(domain, filed.objects()) == {item.entry_uuid for item in filed.objects()}


def test_what_is_still_pointed_to_stays(domain: Domain, filed: Submission) -> None:
    (report,), (binder,) = filed.document_entries, filed.folders
    assert (ErrorCode.REFERENCES_EXIST, report.entry_uuid) in refusal(domain, [report])
    assert refusal(domain, [report, binder]) == {
        (ErrorCode.REFERENCES_EXIST, item.entry_uuid) for item in (report, binder)
    }
    # An association that another holds too.
    held = next(a for a in filed.associations if a.source == binder.entry_uuid)
    assert (ErrorCode.REFERENCES_EXIST, held.entry_uuid) in refusal(domain, [held])


def test_nothing_is_left_without_an_association(domain: Domain) -> None:
    sent = domain.register(a_submission())
    (member,) = sent.associations
    left = {sent.submission_set.entry_uuid, sent.document_entries[0].entry_uuid}
    assert refusal(domain, [member]) == {(ErrorCode.UNREFERENCED_OBJECT, id_) for id_ in left}
    assert refusal(domain, [member, sent.document_entries[0]]) == {
        (ErrorCode.UNREFERENCED_OBJECT, sent.submission_set.entry_uuid)
    }


def test_one_of_several_entries_goes_with_its_membership(domain: Domain) -> None:
    sent = domain.register(a_submission(entries=[an_entry(), an_entry()]))
    first, second = sent.document_entries
    member = next(a for a in sent.associations if a.target == first.entry_uuid)
    remove(domain, [first, member])
    assert is_there(domain, sent.objects()) == {
        item.entry_uuid for item in sent.objects() if item not in (first, member)
    }
    assert [d.entry_uuid for d in domain(lambda store: store.documents_by_unique_id([second.unique_id]))]
    assert domain(lambda store: list(store.documents_by_unique_id([first.unique_id]))) == []


@pytest.mark.parametrize("type_", sorted(REPLACING))
def test_a_replacement_goes_and_what_it_replaced_stays_as_it_is(domain: Domain, type_: AssociationType) -> None:
    """No code of ITI forbids it, and no text changes the status of what stays: ITI-57 does, where it is wanted."""
    old, addendum, new = an_entry(), an_entry(), an_entry()
    appended = an_association(AssociationType.APND, addendum.entry_uuid, old.entry_uuid)
    domain.register(a_submission(entries=[old, addendum], relations=[appended]))
    replaces_ = an_association(type_, new.entry_uuid, old.entry_uuid)
    sent = domain.register(a_submission(entries=[new], relations=[replaces_]))
    remove(domain, sent.objects())
    assert is_there(domain, [*sent.objects(), old, addendum]) == {old.entry_uuid, addendum.entry_uuid}
    assert statuses(domain, old, addendum) == ["Deprecated", "Deprecated"]
    update(domain, an_update(*(becomes(item.entry_uuid, DEPRECATED, APPROVED) for item in (old, addendum))))
    assert statuses(domain, old, addendum) == ["Approved", "Approved"]
    again = an_entry()
    replaces_ = an_association(type_, again.entry_uuid, old.entry_uuid)
    domain.register(a_submission(entries=[again], relations=[replaces_]))
    assert statuses(domain, old, addendum, again) == ["Deprecated", "Deprecated", "Approved"]


@pytest.mark.parametrize("type_", sorted(RELATIONSHIPS - {AssociationType.IS_SNAPSHOT_OF}))
def test_a_relationship_goes_alone_and_leaves_both_documents_as_they_are(
    domain: Domain, type_: AssociationType
) -> None:
    old, new = an_entry(), an_entry()
    domain.register(a_submission(entries=[old]))
    relation = an_association(type_, new.entry_uuid, old.entry_uuid)
    domain.register(a_submission(entries=[new], relations=[relation]))
    before = statuses(domain, old, new)
    remove(domain, [relation])
    assert is_there(domain, [old, new, relation]) == {old.entry_uuid, new.entry_uuid}
    assert statuses(domain, old, new) == before


def test_what_was_replaced_stays_in_its_folder_when_its_replacement_goes(domain: Domain, filed: Submission) -> None:
    (report,), (binder,), new = filed.document_entries, filed.folders, an_entry()
    replaces_ = an_association(AssociationType.RPLC, new.entry_uuid, report.entry_uuid)
    sent = domain.register(a_submission(entries=[new], relations=[replaces_]))
    around = domain(lambda store: store.associations_of([new.entry_uuid]))
    held = domain(lambda store: store.associations_of([a.entry_uuid for a in around]))
    remove(domain, {item.entry_uuid: item for item in (*sent.objects(), *around, *held)}.values())
    assert is_there(domain, filed.objects()) == {item.entry_uuid for item in filed.objects()}
    members = [a for a in domain(lambda store: store.associations_of([binder.entry_uuid])) if a.type == MEMBER]
    assert {a.target for a in members if a.source == binder.entry_uuid} == {report.entry_uuid}


def test_an_entry_that_stays_is_a_submission_sets_still(domain: Domain, filed: Submission) -> None:
    """In a folder alone it would be of no submission (ITI TF-3: 4.2.1.4); of ITI-62's codes this one says so."""
    (report,), set_ = filed.document_entries, filed.submission_set
    (membership,) = (a for a in filed.associations if (a.source, a.target) == (set_.entry_uuid, report.entry_uuid))
    assert refusal(domain, [membership]) == {(ErrorCode.UNREFERENCED_OBJECT, report.entry_uuid)}


@pytest.mark.parametrize("kind", ["entry", "folder"])
@pytest.mark.parametrize("removed", [[3], [2], [2, 3], [1], [1, 2]])
def test_of_the_versions_that_stay_the_last_is_the_latest(
    domain: Domain, filed: Submission, kind: str, removed: list[int]
) -> None:
    """An update that was a mistake is taken back: its version goes, and the one before is found and updated again."""
    first: Any = filed.document_entries[0] if kind == "entry" else filed.folders[0]
    versions, sets = [first], [filed]
    for previous in "12":
        versions.append(version_of(first))
        sets.append(an_update(replaces(versions[-1], previous), items=[versions[-1]]))
        update(domain, sets[-1])
    gone = [versions[number - 1] for number in removed]
    remove(domain, {id_: id_ for item in gone for id_ in around(domain, item.entry_uuid)}.values())
    stay = [number for number in (1, 2, 3) if number not in removed]
    found = domain(lambda store: versions_of(store, kind, first.entry_uuid))
    assert [(v.version, v.latest) for v in found] == [(number, number == stay[-1]) for number in stay]
    assert [v.status for v in found] == ["Approved" if number == 3 else "Deprecated" for number in stay]
    current = versions[stay[-1] - 1]
    if stay[-1] != 3:
        update(domain, an_update(becomes(current.entry_uuid, DEPRECATED, APPROVED)))
    new = version_of(first)
    update(domain, an_update(replaces(new, str(stay[-1])), items=[new]))
    found = domain(lambda store: versions_of(store, kind, first.entry_uuid))
    assert [v.version for v in found if v.latest] == [stay[-1] + 1]


def test_a_document_that_went_on_as_anothers_is_the_firsts_again(domain: Domain) -> None:
    """The version before is of another patient, under whose key it is the latest again."""
    sent = domain.register(a_submission())
    (report,) = sent.document_entries
    new = version_of(report, patient_id=BERT)
    update(domain, an_update(replaces(new), items=[new], patient=BERT))
    assert {item.patient_id for item in remove(domain, around(domain, new.entry_uuid))} == {BERT}
    (found,) = domain(lambda store: store.documents_by_uuid([report.entry_uuid]))
    assert (found.latest, found.status) == (True, "Deprecated")
    update(domain, an_update(becomes(report.entry_uuid, DEPRECATED, APPROVED)))


def test_a_removal_of_the_latest_races_the_next_version_and_one_is_the_latest(domain: Domain) -> None:
    (report,) = domain.register(a_submission()).document_entries
    second, third = version_of(report), version_of(report)
    update(domain, an_update(replaces(second), items=[second]))
    ids = around(domain, second.entry_uuid)
    done = at_once(
        [lambda: remove(domain, ids), lambda: update(domain, an_update(replaces(third, "2"), items=[third]))]
    )  # type: ignore[list-item, func-returns-value]
    assert all(one is None or isinstance(one, (list, Refused)) for one in done)
    found = domain(lambda store: versions_of(store, "entry", report.entry_uuid))
    assert [v.latest for v in found].count(True) == 1
    assert found[-1].latest


def test_a_member_by_reference_of_another_patient_holds_its_document(domain: Domain) -> None:
    his = domain.register(a_submission(patient=BERT))
    (entry,) = his.document_entries
    hers = a_submission()
    reference = an_association(
        MEMBER, hers.submission_set.entry_uuid, entry.entry_uuid, submission_set_status=SubmissionSetStatus.REFERENCE
    )
    hers = domain.register(Submission(hers.submission_set, hers.document_entries, (), (*hers.associations, reference)))
    assert refusal(domain, his.objects()) == {(ErrorCode.REFERENCES_EXIST, entry.entry_uuid)}
    removed = remove(domain, [*his.objects(), reference])
    assert {item.patient_id for item in removed} == {ANNA, BERT}
    assert domain.rows(sa.select(foreign_association).where(foreign_association.c.target == entry.entry_uuid)) == []


@pytest.mark.parametrize("ids", [[], [new_entry_uuid()] * 0, [f"urn:uuid:{n}" for n in range(MOST + 1)]])
def test_nothing_and_too_much_are_refused(domain: Domain, ids: list[str]) -> None:
    assert refusal(domain, ids) == {(ErrorCode.REGISTRY_ERROR, "")}


def test_of_two_removals_at_once_one_removes_and_one_finds_nothing(domain: Domain, filed: Submission) -> None:
    done = at_once([lambda: remove(domain, filed.objects())] * 2)
    removed = [one for one in done if isinstance(one, list)]
    (refused,) = [one for one in done if isinstance(one, Refused)]
    assert len(removed) == 1
    assert {finding.code for finding in refused.findings} == {ErrorCode.UNRESOLVED_REFERENCE}


def test_a_removal_races_a_replacement_and_one_of_them_wins(domain: Domain) -> None:
    old = domain.register(a_submission(entries=[an_entry(), an_entry()]))
    target = old.document_entries[0]
    member = next(a for a in old.associations if a.target == target.entry_uuid)
    new = an_entry()
    replacement = a_submission(
        entries=[new], relations=[an_association(AssociationType.RPLC, new.entry_uuid, target.entry_uuid)]
    )
    done = at_once([lambda: remove(domain, [target, member]), lambda: domain.register(replacement)])  # type: ignore[list-item, return-value]
    (refused,) = [one for one in done if isinstance(one, Exception)]
    assert isinstance(refused, Refused)
    there = bool(is_there(domain, [target]))
    assert {finding.code for finding in refused.findings} == (
        {ErrorCode.REFERENCES_EXIST} if there else {ErrorCode.UNRESOLVED_REFERENCE}
    )
