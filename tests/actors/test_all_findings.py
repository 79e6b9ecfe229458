"""All that is wrong with a submission is told at once, by the ids that its sender knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import ANNA, a_submission, an_association, an_entry, symbolic
from tests.conformance.attributes import set_slot
from tests.conformance.rule import of
from tests.store.databases import Domain, domain, shared_engine
from xds.actors import document_registry
from xds.ebxml import lcm
from xds.errors import ErrorCode, Refused
from xds.metadata import vocabulary as v
from xds.metadata.datatypes import Dtm
from xds.metadata.identifiers import Oid, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType
from xds.rules.code_sets import read as read_code_sets
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


# Of an object that cannot be read whole.

CODES = read_code_sets(
    """
    mimeType = ["application/dicom"]
    languageCode = ["en-US"]
    repositoryUniqueId = ["1.2.3.4.6"]
    sourceId = ["1.2.3.4.7"]
    [formats]
    "1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1" = ["application/dicom"]
    [classCode]
    "1" = ["a class"]
    [contentTypeCode]
    "1.2.3.4.10" = ["IMG"]
    """
)
PARTS = [
    ("rim:ExtrinsicObject", v.DOCUMENT_ENTRY_PATIENT_ID),
    ("rim:ExtrinsicObject", v.DOCUMENT_ENTRY_UNIQUE_ID),
    ("rim:ExtrinsicObject", v.DOCUMENT_ENTRY_CODES["format_code"].scheme),
    ("rim:ExtrinsicObject", v.DOCUMENT_ENTRY_CODES["confidentiality_code"].scheme),
    *(
        ("rim:ExtrinsicObject", slot)
        for slot in ("creationTime", "hash", "size", "repositoryUniqueId", "languageCode", "sourcePatientId")
    ),
    ("rim:RegistryPackage", v.SUBMISSION_SET_PATIENT_ID),
    ("rim:RegistryPackage", v.SUBMISSION_SET_UNIQUE_ID),
    ("rim:RegistryPackage", v.SUBMISSION_SET_SOURCE_ID),
    ("rim:RegistryPackage", v.SUBMISSION_SET_CODES["content_type_code"].scheme),
    ("rim:RegistryPackage", "submissionTime"),
]


@pytest.mark.parametrize(("kind", "part"), PARTS)
def test_an_attribute_that_is_missing_is_one_finding_and_hides_no_other(domain: Domain, kind: str, part: str) -> None:
    """The classCode is none of the domain's, and the document replaced is not registered: both are told as well."""
    entry = an_entry()
    relation = an_association(AssociationType.RPLC, entry.entry_uuid, new_entry_uuid())
    body = of(a_submission(entries=[entry], relations=[relation]))
    holder = next(body.iter(name(kind)))
    (gone,) = (
        each
        for each in holder
        if part in (each.get("name"), each.get("classificationScheme"), each.get("identificationScheme"))
    )
    holder.remove(gone)
    registry = document_registry.DocumentRegistry(
        [ANNA.authority], open_patients=False, most_results=9, code_sets=lambda: CODES
    )
    with pytest.raises(Refused) as refused:
        domain(lambda store: registry.submit(lcm.read_submit_objects(body), store))
    missing, *others = refused.value.findings
    assert missing.location == holder.get("id")
    assert [(finding.code, finding.location) for finding in others] == [
        (ErrorCode.REGISTRY_METADATA, entry.entry_uuid),
        (ErrorCode.UNRESOLVED_REFERENCE, relation.entry_uuid),
    ]
    assert "DocumentEntry.classCode" in others[0].context


def test_a_submission_without_a_set_is_told_what_else_is_wrong_with_its_entries(domain: Domain) -> None:
    before = domain.register(a_submission())
    late = an_entry(service_stop_time=Dtm("2001"), unique_id=before.document_entries[0].unique_id, size=7)

    def without_set(body: Any) -> None:
        package = next(body.iter(name("rim:RegistryPackage")))
        package.getparent().remove(package)

    assert told(domain, a_submission(entries=[late]), without_set) == [
        (ErrorCode.REGISTRY_METADATA, ""),
        (ErrorCode.REGISTRY_METADATA, late.entry_uuid),
        (ErrorCode.NON_IDENTICAL_SIZE, late.entry_uuid),
    ]


@pytest.mark.parametrize(
    ("kind", "spoil", "named"),
    [
        ("rim:Association", lambda item: set_slot(item, "SubmissionSetStatus", "Copy"), "SubmissionSetStatus"),
        ("rim:Association", lambda item: item.set("associationType", "urn:x"), "associationType"),
        ("rim:ExtrinsicObject", lambda item: item.set("objectType", "urn:uuid:other"), "objectType"),
        ("rim:ExtrinsicObject", lambda item: set_slot(item, "documentAvailability", "maybe"), "documentAvailability"),
    ],
)
def test_what_is_of_another_form_is_one_finding(domain: Domain, kind: str, spoil: Any, named: str) -> None:
    body = of(a_submission(entries=[an_entry()]))
    spoil(next(body.iter(name(kind))))
    with pytest.raises(Refused) as refused:
        domain(lambda store: domain.registry.submit(lcm.read_submit_objects(body), store))
    (finding,) = refused.value.findings
    assert named in finding.context
