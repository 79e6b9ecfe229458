"""ITI-39 Cross Gateway Retrieve: Initiating Gateway → Responding Gateway.

ITI TF-2: 3.39.  xds:RetrieveDocumentSetRequest in, xds:RetrieveDocumentSetResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xds.ebxml import xdsb
from xds.errors import Finding
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.transactions import own_community, passed_manifests, retrieving
from xds.transactions.transaction import Actor, Call, Reply


def respond(call: Call) -> Reply:
    requests = xdsb.read_document_requests(call.body)
    call.event.about_documents(requests)
    call.at_end(call.actor.repository.streams.enter())
    gateway = call.actor.gateways.responding
    ours, others = gateway.sorted_out(requests)
    given, findings = own_community.retrieved(call, ours, "responding-gateway")
    passed_manifests.note(call, given, gateway.home)
    said = (*others, *own_community.by_document(findings, requests))
    return replace(retrieving.reply(given, gateway.located(said, requests)), findings=said)


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """A response without documents, each error with the community (ITI TF-2: 3.39.4.1.3)."""
    return retrieving.reply((), call.actor.gateways.responding.located(findings))


TRANSACTION = replace(
    iti43.TRANSACTION,
    number="ITI-39",
    title="Cross Gateway Retrieve",
    action="urn:ihe:iti:2007:CrossGatewayRetrieve",
    reply_action="urn:ihe:iti:2007:CrossGatewayRetrieveResponse",
    initiator=Actor.INITIATING_GATEWAY,
    responder=Actor.RESPONDING_GATEWAY,
    respond=respond,
    refuse=refuse,
)
