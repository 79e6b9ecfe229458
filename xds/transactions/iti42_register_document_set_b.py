"""ITI-42 Register Document Set-b: Document Repository → Document Registry.

ITI TF-2: 3.42.  lcm:SubmitObjectsRequest in, rs:RegistryResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.ebxml import lcm, rs
from xds.errors import ErrorCode, Finding, Status
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    return registered(call)


def registered(call: Call, *, on_demand: bool = False) -> Reply:
    """The answer to a submission; ``on_demand`` as ITI-61's are."""
    objects = lcm.read_submit_objects(call.body)
    call.event.about_objects(objects)
    submission, warnings = call.actor.registry.judged(objects, on_demand=on_demand)
    call.actor.registry.register(submission, call.work.registry, warnings)
    if call.actor.consents is not None and not on_demand:
        call.actor.consents.await_bytes(objects, call.work)
    return Reply.of(rs.write_response(Status.SUCCESS, warnings), warnings)


def refuse(_call: Call, findings: Sequence[Finding]) -> Reply:
    """A RegistryResponse of Failure: no PartialSuccess here (ITI TF-3: Table 4.2.4.2-1)."""
    return Reply.of(rs.write_response(Status.FAILURE, findings), findings, failed=True)


TRANSACTION = Transaction(
    number="ITI-42",
    title="Register Document Set-b",
    action="urn:ihe:iti:2007:RegisterDocumentSet-b",
    reply_action="urn:ihe:iti:2007:RegisterDocumentSet-bResponse",
    initiator=Actor.DOCUMENT_REPOSITORY,
    responder=Actor.DOCUMENT_REGISTRY,
    initiator_audits=Audits("110106", "R"),
    responder_audits=Audits("110107", "C"),
    request="lcm:SubmitObjectsRequest",
    schema="lcm.xsd",
    schema_error=ErrorCode.REGISTRY_METADATA,
    respond=respond,
    refuse=refuse,
)
