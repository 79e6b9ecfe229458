"""Updating metadata in the Document Registry: new versions, availability status, associations.

ITI TF-2: 3.57 (XDS Metadata Update supplement) and 3.92 (Restricted Metadata Update supplement).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from xds.actors.update_operations import NewAssociation, NewStatus, NewVersion, Operation, operations
from xds.actors.update_rules import Checking, naming_its_object, read_back, target_of, unique_id_used
from xds.ebxml import rim
from xds.errors import ErrorCode, Finding, Refused, Severity
from xds.metadata import from_ebxml
from xds.metadata.association import Association
from xds.metadata.datatypes import Dtm
from xds.metadata.folder import Folder
from xds.metadata.identifiers import EntryUuid, is_entry_uuid, new_entry_uuid
from xds.metadata.reading import UNREAD_PATIENT
from xds.metadata.submission import Submission, first_version
from xds.metadata.vocabulary import AssociationType, AvailabilityStatus
from xds.rules.code_sets import ANY, CodeSets
from xds.rules.document_entry import RULES
from xds.rules.submission import ids_are_uuids_or_symbols, ids_once, new_entries_are_original
from xds.store.interface import Found, FoundAssociation
from xds.store.registry.sql_registry import SqlRegistry, Taken

_APPROVED, _MEMBER = AvailabilityStatus.APPROVED, AssociationType.HAS_MEMBER


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
    wanted, findings = operations(submission, restricted=restricted, whole=not found.unread)
    findings = [*found.findings, *findings]
    findings += _checked(submission, code_sets)
    # With whom the submission is about, whoever has what it updates: an object may go on as another patient's.
    before = (store.latest_of(o.item.logical_id or "") for o in wanted if isinstance(o, NewVersion))
    others = {found.patient_key for found in before if found is not None}
    patient_id = submission.submission_set.patient_id
    store.lock({*store.chain(patient_id), *others}, [submission.submission_set.unique_id])
    keys = store.chain(patient_id)  # as it is now that nobody else changes it
    if not keys and patient_id != UNREAD_PATIENT:
        findings.append(Finding(ErrorCode.UNKNOWN_PATIENT_ID, str(patient_id)))
    checking = Checking(submission, wanted, store, keys, restricted=restricted)
    _Updating(submission, wanted, store, keys).run([*findings, *checking.findings()])
    return tuple(findings)


def _checked(submission: Submission, code_sets: CodeSets) -> Iterator[Finding]:
    """New versions keep the rules that first ones keep, and ids are those of one object."""
    for rule in (ids_once, ids_are_uuids_or_symbols, new_entries_are_original):
        yield from rule(submission)
    yield from _checked_entries(submission, code_sets)


def _checked_entries(submission: Submission, code_sets: CodeSets) -> Iterator[Finding]:
    for entry in submission.document_entries:
        for rule in RULES:
            yield from rule(entry)
    yield from code_sets.findings(submission)


class _Updating:
    """One submission on its way into the registry."""

    def __init__(
        self,
        submission: Submission,
        operations: list[Operation],
        store: SqlRegistry,
        keys: Sequence[int],
    ) -> None:
        self._submission, self._operations, self._store = submission, operations, store
        self._keys = keys
        self._new_ids: dict[str, EntryUuid] = {}
        self._replaced: dict[str, EntryUuid] = {}  # entryUUID of a version before → that of the new one

    def run(self, findings: Sequence[Finding]) -> None:
        """Carry it all out.  ``findings``: all there are; where the patient is unknown or unread, an error is there.

        Raises:
            Refused: something is wrong.
        """
        if any(finding.severity is Severity.ERROR for finding in findings):
            raise Refused(map(naming_its_object, findings))
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
        target = target_of(self._store, id_)
        assert target is not None  # noqa: S101  looked up before, under the patient's lock
        self._store.set_status(target, AvailabilityStatus(operation.new))

    def _held(self, trigger: Association, patient_key: int) -> None:
        """What the SubmissionSet did is kept with it."""
        ends: dict[str, Any] = {"source": self._id(trigger.source), "target": self._id(trigger.target)}
        self._store.insert(patient_key, [replace(trigger, **self._state(trigger), **ends)])


def _less(item: Association) -> tuple[rim.Slot, ...]:
    """Without what only says how to carry out the update."""
    return tuple(slot for slot in item.extra_slots if slot.name not in ("PreviousVersion", "AssociationPropagation"))


def _association(found: FoundAssociation) -> Association:
    read, _ = from_ebxml.association(read_back(found, rim.Association))
    assert read is not None  # noqa: S101  it was written by us
    return read
