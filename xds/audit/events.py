"""One audit record in the making: who, what, about which patient and objects, and how it ended.

ITI TF-2: the «Security Considerations» of each transaction; RAD TF-2: 4.68, 4.69; DICOM PS3.15: A.5.
A record starts as «serious failure» and is bettered only when the reply is ready.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from lxml import etree

from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import RegistryObjectList
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest
from xds.errors import Finding, Severity
from xds.metadata import vocabulary as v
from xds.store.audit import Recorded, now_microseconds

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = 0, 4, 8

# DICOM PS3.15: A.5.2 and CID 400, CID 402.
EVENT_NAMES = {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110106": "Export",
    "110107": "Import",
    "110112": "Query",
    "110113": "Security Alert",
}
SOURCE_ROLE = ("110153", "DCM", "Source Role ID")
DESTINATION_ROLE = ("110152", "DCM", "Destination Role ID")
SUBMISSION_SET_TYPE = (v.SUBMISSION_SET, "IHE XDS Metadata", "submission set classificationNode")


class Side(Enum):
    """Which of a transaction's two actors writes the record."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


@dataclass(frozen=True, slots=True)
class Node:
    """The audit source: AuditSourceID and, where there is one, AuditEnterpriseSiteID."""

    source_id: str
    enterprise_site_id: str = ""


@dataclass(frozen=True, slots=True)
class Party:
    """An ActiveParticipant: how it is called, its own process where it is ours, and its network address."""

    user_id: str
    address: str
    ours: bool = False
    requestor: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """A ParticipantObject: codes as (code, system, text), details as (type, value)."""

    id: str
    type_code: str
    role: str
    id_type: tuple[str, str, str]
    query: bytes | None = None
    details: tuple[tuple[str, str], ...] = ()
    name: str = ""


