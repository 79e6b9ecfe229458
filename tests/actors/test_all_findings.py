"""All that is wrong with a submission is told at once, by the ids that its sender knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import ANNA, a_submission, an_association, an_entry, symbolic
from tests.conformance.rule import of
from tests.store.databases import Domain, domain, shared_engine
from xds.ebxml import lcm
from xds.errors import ErrorCode, Refused
from xds.metadata.datatypes import Dtm
from xds.metadata.identifiers import Oid, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.wire.xml import name

__all__ = ["domain", "shared_engine"]


def told(site: Domain, submission: Submission, spoil: Any = None) -> list[tuple[str, str]]:
    """Code and object of every finding."""
    body = of(submission)
    if spoil is not None:
        spoil(body)
    with pytest.raises(Refused) as refused:
        site(lambda store: site.registry.submit(lcm.read_submit_objects(body), store))
    return [(finding.code, finding.location) for finding in refused.value.findings]


def test_what_the_message_and_what_the_registry_finds_are_told_together(domain: Domain) -> None:
    before = domain.register(a_submission())
    late = an_entry(service_stop_time=Dtm("2001"))
    other = an_entry(unique_id=before.document_entries[0].unique_id, hash="f" * 40)
    relation = an_association(AssociationType.APND, late.entry_uuid, new_entry_uuid())
    found = told(domain, a_submission(entries=[late, other], relations=[relation]))
    assert found == [
        (ErrorCode.REGISTRY_METADATA, late.entry_uuid),
        (ErrorCode.NON_IDENTICAL_HASH, other.entry_uuid),
        (ErrorCode.UNRESOLVED_REFERENCE, relation.entry_uuid),
    ]


def test_an_entry_that_cannot_be_read_hides_nothing_else_and_is_not_missed(domain: Domain) -> None:
    bad, late = an_entry(), an_entry(service_stop_time=Dtm("2001"))
    ends = (bad.entry_uuid, new_entry_uuid())
    relations = [an_association(AssociationType.APND, late.entry_uuid, end) for end in ends]
    submission = a_submission(entries=[bad, late], relations=relations)

    def without_hash(body: Any) -> None:
        entry = next(body.iter(name("rim:ExtrinsicObject")))
        entry.remove(next(s for s in entry if s.get("name") == "hash"))

    assert told(domain, submission, without_hash) == [
        (ErrorCode.REGISTRY_METADATA, bad.entry_uuid),
        (ErrorCode.REGISTRY_METADATA, late.entry_uuid),
        (ErrorCode.UNRESOLVED_REFERENCE, relations[1].entry_uuid),
    ]


def test_an_unknown_patient_hides_nothing_of_the_message(domain: Domain) -> None:
    nobody = replace(ANNA, authority=Oid("1.9.9"))
    late = an_entry(patient_id=nobody, service_stop_time=Dtm("2001"))
    assert told(domain, a_submission(patient=nobody, entries=[late])) == [
        (ErrorCode.REGISTRY_METADATA, late.entry_uuid),
        (ErrorCode.UNKNOWN_PATIENT_ID, ""),
    ]


def test_objects_are_told_by_the_ids_that_they_were_sent_with(domain: Domain) -> None:
    before = domain.register(a_submission())
    other = an_entry(unique_id=before.document_entries[0].unique_id, size=7)
    sent = symbolic(a_submission(entries=[other]))
    assert told(domain, sent) == [(ErrorCode.NON_IDENTICAL_SIZE, sent.document_entries[0].entry_uuid)]
