"""What a transaction's page fills in, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from lxml import etree

from xds.access.consent_documents import Said
from xds.access.gate import Granted
from xds.audit.messages.bounded import shorten
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.objects import DOCUMENT_DETAIL
from xds.errors import ErrorCode, Finding, Refused, Severity
from xds.metadata.identifiers import PatientId
from xds.store.audit.records import Recorded
from xds.store.work import Work
from xds.wire.soap import Message
from xds.wire.spool import Spooled
from xds.wire.xml import Element


class Actor(StrEnum):
    """IHE's names of the actors that xds plays or meets."""

    DOCUMENT_SOURCE = "Document Source"
    DOCUMENT_CONSUMER = "Document Consumer"
    DOCUMENT_REGISTRY = "Document Registry"
    DOCUMENT_REPOSITORY = "Document Repository"
    DOCUMENT_ADMINISTRATOR = "Document Administrator"
    INITIATING_GATEWAY = "Initiating Gateway"
    RESPONDING_GATEWAY = "Responding Gateway"
    UPDATE_INITIATOR = "Update Initiator"
    PATIENT_IDENTITY_SOURCE = "Patient Identity Source"
    ON_DEMAND_DOCUMENT_SOURCE = "On-Demand Document Source"
    IMAGING_DOCUMENT_SOURCE = "Imaging Document Source"
    IMAGING_DOCUMENT_CONSUMER = "Imaging Document Consumer"
    INITIATING_IMAGING_GATEWAY = "Initiating Imaging Gateway"
    RESPONDING_IMAGING_GATEWAY = "Responding Imaging Gateway"


@dataclass(frozen=True, slots=True)
class Audits:
    """What a side's audit record says happened: EventID (DCM code) and EventActionCode."""

    event_id: str
    action: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document of a reply: looked up, not opened.  ``chunks`` fails rather than give wrong bytes.

    ``size_bytes`` is None of what comes from elsewhere as it is sent on.
    """

    content_id: str
    size_bytes: int | None
    chunks: Callable[[], Iterator[bytes]]
    content_type: str = "application/octet-stream"


Piece: TypeAlias = bytes | Attachment


@dataclass(frozen=True, slots=True)
class Reply:
    """The body of a reply: bytes of XML, with attachments where a Document's content stands."""

    pieces: tuple[Piece, ...]
    findings: tuple[Finding, ...] = ()
    failed: bool = False

    @property
    def attachments(self) -> list[Attachment]:
        return [piece for piece in self.pieces if isinstance(piece, Attachment)]

    @classmethod
    def of(cls, element: Element, findings: Sequence[Finding] = (), *, failed: bool = False) -> Reply:
        """A reply without attachments."""
        return cls((etree.tostring(element),), tuple(findings), failed)


KEEPS = frozenset(("ITI-41", "ITI-42", "ITI-44", "ITI-57", "ITI-61", "ITI-92"))
"""Transactions that leave something; those that remove make room."""

Respond: TypeAlias = "Callable[[Call], Reply]"
Refuse: TypeAlias = "Callable[[Call, Sequence[Finding]], Reply]"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction's facts.  ITI TF-2, RAD TF-2: the section of its number."""

    number: str
    title: str
    action: str
    reply_action: str
    initiator: Actor
    responder: Actor
    initiator_audits: Audits
    responder_audits: Audits
    request: str  # prefixed name of the body's element
    schema: str  # file of ours that it is valid by
    schema_error: ErrorCode  # how a body is refused that is not
    respond: Respond = field(repr=False)
    refuse: Refuse = field(repr=False)
    audit_title: str = ""  # in EventTypeCode, where the framework has another there; empty: ``title``
    retrieve: bool = False  # the responder is the source of the data
    responder_names_patient: bool = True  # in its audit record

    @property
    def of_registry(self) -> bool:
        """Whether its errors are a registry's, as a gateway's are to a query, and not a repository's or a source's."""
        return "Registry" in self.responder or self.request == "query:AdhocQueryRequest"

    @property
    def keeps(self) -> bool:
        """Whether a request of it leaves more than an audit record."""
        return self.number in KEEPS

    @property
    def out_of_resources(self) -> ErrorCode:
        """How it says that there is no room.  ITI TF-3: Table 4.2.4.1-2."""
        return ErrorCode.REGISTRY_OUT_OF_RESOURCES if self.of_registry else ErrorCode.REPOSITORY_OUT_OF_RESOURCES

    @property
    def busy(self) -> ErrorCode:
        """How it says that it is busy.  ITI TF-3: Table 4.2.4.1-2."""
        return ErrorCode.REGISTRY_BUSY if self.of_registry else ErrorCode.REPOSITORY_BUSY