@dataclass(slots=True)
class AuditEvent:
    """A record in the making."""

    node: Node
    event_id: str
    action: str
    transaction: tuple[str, str]  # number, title
    source: Party
    destination: Party
    names_patient: bool = True
    patient_id: str = ""
    objects: list[About] = field(default_factory=list)
    outcome: int = SERIOUS_FAILURE
    outcome_description: str = "interrupted"
    failed_ids: frozenset[str] = frozenset()
    settled: bool = False
    started: int = field(default_factory=now_microseconds)

    @classmethod
    def log_used(cls, node: Node, reader: Party) -> AuditEvent:
        """Audit Log Used (DICOM PS3.15: A.5.3.2): somebody has read the log."""
        event = cls(node, "110101", "R", ("", ""), reader, reader)
        kind = ("12", "RFC-3881", "URI")
        event.objects.append(About("audit log", "2", "13", kind, name="Security Audit Log"))
        event.end(failed=False)
        return event

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
        self.objects.append(About(unique_id, "2", "20", SUBMISSION_SET_TYPE))

    def about_query(self, query: AdhocQuery, request: bytes) -> None:
        """The query as sent, and its patient when it names one (ITI TF-2: 3.18.5.1)."""
        for slot in query.slots:
            if slot.name in ("$XDSDocumentEntryPatientId", "$XDSSubmissionSetPatientId", "$XDSFolderPatientId"):
                self.patient_id = "".join(slot.values).strip().strip("()'")
        number, title = self.transaction
        details = (("QueryEncoding", "UTF-8"),)
        self.objects.append(About(query.id, "2", "24", (number, "IHE Transactions", title), request, details))

    def about_documents(self, requests: Iterable[DocumentRequest]) -> None:
        """The documents asked for (ITI TF-2: 3.43.5.1)."""
        for request in requests:
            details = [("Repository Unique ID", request.repository_unique_id)]
            if request.home_community_id:
                details.append(("ihe:homeCommunityID", request.home_community_id))
            kind = ("9", "RFC-3881", "Report Number")
            self.objects.append(About(request.document_unique_id, "2", "3", kind, details=tuple(details)))

    def about_studies(self, request: ImagingRequest) -> None:
        """The studies asked for, with their instances (RAD TF-2: 4.69.5)."""
        studies: dict[str, list[tuple[str, str]]] = {}
        for instance in request.instances:
            details = studies.setdefault(instance.study_instance_uid, [])
            repository = ("Repository Unique ID", instance.document.repository_unique_id)
            if repository not in details:
                details.append(repository)
            details.append(("Document Unique ID", instance.document.document_unique_id))
        kind = ("110180", "DCM", "Study Instance UID")
        self.objects += [About(uid, "2", "3", kind, details=tuple(d)) for uid, d in studies.items()]

    def end(self, *, failed: bool, findings: Sequence[Finding] = ()) -> None:
        """How it ended; said once.  A refused message is the caller's error: minor failure."""
        if self.settled:
            return
        self.settled = True
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        self.failed_ids = frozenset(finding.location for finding in errors if finding.location)
        self.outcome = SUCCESS if not failed else MINOR_FAILURE if errors else SERIOUS_FAILURE
        codes = sorted({finding.code for finding in errors})
        self.outcome_description = ", ".join(codes) if failed or codes else ""
        if failed and not codes:
            self.outcome_description = "broken off"

    # What is recorded.

    def records(self) -> list[Recorded]:
        """The records of this event: what failed of it is a record of its own (ITI TF-2: 3.43.5)."""
        failed = [item for item in self.objects if item.id in self.failed_ids]
        if self.outcome != SUCCESS or not failed or len(failed) == len(self.objects):
            return [self.recorded()]
        good = [item for item in self.objects if item.id not in self.failed_ids]
        return [
            self._recorded(good, SUCCESS, ""),
            self._recorded(failed, MINOR_FAILURE, self.outcome_description),
        ]

    def recorded(self) -> Recorded:
        """The record as it stands now."""
        return self._recorded(self.objects, self.outcome, self.outcome_description)

    def _recorded(self, objects: Sequence[About], outcome: int, description: str) -> Recorded:
        message = self._message(objects, outcome, description)
        return Recorded(message, self.event_id, self.transaction[0], outcome, self.patient_id, self.started)

    def _message(self, objects: Sequence[About], outcome: int, description: str) -> bytes:
        root = etree.Element("AuditMessage")
        event = etree.SubElement(
            root, "EventIdentification", EventActionCode=self.action,
            EventDateTime=datetime.fromtimestamp(self.started / 1e6, UTC).isoformat(timespec="milliseconds"),
            EventOutcomeIndicator=str(outcome),
        )  # fmt: skip
        _coded(event, "EventID", (self.event_id, "DCM", EVENT_NAMES[self.event_id]))
        if self.transaction[0]:
            _coded(event, "EventTypeCode", (self.transaction[0], "IHE Transactions", self.transaction[1]))
        if description:
            etree.SubElement(event, "EventOutcomeDescription").text = description
        if self.source is self.destination:
            _participant(root, self.source)
        else:
            _coded(_participant(root, self.source), "RoleIDCode", SOURCE_ROLE)
            _coded(_participant(root, self.destination), "RoleIDCode", DESTINATION_ROLE)
        source = etree.SubElement(root, "AuditSourceIdentification", AuditSourceID=_clean(self.node.source_id))
        if self.node.enterprise_site_id:
            source.set("AuditEnterpriseSiteID", _clean(self.node.enterprise_site_id))
        if self.patient_id and self.names_patient:
            kind = ("2", "RFC-3881", "Patient Number")
            _object(root, About(self.patient_id, "1", "1", kind))
        for item in objects:
            _object(root, item)
        return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _participant(root: etree._Element, party: Party) -> etree._Element:
    element = etree.SubElement(root, "ActiveParticipant", UserID=_clean(party.user_id or party.address or "unknown"))
    if party.ours:
        element.set("AlternativeUserID", str(os.getpid()))
    element.set("UserIsRequestor", "true" if party.requestor else "false")
    element.set("NetworkAccessPointID", _clean(party.address))
    numeric = party.address.replace(".", "").isdigit() or ":" in party.address
    element.set("NetworkAccessPointTypeCode", "2" if numeric else "1")
    return element


def _object(root: etree._Element, item: About) -> None:
    element = etree.SubElement(
        root, "ParticipantObjectIdentification", ParticipantObjectID=_clean(item.id),
        ParticipantObjectTypeCode=item.type_code, ParticipantObjectTypeCodeRole=item.role,
    )  # fmt: skip
    _coded(element, "ParticipantObjectIDTypeCode", item.id_type)
    if item.name:
        etree.SubElement(element, "ParticipantObjectName").text = item.name
    if item.query is not None:
        etree.SubElement(element, "ParticipantObjectQuery").text = base64.b64encode(item.query).decode()
    for kind, value in item.details:
        encoded = base64.b64encode(value.encode()).decode()
        etree.SubElement(element, "ParticipantObjectDetail", type=kind, value=encoded)


def _coded(parent: etree._Element, tag: str, code: tuple[str, str, str]) -> None:
    element = etree.SubElement(parent, tag)
    element.set("csd-code", _clean(code[0]))
    element.set("codeSystemName", code[1])
    element.set("originalText", code[2])


def _clean(text: str) -> str:
    """Text that XML can hold: an audit record is written whatever a peer has sent."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd"
        for c in text
    )
