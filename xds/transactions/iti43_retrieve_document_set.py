"""ITI-43 Retrieve Document Set: Document Consumer → Document Repository.

ITI TF-2: 3.43.  xds:RetrieveDocumentSetRequest in, xds:RetrieveDocumentSetResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from xds.ebxml import xdsb
from xds.errors import ErrorCode, Finding
from xds.transactions import retrieving
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    requests = xdsb.read_document_requests(call.body)
    call.event.about_documents(requests)
    repository = call.actor.repository
    call.at_end(repository.streams.enter())
    given, findings = [], []
    for request, held in zip(requests, repository.retrieve(requests, call.work), strict=True):
        if isinstance(held, Finding):
            findings.append(held)
        else:
            chunks = partial(repository.chunks, held)
            given.append(retrieving.Given(request, held.mime_type, held.size_bytes, chunks))
    return retrieving.reply(given, findings)


def refuse(_call: Call, findings: Sequence[Finding]) -> Reply:
    """A response without documents."""
    return retrieving.reply((), findings)


TRANSACTION = Transaction(
    number="ITI-43",
    title="Retrieve Document Set",
    action="urn:ihe:iti:2007:RetrieveDocumentSet",
    reply_action="urn:ihe:iti:2007:RetrieveDocumentSetResponse",
    initiator=Actor.DOCUMENT_CONSUMER,
    responder=Actor.DOCUMENT_REPOSITORY,
    initiator_audits=Audits("110107", "C"),
    responder_audits=Audits("110106", "R"),
    request="xds:RetrieveDocumentSetRequest",
    schema="xdsb.xsd",
    schema_error=ErrorCode.REPOSITORY_ERROR,
    respond=respond,
    refuse=refuse,
    retrieve=True,
    responder_names_patient=False,  # ITI TF-2: 3.43.5.1.2
)
