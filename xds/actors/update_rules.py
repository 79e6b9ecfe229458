"""What an update must keep to, by what the registry holds.

ITI TF-2: 3.57.4.1.3 (XDS Metadata Update supplement) and 3.92.4.1.3 (Restricted Metadata Update supplement).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from xds.actors.update_operations import CLAUSE, RESTRICTED, NewAssociation, NewStatus, NewVersion, Operation
from xds.ebxml import rim
from xds.errors import ErrorCode, Finding
from xds.metadata import from_ebxml
from xds.metadata import vocabulary as v
from xds.metadata.association import Association
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import is_entry_uuid
from xds.metadata.reading import UNREAD_PATIENT, camel
from xds.metadata.submission import Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AssociationType, AvailabilityStatus
from xds.store.interface import Found, FoundAssociation, FoundDocument, Kind
from xds.store.registry.sql_registry import SqlRegistry
from xds.wire.xml import parse


class Checking:
    """One submission held against the registry.

    ``keys``: those of the submission's patient, none where nobody knows who that is; ``restricted``: by ITI-92.
    """

    def __init__(
        self,
        submission: Submission,
        operations: Sequence[Operation],
        store: SqlRegistry,
        keys: Sequence[int],
        *,
        restricted: bool,
    ) -> None:
        self._submission, self._operations, self._store = submission, operations, store
        self._keys, self._restricted = keys, restricted

    def _of_another(self, patient_key: int) -> bool:
        """Whether an object is not of the submission's patient, if it is known who that is."""
        return bool(self._keys) and patient_key not in self._keys

    def findings(self) -> Iterator[Finding]:
        unique_id = self._submission.submission_set.unique_id
        if self._store.submission_sets_by_unique_id([unique_id]):
            yield unique_id_used(self._submission.submission_set)
        registered = self._store.kinds_of(item.entry_uuid for item in self._submission.objects())
        for id_ in registered:
            rule = f"entryUUID is registered already, and a new version has one of its own ({CLAUSE})"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, id_)
        seen, related = set[str](), set[tuple[str, str]]()
        for operation in self._operations:
            if self._restricted and not (
                isinstance(operation, NewVersion) and isinstance(operation.item, DocumentEntry)
            ):
                rule = f"only DocumentEntry metadata may be updated ({RESTRICTED})"
                yield Finding(ErrorCode.METADATA_UPDATE_OPERATION, rule, operation.trigger.entry_uuid)
            elif isinstance(operation, NewVersion):
                if operation.item.logical_id in seen:
                    rule = f"logicalID: an object is updated once in a message ({CLAUSE})"
                    yield Finding(ErrorCode.METADATA_UPDATE_OPERATION, rule, operation.item.entry_uuid)
                seen.add(operation.item.logical_id or "")
                yield from self._version_findings(operation)
            elif isinstance(operation, NewStatus):
                yield from self._status_findings(operation)
            else:
                yield from self._association_findings(operation.item)
                ends = (operation.item.source, operation.item.target)
                if ends in related:
                    rule = f"Association: there is another between these two in the message ({CLAUSE})"
                    yield Finding(ErrorCode.METADATA_UPDATE, rule, operation.item.entry_uuid)
                related.add(ends)

    def _version_findings(self, operation: NewVersion) -> Iterator[Finding]:
        item = operation.item

        def wrong(code: ErrorCode, rule: str) -> Finding:
            return Finding(code, f"{type(item).__name__}.{rule}", item.entry_uuid)

        lid = item.logical_id or ""
        if not is_entry_uuid(lid) or lid == item.entry_uuid:
            code = ErrorCode.INVALID_REQUEST if self._restricted else ErrorCode.METADATA_UPDATE
            yield wrong(code, f"logicalID must be that of a registered object ({CLAUSE})")
            return
        current = self._store.latest_of(lid)
        if current is not None and self._store.not_theirs([current.entry_uuid]):
            current = None  # to who may not change it, it is not there
        if current is None or (current.kind is Kind.FOLDER) != isinstance(item, Folder):
            code = ErrorCode.UNRESOLVED_REFERENCE if self._restricted else ErrorCode.METADATA_VERSION
            yield wrong(code, f"logicalID is not registered ({CLAUSE})")
            return
        if operation.previous != str(current.version):
            rule = (
                f"version: PreviousVersion is {operation.previous[:20]}, the current one {current.version} ({CLAUSE})"
            )
            yield wrong(ErrorCode.METADATA_VERSION, rule)
        if current.status != "Approved" and not self._restricted:
            yield wrong(ErrorCode.METADATA_UPDATE, f"availabilityStatus: only what is Approved is updated ({CLAUSE})")
        if item.patient_id != self._submission.submission_set.patient_id != UNREAD_PATIENT:
            yield wrong(ErrorCode.PATIENT_ID_RECONCILIATION, f"patientId must be the SubmissionSet's ({CLAUSE})")
        elif self._restricted and self._of_another(current.patient_key):
            yield wrong(ErrorCode.PATIENT_ID_RECONCILIATION, f"patientId must be the one before ({RESTRICTED})")
        if item.unique_id and item.unique_id != current.unique_id:
            code = ErrorCode.METADATA_IDENTIFIER if self._restricted else ErrorCode.METADATA_UPDATE
            yield wrong(code, f"uniqueId must be the one before ({CLAUSE})")
        if isinstance(item, DocumentEntry) and isinstance(current, FoundDocument):
            yield from self._entry_findings(item, current)

    def _entry_findings(self, item: DocumentEntry, current: FoundDocument) -> Iterator[Finding]:
        if item.object_type in (v.STABLE, v.ON_DEMAND) and item.object_type != current.object_type:
            code = ErrorCode.OBJECT_TYPE if self._restricted else ErrorCode.METADATA_UPDATE
            yield Finding(code, f"DocumentEntry.objectType must be the one before ({CLAUSE})", item.entry_uuid)
        if not self._restricted:
            return
        before = _entry(current)
        for attribute in ("source_patient_id", "repository_unique_id", "document_availability"):
            new = _or_online(item, attribute)
            if new not in (None, "", UNREAD_PATIENT) and new != _or_online(before, attribute):
                rule = f"DocumentEntry.{camel(attribute)} may not be changed ({RESTRICTED})"
                yield Finding(ErrorCode.UNMODIFIABLE_METADATA, rule, item.entry_uuid)

    def _status_findings(self, operation: NewStatus) -> Iterator[Finding]:
        def wrong(code: ErrorCode, rule: str) -> Finding:
            return Finding(code, f"{rule} ({CLAUSE})", operation.trigger.target)

        target = target_of(self._store, operation.trigger.target)
        if target is not None and self._store.not_theirs([target.entry_uuid]):
            target = None  # to who may not change it, it is not there
        known = {status.value for status in AvailabilityStatus}
        if operation.original not in known or operation.new not in known or operation.original == operation.new:
            yield wrong(
                ErrorCode.METADATA_UPDATE, "OriginalStatus and NewStatus must be two of Approved and Deprecated"
            )
        elif target is None:
            yield wrong(ErrorCode.UNRESOLVED_REFERENCE, "no entry, folder or association is registered under the id")
        elif self._of_another(target.patient_key):
            yield wrong(ErrorCode.PATIENT_ID_RECONCILIATION, "the object is of another patient")
        elif not target.latest:
            yield wrong(ErrorCode.METADATA_VERSION, "the object has a later version")
        elif operation.original.rpartition(":")[2] != target.status:
            yield wrong(ErrorCode.METADATA_UPDATE, "OriginalStatus is not the object's status")
        elif isinstance(target, FoundAssociation) and self._store.submission_sets_by_uuid([target.source]):
            yield wrong(ErrorCode.METADATA_UPDATE, "an association of a SubmissionSet keeps its status")

    def _association_findings(self, item: Association) -> Iterator[Finding]:
        def wrong(code: ErrorCode, rule: str) -> Finding:
            return Finding(code, f"Association: {rule} ({CLAUSE})", item.entry_uuid)

        if item.type and item.type not in set(AssociationType):
            rule = "Association.associationType is none of XDS (ITI TF-3: Table 4.2.2-1)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, item.entry_uuid)
        if self._appends_to_a_transformation(item):
            rule = "Association: a transformation (XFRM) has no addenda (ITI TF-3: 4.2.2.2.1)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, item.entry_uuid)
        if item.type in v.REPLACING:
            yield wrong(ErrorCode.METADATA_UPDATE, "a document is replaced by a submission of its replacement, ITI-42")
        if item.source == item.target:
            yield wrong(ErrorCode.METADATA_UPDATE, "its ends are two")
        superseded = {o.item.logical_id for o in self._operations if isinstance(o, NewVersion)}
        absent = self._store.withheld([item.source, item.target])
        ends = [None if end in absent else target_of(self._store, end) for end in (item.source, item.target)]
        if any(end is not None and (end.logical_id or end.entry_uuid) in superseded for end in ends):
            yield wrong(ErrorCode.METADATA_UPDATE, "an end has a new version in the message, which is given its own")
        for end in ends:
            if end is None or end.kind is Kind.ASSOCIATION:
                yield wrong(ErrorCode.UNRESOLVED_REFERENCE, "both ends are entries or folders of the registry")
                return
            if self._of_another(end.patient_key):
                yield wrong(ErrorCode.PATIENT_ID_RECONCILIATION, "an end is of another patient")
            if end.status != "Approved":
                yield wrong(ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, "an end is Deprecated")
        kinds = tuple(end.kind for end in ends if end)
        folder_first = kinds == (Kind.FOLDER, Kind.DOCUMENT_ENTRY)
        if folder_first != (item.type == AssociationType.HAS_MEMBER) or Kind.FOLDER in kinds[1:]:
            yield wrong(ErrorCode.METADATA_UPDATE, "HasMember leads from a Folder to an entry, and nothing else does")
        for other in self._store.associations_of([item.source]):
            if (other.source, other.target, other.status) == (item.source, item.target, "Approved"):
                yield wrong(ErrorCode.METADATA_UPDATE, "there is one between these two already")
                return

    def _appends_to_a_transformation(self, item: Association) -> bool:
        """Whether there would be an addendum to a transformation; either may be there already, or come with it."""
        around: list[Association | FoundAssociation] = [
            *(other.item for other in self._operations if isinstance(other, NewAssociation)),
            *self._store.associations_of([item.source, item.target]),
        ]
        if item.type == AssociationType.APND:
            return any(a.type == AssociationType.XFRM and a.source == item.target for a in around)
        if item.type == AssociationType.XFRM:
            return any(a.type == AssociationType.APND and a.target == item.source for a in around)
        return False


