"""One ITI-8 message from its bytes to its acknowledgement, with its audit records.  The exchange of MLLP."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from xds.access.gate import Gate, Granted, NotPermitted
from xds.actors.document_registry import DocumentRegistry
from xds.audit.messages.events import AuditEvent
from xds.endpoints.counted import Counted
from xds.endpoints.failures import Failures
from xds.errors import Refused
from xds.hl7 import v2
from xds.hl7.acknowledgement import acknowledgement
from xds.hl7.charset import decoded, legible
from xds.hl7.feed import Feed, NotAFeed
from xds.hl7.v2 import Authorities, Header
from xds.metadata.identifiers import PatientId
from xds.store.audit.records import record
from xds.store.engine import PAUSES, broken_off
from xds.store.work import Database, Work
from xds.system.disk import LOW, Reserve
from xds.transactions import iti8_patient_identity_feed as iti8
from xds.wire import tracing
from xds.wire.http import certificate_of
from xds.wire.metrics import Metrics
from xds.wire.peers import key_of

log = logging.getLogger("xds.endpoints.mllp")


@dataclass(slots=True)
class _Calling:
    """Who sends a message, and what is to be said of that."""

    address: str
    der: bytes
    granted: Granted | None = None
    notes: list[str] = field(default_factory=list)


def known_to_feed(granted: Granted, patient_id: PatientId) -> bool:
    """Whether a peer feeds the assigning authority of an id."""
    return granted.peer.speaks_for("authorities", patient_id.authority)


def _head_of(data: bytes) -> Header:
    """Which message it is, as far as it says."""
    try:
        return v2.header(legible(data))
    except NotAFeed:
        return Header()


class Feeding:
    """The registry's side of ITI-8."""

    def __init__(
        self,
        registry: DocumentRegistry,
        database: Database,
        authorities: Authorities,
        new_event: Callable[[Header, str, bytes], AuditEvent],
        gate: Gate,
        failures: Failures | None = None,
        disk: Reserve | None = None,
        counted: Counted | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics
        self._failures, self._disk, self._counted = failures, disk, counted
        self._registry, self._database, self._gate = registry, database, gate
        self._authorities, self._new_event = authorities, new_event

    def answer(self, data: bytes, address: str, peer_der: bytes = b"") -> bytes:
        """Take one message; effect and audit records are one commit, and the acknowledgement comes after.

        ``peer_der``: the certificate of who sent it, where there is one.
        """
        if self._counted is None:
            return self._answered(data, address, peer_der)
        with tracing.answering("", "", lambda: False), self._counted.serving(address, peer_der):
            over = self._counted.over(address, peer_der)
            if over:  # without a record, of which it has too many
                return acknowledgement(_head_of(data), NotAFeed(over, rejected=True))
            return self._answered(data, address, peer_der)

    def _answered(self, data: bytes, address: str, peer_der: bytes) -> bytes:
        peer, started = _Calling(address, peer_der), time.monotonic()
        outcome = "fault"
        try:
            reply, outcome = self._tried(data, peer)
            return reply
        finally:
            if self._metrics is not None:
                name = self._gate.peer(certificate_of(peer_der), address).name
                self._metrics.answered(iti8.NUMBER, outcome, name, time.monotonic() - started)

    def _tried(self, data: bytes, peer: _Calling) -> tuple[bytes, str]:
        """The acknowledgement, and the outcome as it is counted."""
        head, feed = Header(), None
        try:
            head = v2.header(legible(data))  # so that a refusal names the message, whatever it is written in
            text = decoded(data)
            head = v2.header(text)
            self._permitted(head, peer)
            feed = v2.read(text, self._authorities)
            self._held(feed, peer)
            if self._disk is not None and self._disk.is_low():
                raise NotAFeed(LOW, rejected=True)
            self._performed(feed, head, peer)
        except NotAFeed as problem:
            return self._failed(head, peer, problem, feed), "refused"
        except Exception:
            log.exception("feed.failed")
            return self._failed(head, peer, NotAFeed("an internal error; nothing was changed"), feed), "fault"
        return acknowledgement(head), "done"

    def _permitted(self, head: Header, peer: _Calling) -> None:
        """Ask whether who is calling may feed at all, and calls itself what it is.

        Raises:
            NotAFeed: it may not.
        """
        known = self._gate.peer(certificate_of(peer.der), peer.address)
        try:
            peer.granted = self._gate.ask(known, iti8.NUMBER, self._database.domain)
        except NotPermitted as denied:
            raise NotAFeed(str(denied), "207") from None
        claimed = f"{head.sending_facility}|{head.sending_application}"
        if known.entry.facilities and not known.speaks_for("facilities", claimed):
            if not peer.granted.marks:
                raise NotAFeed("MSH-3 and MSH-4 are not the peer's", "207")
            peer.notes.append("MSH-3 and MSH-4 are not the peer's")
        peer.notes += [peer.granted.note] if peer.granted.note else []

    def _held(self, feed: Feed, peer: _Calling) -> None:
        """Hold a Patient Identity Source to the assigning authorities that it feeds.

        Raises:
            NotAFeed: an identifier of this domain is of another.
        """
        assert peer.granted is not None  # noqa: S101  asked before
        for patient_id in (*feed.patient_ids, *feed.subsumed):
            if self._registry.is_ours(patient_id) and not known_to_feed(peer.granted, patient_id):
                rule = "an assigning authority is none of the peer's to feed (ITI TF-2: 3.19)"
                if not peer.granted.marks:
                    raise NotAFeed(rule, "207")
                peer.notes.append(rule)

    def _performed(self, feed: Feed, head: Header, peer: _Calling) -> None:
        """Do what the message says; begun anew when the database broke it off for another's sake.

        Raises:
            NotAFeed: the registry refuses it; nothing has changed.
        """
        for pause in PAUSES:
            try:
                return self._once(feed, head, peer)
            except Exception as problem:
                if not broken_off(problem):
                    raise
                log.warning("transaction.begun_anew", extra={"transaction": iti8.NUMBER})
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  so that two do not meet  # nosec B311
        return self._once(feed, head, peer)

    def _once(self, feed: Feed, head: Header, peer: _Calling) -> None:
        work, event = self._database.work(), self._event(head, peer)
        try:
            concerned = self._registry.feed(feed, work.registry)
            self._commit(work, iti8.audited(event, feed.action, concerned))
        except Refused as refused:
            raise NotAFeed("; ".join(finding.context for finding in refused.findings), "204") from None
        finally:
            work.close()

    def _commit(self, work: Work, events: list[AuditEvent]) -> None:
        for event in events:
            event.end(failed=False)
            record(work.connection, event.records())
        work.commit()

    def _failed(self, head: Header, peer: _Calling, problem: NotAFeed, feed: Feed | None) -> bytes:
        """Keep the failure's record, alone; if even that cannot be kept the sender hears of an error all the same."""
        event = self._event(head, peer)
        if feed is not None and feed.patient_ids:
            event.about_patient(str((feed.subsumed or feed.patient_ids)[0]))
        denied = peer.granted is None and problem.code == "207"
        event.refused(str(problem) if denied else f"{problem.code} {v2.ERRORS.get(problem.code, '')}".strip())
        try:
            with self._database.engine.begin() as connection:
                records = event.records()
                record(
                    connection,
                    self._failures.kept(key_of(peer.der, peer.address), records) if self._failures else records,
                )
        except Exception:
            log.exception("audit.not_recorded", extra={"transaction": iti8.NUMBER})
        return acknowledgement(head, problem)

    def _event(self, head: Header, peer: _Calling) -> AuditEvent:
        event = self._new_event(head, peer.address, peer.der)
        for note in dict.fromkeys(peer.notes):
            event.noted(note)
        if head.control_id:
            event.patient_details = (("MSH-10", head.control_id),)
        return event
