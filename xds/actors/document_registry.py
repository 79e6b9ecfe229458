"""The Document Registry: takes a submission whole or not at all, and answers stored queries.

ITI TF-2: 3.42.4.1.3 (what registering entails), 3.18.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from xds.ebxml import rim
from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Finding, Refused
from xds.metadata import from_ebxml
from xds.metadata.association import Association
from xds.metadata.datatypes import Dtm
from xds.metadata.identifiers import Oid, is_entry_uuid, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import REPLACING, AssociationType, AvailabilityStatus
from xds.queries import returns
from xds.rules import document_entry as entry_rules
from xds.rules import submission as submission_rules
from xds.store.interface import FoundDocument, Kind
from xds.store.registry import SqlRegistry, Taken

_APPROVED = AvailabilityStatus.APPROVED
_ADDENDA = (AssociationType.APND, AssociationType.XFRM)


def read(objects: rim.RegistryObjectList) -> Submission:
    """A submission that keeps every rule that can be checked without the registry.

    Raises:
        Refused: with everything that is wrong.
    """
    submission = from_ebxml.submission(objects)
    findings = [finding for rule in submission_rules.RULES for finding in rule(submission)]
    for entry in submission.document_entries:
        findings += [finding for rule in entry_rules.RULES for finding in rule(entry)]
    if findings:
        raise Refused(findings)
    return submission


class DocumentRegistry:
    """One affinity domain's registry."""

    def __init__(self, authorities: Iterable[Oid], *, open_patients: bool, most_results: int) -> None:
        self._authorities, self._open, self._most = frozenset(authorities), open_patients, most_results

    def query(self, sent: AdhocQuery, store: SqlRegistry) -> list[bytes]:
        """The fragments of a stored query's answer.

        Raises:
            Refused: as ``queries.returns.answer`` does.
        """
        return returns.answer(sent, store, self._most)

    def register(self, submission: Submission, store: SqlRegistry) -> Submission:
        """Write a submission in the caller's database transaction; return it as registered.

        Raises:
            Refused: with everything that is wrong; the caller rolls back.
        """
        submission = _resolved(submission, datetime.now(UTC))
        patient_key = self._patient(submission, store)
        uids = [entry.unique_id for entry in submission.document_entries]
        store.lock(patient_key, [*uids, submission.submission_set.unique_id])
        outside = _Outside(submission, store)
        findings = [*_identical(submission, store), *outside.findings(patient_key)]
        if findings:
            raise Refused(findings)
        try:
            store.insert(patient_key, submission.objects())
        except Taken:
            raise Refused([_taken_id(submission)]) from None  # another transaction was first
        outside.take_effect(patient_key)
        return submission

    def _patient(self, submission: Submission, store: SqlRegistry) -> int:
        """The patient's key; where the domain is open, of a patient made now."""
        patient_id = submission.submission_set.patient_id
        key = store.patient_key(patient_id)
        if key is None and self._open and patient_id.authority in self._authorities:
            store.add_patient(patient_id)  # or another submission has, since we looked
            key = store.patient_key(patient_id)
        if key is None:
            # Table 4.2.4.1-2 wants the patient id in codeContext.
            raise Refused([Finding(ErrorCode.UNKNOWN_PATIENT_ID, str(patient_id))])
        return key


def _resolved(submission: Submission, now: datetime) -> Submission:
    """Symbolic ids replaced everywhere, everything Approved at version 1, folders updated now."""
    ids: dict[str, str] = {
        item.entry_uuid: new_entry_uuid() for item in submission.objects() if not is_entry_uuid(item.entry_uuid)
    }

    def end(entry_uuid: str) -> str:
        return ids.get(entry_uuid, entry_uuid)

    def state(entry_uuid: str) -> dict[str, Any]:
        uuid = end(entry_uuid)
        return {"entry_uuid": uuid, "logical_id": uuid, "version": "1", "availability_status": _APPROVED}

    return Submission(
        replace(submission.submission_set, **state(submission.submission_set.entry_uuid)),
        tuple(replace(e, **state(e.entry_uuid)) for e in submission.document_entries),
        tuple(replace(f, **state(f.entry_uuid), last_update_time=Dtm.of(now)) for f in submission.folders),
        tuple(
            replace(a, **state(a.entry_uuid), source=end(a.source), target=end(a.target))
            for a in submission.associations
        ),
    )


def _identical(submission: Submission, store: SqlRegistry) -> Iterator[Finding]:
    """A uniqueId registered before may come again with the same document only (ITI TF-2: 3.42.4.1.3.3.1)."""
    known: dict[str, list[FoundDocument]] = {}
    for found in store.documents_by_unique_id(entry.unique_id for entry in submission.document_entries):
        known.setdefault(found.unique_id, []).append(found)
    for entry in submission.document_entries:
        for other in known.get(entry.unique_id, ()):
            if (other.hash or "") != (entry.hash or "").lower():
                yield Finding(ErrorCode.NON_IDENTICAL_HASH, entry.unique_id, entry.entry_uuid)
            if other.size != entry.size:
                yield Finding(ErrorCode.NON_IDENTICAL_SIZE, entry.unique_id, entry.entry_uuid)


