"""ITI-57 Update Document Set: Document Administrator → Document Registry.

ITI TF-2: 3.57 (XDS Metadata Update supplement).  lcm:SubmitObjectsRequest in, rs:RegistryResponse out.
"""

from __future__ import annotations

from xds.ebxml import lcm, rs
from xds.errors import ErrorCode, Status
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    return updated(call)


def updated(call: Call, *, restricted: bool = False) -> Reply:
    """The answer to a submission that updates; ``restricted`` as ITI-92 is."""
    objects = lcm.read_submit_objects(call.body)
    call.event.about_objects(objects)
    warnings = call.actor.registry.update(objects, call.work.registry, restricted=restricted)
    return Reply.of(rs.write_response(Status.SUCCESS, warnings), warnings)


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
    refuse=iti42.refuse,
)
