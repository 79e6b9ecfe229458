"""Publishing follows the archive: a study's manifest is submitted when the study is quiet, replaced when it changes,
deprecated when it is gone; retried until acknowledged, and never twice.

RAD TF-2: 4.68 (RAD-68); ITI TF-2: 3.57 (UpdateAvailabilityStatus); ITI TF-3: 4.2.2.2.3 (RPLC).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from lxml import etree

from xds.actors.document_source import CONTENT_TYPE, Content, imaging_submission, provide_written, submission, written
from xds.archives.interface import Archive, Changes, Gone, NotAnswering
from xds.archives.patients import Patients
from xds.audit.messages.events import AuditEvent
from xds.ebxml import lcm, rs
from xds.ebxml.rim import Slot
from xds.errors import ErrorCode, Finding, Refused, Status
from xds.imaging.entry import MIME_TYPE, Defaults
from xds.imaging.group import Study
from xds.imaging.manifest import Manifest
from xds.metadata import to_ebxml
from xds.metadata.association import Association
from xds.metadata.identifiers import EntryUuid, Oid, PatientId, new_entry_uuid
from xds.metadata.submission import Submission
from xds.metadata.vocabulary import UPDATE_AVAILABILITY_STATUS, AssociationType, AvailabilityStatus
from xds.store import publications as store
from xds.store.audit.records import now_microseconds, record
from xds.store.engine import reading
from xds.store.publications import Publication
from xds.transactions.iti41_provide_and_register_document_set_b import RAD_68
from xds.transactions.iti57_update_document_set import TRANSACTION as ITI_57
from xds.transactions.transaction import Transaction
from xds.wire import tracing
from xds.wire.client import Client, Faulted, NoReply
from xds.wire.spool import Spool

log = logging.getLogger("xds.initiating.publisher")

FULL_LOOK_SECONDS = 3600.0
"""How often everything is looked at although the archive says what has changed."""

LOOKED_AT = 100
"""Studies that are noted in one database transaction."""

REMAP_SECONDS = 3600.0
"""How long the patient that a study was published as is taken for right."""

ASKED_AGAIN_SECONDS = 600.0
"""When it is asked again whose a patient is, where nobody could say."""

SILENT = 3
"""Questions in one round that are not answered, after which no more are asked."""

# Seconds until a study is tried again, by what came of it: doubled with each attempt, up to the second.
_NO_ANSWER, _NOT_MAPPED, _REFUSED = (10, 600), (60, 600), (600, 86_400)


@dataclass(frozen=True, slots=True)
class Where:
    """Where manifests go, and what the publisher says of itself."""

    repository: Client
    registry: Client | None
    source_id: Oid
    defaults: Defaults
    quiet_seconds: float


class Publisher:
    """One deployment's; not to be run twice at once."""

    def __init__(
        self, archive: Archive, engine: sa.Engine, patients: Patients, where: Where,
        manifest_of: Callable[[Study], Manifest], new_event: Callable[[Transaction, str], AuditEvent], spool: Spool,
        changes: Changes | None = None,
    ) -> None:  # fmt: skip
        """``changes``: what the archive says of its own accord, where it does."""
        self._archive, self._engine, self._patients, self._where = archive, engine, patients, where
        self._manifest_of, self._new_event, self._spool = manifest_of, new_event, spool
        self._changes, self._next_look, self._next_full = changes, 0.0, 0.0

    def step(self) -> int:
        """Look at the archive, and publish what is due; return how many studies were tried.

        Raises:
            NotAnswering: the archive does not say what it holds.
        """
        self._look()
        now = now_microseconds()
        self._remap(now)
        with reading(self._engine) as connection:
            due = store.due(connection, now - int(self._where.quiet_seconds * 1e6), now)
        for one in due:
            try:
                self._try(one)
            except (NotAnswering, Gone) as problem:
                self._later(one, str(problem), _NO_ANSWER)
        return len(due)

    def _look(self) -> None:
        """Note what has changed in the archive: where it says that itself, only that is looked at.

        Raises:
            NotAnswering: see ``step``.
        """
        now = time.monotonic()
        if self._changes is None and now < self._next_look:
            return
        next_full, self._next_full = self._next_full, 0.0  # what it says, it says once: until that is noted, all is due
        changed = None if self._changes is None else self._changes.studies()
        if changed is None or now >= next_full:
            self._look_at(None, dict(self._archive.fingerprints()))
            took = time.monotonic() - now
            self._next_look = time.monotonic() + (9 * took if took > 1 else 0)  # a tenth of the time at the most
            self._next_full = time.monotonic() + FULL_LOOK_SECONDS
            return
        uids = sorted(changed)
        for some in (uids[start : start + LOOKED_AT] for start in range(0, len(uids), LOOKED_AT)):
            self._look_at(some, {uid: text for one in some for uid, text in self._archive.fingerprints(one)})
        self._next_full = next_full

    def _look_at(self, only: Sequence[str] | None, found: dict[str, str]) -> None:
        with self._engine.begin() as connection:
            store.look(connection, found, now_microseconds(), only)

    def _remap(self, now: int) -> None:
        """Publish again what turns out to be of another patient than it was published as."""
        with reading(self._engine) as connection:
            asked = store.mapped_before(connection, now - int(REMAP_SECONDS * 1e6))
        silent = 0
        for one in asked:
            try:
                found = self._patients.mapped(PatientId.parse(one.own_patient))
            except NotAnswering as problem:
                # Of one patient it may be that nothing can be said; of several, that nobody answers.
                log.warning("patients.not_answering", extra={"reason": str(problem)})
                self._change(one, mapped=now - int((REMAP_SECONDS - ASKED_AGAIN_SECONDS) * 1e6))
                silent += 1
                if silent == SILENT:
                    return
                continue
            if found is None or str(found) == one.entry_patient:
                self._change(one, mapped=now)
            else:
                log.warning("study.of_another_patient", extra={"study": one.study_instance_uid})
                reason = "its patient is another one now"
                self._change(one, mapped=now, state="waiting", reason=reason, published="", next_try=0, attempts=0)

    def _try(self, one: Publication) -> None:
        if one.sending:
            self._send(one)
            return
        if one.state == "moving":
            self._withdraw(one)
            return
        study = self._archive.study(one.study_instance_uid) if one.fingerprint else None
        if study is None or not study.count:
            self._withdraw(one)
            return
        own = self._patients.own(study.patient)
        patient_id = None if own is None else self._patients.mapped(own)
        if own is None or patient_id is None:
            self._later(one, "the patient's id is not mapped to one of the affinity domain", _NOT_MAPPED)
            return
        self._change(one, own_patient=str(own), mapped=now_microseconds())
        self._send(self._prepared(one, study, patient_id))

    def _prepared(self, one: Publication, study: Study, patient_id: PatientId) -> Publication:
        """The message, kept before it is sent."""
        manifest = self._manifest_of(study)
        value, content = imaging_submission(study, manifest, patient_id, self._where.source_id, self._where.defaults)
        entry = replace(value.document_entries[0], entry_uuid=new_entry_uuid())
        members = tuple(replace(a, target=entry.entry_uuid) for a in value.associations)
        if one.entry_uuid:  # of another patient by now, unless the two were merged: then the registry says so
            members += (_replacing(entry.entry_uuid, one.entry_uuid),)
        value = Submission(value.submission_set, (entry,), (), members)
        message: dict[str, Any] = {
            "state": "sending", "reason": "", "sending": one.fingerprint, "sending_entry": entry.entry_uuid,
            "sending_set": value.submission_set.unique_id, "patient_id": str(patient_id),
            "metadata": written(value), "content": b"".join(content.chunks()),
        }  # fmt: skip
        self._change(one, **message)
        return replace(one, **message)

    def _send(self, one: Publication) -> None:
        """Send a message, which begins a trace; see ``_sent``."""
        with tracing.beginning("publish"):
            self._sent(one)

    def _sent(self, one: Publication) -> None:
        """Send a message as it was kept; a repository that has it already says so by its uniqueId."""
        parts = [(one.sending_entry, MIME_TYPE, Content.of(one.content or b""))]
        event = self._new_event(RAD_68, self._where.repository.url)
        event.about_patient(one.patient_id)
        event.about_submission_set(one.sending_set)
        with ExitStack() as stack:
            stack.callback(self._recorded, event)
            try:
                provide_written(self._where.repository, RAD_68.action, one.metadata or b"", parts, self._spool)
            except Refused as refused:
                event.end(failed=True, findings=refused.findings)
                if not _is_known(refused.findings, one.sending_set):
                    self._refused(one, refused.findings)
                    return
            except (NoReply, Faulted) as problem:
                event.end(failed=True)
                self._later(one, str(problem), _NO_ANSWER)
                return
            else:
                event.end(failed=False)
        self._change(
            one, state="published", reason="", published=one.sending, entry_uuid=one.sending_entry,
            entry_patient=one.patient_id, attempts=0, next_try=0, **_NOTHING_SENT,
        )  # fmt: skip
        log.info("study.published", extra={"study": one.study_instance_uid})

    def _refused(self, one: Publication, findings: Sequence[Finding]) -> None:
        codes = ", ".join(sorted({finding.code for finding in findings}))
        if one.entry_uuid and one.patient_id != one.entry_patient and _ANOTHERS & {f.code for f in findings}:
            # What is registered was of another patient: it is deprecated there before it is published here.
            # Due until it is published anew, even if it comes to look again as it did when it was published.
            moving = {"state": "moving", "reason": "its patient is another one now", "published": "", "next_try": 0}
            self._change(one, **moving, **_NOTHING_SENT)
            return
        if {finding.code for finding in findings} & _NOT_TO_BE_REPLACED:
            # Somebody else has replaced, deprecated or removed it: the next attempt stands for itself.
            self._change(one, entry_uuid="")
        log.warning("study.refused", extra={"study": one.study_instance_uid, "codes": codes})
        self._later(one, f"refused: {codes}", _REFUSED, state="refused", **_NOTHING_SENT)

    def _withdraw(self, one: Publication) -> None:
        """Deprecate the entry of a study of which nothing is left, which begins a trace."""
        with tracing.beginning("withdraw"):
            self._withdrawn(one)

    def _withdrawn(self, one: Publication) -> None:
        """Deprecate the entry of a study of which nothing is left."""
        if not one.entry_uuid or one.state == "withdrawn":
            self._change(one, state="withdrawn", reason="", published=one.fingerprint, entry_uuid="")
            return
        if self._where.registry is None:
            self._later(one, "no registry is set where its entry is deprecated", _NOT_MAPPED, state=one.state)
            return
        value = _deprecation(one, self._where.source_id)
        event = self._new_event(ITI_57, self._where.registry.url)
        event.about_patient(one.entry_patient)
        event.about_submission_set(value.submission_set.unique_id)
        with ExitStack() as stack:
            stack.callback(self._recorded, event)
            try:
                body = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(value)))
                answer = self._where.registry.send(ITI_57.action, [body], self._spool, as_mtom=False)
                status, findings = rs.read_response(answer.body)
            except (NoReply, Faulted, ValueError) as problem:
                event.end(failed=True)
                self._later(one, str(problem), _NO_ANSWER)
                return
            event.end(failed=status is not Status.SUCCESS, findings=findings)
        # Deprecated by an earlier attempt that was never answered, or removed: there is nothing left to do.
        settled = {ErrorCode.METADATA_UPDATE, ErrorCode.UNRESOLVED_REFERENCE}
        if status is not Status.SUCCESS and not {f.code for f in findings} <= settled:
            self._refused(one, findings)
            return
        after = {"state": "waiting"} if one.state == "moving" else {"state": "withdrawn", "published": one.fingerprint}
        self._change(one, reason="", entry_uuid="", attempts=0, next_try=0, **after)
        log.info("study.withdrawn", extra={"study": one.study_instance_uid})

    def _later(self, one: Publication, reason: str, pace: tuple[int, int], **changes: object) -> None:
        seconds = min(pace[0] * 2 ** min(one.attempts, 16), pace[1])
        next_try = now_microseconds() + seconds * 1_000_000
        state = {} if one.sending or one.state == "moving" else {"state": "waiting"}
        values = {**state, "reason": reason[:500], "attempts": one.attempts + 1, "next_try": next_try, **changes}
        self._change(one, **values)

    def _change(self, one: Publication, **values: object) -> None:
        with self._engine.begin() as connection:
            store.change(connection, one.study_instance_uid, **values)

    def _recorded(self, event: AuditEvent) -> None:
        with self._engine.begin() as connection:
            record(connection, event.records())