def _taken_id(submission: Submission) -> Finding:
    return Finding(
        ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, f"SubmissionSet.uniqueId {submission.submission_set.unique_id}"
    )


class _Outside:
    """The objects of the registry that a submission points to, and what becomes of them."""

    def __init__(self, submission: Submission, store: SqlRegistry) -> None:
        self._submission, self._store = submission, store
        inside = {item.entry_uuid for item in submission.objects()}
        self._inside = inside
        ends = {end for a in submission.associations for end in (a.source, a.target)} - inside
        self._kinds = store.kinds_of([*ends, *(item.entry_uuid for item in submission.objects())])
        self._documents = {d.entry_uuid: d for d in store.documents_by_uuid(ends)}

    def findings(self, patient_key: int) -> Iterator[Finding]:
        """New ids are free; ends outside exist, are of the right kind and patient, and Approved."""
        for item in self._submission.objects():
            if item.entry_uuid in self._kinds:
                rule = "entryUUID is registered already (ITI TF-2: 3.42.4.1.3)"
                yield Finding(ErrorCode.REGISTRY_METADATA, f"{type(item).__name__}.{rule}", item.entry_uuid)
        if self._store.submission_set(unique_id=self._submission.submission_set.unique_id) is not None:
            yield _taken_id(self._submission)
        for association in self._submission.associations:
            for end in (association.source, association.target):
                if end not in self._inside:
                    yield from self._end(association, end, patient_key)

    def _end(self, association: Association, end: str, patient_key: int) -> Iterator[Finding]:
        kind = self._kinds.get(end)
        if kind is None:
            yield Finding(ErrorCode.UNRESOLVED_REFERENCE, f"{end} is not registered", association.entry_uuid)
            return
        by_reference = association.source == self._submission.submission_set.entry_uuid
        if kind[1] != patient_key and not by_reference:
            yield Finding(
                ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
                "Association: an end is of another patient (ITI TF-2: 3.42.4.1.3)",
                association.entry_uuid,
            )
        document = self._documents.get(end)
        if association.type != AssociationType.HAS_MEMBER and document is None:
            rule = "Association: the target of a relationship is a DocumentEntry (ITI TF-3: 4.2.2.2)"
            yield Finding(ErrorCode.REGISTRY_METADATA, rule, association.entry_uuid)
        if document is not None and not by_reference and document.status != "Approved":
            rule = "Association: the document is Deprecated (ITI TF-2: 3.42.4.1.3)"
            yield Finding(ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, f"{rule}: {end}", association.entry_uuid)

    def take_effect(self, patient_key: int) -> None:
        """Replaced documents and their addenda are Deprecated, folders carried over and updated."""
        replaced = [a for a in self._submission.associations if a.type in REPLACING]
        for association in replaced:
            self._replace(association, patient_key)
        folders = {a.source for a in self._submission.associations if a.type == AssociationType.HAS_MEMBER}
        self._touch(folders - self._inside)
        for association in self._submission.associations:
            kind = self._kinds.get(association.target)
            if kind is not None and kind[1] != patient_key:
                self._store.insert_foreign(association.target, association.entry_uuid, patient_key)

    def _replace(self, association: Association, patient_key: int) -> None:
        old = association.target
        around = self._store.associations_of([old])
        addenda = [a.source for a in around if a.target == old and a.type in _ADDENDA and a.status == "Approved"]
        targets = self._store.documents_by_uuid([old, *addenda])
        self._store.deprecate(d for d in targets if d.status == "Approved")
        holders = [a.source for a in around if a.target == old and a.type == AssociationType.HAS_MEMBER]
        for folder in self._store.folders_by_uuid(holders):
            member = Association(
                **_new_state(), type=AssociationType.HAS_MEMBER, source=folder.entry_uuid, target=association.source
            )
            held = Association(
                **_new_state(),
                type=AssociationType.HAS_MEMBER,
                source=self._submission.submission_set.entry_uuid,
                target=member.entry_uuid,
            )
            self._store.insert(patient_key, (member, held))
            self._touch([folder.entry_uuid])

    def _touch(self, folders: Iterable[str]) -> None:
        now = Dtm.of(datetime.now(UTC)).text
        found: Sequence[str] = [f for f in folders if self._kinds.get(f, (Kind.FOLDER, 0))[0] is Kind.FOLDER]
        for folder in self._store.folders_by_uuid(found):
            self._store.touch_folder(folder, now)


def _new_state() -> dict[str, Any]:
    uuid = new_entry_uuid()
    return {"entry_uuid": uuid, "logical_id": uuid, "version": "1", "availability_status": _APPROVED}
