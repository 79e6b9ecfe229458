"""ITI-61: on-demand entries, and the snapshots that are taken of them.  ITI TF-2: 3.61; TF-3: 4.2.2.2.6."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import a_submission, an_association, an_entry
from tests.store.databases import Domain, domain, shared_engine
from xds.actors.document_registry import read
from xds.ebxml import lcm
from xds.errors import ErrorCode, Refused
from xds.metadata import to_ebxml
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import ON_DEMAND, AssociationType

__all__ = ["domain", "shared_engine"]

SNAPSHOT = AssociationType.IS_SNAPSHOT_OF


def on_demand(**changes: Any) -> DocumentEntry:
    return an_entry(object_type=ON_DEMAND, creation_time=None, hash=None, size=None, **changes)


def received(submission: Submission, *, demanded: bool) -> Submission:
    """As ITI-61, or ITI-42, reads it."""
    element = lcm.write_submit_objects(to_ebxml.submission(submission))
    return read(lcm.read_submit_objects(element), on_demand=demanded)[0]


def codes(refused: pytest.ExceptionInfo[Refused]) -> list[ErrorCode]:
    return [finding.code for finding in refused.value.findings]


@pytest.mark.parametrize("demanded", [True, False])
def test_each_transaction_takes_entries_of_its_kind_and_no_others(demanded: bool) -> None:
    mine, other = (on_demand(), an_entry()) if demanded else (an_entry(), on_demand())
    assert received(a_submission(entries=[mine]), demanded=demanded)
    with pytest.raises(Refused, match="XDSRegistryMetadataError") as refused:
        received(a_submission(entries=[mine, other]), demanded=demanded)
    assert [finding.location for finding in refused.value.findings] == [other.entry_uuid]
    assert "objectType" in refused.value.findings[0].context


@pytest.mark.parametrize("attribute", [{"size": 1}, {"hash": "0" * 40}, {"creation_time": an_entry().creation_time}])
def test_an_on_demand_entry_has_no_document_yet(attribute: dict[str, Any]) -> None:
    entry = an_entry(object_type=ON_DEMAND, **({"creation_time": None, "hash": None, "size": None} | attribute))
    with pytest.raises(Refused) as refused:
        received(a_submission(entries=[entry]), demanded=True)
    assert codes(refused) == [ErrorCode.REGISTRY_METADATA]


def test_an_on_demand_entry_may_be_registered_anew_but_not_under_a_stable_ones_id(domain: Domain) -> None:
    first, stable = on_demand(), an_entry()
    domain.register(a_submission(entries=[first]))
    domain.register(a_submission(entries=[stable]))
    domain.register(a_submission(entries=[on_demand(unique_id=first.unique_id)]))
    with pytest.raises(Refused) as refused:
        domain.register(a_submission(entries=[on_demand(unique_id=stable.unique_id)]))
    assert codes(refused) == [ErrorCode.REGISTRY_METADATA]


def test_a_snapshot_is_a_stable_document_of_an_on_demand_one(domain: Domain) -> None:
    whole, snapshot, stable = on_demand(), an_entry(), an_entry()
    domain.register(a_submission(entries=[whole]))
    domain.register(a_submission(entries=[stable]))
    domain.register(
        a_submission(entries=[snapshot], relations=[an_association(SNAPSHOT, snapshot.entry_uuid, whole.entry_uuid)])
    )
    other = an_entry()
    with pytest.raises(Refused) as refused:
        domain.register(
            a_submission(entries=[other], relations=[an_association(SNAPSHOT, other.entry_uuid, stable.entry_uuid)])
        )
    assert codes(refused) == [ErrorCode.REGISTRY_METADATA]


def test_within_a_submission_there_is_nothing_to_take_a_snapshot_of() -> None:
    one, other = an_entry(), an_entry()
    relation = an_association(SNAPSHOT, one.entry_uuid, other.entry_uuid)
    with pytest.raises(Refused) as refused:
        received(a_submission(entries=[one, other], relations=[relation]), demanded=False)
    assert [finding.location for finding in refused.value.findings] == [relation.entry_uuid]


def test_a_transformation_is_not_appended_to(domain: Domain) -> None:
    """ITI TF-3: 4.2.2.2.1."""
    original, transformed, addendum = an_entry(), an_entry(), an_entry()
    domain.register(a_submission(entries=[original]))
    relation = an_association(AssociationType.XFRM, transformed.entry_uuid, original.entry_uuid)
    domain.register(a_submission(entries=[transformed], relations=[relation]))
    appended = an_association(AssociationType.APND, addendum.entry_uuid, transformed.entry_uuid)
    with pytest.raises(Refused) as refused:
        domain.register(a_submission(entries=[addendum], relations=[appended]))
    assert codes(refused) == [ErrorCode.REGISTRY_METADATA]
    replaced = an_association(AssociationType.RPLC, addendum.entry_uuid, transformed.entry_uuid)
    domain.register(a_submission(entries=[addendum], relations=[replaced]))
