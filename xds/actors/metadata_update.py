"""Updating metadata in the Document Registry: new versions, availability status, associations.

ITI TF-2: 3.57 (XDS Metadata Update supplement) and 3.92 (Restricted Metadata Update supplement).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from xds.ebxml import rim
from xds.errors import ErrorCode, Finding, Refused, Severity
from xds.metadata import from_ebxml
from xds.metadata import vocabulary as v
from xds.metadata.association import Association
from xds.metadata.datatypes import Dtm
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import EntryUuid, is_entry_uuid, new_entry_uuid
from xds.metadata.reading import UNREAD_PATIENT, camel
from xds.metadata.submission import Submission, first_version
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import AssociationType, AvailabilityStatus
from xds.rules.code_sets import ANY, CodeSets
from xds.rules.document_entry import RULES
from xds.rules.submission import ids_are_uuids_or_symbols, ids_once
from xds.store.interface import Found, FoundAssociation, FoundDocument, Kind
from xds.store.registry.sql_registry import SqlRegistry, Taken
from xds.wire.xml import parse

_APPROVED, _MEMBER = AvailabilityStatus.APPROVED, AssociationType.HAS_MEMBER
_CLAUSE, _RESTRICTED = "ITI TF-2: 3.57.4.1.3", "ITI TF-2: 3.92.4.1.3"

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


def update(
    objects: rim.RegistryObjectList, store: SqlRegistry, *, restricted: bool = False, code_sets: CodeSets = ANY
) -> tuple[Finding, ...]:
    """Carry out every operation of a submission in the caller's database transaction, or none; return what to warn of.

    ``restricted``: ITI-92, which updates DocumentEntry metadata and nothing else.

    Raises:
        Refused: with everything that is wrong; the caller rolls back.
    """
    found = from_ebxml.read(objects)
    if found.without_set:
        raise Refused([*found.findings, *_checked_entries(found.submission, code_sets)])
    # Of what is of no known kind it is said; the rest is looked at all the same.
    kept = tuple(a for a in found.submission.associations if not {a.source, a.target} & found.unread)
    submission = replace(found.submission, associations=kept)
    operations, findings = _operations(submission, restricted=restricted, whole=not found.unread)
    findings = [*found.findings, *findings]
    findings += _checked(submission, code_sets)
    # With whom the submission is about, whoever has what it updates: an object may go on as another patient's.
    before = (store.latest_of(o.item.logical_id or "") for o in operations if isinstance(o, NewVersion))
    others = {found.patient_key for found in before if found is not None}
    patient_id = submission.submission_set.patient_id
    store.lock({*store.chain(patient_id), *others}, [submission.submission_set.unique_id])
    keys = store.chain(patient_id)  # as it is now that nobody else changes it
    if not keys and patient_id != UNREAD_PATIENT:
        findings.append(Finding(ErrorCode.UNKNOWN_PATIENT_ID, str(patient_id)))
    _Updating(submission, operations, store, keys, restricted).run(findings)
    return tuple(findings)


def _checked(submission: Submission, code_sets: CodeSets) -> Iterator[Finding]:
    """New versions keep the rules that first ones keep, and ids are those of one object."""
    yield from ids_once(submission)
    yield from ids_are_uuids_or_symbols(submission)
    yield from _checked_entries(submission, code_sets)


def _checked_entries(submission: Submission, code_sets: CodeSets) -> Iterator[Finding]:
    for entry in submission.document_entries:
        for rule in RULES:
            yield from rule(entry)
    yield from code_sets.findings(submission)


def _operations(submission: Submission, *, restricted: bool, whole: bool) -> tuple[list[Operation], list[Finding]]:
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
        elif restricted and association.type == _MEMBER and association.target in items:
            rule = f"Association.PreviousVersion is required ({_RESTRICTED})"
            findings.append(Finding(ErrorCode.METADATA_ANNOTATION, rule, association.entry_uuid))
            untouched -= {association.entry_uuid, association.target}
    for id_ in sorted(untouched):
        rule = f"no association of the SubmissionSet says what becomes of it ({_CLAUSE})"
        findings.append(Finding(ErrorCode.METADATA_UPDATE_OPERATION, rule, id_))
    if whole and not operations and not findings:
        findings.append(Finding(ErrorCode.METADATA_UPDATE_OPERATION, f"nothing is to be updated ({_CLAUSE})"))
    return operations, findings


def _operation(
    association: Association, items: dict[str, Versioned], inside: dict[str, Association]
) -> Operation | None:
    target = association.target
    if association.type == _MEMBER and target in items:
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


class _Updating:
    """One submission on its way into the registry."""

    def __init__(
        self,
        submission: Submission,
        operations: list[Operation],
        store: SqlRegistry,
        keys: Sequence[int],
        restricted: bool,
    ) -> None:
        self._submission, self._operations, self._store = submission, operations, store
        self._keys, self._restricted = keys, restricted
        self._new_ids: dict[str, EntryUuid] = {}
        self._replaced: dict[str, EntryUuid] = {}  # entryUUID of a version before → that of the new one

    def run(self, known: Sequence[Finding]) -> None:
        """Carry it all out.  ``known``: what has been found; of a patient who is unknown or unread it has an error.

        Raises:
            Refused: something is wrong.
        """
        findings = [*known, *self._findings()]
        if any(finding.severity is Severity.ERROR for finding in findings):
            raise Refused(map(_naming_its_object, findings))
        patient_key = self._keys[0]
        submission_set = replace(self._submission.submission_set, **self._state(self._submission.submission_set))
        try:
            self._store.insert(patient_key, [submission_set])
        except Taken:  # another transaction was first
            raise Refused([unique_id_used(submission_set)]) from None
        for operation in self._operations:
            if isinstance(operation, NewVersion):
                self._new_version(operation, patient_key)
        for operation in self._operations:
            if isinstance(operation, NewAssociation):
                self._submit(operation.item, patient_key)
        for operation in self._operations:
            if isinstance(operation, NewStatus):
                self._set_status(operation)
        for operation in self._operations:
            self._held(operation.trigger, patient_key)

    # What is wrong.

    def _of_another(self, patient_key: int) -> bool:
        """Whether an object is not of the submission's patient, if it is known who that is."""
        return bool(self._keys) and patient_key not in self._keys

    def _findings(self) -> Iterator[Finding]:
        unique_id = self._submission.submission_set.unique_id
        if self._store.submission_sets_by_unique_id([unique_id]):
            yield unique_id_used(self._submission.submission_set)
        registered = self._store.kinds_of(item.entry_uuid for item in self._submission.objects())
        for id_ in registered:
            rule = f"entryUUID is registered already, and a new version has one of its own ({_CLAUSE})"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, id_)
        seen, related = set[str](), set[tuple[str, str]]()
        for operation in self._operations:
            if self._restricted and not (
                isinstance(operation, NewVersion) and isinstance(operation.item, DocumentEntry)
            ):
                rule = f"only DocumentEntry metadata may be updated ({_RESTRICTED})"
                yield Finding(ErrorCode.METADATA_UPDATE_OPERATION, rule, operation.trigger.entry_uuid)
            elif isinstance(operation, NewVersion):
                if operation.item.logical_id in seen:
                    rule = f"logicalID: an object is updated once in a message ({_CLAUSE})"
                    yield Finding(ErrorCode.METADATA_UPDATE_OPERATION, rule, operation.item.entry_uuid)
                seen.add(operation.item.logical_id or "")
                yield from self._version_findings(operation)
            elif isinstance(operation, NewStatus):
                yield from self._status_findings(operation)
            else:
                yield from self._association_findings(operation.item)
                ends = (operation.item.source, operation.item.target)
                if ends in related:
                    rule = f"Association: there is another between these two in the message ({_CLAUSE})"
                    yield Finding(ErrorCode.METADATA_UPDATE, rule, operation.item.entry_uuid)
                related.add(ends)

    def _version_findings(self, operation: NewVersion) -> Iterator[Finding]:
        item = operation.item

        def wrong(code: ErrorCode, rule: str) -> Finding:
            return Finding(code, f"{type(item).__name__}.{rule}", item.entry_uuid)

        lid = item.logical_id or ""
        if not is_entry_uuid(lid) or lid == item.entry_uuid:
            code = ErrorCode.INVALID_REQUEST if self._restricted else ErrorCode.METADATA_UPDATE_OPERATION
            yield wrong(code, f"logicalID must be that of a registered object ({_CLAUSE})")
            return
        current = self._store.latest_of(lid)
        if current is None or (current.kind is Kind.FOLDER) != isinstance(item, Folder):
            yield wrong(ErrorCode.UNRESOLVED_REFERENCE, f"logicalID is not registered ({_CLAUSE})")
            return
        if operation.previous != str(current.version):
            rule = (
                f"version: PreviousVersion is {operation.previous[:20]}, the current one {current.version} ({_CLAUSE})"
            )
            yield wrong(ErrorCode.METADATA_VERSION, rule)
        if current.status != "Approved" and not self._restricted:
            yield wrong(ErrorCode.METADATA_UPDATE, f"availabilityStatus: only what is Approved is updated ({_CLAUSE})")
        if item.patient_id != self._submission.submission_set.patient_id != UNREAD_PATIENT:
            yield wrong(ErrorCode.PATIENT_ID_RECONCILIATION, f"patientId must be the SubmissionSet's ({_CLAUSE})")
        elif self._restricted and self._of_another(current.patient_key):
            yield wrong(ErrorCode.PATIENT_ID_RECONCILIATION, f"patientId must be the one before ({_RESTRICTED})")
        if item.unique_id and item.unique_id != current.unique_id:
            code = ErrorCode.METADATA_IDENTIFIER if self._restricted else ErrorCode.METADATA_UPDATE
            yield wrong(code, f"uniqueId must be the one before ({_CLAUSE})")
        if isinstance(item, DocumentEntry) and isinstance(current, FoundDocument):
            yield from self._entry_findings(item, current)

    def _entry_findings(self, item: DocumentEntry, current: FoundDocument) -> Iterator[Finding]:
        if item.object_type in (v.STABLE, v.ON_DEMAND) and item.object_type != current.object_type:
            code = ErrorCode.OBJECT_TYPE if self._restricted else ErrorCode.METADATA_UPDATE
            yield Finding(code, f"DocumentEntry.objectType must be the one before ({_CLAUSE})", item.entry_uuid)
        if not self._restricted:
            return
        before = _entry(current)
        for attribute in ("source_patient_id", "repository_unique_id", "document_availability"):
            new = _or_online(item, attribute)
            if new not in (None, "", UNREAD_PATIENT) and new != _or_online(before, attribute):
                rule = f"DocumentEntry.{camel(attribute)} may not be changed ({_RESTRICTED})"
                yield Finding(ErrorCode.UNMODIFIABLE_METADATA, rule, item.entry_uuid)

    def _target(self, id_: str) -> Found | None:
        """The entry, folder or association of an entryUUID."""
        found = self._store.by_uuid(id_)
        return None if found is None or found.kind is Kind.SUBMISSION_SET else found

    def _status_findings(self, operation: NewStatus) -> Iterator[Finding]:
        def wrong(code: ErrorCode, rule: str) -> Finding:
            return Finding(code, f"{rule} ({_CLAUSE})", operation.trigger.target)

        target = self._target(operation.trigger.target)
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
            return Finding(code, f"Association: {rule} ({_CLAUSE})", item.entry_uuid)

        if item.type not in set(AssociationType):
            yield wrong(ErrorCode.METADATA_UPDATE, "its type is none of ITI TF-3: Table 4.2.2-1")
        if item.type in v.REPLACING:
            yield wrong(ErrorCode.METADATA_UPDATE, "a document is replaced by a submission of its replacement, ITI-42")
        if item.source == item.target:
            yield wrong(ErrorCode.METADATA_UPDATE, "its ends are two")
        superseded = {o.item.logical_id for o in self._operations if isinstance(o, NewVersion)}
        ends = [self._target(item.source), self._target(item.target)]
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
        if folder_first != (item.type == _MEMBER) or Kind.FOLDER in kinds[1:]:
            yield wrong(ErrorCode.METADATA_UPDATE, "HasMember leads from a Folder to an entry, and nothing else does")
        for other in self._store.associations_of([item.source]):
            if (other.source, other.target, other.status) == (item.source, item.target, "Approved"):
                yield wrong(ErrorCode.METADATA_UPDATE, "there is one between these two already")
                return

    # What is done.

    def _state(self, item: Any) -> dict[str, Any]:
        """What a new object of the message has, under its id or the one that stands for it."""
        return first_version(self._id(item.entry_uuid))

    def _id(self, id_: str) -> EntryUuid:
        if is_entry_uuid(id_):
            return EntryUuid(id_)
        return self._new_ids.setdefault(id_, new_entry_uuid())

    def _new_version(self, operation: NewVersion, patient_key: int) -> None:
        current = self._store.latest_of(operation.item.logical_id or "")
        assert current is not None  # noqa: S101  looked up before, under the patient's lock
        was_deprecated = current.status != "Approved"
        changes: dict[str, Any] = {
            "entry_uuid": self._id(operation.item.entry_uuid),
            "version": str(current.version + 1),
            "availability_status": AvailabilityStatus.DEPRECATED if was_deprecated else _APPROVED,
        }
        if isinstance(operation.item, Folder):
            changes["last_update_time"] = Dtm.of(datetime.now(UTC))
        item = replace(operation.item, **changes)
        self._store.deprecate([current])
        self._store.supersede(current)
        self._store.insert(patient_key, [item])
        self._replaced[current.entry_uuid] = item.entry_uuid
        # What goes on as another patient's leaves behind what it had with those of the patient before.
        if operation.propagates and current.patient_key in self._keys:
            self._propagate(current, item.entry_uuid, patient_key)

    def _propagate(self, current: Found, new: EntryUuid, patient_key: int) -> None:
        """The new version has what the one before had: its folders or members, and its relationships."""
        for found in self._store.associations_of([current.entry_uuid]):
            if found.status != "Approved" or self._store.submission_sets_by_uuid([found.source]):
                continue
            source, target = (new if end == current.entry_uuid else end for end in (found.source, found.target))
            copied = _association(found)
            association = replace(copied, **first_version(new_entry_uuid()), source=source, target=target)
            self._submit(association, patient_key)
            self._held(self._membership(association), patient_key)

    def _membership(self, association: Association) -> Association:
        set_id = self._submission.submission_set.entry_uuid
        return Association(entry_uuid=new_entry_uuid(), type=_MEMBER, source=set_id, target=association.entry_uuid)

    def _submit(self, item: Association, patient_key: int) -> None:
        """An association between objects that are, or have just been, registered."""
        association = replace(item, **self._state(item), extra_slots=_less(item))
        self._store.insert(patient_key, [association])
        if association.type == _MEMBER:
            now = Dtm.of(datetime.now(UTC)).text
            for folder in self._store.folders_by_uuid([association.source]):
                self._store.touch_folder(folder, now)

    def _set_status(self, operation: NewStatus) -> None:
        id_ = self._replaced.get(operation.trigger.target, operation.trigger.target)
        target = self._target(id_)
        assert target is not None  # noqa: S101  looked up before, under the patient's lock
        self._store.set_status(target, AvailabilityStatus(operation.new))

    def _held(self, trigger: Association, patient_key: int) -> None:
        """What the SubmissionSet did is kept with it."""
        ends: dict[str, Any] = {"source": self._id(trigger.source), "target": self._id(trigger.target)}
        self._store.insert(patient_key, [replace(trigger, **self._state(trigger), **ends)])


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


def _naming_its_object(finding: Finding) -> Finding:
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


def _less(item: Association) -> tuple[rim.Slot, ...]:
    """Without what only says how to carry out the update."""
    return tuple(slot for slot in item.extra_slots if slot.name not in ("PreviousVersion", "AssociationPropagation"))


def _entry(found: FoundDocument) -> DocumentEntry:
    read, _ = from_ebxml.document_entry(_read(found, rim.ExtrinsicObject))
    assert read is not None  # noqa: S101  it was written by us
    return read


def _association(found: FoundAssociation) -> Association:
    read, _ = from_ebxml.association(_read(found, rim.Association))
    assert read is not None  # noqa: S101  it was written by us
    return read


def _read(found: Found, kind: type[Any]) -> Any:
    item = rim.read_object(parse(found.ebxml))
    assert isinstance(item, kind)  # noqa: S101  it was written by us as one
    return item
