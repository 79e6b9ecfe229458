"""ITI-57 and ITI-92: with which codes an update is refused that is none.

ITI TF-2: 3.57 and 3.92 name few codes.  Where no text does, a test says whose code it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.actors.test_metadata_update import (
    APND,
    MEMBER,
    an_update,
    becomes,
    filed,
    find,
    refusal,
    relations_of,
    replaces,
    submitted,
    update,
    version_of,
)
from tests.builders import a_folder, a_submission, an_association, an_entry
from tests.queries.desks import APPROVED, DEPRECATED
from tests.store.databases import Domain, domain, shared_engine
from xds.ebxml import lcm
from xds.ebxml.rim import RegistryObjectList, Slot
from xds.errors import ErrorCode, Refused
from xds.metadata import to_ebxml
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import SUBMIT_ASSOCIATION, AssociationType

__all__ = ["domain", "filed", "shared_engine"]

FAILED, OPERATION, METADATA = (
    ErrorCode.METADATA_UPDATE, ErrorCode.METADATA_UPDATE_OPERATION, ErrorCode.REGISTRY_METADATA,
)  # fmt: skip
XFRM = AssociationType.XFRM


@pytest.mark.parametrize("kind", ["entry", "folder"])
@pytest.mark.parametrize(
    ("restricted", "code"), [(False, ErrorCode.METADATA_VERSION), (True, ErrorCode.UNRESOLVED_REFERENCE)]
)
def test_a_logicalid_that_is_not_registered_is_of_no_version(
    domain: Domain, filed: Submission, kind: str, restricted: bool, code: ErrorCode
) -> None:
    """ITI-92 prescribes its code; of ITI-57 the NIST toolkit's test plans and HIEOS have XDSMetadataVersionError."""
    before = filed.document_entries[0] if kind == "entry" else filed.folders[0]
    new = version_of(before, logical_id=new_entry_uuid())
    if kind == "folder" and restricted:
        code = OPERATION  # whatever folder it is
    assert refusal(domain, an_update(replaces(new), items=[new]), restricted=restricted) == [code]


def test_nor_is_that_of_an_object_of_another_kind(domain: Domain, filed: Submission) -> None:
    new = version_of(filed.document_entries[0], logical_id=filed.folders[0].entry_uuid)
    assert refusal(domain, an_update(replaces(new), items=[new])) == [ErrorCode.METADATA_VERSION]


@pytest.mark.parametrize("of_its_own", [None, "own", "symbolic"])
@pytest.mark.parametrize("kind", ["entry", "folder"])
def test_an_object_at_version_1_is_no_update(
    domain: Domain, filed: Submission, kind: str, of_its_own: str | None
) -> None:
    """XDSMetadataUpdateError: no text names the code, the NIST toolkit's registry has it."""
    item: Any = an_entry() if kind == "entry" else a_folder()
    item = replace(item, logical_id=item.entry_uuid if of_its_own == "own" else of_its_own)
    assert refusal(domain, an_update(replaces(item), items=[item])) == [FAILED]
    assert refusal(domain, an_update(replaces(item, ""), items=[item])) == [FAILED]


def test_a_version_without_the_one_before_is_none(domain: Domain, filed: Submission) -> None:
    """PreviousVersion is missing, or is two; ITI-92 has XDSMetadataAnnotationError for it, ITI-57 the general code."""
    new = version_of(filed.document_entries[0])
    missing, two = replaces(new, ""), replaces(new)
    two = replace(two, extra_slots=(Slot("PreviousVersion", ("1", "2")),))
    for trigger in (missing, two):
        assert refusal(domain, an_update(trigger, items=[new])) == [FAILED]
        assert refusal(domain, an_update(trigger, items=[new]), restricted=True) == [ErrorCode.METADATA_ANNOTATION]
    assert find(domain) == {entry.entry_uuid for entry in filed.document_entries}


@pytest.mark.parametrize("values", [("maybe",), ("YES",), ("true",), ("yes", "no"), ("no", "no"), (" no",)])
@pytest.mark.parametrize(("restricted", "code"), [(False, FAILED), (True, ErrorCode.METADATA_ANNOTATION)])
def test_associations_are_propagated_or_not_and_nothing_else(
    domain: Domain, filed: Submission, values: tuple[str, ...], restricted: bool, code: ErrorCode
) -> None:
    """XDSMetadataUpdateError: the NIST toolkit's registry has it, no text; in ITI-92 it is the annotation's fault."""
    new = version_of(filed.document_entries[0])
    trigger = replaces(new)
    trigger = replace(trigger, extra_slots=(*trigger.extra_slots, Slot("AssociationPropagation", values)))
    before = relations_of(domain, filed.document_entries[0].entry_uuid)
    assert refusal(domain, an_update(trigger, items=[new]), restricted=restricted) == [code]
    assert relations_of(domain, filed.document_entries[0].entry_uuid) == before


def of_no_type(filed: Submission, where: str) -> Submission:
    """An update that is good but for an association of a type that XDS has not."""
    report, addendum = filed.document_entries
    new = version_of(report)
    good = an_update(replaces(new), items=[new])
    set_id = good.submission_set.entry_uuid
    strange = {
        "from the set to what is registered": an_association("urn:x", set_id, addendum.entry_uuid),
        "from the set to what comes with it": an_association("urn:x", set_id, new.entry_uuid),
        "between what is registered": an_association("urn:x", addendum.entry_uuid, report.entry_uuid),
    }
    if where == "submitted":
        carried: Association = an_association("urn:x", report.entry_uuid, addendum.entry_uuid)
        return submitted(carried)
    if where == "in place of the trigger":
        return replace(good, associations=tuple(replace(a, type="urn:x") for a in good.associations))
    return replace(good, associations=(*good.associations, strange[where]))