_ANOTHERS = {ErrorCode.PATIENT_ID_DOES_NOT_MATCH}
_NOT_TO_BE_REPLACED = {ErrorCode.REGISTRY_DEPRECATED_DOCUMENT, ErrorCode.UNRESOLVED_REFERENCE}
_NOTHING_SENT = {"sending": "", "sending_entry": "", "sending_set": "", "metadata": None, "content": None}


def _is_known(findings: Sequence[Finding], submission_set: str) -> bool:
    """Whether a refusal says that the submission was taken before: nothing else has its uniqueId."""
    return any(f.code == ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY and submission_set in f.context for f in findings)


def _replacing(new: str, old: str) -> Association:
    return Association(entry_uuid=EntryUuid("replacement"), type=AssociationType.RPLC, source=new, target=old)


def _deprecation(one: Publication, source_id: Oid) -> Submission:
    """An update of an entry's availabilityStatus (ITI TF-2: 3.57.4.1.3)."""
    value = submission([], PatientId.parse(one.entry_patient), source_id, CONTENT_TYPE)
    statuses = {"OriginalStatus": AvailabilityStatus.APPROVED, "NewStatus": AvailabilityStatus.DEPRECATED}
    trigger = Association(
        entry_uuid=EntryUuid("deprecation"), type=UPDATE_AVAILABILITY_STATUS, source=value.submission_set.entry_uuid,
        target=one.entry_uuid, extra_slots=tuple(Slot(name, (status,)) for name, status in statuses.items()),
    )  # fmt: skip
    return Submission(value.submission_set, (), (), (trigger,))
