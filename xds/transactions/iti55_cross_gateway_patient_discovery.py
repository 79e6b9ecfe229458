"""ITI-55 Cross Gateway Patient Discovery: Initiating Gateway → Responding Gateway.

ITI TF-2: 3.55.  hl7:PRPA_IN201305UV02 in, hl7:PRPA_IN201306UV02 out, also where nothing is found or answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from xds.errors import ErrorCode, Finding, Refused
from xds.hl7 import discovery, v3
from xds.hl7.discovery import NotAQuery, Outcome
from xds.metadata.identifiers import Oid
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction

_BUSY = (ErrorCode.REGISTRY_BUSY, ErrorCode.REPOSITORY_BUSY, ErrorCode.REGISTRY_OUT_OF_RESOURCES)


def respond(call: Call) -> Reply:
    for asked in v3.found(call.body, "hl7:controlActProcess/hl7:queryByParameter"):
        id_ = v3.attributes_of(next(iter(v3.found(asked, "hl7:queryId")), None))
        call.event.about_question("^".join(id_.values())[:256], etree.tostring(asked))
    try:
        sought = discovery.read(call.body)
    except NotAQuery as problem:
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, str(problem))]) from None
    with call.work.asking() as (registry, _):
        outcome = call.actor.gateways.discovery.discover(sought, registry)
    if outcome.patient is not None:
        call.event.about_patient(str(outcome.patient))
    return _reply(call, outcome)


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """An answer of an error, by the codes of 1.3.6.1.4.1.19376.1.2.27.3 (ITI TF-2: 3.55.4.2.3)."""
    busy = any(one.code in _BUSY for one in findings)
    text = "; ".join(one.context for one in findings)
    return _reply(call, Outcome(error="ResponderBusy" if busy else discovery.NOT_AVAILABLE, text=text), findings)


def _reply(call: Call, outcome: Outcome, findings: Sequence[Finding] = ()) -> Reply:
    home = Oid(call.actor.gateways.responding.home.removeprefix("urn:oid:"))
    said = discovery.answer(call.body, call.actor.device, home, outcome)
    return Reply.of(said, findings, failed=bool(findings))


TRANSACTION = Transaction(
    number="ITI-55",
    title="Cross Gateway Patient Discovery",
    action="urn:hl7-org:v3:PRPA_IN201305UV02:CrossGatewayPatientDiscovery",
    reply_action="urn:hl7-org:v3:PRPA_IN201306UV02:CrossGatewayPatientDiscovery",
    initiator=Actor.INITIATING_GATEWAY,
    responder=Actor.RESPONDING_GATEWAY,
    initiator_audits=Audits("110112", "E"),
    responder_audits=Audits("110112", "E"),
    request="hl7:PRPA_IN201305UV02",
    schema="hl7v3.xsd",
    schema_error=ErrorCode.REGISTRY_ERROR,
    respond=respond,
    refuse=refuse,
)
