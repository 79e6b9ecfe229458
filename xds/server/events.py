"""The audit events of an affinity domain: what each begins as, of which side, and by which names."""

from __future__ import annotations

import socket
from dataclasses import replace
from urllib.parse import urlsplit

import sqlalchemy as sa

from xds.access.gate import Gate
from xds.audit.messages.events import AuditEvent, source_of
from xds.audit.messages.parties import Party, Side
from xds.endpoints.dicomweb.service import RAD_129
from xds.endpoints.dicomweb.store import RAD_108
from xds.endpoints.fhir.search import ITI_81
from xds.hl7.feed import FeedAction
from xds.hl7.v2 import EVENTS, Header
from xds.settings.sections import Settings
from xds.store.audit import records as audit_store
from xds.transactions import (
    iti8_patient_identity_feed,
)
from xds.transactions.transaction import Transaction
from xds.wire.certificates import Certificate
from xds.wire.http import HttpRequest, certificate_of
from xds.wire.soap import Message


class Events:
    """Makes and keeps them.  ``path``: where the domain is, empty for the one at the bare paths."""

    def __init__(self, settings: Settings, path: str, engine: sa.Engine, gate: Gate) -> None:
        self._settings, self._path, self._engine, self._gate = settings, path, engine, gate
        self.node = source_of(settings)

    def event(self, transaction: Transaction, side: Side, request: HttpRequest, message: Message) -> AuditEvent:
        """The record of a transaction that has reached us, not yet about anything."""
        caller = self.caller(request, message.addressing.reply_to)
        here = Party(request.url, urlsplit(request.url).hostname or "localhost", ours=True)
        return self._event(transaction, side, caller, here)

    def caller(self, request: HttpRequest, calls_itself: str = "") -> Party:
        """Who has reached us: by its certificate's name, or what it calls itself; and who it is authenticated as."""
        found = self.authenticated(request.certificate, request.remote_address, ours=request.ours)
        return replace(found, user_id=request.subject or calls_itself or request.remote_address)

    def authenticated(self, certificate: Certificate | None, address: str, *, ours: bool = False) -> Party:
        """Another node, by its address, its certificate, and whose it is known to be."""
        organisation = self._gate.peer(certificate, address, ours=ours).entry.organisation
        text = certificate.text if certificate else ""
        return Party(address, address, requestor=True, authenticated=text, organisation=organisation)

    def web_event(self, transaction: tuple[str, str], request: HttpRequest) -> AuditEvent:
        """The record of a DICOMweb request that has reached us, not yet about anything."""
        caller = self.caller(request)
        here = Party(request.url, urlsplit(request.url).hostname or "localhost", ours=True)
        if transaction == RAD_108:
            return AuditEvent(self.node, "110104", "C", transaction, caller, here)
        if transaction == RAD_129:
            return AuditEvent(self.node, "110112", "E", transaction, caller, here)
        return AuditEvent(self.node, "110104", "R", transaction, here, caller)

    def audit_searched(self, request: HttpRequest, asked: str, refused: str) -> None:
        """Record that somebody searched the audit log (ITI TF-2: 3.81.5.1): the query, and that the log was read."""
        caller = self.caller(request)
        here = Party(request.url, urlsplit(request.url).hostname or "localhost", ours=True)
        query = AuditEvent(self.node, "110112", "E", ITI_81, caller, here)
        query.about_search(asked)
        if refused:
            query.refused(refused)
        else:
            query.end(failed=False)
            used = AuditEvent.log_used(self.node, caller)
            used.transaction = ITI_81
            self.record(used)
        self.record(query)

    def stored(self, title: str, address: str, peer_der: bytes = b"") -> AuditEvent:
        """The record of an association that sends instances here (C-STORE)."""
        own = self._settings.imaging_source.retrieve_ae_title
        host = urlsplit(self.base).hostname or "localhost"
        here, there = (
            Party(own, host, ours=True),
            replace(self.authenticated(certificate_of(peer_der), address), user_id=title),
        )
        return AuditEvent(self.node, "110104", "C", ("", ""), there, here)

    def stranger(self, peer: str, reason: str) -> None:
        """Record a node that could not be authenticated (ITI TF-2: 3.19)."""
        here = Party(self.base, urlsplit(self.base).hostname or "localhost", ours=True)
        self.record(AuditEvent.not_authenticated(self.node, here, Party(peer, peer), reason))

    def failing(self, peer: str, said: str) -> None:
        """Record that a peer fails too often for each failure to have a record."""
        who, about = Party(peer, peer, requestor=True), "urn:xds:failures"
        self.record(AuditEvent.security_alert(self.node, "110132", who, about, said))

    def over_quota(self, peer: str, said: str) -> None:
        """Record that a peer has used up what it may in a day."""
        who = Party(peer, peer, requestor=True)
        self.record(AuditEvent.security_alert(self.node, "110132", who, "urn:xds:quota", said))

    def record(self, event: AuditEvent) -> None:
        with self._engine.begin() as connection:
            audit_store.record(connection, event.records())

    def in_process(
        self, transaction: Transaction, side: Side, by: str = "repository", to: str = "registry"
    ) -> AuditEvent:
        """The record of what one actor of this process asks another, by the last parts of their paths."""
        base = self.base + self._path
        host = urlsplit(base).hostname or "localhost"
        initiator = Party(f"{base}/{by}", host, ours=True, requestor=True)
        return self._event(transaction, side, initiator, Party(f"{base}/{to}", host, ours=True))

    def started(self, transaction: Transaction, url: str) -> AuditEvent:
        """The record of a transaction that we start."""
        return self._event(transaction, Side.INITIATOR, *self.ends(url))

    def ends(self, url: str) -> tuple[Party, Party]:
        """Of what we start: this node, and whom it goes to."""
        base = self.base
        here = Party(base, urlsplit(base).hostname or "localhost", ours=True, requestor=True)
        return here, Party(url, urlsplit(url).hostname or "localhost")

    @property
    def base(self) -> str:
        """The address of this node."""
        return self._settings.server.public_url or f"http://{self._settings.server.listen}"

    def _event(self, transaction: Transaction, side: Side, initiator: Party, responder: Party) -> AuditEvent:
        audits = transaction.initiator_audits if side is Side.INITIATOR else transaction.responder_audits
        source, destination = (responder, initiator) if transaction.retrieve else (initiator, responder)
        names_patient = transaction.responder_names_patient or side is Side.INITIATOR
        title = transaction.audit_title or transaction.title
        return AuditEvent(
            self.node, audits.event_id, audits.action, (transaction.number, title), source, destination, names_patient,
        )  # fmt: skip

    def fed(self, head: Header, peer: str, listen: str, peer_der: bytes = b"") -> AuditEvent:
        """The record of an ITI-8, parties called by facility and application, as it names them (ITI TF-2: 3.8.5.1)."""
        called = f"{head.sending_facility}|{head.sending_application}"
        source = replace(self.authenticated(certificate_of(peer_der), peer), user_id=called)
        host = listen.rpartition(":")[0].strip("[]")
        host = socket.gethostname() if host in ("", "0.0.0.0", "::") else host  # noqa: S104  # nosec B104
        here = Party(f"{head.receiving_facility}|{head.receiving_application}", host, ours=True)
        action = EVENTS.get(head.event, FeedAction.REVISE)
        (audits, *_) = iti8_patient_identity_feed.AUDITS[action]
        transaction = (iti8_patient_identity_feed.NUMBER, iti8_patient_identity_feed.TITLE)
        return AuditEvent(self.node, audits.event_id, audits.action, transaction, source, here)
