"""What an update asks for: each association of its SubmissionSet, read as an operation on the registry.

ITI TF-2: 3.57.4.1.3 (XDS Metadata Update supplement) and 3.92.4.1.3 (Restricted Metadata Update supplement).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

from xds.errors import ErrorCode, Finding
from xds.metadata import vocabulary as v
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import AssociationType

CLAUSE, RESTRICTED = "ITI TF-2: 3.57.4.1.3", "ITI TF-2: 3.92.4.1.3"

_MEMBER = AssociationType.HAS_MEMBER
_TYPES = frozenset({*AssociationType, v.UPDATE_AVAILABILITY_STATUS, v.SUBMIT_ASSOCIATION})

Versioned: TypeAlias = DocumentEntry | Folder


@dataclass(frozen=True, slots=True)
class NewVersion:
    """An entry or folder that takes the place of the version before."""

    trigger: Association
    item: Versioned
    previous: str
    propagation: tuple[str, ...] = ()  # values of AssociationPropagation, which is yes where it is not written

    @property
    def propagates(self) -> bool:
        return self.propagation != ("no",)


@dataclass(frozen=True, slots=True)
class NewStatus:
    """An object of the registry whose availabilityStatus changes."""

    trigger: Association
    original: str
    new: str


@dataclass(frozen=True, slots=True)
class NewAssociation:
    """An association between objects of the registry."""

    trigger: Association
    item: Association


Operation: TypeAlias = NewVersion | NewStatus | NewAssociation


def operations(submission: Submission, *, restricted: bool, whole: bool) -> tuple[list[Operation], list[Finding]]:
    """What the submission's associations do; and what does nothing that is known, or is not touched by any."""
    set_id = submission.submission_set.entry_uuid
    items: dict[str, Versioned] = {entry.entry_uuid: entry for entry in submission.document_entries}
    items |= {folder.entry_uuid: folder for folder in submission.folders}
    inside: dict[str, Association] = {association.entry_uuid: association for association in submission.associations}
    operations: list[Operation] = []
    findings: list[Finding] = []
    untouched = {*items, *inside}
    for association in submission.associations:
        operation = _operation(association, items, inside) if association.source == set_id else None
        if operation is not None:
            operations.append(operation)
            untouched -= {association.entry_uuid, association.target}
        elif (association.source, association.type) == (set_id, _MEMBER) and association.target in items:
            findings.append(_annotated("PreviousVersion is required", association, restricted=restricted))
            untouched -= {association.entry_uuid, association.target}
        if isinstance(operation, NewVersion) and operation.propagation not in ((), ("yes",), ("no",)):
            findings.append(_annotated("AssociationPropagation is yes or no", association, restricted=restricted))
    findings += _untouched(untouched, inside, set_id)
    if whole and not (operations or findings or untouched):
        findings.append(Finding(ErrorCode.METADATA_UPDATE_OPERATION, f"nothing is to be updated ({CLAUSE})"))
    return operations, findings


def _untouched(untouched: Set[str], inside: Mapping[str, Association], set_id: str) -> Iterator[Finding]:
    """What nothing is said of; where that is because an association is of no type of XDS, that."""
    strange = [one for id_, one in inside.items() if id_ in untouched and one.type not in _TYPES]
    for association in strange:
        if association.type:  # of one without a type it is said that it has none
            rule = "Association.associationType is none of XDS (ITI TF-3: Table 4.2.2-1)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, association.entry_uuid)
    said = {one.entry_uuid for one in strange} | {one.target for one in strange if one.source == set_id}
    for id_ in sorted(untouched - said):
        rule = f"no association of the SubmissionSet says what becomes of it ({CLAUSE})"
        yield Finding(ErrorCode.METADATA_UPDATE_OPERATION, rule, id_)


def _annotated(rule: str, association: Association, *, restricted: bool) -> Finding:
    """What is wrong with what a HasMember of the SubmissionSet says of its new version."""
    code, clause = (ErrorCode.METADATA_ANNOTATION, RESTRICTED) if restricted else (ErrorCode.METADATA_UPDATE, CLAUSE)
    return Finding(code, f"Association.{rule} ({clause})", association.entry_uuid)


def _operation(
    association: Association, items: dict[str, Versioned], inside: dict[str, Association]
) -> Operation | None:
    target = association.target
    if association.type == _MEMBER and target in items:
        previous = _slot(association, "PreviousVersion")
        propagation = _values(association, "AssociationPropagation")
        return NewVersion(association, items[target], previous, propagation) if previous else None
    if association.type == v.UPDATE_AVAILABILITY_STATUS and target not in {*items, *inside}:
        return NewStatus(association, _slot(association, "OriginalStatus"), _slot(association, "NewStatus"))
    if association.type == v.SUBMIT_ASSOCIATION and target in inside:
        return NewAssociation(association, inside[target])
    return None


def _slot(association: Association, name: str) -> str:
    """The one value of a slot; of several none is meant."""
    values = _values(association, name)
    return values[0] if len(values) == 1 else ""


def _values(association: Association, name: str) -> tuple[str, ...]:
    """The values of a slot, that of an empty one being empty; none where there is no slot."""
    slots = (slot for slot in association.extra_slots if slot.name == name)
    return tuple(value for slot in slots for value in slot.values or ("",))
