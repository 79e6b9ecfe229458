"""ITI-57 and ITI-92: versions, statuses and associations change as the submission says, all of it or nothing.

ITI TF-2: 3.57 and 3.92.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    ANNA,
    BERT,
    a_folder,
    a_submission,
    a_submission_set,
    an_association,
    an_entry,
    text,
)
from tests.queries.desks import APPROVED, DEPRECATED, as_slots
from tests.queries.test_get import ids, listed
from tests.store.databases import Domain, at_once, domain, shared_engine
from xds.actors import metadata_update
from xds.ebxml import lcm, rim
from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Refused, Severity
from xds.metadata import to_ebxml
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.datatypes import Dtm
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import EntryUuid, PatientId, UniqueId, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import (
    ON_DEMAND,
    SUBMIT_ASSOCIATION,
    UPDATE_AVAILABILITY_STATUS,
    AssociationType,
)
from xds.queries import catalogue
from xds.queries.catalogue import StoredQuery
from xds.rules.code_sets import read as code_sets

__all__ = ["domain", "shared_engine"]

MEMBER, APND = AssociationType.HAS_MEMBER, AssociationType.APND


def slots(**values: str) -> tuple[rim.Slot, ...]:
    return tuple(rim.Slot(name, (value,)) for name, value in values.items())


def an_update(*operations: Association, items: Any = (), patient: PatientId = ANNA) -> Submission:
    """A submission set and what it does; the source of each operation is the set."""
    set_ = a_submission_set(patient_id=patient)
    entries = tuple(item for item in items if isinstance(item, DocumentEntry))
    folders = tuple(item for item in items if isinstance(item, Folder))
    associations = tuple(item for item in items if isinstance(item, Association))
    mine = tuple(replace(operation, source=set_.entry_uuid) for operation in operations)
    return Submission(set_, entries, folders, (*mine, *associations))


def version_of(item: Any, **changes: Any) -> Any:
    """What comes after an entry or folder that was registered."""
    return replace(item, **({"entry_uuid": new_entry_uuid(), "logical_id": item.entry_uuid} | changes))


def replaces(item: Any, previous: str = "1", **more: str) -> Association:
    """The set's HasMember of a new version; of an entry it says Original (ITI TF-3: 4.2.2.1.1)."""
    status = SubmissionSetStatus.ORIGINAL if isinstance(item, DocumentEntry) else None
    extra = slots(**({"PreviousVersion": previous} if previous else {}), **more)
    return an_association(MEMBER, "set", item.entry_uuid, extra_slots=extra, submission_set_status=status)


def becomes(id_: str, original: str, new: str) -> Association:
    return an_association(
        UPDATE_AVAILABILITY_STATUS, "set", id_, extra_slots=slots(OriginalStatus=original, NewStatus=new)
    )


def update(site: Domain, submission: Submission, *, restricted: bool = False) -> None:
    objects = lcm.read_submit_objects(lcm.write_submit_objects(to_ebxml.submission(submission)))
    site(lambda store: site.registry.update(objects, store, restricted=restricted))


def refusal(site: Domain, submission: Submission, *, restricted: bool = False) -> list[ErrorCode]:
    with pytest.raises(Refused) as refused:
        update(site, submission, restricted=restricted)
    return [finding.code for finding in refused.value.findings]


def ask(site: Domain, query: StoredQuery, **parameters: str) -> set[str]:
    sent = AdhocQuery(query.id, "LeafClass", tuple(as_slots(dict(parameters))))
    return ids(site(lambda store: site.registry.query(sent, store)).fragments)


def find(site: Domain, status: str = f"'{APPROVED}'", level: str = "1") -> set[str]:
    given = {"XDSDocumentEntryPatientId": f"'{ANNA}'", "XDSDocumentEntryStatus": f"({status})", "MetadataLevel": level}
    return ask(site, catalogue.FIND_DOCUMENTS, **given)


