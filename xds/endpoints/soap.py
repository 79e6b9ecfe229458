"""One request from its bytes to its reply, with its audit records.  The only owner of a unit of work.

Effect and audit records are committed together, then the reply goes out.  A refused request leaves its failure
record alone.  A reply with documents is opened in the audit log before its first byte and closed after its last.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from xds.access import claims
from xds.access.consent_documents import ConsentDocuments
from xds.access.gate import Gate, NotPermitted
from xds.access.overriding import Glass
from xds.access.peers import STRANGER, Peer
from xds.access.quotas import Quotas
from xds.access.senders import Senders
from xds.access.users import Users
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.parties import Side
from xds.audit.messages.people import Person, asked_by, asking
from xds.endpoints.captures import Captures
from xds.endpoints.failures import Failures
from xds.endpoints.keeping import Keeper, NotCommitted
from xds.endpoints.soap_refusals import (
    cannot_keep,
    code_of,
    come_again,
    faulted,
    internal,
    no_room,
    not_now,
)
from xds.endpoints.stream import Stream
from xds.endpoints.stream_ends import end_stream
from xds.errors import ErrorCode, Finding, Refused
from xds.rules import tolerances
from xds.store.audit.records import record
from xds.store.engine import PAUSES, away, broken_off
from xds.store.work import Database
from xds.system.disk import LOW, Reserve
from xds.transactions import bounds
from xds.transactions.bodies import schema_findings, taken_out
from xds.transactions.bounds import Bounds
from xds.transactions.transaction import Call, Reply, Transaction
from xds.wire import mtom
from xds.wire.addressing import reply_headers
from xds.wire.encodings import encoded
from xds.wire.faults import Fault, sender
from xds.wire.http import HttpReply, HttpRequest
from xds.wire.memory import Overfull
from xds.wire.metrics import Metrics
from xds.wire.mime import Limits, Malformed, Package, read_package
from xds.wire.peers import served, spent
from xds.wire.refusals import Reason
from xds.wire.soap import Endpoint, Message, NotAnswered, around, fault_envelope
from xds.wire.spool import NotKept, Spool, Spooled
from xds.wire.turned_away import BUSY
from xds.wire.xml import Element, schema
from xds.wire.xua import SECURITY

log = logging.getLogger("xds.endpoints.soap")


_DECIDED = "the policy of this affinity domain"

_NO_EVENT: Any = None
"""Of a request that is turned away: counted, and not on record.  Nothing is done, and there is too much to do."""


@dataclass(slots=True)
class _Incoming:
    """One request on its way through spyne, and what it needs there."""

    request: HttpRequest
    attachments: Mapping[str, Spooled]
    spool: Spool
    peer: Peer = STRANGER
    reply: Reply | None = None
    call: Call | None = None
    stream_id: str = ""


class Exchange:
    """The transactions of one SOAP address."""

    def __init__(
        self,
        title: str,
        transactions: Sequence[Transaction],
        actor: Any,
        database: Database,
        limits: Limits,
        new_event: Callable[[Transaction, Side, HttpRequest, Message], AuditEvent],
        owner: str,
        metrics: Metrics,
        senders: Senders,
        captures: Captures,
        gate: Gate,
        users: Users | None = None,
        *,
        most: Bounds | None = None,
        failures: Failures | None = None,
        glass: Glass | None = None,
        consents: ConsentDocuments | None = None,
        disk: Reserve | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        """``most``: what one request may name; ``failures``: how many records of these one peer may bring about."""
        self._bounds, self._glass, self._consents = most or Bounds(), glass, consents
        self._keeper = Keeper(database, owner, failures)
        self._disk, self._quotas = disk, quotas
        self._actor, self._database, self._limits = actor, database, limits
        self._new_event, self._metrics, self._senders = new_event, metrics, senders
        self._captures, self._users, self._gate = captures, users, gate
        self._transaction = transactions[0]
        self.numbers = tuple(dict.fromkeys(transaction.number for transaction in transactions))
        for transaction in transactions:
            schema(transaction.schema)  # now, not while the first request waits
        self._endpoint = Endpoint(title, {t.action: self._operation(t) for t in transactions},
                                  [SECURITY] if users else [])  # fmt: skip

    def answer(self, request: HttpRequest) -> HttpReply:
        """Take one message and answer it, in the packaging it came in."""
        with ExitStack() as stack:
            blobs = self._database.blobs
            spool = stack.enter_context(Spool(blobs.staging, disk=self._disk, sealed=blobs.seals))
            try:
                package = read_package(request.content_type, request.read, spool, self._limits)
            except Malformed as problem:
                self._metrics.not_begun()
                return faulted(sender(str(problem)), "", mtom_reply=False)
            except Fault as fault:
                self._metrics.not_begun()
                return faulted(fault, "", mtom_reply=request.content_type.lower().startswith("multipart/"))
            except Overfull:
                self._metrics.not_begun()
                self._metrics.refused.labels(Reason.MEMORY).inc()
                return come_again(self._transaction)
            except NotKept:
                log.exception("spool.not_written")
                self._metrics.not_begun()
                full = self._disk is not None and self._disk.is_low()
                return faulted(no_room(self._transaction) if full else cannot_keep(), "", mtom_reply=True)
            incoming = _Incoming(request, package.attachments, spool)
            try:
                message, _ = self._endpoint.call(package.root, incoming)
            except NotAnswered as problem:
                if incoming.call is None:
                    self._metrics.not_begun()
                self._captures.keep(request, package.root, [fault_envelope(problem.fault, problem.relates_to)])
                return faulted(problem.fault, problem.relates_to, mtom_reply=package.mtom)
            return self._sent(incoming, message, package)

    def _operation(self, transaction: Transaction) -> Callable[[Message, Any], Any]:
        def operation(message: Message, incoming: _Incoming) -> str:
            started, outcome = time.monotonic(), "fault"
            try:
                request = incoming.request
                if not request.turned_away:
                    incoming.peer = self._gate.peer(request.certificate, request.remote_address, ours=request.ours)
                why = BUSY if request.turned_away else self._over_quota(transaction, incoming)
                if why:
                    incoming.reply, outcome = self._turned_away(transaction, message, incoming, why), "refused"
                    return "sent"
                with asked_by(self._user(transaction, message, incoming)):
                    incoming.reply = self._performed(transaction, message, incoming)
                outcome = "refused" if incoming.reply.failed else "done"
            finally:
                seconds = time.monotonic() - started
                self._metrics.answered(transaction.number, outcome, incoming.peer.name, seconds)
            return "sent"

        return operation

    def _over_quota(self, transaction: Transaction, incoming: _Incoming) -> str:
        """Which quota of its peer's is used up; what is refused for that is counted, and told of now and then."""
        if self._quotas is None or incoming.request.ours:
            return ""
        return self._quotas.over(served(), incoming.peer.name, keeps=transaction.keeps)

    def _turned_away(self, transaction: Transaction, message: Message, incoming: _Incoming, why: str) -> Reply:
        """The answer of the transaction that it is, with the code that says to come again; nothing is begun."""
        body, work = message.body, self._database.work()
        call = incoming.call = Call(transaction, body, message, self._actor, work, _NO_EVENT)
        return transaction.refuse(call, [Finding(transaction.busy, why)])

    def _user(self, transaction: Transaction, message: Message, incoming: _Incoming) -> Person | None:
        """For whom a message is sent (ITI-40); what is not believed is on record as that, and as the transaction.

        Raises:
            Fault: see ``Trust.asserted``.
        """
        if self._users is None or asking():  # who has signed in at this process needs no assertion
            return asking()
        try:
            return self._users.person(message.header, incoming.request, issuers=incoming.peer.issuers)
        except Fault as fault:
            event = self._new_event(transaction, Side.RESPONDER, incoming.request, message)
            event.refused("user not authenticated")
            with self._database.engine.begin() as connection:
                record(connection, [*event.records(), *self._users.refused(event, fault.reason).records()])
            raise

    def _performed(self, transaction: Transaction, message: Message, incoming: _Incoming) -> Reply:
        """Effect and audit records in one commit; or nothing but the failure's record.

        Where the database was lost at the commit, and nothing is there, it is all done once more.
        """
        event = self._new_event(transaction, Side.RESPONDER, incoming.request, message)
        call = incoming.call = Call(transaction, message.body, message, self._actor, self._database.work(), event)
        reply = self._answered(call, incoming, self._first)
        try:
            incoming.stream_id = self._keeper.keep(call, reply, incoming.request, once_more=not reply.failed)
        except NotCommitted:
            self._begun_anew(call, incoming)
            reply = self._answered(call, incoming, self._responded)
            incoming.stream_id = self._keeper.keep(call, reply, incoming.request)
        return reply

    def _first(self, call: Call, incoming: _Incoming) -> Reply:
        """What is looked at before a request is carried out, and what the transaction answers."""
        self._permitted(call, incoming.peer)
        bounds.check(call, self._bounds)
        self._has_room(call)
        call.contents = taken_out(call.transaction, call.body, incoming.attachments, incoming.spool)
        call.let_pass = self._checked(call.transaction, call.body, incoming)
        self._speaks_for_itself(call)
        return self._responded(call, incoming)

    def _answered(self, call: Call, incoming: _Incoming, do: Callable[[Call, _Incoming], Reply]) -> Reply:
        """What a request is answered; where it is not carried out, why.

        Raises:
            Fault: it is no such request, or nothing can be recorded just now.
        """
        transaction, work = call.transaction, call.work
        try:
            reply = do(call, incoming)
            self._broken(call)
            return reply
        except NotKept:
            log.exception("spool.not_written")
            work.close()
            call.release()
            self._keeper.keep_failures(call, incoming.request)
            raise cannot_keep() from None
        except Refused as refused:
            work.close()
            call.release()
            if any(finding.code is ErrorCode.REPOSITORY_BUSY for finding in refused.findings):
                self._metrics.refused.labels(Reason.STREAMS).inc()
            return transaction.refuse(call, refused.findings)
        except NotPermitted as denied:
            work.close()
            call.release()
            call.event.refused(str(denied))
            return transaction.refuse(call, [Finding(code_of(transaction), f"{denied} ({_DECIDED})")])
        except Fault:
            work.close()
            call.release()
            self._keeper.keep_failures(call, incoming.request)
            raise
        except Exception as problem:
            log.exception("transaction.failed", extra={"transaction": transaction.number})
            work.close()
            call.release()
            if away(problem):  # nothing can be recorded either
                self._metrics.refused.labels(Reason.DATABASE).inc()
                raise not_now(transaction) from None
            # What was let pass of a tolerant schema, and could not be read after all, is refused as from anybody.
            reply = transaction.refuse(call, call.let_pass or [internal(transaction)])
            return reply if call.let_pass else replace(reply, findings=())  # ours, and so a serious failure on record

    def _permitted(self, call: Call, peer: Peer) -> None:
        """Ask whether it may be done, and hold the unit of work to the answer.

        Raises:
            NotPermitted: it may not.
        """
        transaction, number = call.transaction, call.transaction.number
        every = claims.asks_for_every_patient(number, call.body)
        granted = self._gate.ask(peer, number, self._database.domain, asking(), every_patient=every)
        call.granted, call.work.access = granted, granted.access
        if granted.note:
            self._metrics.watched.labels(transaction.number).inc()
            call.event.noted(granted.note)

    def _has_room(self, call: Call) -> None:
        """Keep nothing more before the disk is full: the audit log is to go on.

        Raises:
            Refused: less is free than is kept for it.
        """
        if self._disk is not None and call.transaction.keeps and self._disk.is_low():
            self._metrics.refused.labels(Reason.DISK).inc()
            raise Refused([Finding(call.transaction.out_of_resources, LOW)])

    def _broken(self, call: Call) -> None:
        """Keep that a message has broken the glass itself: who has is on the privacy officer's list at once."""
        person, granted = asking(), call.granted
        if self._glass is None or granted is None or not granted.override or person is None:
            return
        patient_id = person.patient or call.event.patient_id
        self._glass.declared(call.work.connection, person, self._database.domain, patient_id, call.event.source)

    def _speaks_for_itself(self, call: Call) -> None:
        """Hold a message to what its peer may say of itself; or note what it may not.

        Raises:
            Refused: it names a source, repository or community that is not the peer's.
        """
        assert call.granted is not None  # noqa: S101  asked before
        found = list(claims.findings(call.granted, call.transaction.number, call.body, [*call.contents.values()]))
        if found and not call.granted.marks:
            raise Refused(found)
        for finding in found:
            call.event.noted(finding.context)

    def _responded(self, call: Call, incoming: _Incoming) -> Reply:
        """What the transaction answers; begun anew when the database broke it off for another's sake."""
        for pause in PAUSES:
            try:
                return self._carried_out(call)
            except Exception as problem:
                if call.sent or not broken_off(problem, or_lost=True):
                    raise
            self._begun_anew(call, incoming)
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  so that two do not meet  # nosec B311
        return self._carried_out(call)

    def _begun_anew(self, call: Call, incoming: _Incoming) -> None:
        """Nothing is done, nor on record, as if the request came now."""
        log.warning("transaction.begun_anew", extra={"transaction": call.transaction.number})
        anew = self._new_event(call.transaction, Side.RESPONDER, incoming.request, call.message)
        anew.notes = call.event.notes
        call.begin_anew(anew)

    def _carried_out(self, call: Call) -> Reply:
        """What the transaction answers; consent documents that it has brought or ended have had their effect."""
        reply = call.transaction.respond(call)
        if self._consents is not None and not reply.failed:
            for event in self._consents.take_effect(call.said, call.work, call.event.source):
                call.also(event)
        return reply

    def _checked(self, transaction: Transaction, body: Element, incoming: _Incoming) -> tuple[Finding, ...]:
        """Put right what is tolerated of the sender, then hold the body to its schema; return what is let pass.

        Raises:
            Refused: not valid by the schema; the elements are named (ITI TF-2: 3.42.4.1.3).
        """
        sender_ = self._senders.of(incoming.request, body)
        counts = tolerances.apply(sender_.tolerate, body)
        findings = schema_findings(transaction, body)
        if findings and not sender_.schema_tolerant:
            raise Refused(findings)
        counts |= {"schema": 1} if findings else {}
        for tolerance, count in counts.items():
            self._metrics.tolerated.labels(sender_.name, tolerance).inc(count)
        if counts:
            log.info("message.tolerated", extra={"sender": sender_.name, "tolerances": " ".join(counts)})
        return findings

    def _sent(self, incoming: _Incoming, message: Message, package: Package) -> HttpReply:
        call, reply = _set(incoming)
        if call.transaction.keeps and not reply.failed:
            spent(size_bytes=len(package.root) + sum(part.size_bytes for part in package.attachments.values()))
        head, tail = around(reply_headers(call.transaction.reply_action, message.addressing.message_id))
        pieces = (head, *reply.pieces, tail)
        if call.event is not _NO_EVENT:
            self._captures.keep(incoming.request, package.root, pieces)
        out = mtom.mtom(pieces) if package.mtom else mtom.plain(pieces)
        if not reply.attachments:
            call.release()
            return encoded(incoming.request, out)
        stream = Stream(out.chunks, lambda whole: self._ended(incoming, whole=whole))
        return HttpReply(out.status, out.headers, stream, out.length)

    def _ended(self, incoming: _Incoming, *, whole: bool) -> None:
        """Tell the audit log how a stream ended."""
        call, reply = _set(incoming)
        call.release()
        self._metrics.streamed(call.transaction.number, whole=whole)
        records = call.ended(failed=not whole or reply.failed, findings=reply.findings if whole else ())
        end_stream(self._database.engine, incoming.stream_id, records)


def _set(incoming: _Incoming) -> tuple[Call, Reply]:
    """What the operation has set."""
    assert incoming.call is not None  # noqa: S101
    assert incoming.reply is not None  # noqa: S101
    return incoming.call, incoming.reply
