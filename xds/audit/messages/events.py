"""One audit record in the making: who, what, about which patient and objects, and how it ended.

ITI TF-2: the «Security Considerations» of each transaction; RAD TF-2: 4.68, 4.69; DICOM PS3.15: A.5.
A record starts as «serious failure» and is bettered only when the reply is ready.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from xds.audit.messages.codes import (
    APPLICATION,
    DESTINATION,
    EVENT_IDS,
    EVENT_TYPES,
    IHE_TRANSACTIONS,
    NODE_ID,
    OVERRIDE,
    REPORT_NUMBER,
    SOURCE,
    STUDY_INSTANCE_UID,
    SUBMISSION_SET,
    URI,
    Action,
    Coded,
    LifeCycle,
    ObjectRole,
    Outcome,
)
from xds.audit.messages.message import (
    ActiveParticipant,
    AuditMessage,
    AuditSource,
    Description,
    Event,
    ParticipantObject,
    SopClass,
)
from xds.audit.messages.message_xml import as_xml_has, write
from xds.audit.messages.objects import (
    DOCUMENT_DETAIL,
    HOME_DETAIL,
    OBJECTS,
    StudyPatient,
    as_details,
    decided,
    in_parts,
    patient_object,
    quoted,
    thing,
    without,
)
from xds.audit.messages.parties import Party
from xds.audit.messages.people import Person, asking
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import RegistryObjectList
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest
from xds.errors import Finding, Severity
from xds.metadata import vocabulary as v
from xds.queries.catalogue import MULTI_PATIENT_QUERIES, STORED_QUERIES
from xds.settings.sections import Settings
from xds.store.audit.records import Recorded, now_microseconds

_CONFIGURATION = ("110128", "110129", "110130", "110131")
LOG_URI = "urn:xds:audit:log"

_PATIENT_PARAMETERS = ("XDSDocumentEntryPatientId", "XDSSubmissionSetPatientId", "XDSFolderPatientId", "patientId")


_Patient = tuple[str, tuple[tuple[str, str], ...]]
"""A patient's id, and details of it."""


def source_of(settings: Settings) -> AuditSource:
    """This node, as its records name it."""
    return AuditSource(settings.audit.source_id, settings.audit.enterprise_site_id)