@pytest.mark.parametrize(
    "where",
    ["from the set to what is registered", "from the set to what comes with it", "between what is registered",
     "submitted", "in place of the trigger"],
)  # fmt: skip
def test_an_association_is_of_a_type_of_xds(domain: Domain, filed: Submission, where: str) -> None:
    """A rule of metadata, whichever the transaction: XDSRegistryMetadataError (ITI TF-3: Table 4.2.4.1-2)."""
    assert refusal(domain, of_no_type(filed, where)) == [METADATA]


def test_an_operation_is_not_what_an_association_between_documents_says(domain: Domain, filed: Submission) -> None:
    report, addendum = filed.document_entries
    carried = an_association(SUBMIT_ASSOCIATION, report.entry_uuid, addendum.entry_uuid)
    assert refusal(domain, submitted(carried)) == [METADATA]


# SubmissionSetStatus.


def objects_of(submission: Submission) -> RegistryObjectList:
    return lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))


def without_status(submission: Submission) -> Submission:
    return replace(
        submission, associations=tuple(replace(a, submission_set_status=None) for a in submission.associations)
    )


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("status", [None, SubmissionSetStatus.REFERENCE])
def test_a_new_version_of_an_entry_is_an_original_member(
    domain: Domain, filed: Submission, status: SubmissionSetStatus | None, restricted: bool
) -> None:
    """ITI TF-3: 4.2.2.1.1, as in a submission of ITI-42."""
    new = version_of(filed.document_entries[0])
    sent = an_update(replace(replaces(new), submission_set_status=status), items=[new])
    assert refusal(domain, sent, restricted=restricted) == [METADATA]
    update(domain, an_update(replaces(new), items=[new]), restricted=restricted)
    assert new.entry_uuid in find(domain)


def test_of_memberships_only_that_of_an_entry_in_a_set_needs_a_status(domain: Domain, filed: Submission) -> None:
    """SS-DE does, FD-DE, SS-FD and SS-HM do not (ITI TF-3: 4.2.2.1.1 to 4.2.2.1.4), in ITI-42 and ITI-57 alike."""
    entry, binder = an_entry(), a_folder()
    in_folder = an_association(MEMBER, binder.entry_uuid, entry.entry_uuid)
    sent = a_submission(entries=[entry], folders=[binder], relations=[in_folder])
    entry_id, members = entry.entry_uuid, [a for a in sent.associations if a.type == MEMBER]
    assert {(a.source == binder.entry_uuid, a.target == entry_id) for a in members} == {
        (False, True), (False, False), (True, True),
    }  # fmt: skip
    assert [a.target for a in members if a.submission_set_status] == [entry_id]
    with pytest.raises(Refused, match="XDSRegistryMetadataError"):
        domain(lambda store: domain.registry.submit(objects_of(without_status(sent)), store))
    domain(lambda store: domain.registry.submit(objects_of(sent), store))
    # A new version of the folder (SS-FD), and another document put into it (FD-DE), which the registry holds (SS-HM).
    later = version_of(binder)
    update(domain, without_status(an_update(replaces(later), items=[later])))
    carried = an_association(MEMBER, later.entry_uuid, filed.document_entries[0].entry_uuid)
    update(domain, without_status(submitted(carried)))


# Addenda.


@pytest.mark.parametrize("first", ["transformation", "addendum", "together"])
def test_no_association_makes_a_transformation_with_addenda(domain: Domain, first: str) -> None:
    """ITI TF-3: 4.2.2.2.1, whichever of the two was there before."""
    report, html, note = an_entry(), an_entry(), an_entry()
    domain.register(a_submission(entries=[report, html, note]))
    made = an_association(XFRM, html.entry_uuid, report.entry_uuid)
    appended = an_association(APND, note.entry_uuid, html.entry_uuid)
    if first == "together":
        triggers = [an_association(SUBMIT_ASSOCIATION, "set", item.entry_uuid) for item in (made, appended)]
        assert refusal(domain, an_update(*triggers, items=[made, appended])) == [METADATA, METADATA]
        return
    there, then = (made, appended) if first == "transformation" else (appended, made)
    update(domain, submitted(there))
    assert refusal(domain, submitted(then)) == [METADATA]


def test_what_replaced_with_a_transformation_takes_addenda(domain: Domain) -> None:
    old, pdf, note = an_entry(), an_entry(), an_entry()
    domain.register(a_submission(entries=[old, note]))
    made = an_association(AssociationType.XFRM_RPLC, pdf.entry_uuid, old.entry_uuid)
    domain.register(a_submission(entries=[pdf], relations=[made]))
    update(domain, submitted(an_association(APND, note.entry_uuid, pdf.entry_uuid)))
    assert (APND, note.entry_uuid, pdf.entry_uuid) in relations_of(domain, pdf.entry_uuid)


def test_a_status_of_two_values_is_none(domain: Domain, filed: Submission) -> None:
    trigger = becomes(filed.document_entries[0].entry_uuid, APPROVED, DEPRECATED)
    slots = tuple(replace(s, values=(*s.values, *s.values)) for s in trigger.extra_slots)
    assert refusal(domain, an_update(replace(trigger, extra_slots=slots))) == [FAILED]
