"""ITI-92 Restricted Update Document Set: Update Initiator → Update Responder, which the Document Registry plays.

ITI TF-2: 3.92 (Restricted Metadata Update supplement).  lcm:SubmitObjectsRequest in, rs:RegistryResponse out.
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
    call.actor.registry.update(objects, call.work.registry, restricted=True)
    return Reply.of(rs.write_response(Status.SUCCESS))


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """A RegistryResponse of Failure."""
    return iti42.refuse(call, findings)


TRANSACTION = Transaction(
    number="ITI-92",
    title="Restricted Update Document Set",
    action="urn:ihe:iti:2018:RestrictedUpdateDocumentSet",
    reply_action="urn:ihe:iti:2018:RestrictedUpdateDocumentSetResponse",
    initiator=Actor.UPDATE_INITIATOR,
    responder=Actor.DOCUMENT_REGISTRY,
    initiator_audits=Audits("110106", "U"),
    responder_audits=Audits("110107", "U"),
    request="lcm:SubmitObjectsRequest",
    schema="lcm.xsd",
    schema_error=ErrorCode.REGISTRY_METADATA,
    respond=respond,
    refuse=refuse,
)