@pytest.fixture
def filed(domain: Domain) -> Submission:
    """A report with an addendum, in a folder."""
    report, addendum, binder = an_entry(), an_entry(), a_folder()
    relations = [
        an_association(MEMBER, binder.entry_uuid, report.entry_uuid),
        an_association(APND, addendum.entry_uuid, report.entry_uuid),
    ]
    return domain.register(a_submission(entries=[report, addendum], folders=[binder], relations=relations))


def relations_of(site: Domain, id_: str) -> set[tuple[str, str, str]]:
    """Type and ends of the associations of an object that are no submission set's."""
    found = site(lambda store: store.associations_of([id_]))
    sets = site(lambda store: {s.entry_uuid for s in store.submission_sets_by_uuid([a.source for a in found])})
    return {(a.type, a.source, a.target) for a in found if a.source not in sets}


# A new version.


def test_a_new_version_takes_the_place_of_the_one_before(domain: Domain, filed: Submission) -> None:
    report, addendum = filed.document_entries
    new = version_of(report, title=text("Better title"))
    update(domain, an_update(replaces(new), items=[new]))
    assert find(domain) == {new.entry_uuid, addendum.entry_uuid}
    both = f"'{APPROVED}','{DEPRECATED}'"
    assert find(domain, both) == {new.entry_uuid, addendum.entry_uuid}
    assert find(domain, both, level="2") == {report.entry_uuid, new.entry_uuid, addendum.entry_uuid}
    (found,) = domain(lambda store: store.documents_by_uuid([new.entry_uuid]))
    assert (found.version, found.logical_id, found.status, found.latest) == (2, report.entry_uuid, "Approved", True)
    assert b"Better title" in found.ebxml
    (before,) = domain(lambda store: store.documents_by_uuid([report.entry_uuid]))
    assert (before.version, before.status, before.latest) == (1, "Deprecated", False)


