"""ITI-61 Register On-Demand Document Entry: On-Demand Document Source → Document Registry.

ITI TF-2: 3.61.  lcm:SubmitObjectsRequest in, rs:RegistryResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.ebxml import lcm, rs
from xds.errors import ErrorCode, Finding, Status
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    objects = lcm.read_submit_objects(call.body)
    call.event.about_objects(objects)
    warnings = call.actor.registry.submit(objects, call.work.registry, on_demand=True)
    return Reply.of(rs.write_response(Status.SUCCESS, warnings), warnings)


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """A RegistryResponse of Failure."""
    return iti42.refuse(call, findings)


TRANSACTION = Transaction(
    number="ITI-61",
    title="Register On-Demand Document Entry",
    action="urn:ihe:iti:2010:RegisterOnDemandDocumentEntry",
    # Irregular, without «Entry» (ITI TF-2: 3.61.5).
    reply_action="urn:ihe:iti:2010:RegisterOnDemandDocumentResponse",
    initiator=Actor.ON_DEMAND_DOCUMENT_SOURCE,
    responder=Actor.DOCUMENT_REGISTRY,
    initiator_audits=Audits("110106", "R"),
    responder_audits=Audits("110107", "C"),
    request="lcm:SubmitObjectsRequest",
    schema="lcm.xsd",
    schema_error=ErrorCode.REGISTRY_METADATA,
    respond=respond,
    refuse=refuse,
)
