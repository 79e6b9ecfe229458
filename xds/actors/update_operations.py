"""What an update asks for: each association of its SubmissionSet, read as an operation on the registry.

ITI TF-2: 3.57.4.1.3 (XDS Metadata Update supplement) and 3.92.4.1.3 (Restricted Metadata Update supplement).
"""

from __future__ import annotations

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

Versioned: TypeAlias = DocumentEntry | Folder


@dataclass(frozen=True, slots=True)
class NewVersion:
    """An entry or folder that takes the place of the version before."""

    trigger: Association
    item: Versioned
    previous: str
    propagates: bool


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
        elif restricted and association.type == AssociationType.HAS_MEMBER and association.target in items:
            rule = f"Association.PreviousVersion is required ({RESTRICTED})"
            findings.append(Finding(ErrorCode.METADATA_ANNOTATION, rule, association.entry_uuid))
            untouched -= {association.entry_uuid, association.target}
    for id_ in sorted(untouched):
        rule = f"no association of the SubmissionSet says what becomes of it ({CLAUSE})"
        findings.append(Finding(ErrorCode.METADATA_UPDATE_OPERATION, rule, id_))
    if whole and not operations and not findings:
        findings.append(Finding(ErrorCode.METADATA_UPDATE_OPERATION, f"nothing is to be updated ({CLAUSE})"))
    return operations, findings


def _operation(
    association: Association, items: dict[str, Versioned], inside: dict[str, Association]
) -> Operation | None:
    target = association.target
    if association.type == AssociationType.HAS_MEMBER and target in items:
        previous = _slot(association, "PreviousVersion")
        propagates = _slot(association, "AssociationPropagation").lower() != "no"
        return NewVersion(association, items[target], previous, propagates) if previous else None
    if association.type == v.UPDATE_AVAILABILITY_STATUS and target not in {*items, *inside}:
        return NewStatus(association, _slot(association, "OriginalStatus"), _slot(association, "NewStatus"))
    if association.type == v.SUBMIT_ASSOCIATION and target in inside:
        return NewAssociation(association, inside[target])
    return None


def _slot(association: Association, name: str) -> str:
    return next((slot.values[0] for slot in association.extra_slots if slot.name == name and slot.values), "")
