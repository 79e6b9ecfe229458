"""ITI-57 Update Document Set: Document Administrator → Document Registry.

ITI TF-2: 3.57 (XDS Metadata Update supplement).  lcm:SubmitObjectsRequest in, rs:RegistryResponse out.
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
    call.actor.registry.update(objects, call.work.registry)
    return Reply.of(rs.write_response(Status.SUCCESS))


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """A RegistryResponse of Failure."""
    return iti42.refuse(call, findings)


TRANSACTION = Transaction(
    number="ITI-57",
    title="Update Document Set",
    action="urn:ihe:iti:2010:UpdateDocumentSet",
    reply_action="urn:ihe:iti:2010:UpdateDocumentSetResponse",
    initiator=Actor.DOCUMENT_ADMINISTRATOR,
    responder=Actor.DOCUMENT_REGISTRY,
    initiator_audits=Audits("110106", "U"),
    responder_audits=Audits("110107", "U"),
    request="lcm:SubmitObjectsRequest",
    schema="lcm.xsd",
    schema_error=ErrorCode.REGISTRY_METADATA,
    respond=respond,
    refuse=refuse,
)
