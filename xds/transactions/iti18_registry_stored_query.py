"""ITI-18 Registry Stored Query: Document Consumer → Document Registry.

ITI TF-2: 3.18.  query:AdhocQueryRequest in, query:AdhocQueryResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from xds.ebxml import query
from xds.errors import ErrorCode, Finding, Status
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    sent = query.read_request(call.body)
    call.event.about_query(sent, etree.tostring(call.body))
    with call.work.reading() as (registry, _):
        found = call.actor.registry.query(sent, registry)
    return Reply((query.join_response(Status.SUCCESS, (), found.fragments),))


def refuse(_call: Call, findings: Sequence[Finding]) -> Reply:
    """An empty answer of Failure."""
    return Reply((query.join_response(Status.FAILURE, findings, ()),), tuple(findings), failed=True)


TRANSACTION = Transaction(
    number="ITI-18",
    title="Registry Stored Query",
    action="urn:ihe:iti:2007:RegistryStoredQuery",
    reply_action="urn:ihe:iti:2007:RegistryStoredQueryResponse",
    initiator=Actor.DOCUMENT_CONSUMER,
    responder=Actor.DOCUMENT_REGISTRY,
    initiator_audits=Audits("110112", "E"),
    responder_audits=Audits("110112", "E"),
    request="query:AdhocQueryRequest",
    schema="query.xsd",
    schema_error=ErrorCode.REGISTRY_ERROR,
    respond=respond,
    refuse=refuse,
)
