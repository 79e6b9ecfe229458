"""What a gateway asks of its own affinity domain: the registry in this process, repositories here and elsewhere.

ITI TF-1: 18.1 (a gateway grouped with a Document Consumer).  Both sides of each step are on record (ITI TF-2: 3.38.5,
3.39.5), and it is done by the access of who has asked the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lxml import etree

from xds.actors.communities import Community, Question, Tried
from xds.actors.fetching import Came, Taking, arrived
from xds.actors.foreign_answers import Document
from xds.actors.initiating_gateway import InitiatingGateway
from xds.actors.patient_discovery import PatientDiscovery
from xds.actors.responding_gateway import RespondingGateway
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.parties import Side
from xds.ebxml import query
from xds.ebxml.query import AdhocQuery
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Refused
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.transactions.retrieving import Given
from xds.transactions.transaction import Call, Transaction


@dataclass(frozen=True, slots=True)
class Gateways:
    """The gateways of an affinity domain, and what their transactions need.

    ``in_process`` makes the record of a side of what one actor here asks another, by the last parts of their paths;
    ``started`` that of what goes to a URL.  ``elsewhere`` gives repositories that are not in this process, and
    ``sources`` Imaging Document Sources.
    """

    responding: RespondingGateway
    discovery: PatientDiscovery
    initiating: InitiatingGateway | None
    taking: Taking
    elsewhere: Callable[[str], Community | None]
    sources: Callable[[str], Community | None]
    in_process: Callable[[Transaction, Side, str, str], AuditEvent]
    started: Callable[[Transaction, str], AuditEvent]


def queried(call: Call, sent: AdhocQuery, gateway: str) -> tuple[list[bytes], tuple[Finding, ...]]:
    """ITI-18 to the registry in this process; ``gateway``: who asks it.

    Raises:
        Refused: as the registry does.
    """
    body = etree.tostring(query.write_request(sent))
    for side in Side:
        event = call.also(call.actor.gateways.in_process(iti18.TRANSACTION, side, gateway, "registry"))
        event.about_query(sent, body)
    with call.work.asking() as (registry, _):
        found = call.actor.registry.query(sent, registry)
        told = iti18.withheld(call, registry, found, call.actor.registry.query, sent)
    return found.fragments, told


def retrieved(call: Call, requests: Sequence[DocumentRequest], gateway: str) -> tuple[list[Given], list[Finding]]:
    """ITI-43 to each repository of this community; findings are placed by the document."""
    gateways: Gateways = call.actor.gateways
    places = {uid: gateways.elsewhere(uid) for uid in dict.fromkeys(one.repository_unique_id for one in requests)}
    here = [one for one in requests if places[one.repository_unique_id] is None]
    there = seen(call, [one for one in requests if places[one.repository_unique_id] is not None])
    questions = []
    for uid, place in places.items():
        asked = [one for one in there if one.repository_unique_id == uid]
        if place is not None and asked:
            # A repository need not know what a homeCommunityId is.
            plain = [replace(one, home_community_id=None) for one in asked]
            questions.append(gateways.taking.fetch(place, iti43.TRANSACTION.action, plain, call.message.header))
    call.sent = call.sent or bool(questions)
    try:
        given, findings = _held(call, here, gateway) if here else ([], [])
    finally:
        fetched = arrived(questions)
        for question, came in fetched:
            call.at_end(came.close)
            told_of(call, question, came, iti43.TRANSACTION)
    absent = [_absent(one) for one in requests if one not in here and one not in there]
    findings += [*absent, *(finding for _, came in fetched for finding in came.findings)]
    documents = (document for _, came in fetched for document in came.documents)
    return [*given, *as_sent(documents, there)], findings


def _held(call: Call, requests: Sequence[DocumentRequest], gateway: str) -> tuple[list[Given], list[Finding]]:
    """Of the repository in this process."""
    for side in Side:
        event = call.of_part(call.actor.gateways.in_process(iti43.TRANSACTION, side, gateway, "repository"))
        event.about_documents(requests)
    repository, given, findings = call.actor.repository, list[Given](), list[Finding]()
    try:
        found = repository.retrieve(requests, call.work)
    except Refused as refused:  # of all that it was asked for
        return [], of_each(refused, requests)
    for request, held in zip(requests, found, strict=True):
        if isinstance(held, Finding):
            findings.append(held)
        else:
            given.append(Given(request, held.mime_type, held.size_bytes, partial(repository.chunks, held)))
    return given, findings


def seen(call: Call, requests: Sequence[DocumentRequest]) -> list[DocumentRequest]:
    """Documents that are elsewhere, and that who asks may see: by their entries in the registry of this process."""
    if not requests or call.work.access.everything:
        return list(requests)
    with call.work.asking() as (registry, _):
        entries = registry.documents_by_unique_id([one.document_unique_id for one in requests])
    shown = {one.unique_id for one in entries}
    return [one for one in requests if one.document_unique_id in shown]


def _absent(request: DocumentRequest) -> Finding:
    return Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "no such document here", request.document_unique_id)


def of_each(refused: Refused, requests: Sequence[DocumentRequest]) -> list[Finding]:
    """Why a request was refused as a whole, placed by each document that it names."""
    return [replace(why, location=one.document_unique_id) for one in requests for why in refused.findings]


def as_sent(documents: Iterable[Document], requests: Iterable[DocumentRequest]) -> list[Given]:
    """What came, by the requests as they were sent to us."""
    sent = {(one.repository_unique_id, one.document_unique_id): one for one in requests}
    return [
        given_of(replace(one, request=sent[one.request.repository_unique_id, one.request.document_unique_id]))
        for one in documents
    ]


def given_of(document: Document) -> Given:
    """A document that came, as it goes on."""
    content = document.content
    return Given(
        document.request, document.mime_type, content.size_bytes, content.chunks, document.new_repository_unique_id,
        document.new_document_unique_id,
    )  # fmt: skip


def told_of(call: Call, question: Question[Came], came: Came, transaction: Transaction) -> None:
    """A record of each gateway or repository that was called for documents."""
    requests: Sequence[DocumentRequest] = question.asked
    for tried in question.tries.all():
        event = begun(call, transaction, tried)
        event.about_documents(requests)
        findings = () if tried.silent else by_document(came.findings, requests)
        event.end(failed=bool(tried.silent) or not came.documents, findings=findings)


def begun(call: Call, transaction: Transaction, tried: Tried) -> AuditEvent:
    """The record of a call, as of when it began."""
    event = call.also(call.actor.gateways.started(transaction, tried.url))
    event.started = tried.started
    return event


def by_document(findings: Sequence[Finding], requests: Sequence[DocumentRequest]) -> tuple[Finding, ...]:
    """Findings placed by the document alone, as records have them; others place them by their community, too."""
    ids = {one.document_unique_id for one in requests}

    def placed(location: str) -> str:
        after, before = location.partition(" ")[2], location.rpartition(" ")[0]
        return next((one for one in (location, after, before) if one in ids), location)

    return tuple(replace(one, location=placed(one.location)) for one in findings)