def test_by_id_the_latest_is_given_unless_all_are_asked_for(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    new = version_of(report)
    update(domain, an_update(replaces(new), items=[new]))
    given = {"XDSDocumentEntryUniqueId": listed(report.unique_id)}
    assert ask(domain, catalogue.GET_DOCUMENTS, **given) == {new.entry_uuid}
    both = {new.entry_uuid, report.entry_uuid}
    assert ask(domain, catalogue.GET_DOCUMENTS, **given, MetadataLevel="2") == both


def test_versions_follow_one_another(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    second, third = version_of(report), version_of(report)
    update(domain, an_update(replaces(second), items=[second]))
    assert refusal(domain, an_update(replaces(third), items=[third])) == [ErrorCode.METADATA_VERSION]
    update(domain, an_update(replaces(third, "2"), items=[third]))
    (found,) = domain(lambda store: store.documents_by_uuid([third.entry_uuid]))
    assert (found.version, found.latest) == (3, True)


@pytest.mark.parametrize("propagation", ["yes", "", "no"])
def test_the_new_version_has_what_the_one_before_had_unless_told_not_to(
    domain: Domain, filed: Submission, propagation: str
) -> None:
    report, addendum = filed.document_entries
    (binder,) = filed.folders
    new = version_of(report)
    more = {"AssociationPropagation": propagation} if propagation else {}
    update(domain, an_update(replaces(new, **more), items=[new]))
    had = {(MEMBER, binder.entry_uuid, new.entry_uuid), (APND, addendum.entry_uuid, new.entry_uuid)}
    assert relations_of(domain, new.entry_uuid) == (set() if propagation == "no" else had)
    contents = ask(domain, catalogue.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=listed(binder.entry_uuid))
    assert (new.entry_uuid in contents) is (propagation != "no")
    assert report.entry_uuid not in contents


def test_a_folder_has_versions_too_and_keeps_its_members(domain: Domain, filed: Submission) -> None:
    (binder,), report = filed.folders, filed.document_entries[0]
    new = version_of(binder, title=text("Tumour board"))
    update(domain, an_update(replaces(new), items=[new]))
    by_unique_id = {"XDSFolderUniqueId": listed(binder.unique_id)}
    assert ask(domain, catalogue.GET_FOLDERS, **by_unique_id) == {new.entry_uuid}
    assert ask(domain, catalogue.GET_FOLDERS, **by_unique_id, MetadataLevel="2") == {new.entry_uuid, binder.entry_uuid}
    assert report.entry_uuid in ask(
        domain, catalogue.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=listed(new.entry_uuid)
    )


def test_symbolic_ids_are_replaced(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    new = version_of(report, entry_uuid=EntryUuid("new"), title=text("symbolic"))
    sent = an_update(replaces(new), items=[new])
    set_ = replace(sent.submission_set, entry_uuid=EntryUuid("set"))
    associations = tuple(replace(a, entry_uuid=EntryUuid("one"), source="set") for a in sent.associations)
    update(domain, Submission(set_, sent.document_entries, (), associations))
    (found,) = domain(lambda store: store.documents_by_unique_id([report.unique_id]))[1:] or [None]
    assert found is not None
    assert {d.latest for d in domain(lambda store: store.documents_by_unique_id([report.unique_id]))} == {True, False}


@pytest.mark.parametrize(
    ("changes", "previous", "code"),
    [
        ({}, "2", ErrorCode.METADATA_VERSION),
        ({}, "one", ErrorCode.METADATA_VERSION),
        # No text names these three codes; they are those of other registries and test kits: see test_update_codes.py.
        ({"logical_id": None}, "1", ErrorCode.METADATA_UPDATE),
        ({"logical_id": "symbolic"}, "1", ErrorCode.METADATA_UPDATE),
        ({"logical_id": new_entry_uuid()}, "1", ErrorCode.METADATA_VERSION),
        ({"unique_id": UniqueId("2.25.77.7")}, "1", ErrorCode.METADATA_UPDATE),
        ({"object_type": ON_DEMAND, "creation_time": None, "hash": None, "size": None}, "1", ErrorCode.METADATA_UPDATE),
        ({"patient_id": BERT}, "1", ErrorCode.PATIENT_ID_RECONCILIATION),
    ],
)
def test_what_is_no_next_version_is_refused_and_changes_nothing(
    domain: Domain, filed: Submission, changes: dict[str, Any], previous: str, code: ErrorCode
) -> None:
    before = find(domain)
    new = version_of(filed.document_entries[0], **changes)
    assert refusal(domain, an_update(replaces(new, previous), items=[new])) == [code]
    assert find(domain) == before
    assert find(domain, level="2") == before


def test_an_object_is_updated_once_in_a_message(domain: Domain, filed: Submission) -> None:
    one, other = (version_of(filed.document_entries[0]) for _ in range(2))
    sent = an_update(replaces(one), replaces(other), items=[one, other])
    assert refusal(domain, sent) == [ErrorCode.METADATA_UPDATE_OPERATION]


def test_all_that_is_wrong_is_told_at_once(domain: Domain, filed: Submission) -> None:
    report, addendum = filed.document_entries
    one, other = version_of(report), version_of(addendum, unique_id=UniqueId("2.25.77.8"))
    sent = an_update(replaces(one, "7"), replaces(other), items=[one, other])
    assert refusal(domain, sent) == [ErrorCode.METADATA_VERSION, ErrorCode.METADATA_UPDATE]


def test_only_what_is_approved_is_updated(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    update(domain, an_update(becomes(report.entry_uuid, APPROVED, DEPRECATED)))
    new = version_of(report)
    assert refusal(domain, an_update(replaces(new), items=[new])) == [ErrorCode.METADATA_UPDATE]


def test_an_update_of_nothing_or_for_nobody_is_refused(domain: Domain, filed: Submission) -> None:
    assert refusal(domain, an_update()) == [ErrorCode.METADATA_UPDATE_OPERATION]
    new = version_of(filed.document_entries[0])
    nobody = replace(ANNA, id="nobody")
    sent = an_update(replaces(new), items=[replace(new, patient_id=nobody)], patient=nobody)
    assert refusal(domain, sent) == [ErrorCode.UNKNOWN_PATIENT_ID]


def test_an_unknown_patient_hides_nothing_of_an_update(domain: Domain, filed: Submission) -> None:
    nobody = replace(ANNA, id="nobody")
    new = version_of(filed.document_entries[0], patient_id=nobody)
    sent = an_update(replaces(new, "7"), becomes(new_entry_uuid(), APPROVED, DEPRECATED), items=[new], patient=nobody)
    assert refusal(domain, sent) == [
        ErrorCode.UNKNOWN_PATIENT_ID,
        ErrorCode.METADATA_VERSION,
        ErrorCode.UNRESOLVED_REFERENCE,
    ]


def test_what_is_wrong_with_an_update_names_the_object_in_its_context(domain: Domain, filed: Submission) -> None:
    new = version_of(filed.document_entries[0])
    sent = an_update(replaces(new, "7"), items=[new])
    with pytest.raises(Refused) as refused:
        update(domain, sent)
    assert [(f.code, f.context.split(": ")[0]) for f in refused.value.findings] == [
        (ErrorCode.METADATA_VERSION, new.entry_uuid)
    ]


def test_a_version_that_cannot_be_read_is_held_to_the_one_before(domain: Domain, filed: Submission) -> None:
    """What is wrong beside the languageCode that is missing is found too, and nothing is made up of what is."""
    new = version_of(filed.document_entries[0], language_code="", source_patient_id=BERT)
    sent = an_update(replaces(new, "7"), items=[new])
    assert refusal(domain, sent, restricted=True) == [
        ErrorCode.REGISTRY_METADATA,
        ErrorCode.METADATA_VERSION,
        ErrorCode.UNMODIFIABLE_METADATA,
    ]


# A status.


def test_a_document_is_deprecated_and_approved_again(domain: Domain, filed: Submission) -> None:
    report, addendum = filed.document_entries
    update(domain, an_update(becomes(report.entry_uuid, APPROVED, DEPRECATED)))
    assert find(domain) == {addendum.entry_uuid}
    assert find(domain, f"'{DEPRECATED}'") == {report.entry_uuid}
    update(domain, an_update(becomes(report.entry_uuid, DEPRECATED, APPROVED)))
    assert find(domain) == {report.entry_uuid, addendum.entry_uuid}


def test_a_folder_and_an_association_are_deprecated(domain: Domain, filed: Submission) -> None:
    (binder,) = filed.folders
    member = next(a for a in filed.associations if a.source == binder.entry_uuid)
    update(
        domain,
        an_update(becomes(binder.entry_uuid, APPROVED, DEPRECATED), becomes(member.entry_uuid, APPROVED, DEPRECATED)),
    )
    (found,) = domain(lambda store: store.folders_by_uuid([binder.entry_uuid]))
    assert found.status == "Deprecated"
    given = {"uuid": listed(binder.entry_uuid)}
    assert member.entry_uuid not in ask(domain, catalogue.GET_ASSOCIATIONS, **given)
    deprecated = ask(domain, catalogue.GET_ASSOCIATIONS, **given, XDSAssociationStatus=f"('{DEPRECATED}')")
    assert member.entry_uuid in deprecated


def test_a_deprecated_folder_takes_no_more_and_is_not_carried_over(domain: Domain, filed: Submission) -> None:
    """ITI TF-2: 3.42.4.1.3.3: only Approved folders get the replacement of what they hold."""
    (binder,), (report, _) = filed.folders, filed.document_entries
    update(domain, an_update(becomes(binder.entry_uuid, APPROVED, DEPRECATED)))
    one = an_entry()
    member = an_association(MEMBER, binder.entry_uuid, one.entry_uuid)
    with pytest.raises(Refused) as refused:
        domain.register(a_submission(entries=[one], relations=[member]))
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.REGISTRY_DEPRECATED_DOCUMENT]
    new = an_entry()
    relation = an_association(AssociationType.RPLC, new.entry_uuid, report.entry_uuid)
    domain.register(a_submission(entries=[new], relations=[relation]))
    held = {target for type_, source, target in relations_of(domain, binder.entry_uuid) if type_ == MEMBER}
    assert held == {report.entry_uuid}


def test_a_replacement_comes_into_the_latest_version_of_a_folder_only(domain: Domain, filed: Submission) -> None:
    (binder,), (report, _) = filed.folders, filed.document_entries
    later = version_of(binder)
    update(domain, an_update(replaces(later), items=[later]))
    new = an_entry()
    relation = an_association(AssociationType.RPLC, new.entry_uuid, report.entry_uuid)
    domain.register(a_submission(entries=[new], relations=[relation]))
    holders = {source for type_, source, _ in relations_of(domain, new.entry_uuid) if type_ == MEMBER}
    assert holders == {later.entry_uuid}


@pytest.mark.parametrize(
    ("original", "new", "code"),
    [
        (DEPRECATED, APPROVED, ErrorCode.METADATA_UPDATE),
        (APPROVED, APPROVED, ErrorCode.METADATA_UPDATE),
        (APPROVED, "urn:x", ErrorCode.METADATA_UPDATE),
        ("", DEPRECATED, ErrorCode.METADATA_UPDATE),
    ],
)
def test_a_change_that_is_none_is_refused(
    domain: Domain, filed: Submission, original: str, new: str, code: ErrorCode
) -> None:
    sent = an_update(becomes(filed.document_entries[0].entry_uuid, original, new))
    assert refusal(domain, sent) == [code]


def test_what_has_no_status_to_change_is_refused(domain: Domain, filed: Submission) -> None:
    def code(id_: str) -> list[ErrorCode]:
        return refusal(domain, an_update(becomes(id_, APPROVED, DEPRECATED)))

    assert code(new_entry_uuid()) == [ErrorCode.UNRESOLVED_REFERENCE]
    assert code(filed.submission_set.entry_uuid) == [ErrorCode.UNRESOLVED_REFERENCE]
    membership = next(a for a in filed.associations if a.source == filed.submission_set.entry_uuid)
    assert code(membership.entry_uuid) == [ErrorCode.METADATA_UPDATE]
    his = domain.register(a_submission(patient=BERT))
    assert code(his.document_entries[0].entry_uuid) == [ErrorCode.PATIENT_ID_RECONCILIATION]
    report = filed.document_entries[0]
    new = version_of(report)
    update(domain, an_update(replaces(new), items=[new]))
    assert code(report.entry_uuid) == [ErrorCode.METADATA_VERSION]


def test_a_new_version_and_a_status_go_together(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    new = version_of(report)
    update(domain, an_update(replaces(new), becomes(report.entry_uuid, APPROVED, DEPRECATED), items=[new]))
    found = domain(lambda store: store.documents_by_uuid([new.entry_uuid, report.entry_uuid]))
    assert {document.status for document in found} == {"Deprecated"}


# An association.


def submitted(item: Association) -> Submission:
    return an_update(an_association(SUBMIT_ASSOCIATION, "set", item.entry_uuid), items=[item])


def test_an_association_joins_what_is_registered(domain: Domain, filed: Submission) -> None:
    (binder,), addendum = filed.folders, filed.document_entries[1]
    member = an_association(MEMBER, binder.entry_uuid, addendum.entry_uuid)
    update(domain, submitted(member))
    contents = ask(domain, catalogue.GET_FOLDER_AND_CONTENTS, XDSFolderEntryUUID=listed(binder.entry_uuid))
    assert {addendum.entry_uuid, member.entry_uuid} <= contents
    assert refusal(domain, submitted(replace(member, entry_uuid=new_entry_uuid()))) == [ErrorCode.METADATA_UPDATE]


def test_an_association_that_joins_nothing_is_refused(domain: Domain, filed: Submission) -> None:
    (binder,), (report, addendum) = filed.folders, filed.document_entries
    his = domain.register(a_submission(patient=BERT)).document_entries[0]

    def code(type_: str, source: str, target: str) -> list[ErrorCode]:
        return refusal(domain, submitted(an_association(type_, source, target)))

    assert code(MEMBER, binder.entry_uuid, new_entry_uuid()) == [ErrorCode.UNRESOLVED_REFERENCE]
    assert code(MEMBER, filed.submission_set.entry_uuid, addendum.entry_uuid) == [ErrorCode.UNRESOLVED_REFERENCE]
    assert code(APND, his.entry_uuid, report.entry_uuid) == [ErrorCode.PATIENT_ID_RECONCILIATION]
    assert code(MEMBER, report.entry_uuid, addendum.entry_uuid) == [ErrorCode.METADATA_UPDATE]
    assert code(APND, binder.entry_uuid, addendum.entry_uuid) == [ErrorCode.METADATA_UPDATE]
    # A rule of metadata in any transaction, so XDSRegistryMetadataError (ITI TF-3: Table 4.2.4.1-2).
    assert code("urn:x", report.entry_uuid, addendum.entry_uuid) == [ErrorCode.REGISTRY_METADATA]
    update(domain, an_update(becomes(addendum.entry_uuid, APPROVED, DEPRECATED)))
    assert ErrorCode.REGISTRY_DEPRECATED_DOCUMENT in code(APND, report.entry_uuid, addendum.entry_uuid)


# ITI-92.


def test_restricted_it_updates_entries_and_nothing_else(domain: Domain, filed: Submission) -> None:
    report, (binder,) = filed.document_entries[0], filed.folders
    new = version_of(report, title=text("Restricted"))
    update(domain, an_update(replaces(new), items=[new]), restricted=True)
    assert new.entry_uuid in find(domain)
    folder_version = version_of(binder)
    for sent in (
        an_update(replaces(folder_version), items=[folder_version]),
        an_update(becomes(binder.entry_uuid, APPROVED, DEPRECATED)),
        submitted(an_association(MEMBER, binder.entry_uuid, filed.document_entries[1].entry_uuid)),
    ):
        assert refusal(domain, sent, restricted=True) == [ErrorCode.METADATA_UPDATE_OPERATION]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"unique_id": UniqueId("2.25.77.9")}, ErrorCode.METADATA_IDENTIFIER),
        ({"object_type": ON_DEMAND, "creation_time": None, "hash": None, "size": None}, ErrorCode.OBJECT_TYPE),
        ({"source_patient_id": BERT}, ErrorCode.UNMODIFIABLE_METADATA),
        ({"repository_unique_id": "1.2.3.99"}, ErrorCode.UNMODIFIABLE_METADATA),
        ({"document_availability": "urn:ihe:iti:2010:DocumentAvailability:Offline"}, ErrorCode.UNMODIFIABLE_METADATA),
        ({"patient_id": BERT}, ErrorCode.PATIENT_ID_RECONCILIATION),
    ],
)
def test_restricted_it_leaves_what_identifies_a_document(
    domain: Domain, filed: Submission, changes: dict[str, Any], code: ErrorCode
) -> None:
    new = version_of(filed.document_entries[0], **changes)
    assert refusal(domain, an_update(replaces(new), items=[new]), restricted=True) == [code]