@dataclass(slots=True)
class AuditEvent:
    """A record in the making."""

    node: AuditSource
    event_id: str
    action: str
    transaction: tuple[str, str]  # number, title
    source: Party
    destination: Party
    names_patient: bool = True
    kinds: tuple[Coded, ...] = ()
    patient_id: str = ""
    patient_details: tuple[tuple[str, str], ...] = ()
    objects: list[ParticipantObject] = field(default_factory=list)
    outcome: Outcome = Outcome.SERIOUS_FAILURE
    outcome_description: str = "interrupted"
    failed_ids: frozenset[str] = frozenset()
    settled: bool = False
    started: int = field(default_factory=now_microseconds)
    person: Person | None = field(default_factory=asking)
    sop_classes: dict[str, str] = field(default_factory=dict)  # of instances, by their UID
    study_patients: dict[str, StudyPatient] = field(default_factory=dict)  # whom studies show, by their UID
    notes: tuple[str, ...] = ()  # what is said of whether it may be done

    @classmethod
    def log_used(cls, node: AuditSource, reader: Party, *, asked: str = "", patient_id: str = "") -> AuditEvent:
        """Audit Log Used (DICOM PS3.15: A.5.3.2): somebody has read the log, and what of it."""
        event = cls(node, "110101", "R", ("", ""), reader, reader, patient_id=patient_id, person=None)
        name, details = "Security Audit Log", as_details([("Search", asked)] if asked else [])
        event.objects.append(thing(LOG_URI, URI, ObjectRole.SECURITY_RESOURCE, name=name, details=details))
        event.end(failed=False)
        return event

    @classmethod
    def log_erased(cls, node: AuditSource, who: Party, what: str, *, archived: bool) -> AuditEvent:
        """Audit Log Used, to erase records whose time is over: for good, or to where they are archived."""
        event = cls(node, "110101", "D", ("", ""), who, who, person=None)
        erased = thing(LOG_URI, URI, ObjectRole.SECURITY_RESOURCE, name="Security Audit Log",
                       details=as_details([("Erased", what)]))  # fmt: skip
        life_cycle = LifeCycle.ARCHIVING if archived else LifeCycle.PERMANENT_ERASURE
        event.objects.append(replace(erased, life_cycle=life_cycle))
        event.end(failed=False)
        return event

    @classmethod
    def patient_record(cls, node: AuditSource, action: str, who: Party, patient_id: str) -> AuditEvent:
        """Patient Record (DICOM PS3.15: A.5.3.11): an identity made known, changed or merged away by hand."""
        event = cls(node, "110110", action, ("", ""), who, who, patient_id=patient_id)
        event.end(failed=False)
        return event

    @classmethod
    def security_alert(cls, node: AuditSource, kind: str, who: Party, subject: str, description: str) -> AuditEvent:
        """Security Alert (DICOM PS3.15: A.5.3.13) of a kind, such as 110129: something sensitive was done by hand."""
        event = cls(node, "110113", "E", ("", ""), who, who, kinds=(EVENT_TYPES[kind],))
        details = as_details([("Alert Description", description)])
        role = ObjectRole.MASTER_FILE if kind in _CONFIGURATION else ObjectRole.SECURITY_RESOURCE
        event.objects.append(thing(subject, URI, role, details=details))
        event.end(failed=False)
        return event

    @classmethod
    def clock_wrong(cls, node: AuditSource, description: str) -> AuditEvent:
        """Security Alert: the clock that records are told by is wrong, or was set."""
        here = Party("clock", socket.gethostname(), ours=True)
        return cls.security_alert(node, "110130", here, "urn:xds:clock", description)

    @classmethod
    def settings_changed(cls, node: AuditSource, kind: str, names: Sequence[str]) -> AuditEvent:
        """Security Alert, a change of configuration of a kind such as 110129: which settings, not what they are."""
        here = Party("xds serve", socket.gethostname(), ours=True)
        return cls.security_alert(node, kind, here, "urn:xds:settings", f"changed: {', '.join(names)}")

    @classmethod
    def not_authenticated(cls, node: AuditSource, here: Party, there: Party, description: str) -> AuditEvent:
        """Security Alert, Node Authentication: a peer that could not be authenticated (ITI TF-2: 3.19)."""
        event = cls(node, "110113", "E", ("", ""), here, there, kinds=(EVENT_TYPES["110126"],))
        details = as_details([("Alert Description", description)])
        event.objects.append(thing(there.address, NODE_ID, ObjectRole.SECURITY_RESOURCE, details=details))
        event.refused("node not authenticated")
        return event

    @classmethod
    def signed_in(cls, node: AuditSource, who: Party, here: Party, failed: str, *, out: bool = False) -> AuditEvent:
        """User Authentication (DICOM PS3.15: A.5.3.14): somebody signed in, or did not for a reason, or signed out."""
        kinds = (EVENT_TYPES["110123" if out else "110122"],)
        event = cls(node, "110114", "E", ("", ""), who, here, kinds=kinds, person=None)
        if failed:
            event.refused(failed)
        else:
            event.end(failed=False)
        return event

    @classmethod
    def override(cls, event: AuditEvent) -> AuditEvent:
        """Security Alert, Emergency Override Started: what an event did was done in an emergency."""
        alert = replace(event, event_id="110113", action="E", transaction=("", ""), kinds=(OVERRIDE,))
        alert.objects = list(event.objects)
        number, title = event.transaction
        details = as_details([("Alert Description", f"emergency override: {number} {title}".rstrip())])
        alert.objects.append(thing("urn:xds:override", URI, ObjectRole.SECURITY_RESOURCE, details=details))
        return alert

    @classmethod
    def application(cls, node: AuditSource, *, starts: bool) -> AuditEvent:
        """Application Activity (DICOM PS3.15: A.5.3.1): this process begins, or ends, to play its actors."""
        here = Party(str(os.getpid()), socket.gethostname(), ours=True)
        kinds = (EVENT_TYPES["110120" if starts else "110121"],)
        event = cls(node, "110100", "E", ("", ""), here, here, kinds=kinds)
        event.end(failed=False)
        return event

    def copy(self) -> AuditEvent:
        """Another record of the same, to be about another patient."""
        return replace(self, objects=list(self.objects))

    # What it is about.

    def about_patient(self, patient_id: str) -> None:
        self.patient_id = patient_id

    def about_objects(self, objects: RegistryObjectList) -> None:
        """Patient and submission set of a submission, as sent: it may still prove wrong."""
        for package in objects.registry_packages:
            for identifier in package.external_identifiers:
                if identifier.scheme == v.SUBMISSION_SET_PATIENT_ID:
                    self.patient_id = identifier.value
                if identifier.scheme == v.SUBMISSION_SET_UNIQUE_ID:
                    self.about_submission_set(identifier.value)

    def about_submission_set(self, unique_id: str) -> None:
        self.objects.append(thing(unique_id, SUBMISSION_SET, ObjectRole.JOB))

    def about_query(self, query: AdhocQuery, request: bytes) -> None:
        """The query as sent, and its patient when it names one (ITI TF-2: 3.18.5.1)."""
        known = STORED_QUERIES.get(query.id) or MULTI_PATIENT_QUERIES.get(query.id)
        for slot in query.slots:
            # The query's own parameter, and no other that somebody puts beside it.
            name = slot.name.removeprefix("$")
            if name in _PATIENT_PARAMETERS and (known is None or known.parameter(name)):
                self.patient_id = quoted("".join(slot.values))
                break
        home = [(HOME_DETAIL, query.home)] if query.home else []  # of whom a gateway asks (3.38.5.1)
        self.about_question(query.id, request, [("QueryEncoding", "UTF-8"), *home])

    def about_question(self, id_: str, sent: bytes, details: Sequence[tuple[str, str]] = ()) -> None:
        """What this transaction asks, as it is sent."""
        number, title = self.transaction
        kind = Coded(number, IHE_TRANSACTIONS, title)
        self.objects.append(thing(id_, kind, ObjectRole.QUERY, query=sent, details=as_details(details)))

    def about_documents(self, requests: Iterable[DocumentRequest]) -> None:
        """The documents asked for (ITI TF-2: 3.43.5.1)."""
        for request in requests:
            details = [("Repository Unique ID", request.repository_unique_id)]
            if request.home_community_id:
                details.append(("ihe:homeCommunityID", request.home_community_id))
            self.objects.append(thing(request.document_unique_id, REPORT_NUMBER, details=as_details(details)))

    def about_studies(self, request: ImagingRequest) -> None:
        """The studies asked for, with their instances (RAD TF-2: 4.69.5)."""
        studies: dict[str, list[tuple[str, str]]] = {}
        for instance in request.instances:
            details = studies.setdefault(instance.study_instance_uid, [])
            where = [("Repository Unique ID", instance.document.repository_unique_id)]
            if instance.document.home_community_id:
                where.append(("ihe:homeCommunityID", instance.document.home_community_id))
            details += [detail for detail in where if detail not in details]
            details.append((DOCUMENT_DETAIL, instance.document.document_unique_id))
        self.objects += [thing(uid, STUDY_INSTANCE_UID, details=as_details(d)) for uid, d in studies.items()]

    def about_instances(self, instances: Iterable[tuple[str, str]]) -> None:
        """Instances by their Study and SOP Instance UIDs (RAD TF-2: 4.107.5)."""
        studies: dict[str, list[tuple[str, str]]] = {}
        for study, instance in instances:
            studies.setdefault(study, []).append((DOCUMENT_DETAIL, instance))
        self.objects += [thing(uid, STUDY_INSTANCE_UID, details=as_details(d)) for uid, d in studies.items()]

    def of_classes(self, classes: Iterable[tuple[str, str]]) -> None:
        """What instances are, by their SOP Instance and SOP Class UIDs: studies then say how many of which."""
        self.sop_classes.update(classes)

    def of_patients(self, studies: Mapping[str, StudyPatient]) -> None:
        """Whom studies show, each by its UID: each patient has a record (DICOM PS3.15: A.5.3.7)."""
        self.study_patients.update(studies)

    def about_search(self, query: str) -> None:
        """A search by its address (RAD TF-2: 4.129.5)."""
        self.about_question(self.transaction[0], query.encode("utf-8", "replace"))

    def partly_failed(self, ids: Iterable[str]) -> None:
        """Of what was asked for, these could not be given: they have a record of their own."""
        self.failed_ids, self.outcome_description = frozenset(ids), "not given"

    def about_removed(self, objects: Iterable[tuple[str, str, str]]) -> None:
        """Metadata removed for good: entryUUID, and what it was, as a code and its text (ITI TF-2: 3.62.5.1)."""
        for entry_uuid, code, text in objects:
            kind = Coded(code, "IHE XDS Metadata", text)
            self.objects.append(replace(thing(entry_uuid, kind), life_cycle=LifeCycle.PERMANENT_ERASURE))

    def about_removed_documents(self, requests: Iterable[DocumentRequest]) -> None:
        """Documents removed for good (Remove Metadata and Documents: 3.86.5)."""
        for request in requests:
            details = as_details([("urn:ihe:iti:xds:2007:repositoryUniqueId", request.repository_unique_id)])
            removed = thing(request.document_unique_id, REPORT_NUMBER, details=details)
            self.objects.append(replace(removed, life_cycle=LifeCycle.PERMANENT_ERASURE))

    def end(self, *, failed: bool, findings: Sequence[Finding] = ()) -> None:
        """How it ended; said once.  A refused message is the caller's error: minor failure."""
        if self.settled:
            return
        self.settled = True
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        self.failed_ids = frozenset(finding.location for finding in errors if finding.location)
        failure = Outcome.MINOR_FAILURE if errors else Outcome.SERIOUS_FAILURE
        self.outcome = failure if failed else Outcome.SUCCESS
        codes = sorted({finding.code for finding in errors})
        self.outcome_description = ", ".join(codes) if failed or codes else ""
        if failed and not codes:
            self.outcome_description = "broken off"

    def noted(self, decision: str) -> None:
        """What is to be said of whether it may be done."""
        self.notes = (*self.notes, decision)

    def refused(self, reason: str) -> None:
        """It was the caller's error: minor failure, for a reason without values."""
        self.settled, self.outcome, self.outcome_description = True, Outcome.MINOR_FAILURE, reason

    # What is recorded.

    def records(self) -> list[Recorded]:
        """The records of this event: what failed of it is a record of its own (ITI TF-2: 3.43.5)."""
        overriding = self.person is not None and self.person.overrides and self.event_id != "110113"
        alerts = [AuditEvent.override(self).recorded()] if overriding else []
        if self.outcome is not Outcome.SUCCESS or not self.outcome_description:
            return [*self._several(self.objects, self.outcome, self.outcome_description), *alerts]
        good, failed = self._parted()
        return [
            *self._several(good, Outcome.SUCCESS, ""),
            *self._several(failed, Outcome.MINOR_FAILURE, self.outcome_description),
            *alerts,
        ]

    def _several(self, objects: Sequence[ParticipantObject], outcome: Outcome, description: str) -> list[Recorded]:
        """One record, or of very many objects several: what is asked for at once has no bound, and a record has."""
        found = list[Recorded]()
        for patient, of_patient in self._by_patient(objects).items():
            parts = [part for item in of_patient for part in in_parts(item)]
            begins = range(0, len(parts), OBJECTS) if parts else (0,)
            found += [self._recorded(patient, parts[at : at + OBJECTS], outcome, description) for at in begins]
        return found

    def _by_patient(self, objects: Sequence[ParticipantObject]) -> dict[_Patient, list[ParticipantObject]]:
        """What a record is about, by the patient's id and its details: nearly always one."""
        if not self.study_patients:
            return {(self.patient_id, self.patient_details): list(objects)}
        found: dict[_Patient, list[ParticipantObject]] = {}
        for item in objects:
            found.setdefault(self.study_patients.get(item.id, StudyPatient()).known_as, []).append(item)
        return found or {(self.patient_id, self.patient_details): []}

    def _parted(self) -> tuple[list[ParticipantObject], list[ParticipantObject]]:
        """What succeeded and what failed, a study by its documents; all on both sides where that is not known."""
        good, failed = list[ParticipantObject](), list[ParticipantObject]()
        for item in self.objects:
            documents = [detail for detail in item.details if detail.type == DOCUMENT_DETAIL]
            bad = documents if item.id in self.failed_ids else [d for d in documents if d.text in self.failed_ids]
            if bad or item.id in self.failed_ids:
                failed.append(without(item, [d for d in documents if d not in bad]))
            if item.id not in self.failed_ids and (not documents or len(bad) < len(documents)):
                good.append(without(item, bad))
        return good or self.objects, failed or self.objects

    def recorded(self) -> Recorded:
        """The record as it stands now; of very many objects the first."""
        return self._several(self.objects, self.outcome, self.outcome_description)[0]

    def _recorded(
        self, of: _Patient, objects: Sequence[ParticipantObject], outcome: Outcome, description: str
    ) -> Recorded:
        message = write(self._message(of, objects, outcome, description))
        patient = as_xml_has(of[0])  # as the message has it, and every database
        return Recorded(message, self.event_id, self.transaction[0], outcome, patient, self.started)

    def _message(
        self, of: _Patient, objects: Sequence[ParticipantObject], outcome: Outcome, description: str
    ) -> AuditMessage:
        number, title = self.transaction
        event = Event(
            EVENT_IDS[self.event_id],
            # To the millisecond, as many repositories keep it.
            datetime.fromtimestamp(self.started // 1000 / 1000, UTC),
            outcome,
            Action(self.action),
            (Coded(number, IHE_TRANSACTIONS, title),) if number else self.kinds,
            description,
            self.person.purposes_of_use() if self.person else (),
        )
        roles = (APPLICATION,) if self.event_id == "110100" else ()
        parties: tuple[ActiveParticipant, ...] = (self.source.participant(*roles),)
        if self.source is not self.destination:
            parties = (self.source.participant(SOURCE), self.destination.participant(DESTINATION))
        if self.person:  # they are the requestor then, and no machine is
            parties = (*(replace(one, user_is_requestor=False) for one in parties), *self.person.participants())
        patient = patient_object(of[0] if self.names_patient else "", of[1])
        return AuditMessage(event, parties, self.node, (*patient, *map(self._described, objects), *decided(self.notes)))

    def _described(self, item: ParticipantObject) -> ParticipantObject:
        """A study with its SOP classes, and how many instances of each (DICOM PS3.15: A.5.3.7)."""
        if item.id_type != STUDY_INSTANCE_UID or not self.sop_classes:
            return item
        instances = (detail.text for detail in item.details if detail.type == DOCUMENT_DETAIL)
        counted = Counter(self.sop_classes[one] for one in instances if one in self.sop_classes)
        classes = tuple(SopClass(uid, count) for uid, count in sorted(counted.items()))
        return replace(item, description=Description(sop_classes=classes)) if classes else item
