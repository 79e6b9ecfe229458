"""ITI-38 Cross Gateway Query: Initiating Gateway → Responding Gateway.

ITI TF-2: 3.38.  query:AdhocQueryRequest in, query:AdhocQueryResponse out, every object and error with its community.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lxml import etree

from xds.ebxml import query
from xds.errors import Finding, Severity, Status
from xds.metadata.homes import at_home
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import own_community
from xds.transactions.transaction import Actor, Call, Reply


def respond(call: Call) -> Reply:
    sent = query.read_request(call.body)
    gateway = call.actor.gateways.responding
    call.event.about_query(replace(sent, home=sent.home or gateway.home), etree.tostring(call.body))
    asked = gateway.asked(sent)
    found, told = own_community.queried(call, sent, "responding-gateway")
    findings = gateway.located((*asked.findings, *told))
    wrong = any(one.severity is Severity.ERROR for one in findings)
    status = Status.PARTIAL_SUCCESS if wrong else Status.SUCCESS
    fragments = (at_home(one, asked.home) for one in found)
    return Reply((query.join_response(status, findings, fragments),), findings)


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """An empty answer of Failure, each error with the community (ITI TF-2: 3.38.4.1.3)."""
    return iti18.refuse(call, call.actor.gateways.responding.located(findings))


TRANSACTION = replace(
    iti18.TRANSACTION,
    number="ITI-38",
    title="Cross Gateway Query",
    action="urn:ihe:iti:2007:CrossGatewayQuery",
    reply_action="urn:ihe:iti:2007:CrossGatewayQueryResponse",
    initiator=Actor.INITIATING_GATEWAY,
    responder=Actor.RESPONDING_GATEWAY,
    respond=respond,
    refuse=refuse,
)
