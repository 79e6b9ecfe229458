"""ITI-62: all that is named goes or nothing does, and nothing is left dangling.  ITI TF-2: 3.62."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, BERT, a_folder, a_submission, an_association, an_entry
from tests.store.databases import Domain, at_once, domain, shared_engine
from xds.actors.metadata_removal import MOST, Removed
from xds.errors import ErrorCode, Refused
from xds.metadata.association import SubmissionSetStatus
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import STABLE, AssociationType
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


def test_what_was_replaced_does_not_outlive_its_replacement(domain: Domain) -> None:
    old, new = an_entry(), an_entry()
    domain.register(a_submission(entries=[old]))
    replaces = an_association(AssociationType.RPLC, new.entry_uuid, old.entry_uuid)
    sent = domain.register(a_submission(entries=[new], relations=[replaces]))
    assert refusal(domain, sent.objects()) == {(ErrorCode.METADATA_MODEL, old.entry_uuid)}


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
