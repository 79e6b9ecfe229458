"""ITI-43 Retrieve Document Set at the Initiating Gateway: each document from its community, one answer.

ITI TF-2: 3.43.4.1.3, 3.39.4.1 (option XDS Affinity Domain).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from xds.actors.communities import Community, Question
from xds.actors.document_consumer import listed
from xds.actors.fetching import Came, arrived, located
from xds.actors.foreign_answers import Found, shown
from xds.actors.initiating_gateway import ToAsk
from xds.ebxml import xdsb
from xds.ebxml.query import AdhocQuery
from xds.ebxml.rim import Slot
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Severity
from xds.metadata import vocabulary as v
from xds.queries.catalogue import GET_DOCUMENTS
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.transactions import own_community, passed_manifests, retrieving
from xds.transactions.iti18_at_gateway import asking, seeing, told_of
from xds.transactions.iti39_cross_gateway_retrieve import TRANSACTION as ITI_39
from xds.transactions.transaction import Actor, Call, Reply
from xds.wire.xml import Element, name

Requests: TypeAlias = tuple[DocumentRequest, ...]
Asked: TypeAlias = tuple[Community, Requests]
Place: TypeAlias = tuple[str, str]
"""repositoryUniqueId and uniqueId of a document."""


def respond(call: Call) -> Reply:
    requests = xdsb.read_document_requests(call.body)
    call.event.about_documents(requests)
    call.at_end(call.actor.repository.streams.enter())
    gateway, taking = call.actor.gateways.initiating, call.actor.gateways.taking
    split = gateway.split(requests)
    permitted, findings = permitted_of(call, split.others)
    findings = [*split.findings, *findings]
    questions = [taking.fetch(one, ITI_39.action, asked, call.message.header) for one, asked in permitted]
    call.sent = call.sent or bool(questions)
    try:
        given, told = own_community.retrieved(call, split.here, "gateway")
    finally:
        fetched = _fetched(call, questions)
    findings += [*told, *(finding for _, came in fetched for finding in came.findings)]
    given += [own_community.given_of(document) for _, came in fetched for document in came.documents]
    passed_manifests.note(call, given, gateway.home)
    places = {request: place for place, request in enumerate(requests)}
    given.sort(key=lambda one: places[one.request])
    said = own_community.by_document(findings, requests)
    return replace(retrieving.reply(given, findings), findings=said)


def _fetched(call: Call, questions: Sequence[Question[Came]]) -> list[tuple[Question[Came], Came]]:
    """What each community has given; its files are there until the reply is out, and each call is on record."""
    fetched = arrived(questions)
    for question, came in fetched:
        call.at_end(came.close)
        own_community.told_of(call, question, came, ITI_39)
    return fetched


def permitted_of(call: Call, others: Sequence[Asked]) -> tuple[list[Asked], list[Finding]]:
    """What of other communities' who asks may see, where not everything: their entries are asked for first.

    What is withheld cannot be told from what is not there.
    """
    if call.work.access.everything or not others:
        return list(others), []
    permitted, findings = list[Asked](), list[Finding]()
    for community, asked, seen, answer in _entries_of(call, others):
        parts = [(asked, seen, answer)]
        if len(asked) > 1 and any(one.code is ErrorCode.RESULT_NOT_SINGLE_PATIENT for one in answer.findings):
            parts = _one_by_one(call, community, asked)
        there = tuple(one for part, seen, _ in parts for one in part if _place(one) in seen)
        if there:
            permitted.append((community, there))
        for part, seen, answer in parts:
            errors = [one for one in answer.findings if one.severity is Severity.ERROR]
            why = errors or [Finding(ErrorCode.DOCUMENT_UNIQUE_ID, "no such document here")]
            absent = (one for one in part if _place(one) not in seen)
            findings += [replace(finding, location=located(one)) for one in absent for finding in why]
    return permitted, findings


def _entries_of(call: Call, others: Sequence[Asked]) -> list[tuple[Community, Requests, set[Place], Found]]:
    """What communities answer about documents of theirs; and which of these who asks may see."""
    questions = asking(call, [ToAsk(one, _entries(asked)) for one, asked in others], whole=True)
    answers = told_of(call, questions, call.actor.gateways.initiating.gathered(questions))
    return [
        (*asked, {place for one in shown(answer.objects, seeing(call, question)) for place in _ids(one)}, answer)
        for asked, question, answer in zip(others, questions, answers, strict=True)
    ]


def _one_by_one(call: Call, community: Community, asked: Requests) -> list[tuple[Requests, set[Place], Found]]:
    """The same of documents of several patients, about whom a community does not answer at once (3.18.4.1.3).

    Whoever gives no answer to one is not asked on.
    """
    found = list[tuple[Requests, set[Place], Found]]()
    for number, one in enumerate(asked):
        ((_, part, seen, answer),) = _entries_of(call, [(community, (one,))])
        if any(each.code is ErrorCode.UNAVAILABLE_COMMUNITY for each in answer.findings):
            return [*found, (asked[number:], seen, answer)]
        found.append((part, seen, answer))
    return found


def _place(request: DocumentRequest) -> Place:
    return request.repository_unique_id, request.document_unique_id


def _entries(requests: Sequence[DocumentRequest]) -> AdhocQuery:
    """The question for the entries of documents of one community."""
    ids = tuple(listed([one]) for one in dict.fromkeys(one.document_unique_id for one in requests))
    slots = (Slot("$XDSDocumentEntryUniqueId", ids),)
    return AdhocQuery(GET_DOCUMENTS.id, "LeafClass", slots, requests[0].home_community_id)


def _ids(entry: Element) -> list[Place]:
    """repositoryUniqueId and uniqueId of an entry."""
    repository = entry.findtext(f"{name('rim:Slot')}[@name='repositoryUniqueId']//{name('rim:Value')}") or ""
    return [
        (repository.strip(), one.get("value", ""))
        for one in entry.iterfind(name("rim:ExternalIdentifier"))
        if one.get("identificationScheme", "").lower() == v.DOCUMENT_ENTRY_UNIQUE_ID
    ]


TRANSACTION = replace(iti43.TRANSACTION, responder=Actor.INITIATING_GATEWAY, respond=respond)