def test_restricted_it_updates_what_is_deprecated_and_it_stays_so(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    update(domain, an_update(becomes(report.entry_uuid, APPROVED, DEPRECATED)))
    new = version_of(report)
    update(domain, an_update(replaces(new), items=[new]), restricted=True)
    assert find(domain, f"'{DEPRECATED}'") == {new.entry_uuid}


# At once.


def test_of_two_updates_of_one_version_at_once_one_wins(domain: Domain, filed: Submission) -> None:
    versions = [version_of(filed.document_entries[0]) for _ in range(2)]
    done = at_once([lambda new=new: update(domain, an_update(replaces(new), items=[new])) for new in versions])  # type: ignore[misc]
    (refused,) = [one for one in done if isinstance(one, Exception)]
    assert isinstance(refused, Refused)
    assert [finding.code for finding in refused.findings] == [ErrorCode.METADATA_VERSION]
    (won,) = {new.entry_uuid for new in versions} & find(domain)
    assert won


# A new version of another patient.


def test_a_document_may_go_on_as_another_patients(domain: Domain, filed: Submission) -> None:
    """The version before stays Anna's; an answer with both is of two patients."""
    report, addendum = filed.document_entries
    new = version_of(report, patient_id=BERT)
    update(domain, an_update(replaces(new), items=[new], patient=BERT))
    assert find(domain) == {addendum.entry_uuid}
    of_bert = {"XDSDocumentEntryPatientId": f"'{BERT}'", "XDSDocumentEntryStatus": f"('{APPROVED}')"}
    assert ask(domain, catalogue.FIND_DOCUMENTS, **of_bert) == {new.entry_uuid}
    by_lid = {"XDSDocumentEntryLogicalID": listed(report.entry_uuid)}
    assert ask(domain, catalogue.GET_DOCUMENTS, **by_lid) == {new.entry_uuid}
    with pytest.raises(Refused) as refused:
        ask(domain, catalogue.GET_DOCUMENTS, **by_lid, MetadataLevel="2")
    assert [finding.code for finding in refused.value.findings] == [ErrorCode.RESULT_NOT_SINGLE_PATIENT]
    # What it had with Anna's stays with the version that was Anna's.
    assert relations_of(domain, new.entry_uuid) == set()
    assert len(relations_of(domain, report.entry_uuid)) == 2


def test_and_from_there_as_a_thirds_or_back(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    his, hers = version_of(report, patient_id=BERT), version_of(report)
    update(domain, an_update(replaces(his), items=[his], patient=BERT))
    assert refusal(domain, an_update(replaces(hers), items=[hers])) == [ErrorCode.METADATA_VERSION]
    update(domain, an_update(replaces(hers, "2"), items=[hers]))
    (found,) = domain(lambda store: store.documents_by_uuid([hers.entry_uuid]))
    assert (found.version, found.latest) == (3, True)
    versions = domain(lambda store: store.documents_by_logical_id([report.entry_uuid]))
    assert sorted((v.version, v.latest) for v in versions) == [(1, False), (2, False), (3, True)]


def test_a_folder_may_go_on_as_another_patients_without_what_it_held(domain: Domain, filed: Submission) -> None:
    (binder,) = filed.folders
    new = version_of(binder, patient_id=BERT)
    update(domain, an_update(replaces(new), items=[new], patient=BERT))
    assert relations_of(domain, new.entry_uuid) == set()
    given = {"XDSFolderLogicalID": listed(binder.entry_uuid)}
    assert ask(domain, catalogue.GET_FOLDERS, **given) == {new.entry_uuid}


def test_an_unknown_patient_gets_nothing(domain: Domain, filed: Submission) -> None:
    nobody = replace(ANNA, id="nobody")
    new = version_of(filed.document_entries[0], patient_id=nobody)
    assert refusal(domain, an_update(replaces(new), items=[new], patient=nobody)) == [ErrorCode.UNKNOWN_PATIENT_ID]


# By logicalID.


def test_versions_are_found_by_their_logicalid(domain: Domain, filed: Submission) -> None:
    report = filed.document_entries[0]
    new = version_of(report)
    update(domain, an_update(replaces(new), items=[new]))
    given = {"XDSDocumentEntryLogicalID": listed(report.entry_uuid)}
    both = {report.entry_uuid, new.entry_uuid}
    assert ask(domain, catalogue.GET_DOCUMENTS, **given) == {new.entry_uuid}
    assert ask(domain, catalogue.GET_DOCUMENTS, **given, MetadataLevel="2") == both
    # The entryUUID of a later version is nobody's logicalID.
    assert ask(domain, catalogue.GET_DOCUMENTS, XDSDocumentEntryLogicalID=listed(new.entry_uuid)) == set()
    assert new.entry_uuid in ask(domain, catalogue.GET_DOCUMENTS_AND_ASSOCIATIONS, **given)


def test_versions_go_on_when_the_first_is_removed(domain: Domain) -> None:
    """The logicalID leads to what is left of them."""
    sent = domain.register(a_submission())
    (report,) = sent.document_entries
    new = version_of(report)
    update(domain, an_update(replaces(new), items=[new]))
    domain(lambda store: domain.registry.remove([item.entry_uuid for item in sent.objects()], store))
    third = version_of(report)
    update(domain, an_update(replaces(third, "2"), items=[third]))
    given = {"XDSDocumentEntryLogicalID": listed(report.entry_uuid)}
    assert ask(domain, catalogue.GET_DOCUMENTS, **given, MetadataLevel="2") == {new.entry_uuid, third.entry_uuid}


# What a new version must be in itself.


def test_a_new_version_keeps_the_rules_that_a_first_one_keeps(domain: Domain, filed: Submission) -> None:
    late = version_of(filed.document_entries[0], service_stop_time=Dtm("2001"))
    assert refusal(domain, an_update(replaces(late), items=[late])) == [ErrorCode.REGISTRY_METADATA]


@pytest.mark.parametrize("severity", list(Severity))
def test_its_codes_are_the_domains(domain: Domain, filed: Submission, severity: Severity) -> None:
    sets = code_sets('[classCode]\n"1.2.3" = ["REPORTS"]\n', severity)
    new = version_of(filed.document_entries[0])
    objects = lcm.read_submit_objects(
        lcm.write_submit_objects(to_ebxml.submission(an_update(replaces(new), items=[new])))
    )
    if severity is Severity.ERROR:
        with pytest.raises(Refused, match="XDSRegistryMetadataError"):
            domain(lambda store: metadata_update.update(objects, store, code_sets=sets))
    else:
        (warning,) = domain(lambda store: metadata_update.update(objects, store, code_sets=sets))
        assert "DocumentEntry.classCode" in warning.context


def test_a_hash_that_was_known_later_is_no_conflict_when_the_document_comes_again(
    domain: Domain, filed: Submission
) -> None:
    report = filed.document_entries[0]
    known = version_of(report, hash="ab" * 20, size=7)
    update(domain, an_update(replaces(known), items=[known]))
    again = an_entry(unique_id=report.unique_id, hash="ab" * 20, size=7)
    domain.register(a_submission(entries=[again]))
    assert again.entry_uuid in find(domain)


def test_a_restricted_update_may_write_out_that_a_document_is_online(domain: Domain, filed: Submission) -> None:
    new = version_of(filed.document_entries[0], document_availability="urn:ihe:iti:2010:DocumentAvailability:Online")
    update(domain, an_update(replaces(new), items=[new]), restricted=True)
    assert new.entry_uuid in find(domain)


def test_a_deprecated_membership_is_not_among_a_sets_contents_unless_asked_for(
    domain: Domain, filed: Submission
) -> None:
    binder = filed.folders[0]
    member = next(a for a in filed.associations if a.source == binder.entry_uuid)
    update(domain, an_update(becomes(member.entry_uuid, APPROVED, DEPRECATED)))
    given = {"XDSSubmissionSetUniqueId": f"'{filed.submission_set.unique_id}'"}
    assert member.entry_uuid not in ask(domain, catalogue.GET_SUBMISSION_SET_AND_CONTENTS, **given)
    given["XDSAssociationStatus"] = f"('{APPROVED}','{DEPRECATED}')"
    assert member.entry_uuid in ask(domain, catalogue.GET_SUBMISSION_SET_AND_CONTENTS, **given)