def target_of(store: SqlRegistry, id_: str) -> Found | None:
    """The entry, folder or association of an entryUUID."""
    found = store.by_uuid(id_)
    return None if found is None or found.kind is Kind.SUBMISSION_SET else found


_UPDATE_CODES = frozenset(
    {
        ErrorCode.INVALID_REQUEST,
        ErrorCode.METADATA_ANNOTATION,
        ErrorCode.METADATA_IDENTIFIER,
        ErrorCode.METADATA_UPDATE,
        ErrorCode.METADATA_UPDATE_OPERATION,
        ErrorCode.METADATA_VERSION,
        ErrorCode.OBJECT_TYPE,
        ErrorCode.PATIENT_ID_RECONCILIATION,
        ErrorCode.UNMODIFIABLE_METADATA,
        ErrorCode.UNRESOLVED_REFERENCE,
    }
)
"""Codes whose codeContext holds the id of the object at fault, as other registries' does (Metadata Update: 4.2.4.1)."""


def naming_its_object(finding: Finding) -> Finding:
    if finding.code not in _UPDATE_CODES or not finding.location:
        return finding
    return replace(finding, context=f"{finding.location}: {finding.context}")


def unique_id_used(item: SubmissionSet | DocumentEntry | Folder) -> Finding:
    """A uniqueId is that of another object of the registry.  ITI TF-3: Table 4.2.4.1-2."""
    rule = f"{type(item).__name__}.uniqueId {item.unique_id}"
    location = "" if isinstance(item, SubmissionSet) else item.entry_uuid  # a message has one set
    return Finding(ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, rule, location)


def _or_online(item: DocumentEntry, attribute: str) -> Any:
    """An attribute; of an availability that is not written, what it means (Restricted Metadata Update: 3.92.4.1.3)."""
    value = getattr(item, attribute)
    return v.ONLINE if attribute == "document_availability" and value is None else value


def _entry(found: FoundDocument) -> DocumentEntry:
    read, _ = from_ebxml.document_entry(read_back(found, rim.ExtrinsicObject))
    assert read is not None  # noqa: S101  it was written by us
    return read


def read_back(found: Found, kind: type[Any]) -> Any:
    item = rim.read_object(parse(found.ebxml))
    assert isinstance(item, kind)  # noqa: S101  it was written by us as one
    return item
