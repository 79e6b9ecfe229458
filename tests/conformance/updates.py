"""ITI-57, ITI-92 and ITI-62: what may be updated and removed.  ITI TF-2: 3.57, 3.62, 3.92."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.actors.test_metadata_update import an_update, becomes, replaces, version_of
from tests.builders import ANNA, BERT, a_folder, an_association, an_entry
from tests.conformance.rule import ON_DEMAND_CHANGES, Desk, Rule, stranger
from tests.queries.desks import APPROVED, DEPRECATED
from xds.ebxml import lcm
from xds.errors import ErrorCode
from xds.metadata.association import Association
from xds.metadata.identifiers import new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import SUBMIT_ASSOCIATION, AssociationType

ITI_57, ITI_92, BOTH, ITI_62 = ("ITI-57",), ("ITI-92",), ("ITI-57", "ITI-92"), ("ITI-62",)
UPDATE, RESTRICTED, REMOVE = "ITI TF-2: 3.57.4.1.3", "ITI TF-2: 3.92.4.1.3", "ITI TF-2: 3.62.4.1.3"
MEMBER, RPLC, APND, XFRM = (
    AssociationType.HAS_MEMBER, AssociationType.RPLC, AssociationType.APND, AssociationType.XFRM,
)  # fmt: skip


def updating(previous: str = "1", **changes: Any) -> Callable[[Desk, str], None]:
    """A next version of an entry, with changes."""

    def attempt(desk: Desk, number: str) -> None:
        (entry,) = desk.registered().document_entries
        new = version_of(entry, **changes)
        desk.send(number, an_update(replaces(new, previous), items=[new]))

    return attempt


def annotated(**changes: Any) -> Callable[[Desk, str], None]:
    """A next version of an entry, whose HasMember is other than it should be."""

    def attempt(desk: Desk, number: str) -> None:
        (entry,) = desk.registered().document_entries
        new = version_of(entry)
        desk.send(number, an_update(replace(replaces(new), **changes), items=[new]))

    return attempt


def _propagated(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    new = version_of(entry)
    desk.send(number, an_update(replaces(new, AssociationPropagation="perhaps"), items=[new]))


def _of_no_type(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    new = version_of(entry)
    sent = an_update(replaces(new), items=[new])
    strange: Association = an_association("urn:x", sent.submission_set.entry_uuid, entry.entry_uuid)
    desk.send(number, replace(sent, associations=(*sent.associations, strange)))


def _with_addenda(desk: Desk, number: str) -> None:
    """A transformation by ITI-57 of what has an addendum."""
    report, note = an_entry(), an_entry()
    desk.registered(entries=[report, note], relations=[an_association(APND, note.entry_uuid, report.entry_uuid)])
    submitting(XFRM, lambda _: report.entry_uuid, a_registered_entry)(desk, number)


def _to_a_transformation(desk: Desk, number: str) -> None:
    report, html = an_entry(), an_entry()
    desk.registered(entries=[report, html], relations=[an_association(XFRM, html.entry_uuid, report.entry_uuid)])
    submitting(APND, a_registered_entry, lambda _: html.entry_uuid)(desk, number)


def _twice(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    one, other = version_of(entry), version_of(entry)
    desk.send(number, an_update(replaces(one), replaces(other), items=[one, other]))


def _untouched(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    new, other = version_of(entry), version_of(entry)
    desk.send(number, an_update(replaces(new), items=[new, other]))


def _nothing(desk: Desk, number: str) -> None:
    desk.send(number, an_update())


def _of_stranger(desk: Desk, number: str) -> None:
    new = version_of(an_entry(patient_id=stranger()))
    desk.send(number, an_update(replaces(new), items=[new], patient=stranger()))


def _set_again(desk: Desk, number: str) -> None:
    before = desk.registered()
    new = version_of(before.document_entries[0])
    sent = an_update(replaces(new), items=[new])
    set_ = replace(sent.submission_set, unique_id=before.submission_set.unique_id)
    desk.send(number, Submission(set_, sent.document_entries, (), sent.associations))


def _deprecated(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    desk.send("ITI-57", an_update(becomes(entry.entry_uuid, APPROVED, DEPRECATED)))
    new = version_of(entry)
    desk.send(number, an_update(replaces(new), items=[new]))


def _moved(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    new = version_of(entry, patient_id=BERT)
    desk.send(number, an_update(replaces(new), items=[new], patient=BERT))


def _no_entry(desk: Desk, number: str) -> None:
    binder = a_folder()
    desk.registered(folders=[binder])
    new = version_of(binder)
    desk.send(number, an_update(replaces(new), items=[new]))


def status(original: str, new: str, of_what: Callable[[Submission], str]) -> Callable[[Desk, str], None]:
    """A new availabilityStatus of something that is registered."""

    def attempt(desk: Desk, number: str) -> None:
        before = desk.registered()
        desk.send(number, an_update(becomes(of_what(before), original, new)))

    return attempt


def _entry(before: Submission) -> str:
    return before.document_entries[0].entry_uuid


def _status_of_an_older(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    new = version_of(entry)
    desk.send("ITI-57", an_update(replaces(new), items=[new]))
    desk.send(number, an_update(becomes(entry.entry_uuid, DEPRECATED, APPROVED)))


def _status_of_anothers(desk: Desk, number: str) -> None:
    before = desk.registered(patient=BERT)
    desk.send(number, an_update(becomes(_entry(before), APPROVED, DEPRECATED)))


def submitting(kind: str, source: Callable[[Desk], str], target: Callable[[Desk], str]) -> Callable[[Desk, str], None]:
    """An association between objects that are registered."""

    def attempt(desk: Desk, number: str) -> None:
        made = an_association(kind, source(desk), target(desk))
        trigger = an_association(SUBMIT_ASSOCIATION, "set", made.entry_uuid)
        desk.send(number, an_update(trigger, items=[made]))

    return attempt


def a_registered_entry(desk: Desk) -> str:
    return _entry(desk.registered())


def a_registered_folder(desk: Desk) -> str:
    binder = a_folder()
    desk.registered(folders=[binder])
    return binder.entry_uuid


def berts(desk: Desk) -> str:
    return _entry(desk.registered(patient=BERT))


def a_deprecated_entry(desk: Desk) -> str:
    entry = a_registered_entry(desk)
    desk.send("ITI-57", an_update(becomes(entry, APPROVED, DEPRECATED)))
    return entry


def _between_again(desk: Desk, number: str) -> None:
    one, other = a_registered_entry(desk), a_registered_entry(desk)
    for _ in range(2):
        made: Association = an_association(APND, one, other)
        trigger = an_association(SUBMIT_ASSOCIATION, "set", made.entry_uuid)
        desk.send(number, an_update(trigger, items=[made]))


def _between_twice(desk: Desk, number: str) -> None:
    one, other = a_registered_entry(desk), a_registered_entry(desk)
    made = [an_association(APND, one, other) for _ in range(2)]
    triggers = [an_association(SUBMIT_ASSOCIATION, "set", item.entry_uuid) for item in made]
    desk.send(number, an_update(*triggers, items=made))


def _to_itself(desk: Desk, number: str) -> None:
    one = a_registered_entry(desk)
    made = an_association(APND, one, one)
    desk.send(number, an_update(an_association(SUBMIT_ASSOCIATION, "set", made.entry_uuid), items=[made]))


def _to_a_superseded(desk: Desk, number: str) -> None:
    (entry,) = desk.registered().document_entries
    new, made = version_of(entry), an_association(APND, a_registered_entry(desk), entry.entry_uuid)
    trigger = an_association(SUBMIT_ASSOCIATION, "set", made.entry_uuid)
    desk.send(number, an_update(replaces(new), trigger, items=[new, made]))


def _taken_id(desk: Desk, number: str) -> None:
    before = desk.registered()
    new = version_of(before.document_entries[0], entry_uuid=before.submission_set.entry_uuid)
    desk.send(number, an_update(replaces(new), items=[new]))


def _id_twice(desk: Desk, number: str) -> None:
    one, other = (desk.registered().document_entries[0] for _ in range(2))
    new = version_of(one)
    again = version_of(other, entry_uuid=new.entry_uuid)
    desk.send(number, an_update(replaces(new), replaces(again), items=[new, again]))


OPERATION, FAILED = ErrorCode.METADATA_UPDATE_OPERATION, ErrorCode.METADATA_UPDATE
UPDATES = (
    Rule(BOTH, "Each object of an update is touched by an operation", UPDATE, _untouched, OPERATION, "says what"),
    Rule(BOTH, "An update updates something", UPDATE, _nothing, OPERATION, "nothing is to be updated"),
    Rule(BOTH, "An object is updated once in a message", UPDATE, _twice, OPERATION, "logicalID"),
    Rule(ITI_57, "A first version is no update", UPDATE, updating(logical_id=None), FAILED,
         "DocumentEntry.logicalID", code_of="the NIST toolkit"),
    Rule(ITI_57, "PreviousVersion is named", UPDATE, updating(""), FAILED, "PreviousVersion",
         code_of="the NIST toolkit"),
    Rule(ITI_57, "AssociationPropagation is yes or no", UPDATE, _propagated, FAILED, "AssociationPropagation",
         code_of="the NIST toolkit"),
    Rule(ITI_92, "AssociationPropagation is yes or no", RESTRICTED, _propagated, ErrorCode.METADATA_ANNOTATION,
         "AssociationPropagation"),
    Rule(BOTH, "A new version of an entry is an Original member", "ITI TF-3: 4.2.2.1.1",
         annotated(submission_set_status=None), ErrorCode.REGISTRY_METADATA, "Association.SubmissionSetStatus"),
    Rule(BOTH, "An association is of a type of XDS", "ITI TF-3: Table 4.2.2-1", _of_no_type,
         ErrorCode.REGISTRY_METADATA, "Association.associationType"),
    Rule(ITI_92, "A first version is no update", UPDATE, updating(logical_id=None), ErrorCode.INVALID_REQUEST,
         "DocumentEntry.logicalID"),
    Rule(ITI_92, "PreviousVersion is named", RESTRICTED, updating(""), ErrorCode.METADATA_ANNOTATION,
         "PreviousVersion"),
    Rule(ITI_57, "The logicalID is registered", UPDATE, updating(logical_id=new_entry_uuid()),
         ErrorCode.METADATA_VERSION, "DocumentEntry.logicalID", code_of="the NIST toolkit's test plans and HIEOS"),
    Rule(ITI_92, "The logicalID is registered", UPDATE, updating(logical_id=new_entry_uuid()),
         ErrorCode.UNRESOLVED_REFERENCE, "DocumentEntry.logicalID"),
    Rule(BOTH, "PreviousVersion is the current version", UPDATE, updating("2"), ErrorCode.METADATA_VERSION,
         "DocumentEntry.version"),
    Rule(ITI_57, "What is updated is Approved", UPDATE, _deprecated, FAILED, "DocumentEntry.availabilityStatus"),
    Rule(BOTH, "What is updated is of the SubmissionSet's patient", UPDATE, updating(patient_id=BERT),
         ErrorCode.PATIENT_ID_RECONCILIATION, "DocumentEntry.patientId"),
    Rule(ITI_92, "A restricted update keeps the patient", RESTRICTED, _moved, ErrorCode.PATIENT_ID_RECONCILIATION,
         "DocumentEntry.patientId"),
    Rule(ITI_57, "The uniqueId stays", UPDATE, updating(unique_id="2.25.77.7"), FAILED, "DocumentEntry.uniqueId"),
    Rule(ITI_92, "A restricted update keeps the uniqueId", UPDATE, updating(unique_id="2.25.77.7"),
         ErrorCode.METADATA_IDENTIFIER, "DocumentEntry.uniqueId"),
    Rule(ITI_57, "The objectType stays", UPDATE, updating(**ON_DEMAND_CHANGES), FAILED, "DocumentEntry.objectType"),
    Rule(ITI_92, "A restricted update keeps the objectType", UPDATE, updating(**ON_DEMAND_CHANGES),
         ErrorCode.OBJECT_TYPE, "DocumentEntry.objectType"),
    Rule(ITI_92, "A restricted update keeps sourcePatientId", RESTRICTED, updating(source_patient_id=BERT),
         ErrorCode.UNMODIFIABLE_METADATA, "DocumentEntry.sourcePatientId"),
    Rule(ITI_92, "A restricted update keeps repositoryUniqueId", RESTRICTED, updating(repository_unique_id="1.9"),
         ErrorCode.UNMODIFIABLE_METADATA, "DocumentEntry.repositoryUniqueId"),
    Rule(ITI_92, "A restricted update keeps documentAvailability", RESTRICTED,
         updating(document_availability="urn:ihe:iti:2010:DocumentAvailability:Offline"),
         ErrorCode.UNMODIFIABLE_METADATA, "DocumentEntry.documentAvailability"),
    Rule(ITI_92, "A restricted update is of DocumentEntry metadata alone", RESTRICTED, _no_entry, OPERATION,
         "only DocumentEntry"),
    Rule(BOTH, "A new version has an id of its own", UPDATE, _taken_id, ErrorCode.REGISTRY_METADATA, "entryUUID"),
    Rule(BOTH, "An id names one object of the message", "ebRIM 3.0: 2.1", _id_twice, ErrorCode.REGISTRY_METADATA,
         "an id"),
    Rule(BOTH, "The patient is known", "ITI TF-3: Table 4.2.4.1-2", _of_stranger, ErrorCode.UNKNOWN_PATIENT_ID,
         str(stranger()), prescribed=True),
    Rule(BOTH, "A SubmissionSet.uniqueId is used once", "ITI TF-3: Table 4.2.4.1-2", _set_again,
         ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, "SubmissionSet.uniqueId", prescribed=True),
)  # fmt: skip

STATUSES = (
    Rule(ITI_57, "OriginalStatus and NewStatus are two of Approved and Deprecated", UPDATE,
         status(APPROVED, "urn:gone", _entry), FAILED, "OriginalStatus and NewStatus"),
    Rule(ITI_57, "What a status is set of is registered", UPDATE,
         status(APPROVED, DEPRECATED, lambda _: new_entry_uuid()), ErrorCode.UNRESOLVED_REFERENCE, "is registered"),
    Rule(ITI_57, "A SubmissionSet keeps its status", UPDATE,
         status(APPROVED, DEPRECATED, lambda b: b.submission_set.entry_uuid), ErrorCode.UNRESOLVED_REFERENCE,
         "no entry, folder or association"),
    Rule(ITI_57, "An association of a SubmissionSet keeps its status", UPDATE,
         status(APPROVED, DEPRECATED, lambda b: b.associations[0].entry_uuid), FAILED, "keeps its status"),
    Rule(ITI_57, "OriginalStatus is the status that there is", UPDATE, status(DEPRECATED, APPROVED, _entry), FAILED,
         "OriginalStatus"),
    Rule(ITI_57, "A status is set of the latest version", UPDATE, _status_of_an_older, ErrorCode.METADATA_VERSION,
         "later version"),
    Rule(ITI_57, "A status is set of an object of the SubmissionSet's patient", UPDATE, _status_of_anothers,
         ErrorCode.PATIENT_ID_RECONCILIATION, "another patient"),
)  # fmt: skip

NEW_ASSOCIATIONS = (
    Rule(ITI_57, "A submitted association is of a type of XDS", "ITI TF-3: Table 4.2.2-1",
         submitting("urn:x", a_registered_entry, a_registered_entry), ErrorCode.REGISTRY_METADATA,
         "Association.associationType"),
    Rule(ITI_57, "A registered transformation has no addenda", "ITI TF-3: 4.2.2.2.1", _to_a_transformation,
         ErrorCode.REGISTRY_METADATA, "transformation"),
    Rule(ITI_57, "What has addenda becomes no transformation", "ITI TF-3: 4.2.2.2.1", _with_addenda,
         ErrorCode.REGISTRY_METADATA, "transformation"),
    Rule(ITI_57, "Both ends of a submitted association are registered", UPDATE,
         submitting(APND, a_registered_entry, lambda _: new_entry_uuid()), ErrorCode.UNRESOLVED_REFERENCE, "both ends"),
    Rule(ITI_57, "Both ends of a submitted association are of the SubmissionSet's patient", UPDATE,
         submitting(APND, a_registered_entry, berts), ErrorCode.PATIENT_ID_RECONCILIATION, "an end"),
    Rule(ITI_57, "Both ends of a submitted association are Approved", UPDATE,
         submitting(APND, a_registered_entry, a_deprecated_entry), ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "an end"),
    Rule(ITI_57, "A submitted HasMember leads from a Folder to an entry", UPDATE,
         submitting(MEMBER, a_registered_entry, a_registered_entry), FAILED, "HasMember"),
    Rule(ITI_57, "Another association than HasMember leads from no Folder", UPDATE,
         submitting(APND, a_registered_folder, a_registered_entry), FAILED, "HasMember"),
    Rule(ITI_57, "Two objects have one Approved association", UPDATE, _between_again, FAILED, "between these two"),
    Rule(ITI_57, "Two objects get one association in a message", UPDATE, _between_twice, FAILED, "in the message"),
    Rule(ITI_57, "A submitted association has two ends", UPDATE, _to_itself, FAILED, "its ends are two"),
    Rule(ITI_57, "A submitted association replaces nothing", UPDATE,
         submitting(RPLC, a_registered_entry, a_registered_entry), FAILED, "is replaced by"),
    Rule(ITI_57, "A submitted association is of no object that the message updates", UPDATE, _to_a_superseded, FAILED,
         "has a new version"),
)  # fmt: skip


# ITI-62.


def removing(ids: Callable[[Desk], list[str]]) -> Callable[[Desk, str], None]:
    return lambda desk, number: desk.send(number, lcm.write_remove_objects(ids(desk)))


def _membership_alone(desk: Desk) -> list[str]:
    binder, entry = a_folder(), an_entry()
    member = an_association(MEMBER, binder.entry_uuid, entry.entry_uuid)
    sent = desk.registered(entries=[entry], folders=[binder], relations=[member])
    set_id = sent.submission_set.entry_uuid
    return [a.entry_uuid for a in sent.associations if (a.source, a.target) == (set_id, entry.entry_uuid)]


REMOVALS = (
    Rule(ITI_62, "An entry that stays is a SubmissionSet's still", "ITI TF-3: 4.2.1.4", removing(_membership_alone),
         ErrorCode.UNREFERENCED_OBJECT, "member of no SubmissionSet"),
    Rule(ITI_62, "What is removed is registered", REMOVE, removing(lambda _: [new_entry_uuid()]),
         ErrorCode.UNRESOLVED_REFERENCE, "is not registered"),
    Rule(ITI_62, "Nothing is removed that an association is left with", REMOVE,
         removing(lambda d: [a_registered_entry(d)]), ErrorCode.REFERENCES_EXIST, "is an end"),
    Rule(ITI_62, "Nothing is left without an association", REMOVE,
         removing(lambda d: [desk_association(d)]), ErrorCode.UNREFERENCED_OBJECT, "would be left"),
    Rule(ITI_62, "A request names an object", "ITI TF-2: 3.62.4.1.2", removing(lambda _: []),
         ErrorCode.REGISTRY_ERROR, "ObjectRefs are required"),
)  # fmt: skip


def desk_association(desk: Desk) -> str:
    return desk.registered().associations[0].entry_uuid


RULES = (*UPDATES, *STATUSES, *NEW_ASSOCIATIONS, *REMOVALS)

__all__ = ["ANNA", "RULES"]
