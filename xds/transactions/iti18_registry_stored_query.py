"""ITI-18 Registry Stored Query: Document Consumer → Document Registry.

ITI TF-2: 3.18.  query:AdhocQueryRequest in, query:AdhocQueryResponse out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lxml import etree

from xds.ebxml import query
from xds.ebxml.query import AdhocQuery
from xds.errors import ErrorCode, Finding, Severity, Status
from xds.queries.returns import Answer
from xds.store.registry.sql_reader import SqlReader
from xds.store.registry.sql_registry import SqlRegistry
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction

WITHHELD = Finding(
    ErrorCode.REGISTRY_ERROR, "something is withheld by the patient or the policy of this affinity domain",
    severity=Severity.WARNING,
)  # fmt: skip


def respond(call: Call) -> Reply:
    sent = query.read_request(call.body)
    call.event.about_query(sent, etree.tostring(call.body))
    with call.work.asking() as (registry, _):
        found = call.actor.registry.query(sent, registry)
        told = withheld(call, registry, found, call.actor.registry.query, sent)
    return Reply((query.join_response(Status.SUCCESS, told, found.fragments),), told)


def withheld(
    call: Call, registry: SqlRegistry, found: Answer, ask: Callable[[AdhocQuery, SqlReader], Answer], sent: AdhocQuery
) -> tuple[Finding, ...]:
    """A warning that something is withheld, where the domain wants its consumers to be told that, and it is."""
    access = call.work.access
    if (
        not access.tells
        or access.everything
        or len(ask(sent, registry.unrestricted()).fragments) == len(found.fragments)
    ):
        return ()
    return (WITHHELD,)


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