@dataclass(slots=True)
class Call:
    """What a transaction is given to answer one request."""

    transaction: Transaction
    body: Element
    message: Message
    actor: Any
    work: Work
    event: AuditEvent
    granted: Granted | None = None
    contents: Mapping[Element, Spooled] = field(default_factory=dict)
    let_pass: tuple[Finding, ...] = ()  # what the schema forbids, of a sender of whom that is tolerated
    events: list[AuditEvent] = field(default_factory=list)
    parts: list[AuditEvent] = field(default_factory=list)  # of these, those of a part of what is asked for
    ends: list[Callable[[], None]] = field(default_factory=list)
    said: Sequence[Said] = ()  # by consent documents that came with it
    sent: bool = False  # a message has gone to another actor: it is not to go twice

    def may_feed(self, patient_ids: Sequence[PatientId]) -> None:
        """Hold a Patient Identity Source to the assigning authorities that it feeds (ITI TF-2: 3.8, 3.44).

        Raises:
            Refused: an identifier is of another, and that is not just marked.
        """
        if self.granted is None:
            return
        for patient_id in patient_ids:
            if not self.granted.peer.speaks_for("authorities", patient_id.authority):
                rule = f"the assigning authority {patient_id.authority} is none of the peer's to feed (ITI TF-2: 3.19)"
                if not self.granted.marks:
                    raise Refused([Finding(ErrorCode.UNKNOWN_PATIENT_ID, rule)])
                self.event.noted(rule)

    def at_end(self, release: Callable[[], None]) -> None:
        """Have something given back when the reply is out, or has failed."""
        self.ends.append(release)

    def release(self) -> None:
        while self.ends:
            self.ends.pop()()

    def begin_anew(self, event: AuditEvent) -> None:
        """Forget everything that was done to answer the request."""
        self.work.close()
        self.release()
        self.events.clear()
        self.parts.clear()
        self.event = event

    def also(self, event: AuditEvent) -> AuditEvent:
        """Keep one more record of this request."""
        self.events.append(event)
        return event

    def of_part(self, event: AuditEvent) -> AuditEvent:
        """Keep the record of a part of this request: what is wrong with another part is not said of it."""
        self.parts.append(event)
        return self.also(event)

    def all_events(self) -> tuple[AuditEvent, ...]:
        return (self.event, *self.events)

    def ended(self, *, failed: bool, findings: Sequence[Finding] = ()) -> list[Recorded]:
        """End every event of the request; return their records."""
        for event in self.all_events():
            if any(event is part for part in self.parts):
                _end_part(event, failed=failed, findings=findings)
            event.end(failed=failed, findings=findings)
            if failed:
                shorten(event)
        return [record for event in self.all_events() for record in event.records()]


def _end_part(event: AuditEvent, *, failed: bool, findings: Sequence[Finding]) -> None:
    """End it by what is wrong with its own objects; it has failed when nothing of it is left, or all has."""
    mine, parts = {item.id for item in event.objects}, set[str]()
    for item in event.objects:  # of a study, its instances
        parts |= {detail.text for detail in item.details if detail.type == DOCUMENT_DETAIL}
    own = [one for one in findings if one.location in mine | parts]
    bad = {one.location for one in own if one.severity is Severity.ERROR}
    event.end(failed=failed or (parts or mine) <= bad, findings=own if bad or not failed else findings)
