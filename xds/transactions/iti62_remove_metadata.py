"""ITI-62 Remove Metadata: Document Administrator → Document Registry.

ITI TF-2: 3.62.  lcm:RemoveObjectsRequest in, rs:RegistryResponse out; an audit record a patient.
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.actors.metadata_removal import Removed
from xds.ebxml import lcm, rs
from xds.errors import ErrorCode, Finding, Refused, Status
from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    sent = lcm.read_remove_objects(call.body)
    if sent.more:
        rule = "neither AdhocQuery nor deletionScope may be given (ITI TF-2: 3.62.4.1.2)"
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, rule)])
    removed = call.actor.registry.remove(sent.ids, call.work.registry)
    _audited(call, removed)
    return Reply.of(rs.write_response(Status.SUCCESS))


def _audited(call: Call, removed: Sequence[Removed]) -> None:
    """A record concerns one patient (DICOM PS3.15: A.5.3.11)."""
    for number, patient_id in enumerate(sorted({item.patient_id for item in removed})):
        event = call.also(call.event.copy()) if number else call.event
        event.about_patient(str(patient_id))
        event.objects.clear()
        event.about_removed((r.entry_uuid, r.code, r.text) for r in removed if r.patient_id == patient_id)


TRANSACTION = Transaction(
    number="ITI-62",
    title="Remove Metadata",
    action="urn:ihe:iti:2010:DeleteDocumentSet",
    reply_action="urn:ihe:iti:2010:DeleteDocumentSetResponse",
    initiator=Actor.DOCUMENT_ADMINISTRATOR,
    responder=Actor.DOCUMENT_REGISTRY,
    initiator_audits=Audits("110110", "D"),
    responder_audits=Audits("110110", "D"),
    request="lcm:RemoveObjectsRequest",
    schema="lcm.xsd",
    schema_error=ErrorCode.REGISTRY_ERROR,
    respond=respond,
    refuse=iti42.refuse,
)
