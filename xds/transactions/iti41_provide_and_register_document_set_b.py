"""ITI-41 Provide and Register Document Set-b: Document Source → Document Repository.

ITI TF-2: 3.41.  xds:ProvideAndRegisterDocumentSetRequest in, rs:RegistryResponse out.  RAD-68 is the same
message with a manifest or report in it (RAD TF-2: 4.68), told apart by what it carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xds.ebxml import lcm, rs
from xds.errors import ErrorCode, Finding, Refused, Status
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction
from xds.wire.xml import name


def respond(call: Call) -> Reply:
    submitted = call.body.find(name("lcm:SubmitObjectsRequest"))
    if submitted is None:
        rule = "a SubmitObjectsRequest is required (ITI TF-2: 3.41.4.1.2)"
        raise Refused([Finding(ErrorCode.REPOSITORY_METADATA, rule)])
    objects = lcm.read_submit_objects(submitted)
    if any(entry.mime_type == DICOM for entry in objects.extrinsic_objects):
        call.event.transaction = (RAD_68.number, RAD_68.title)
    call.event.about_objects(objects)
    documents = call.body.iterfind(name("xds:Document"))
    contents = [(document.get("id", ""), call.contents[document]) for document in documents]
    if call.actor.consents is not None and not call.said:  # once, if begun anew: then the bytes may be kept already
        call.said = call.actor.consents.read(objects, contents)
    warnings = call.actor.repository.provide_and_register(
        objects, contents, call.work, lambda submitted: call.actor.register(submitted, call)
    )
    return Reply.of(rs.write_response(Status.SUCCESS, warnings), warnings)


def refuse(_call: Call, findings: Sequence[Finding]) -> Reply:
    """A RegistryResponse of Failure: no PartialSuccess here (ITI TF-3: Table 4.2.4.2-1)."""
    return Reply.of(rs.write_response(Status.FAILURE, findings), findings, failed=True)


TRANSACTION = Transaction(
    number="ITI-41",
    title="Provide and Register Document Set-b",
    action="urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
    reply_action="urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse",
    initiator=Actor.DOCUMENT_SOURCE,
    responder=Actor.DOCUMENT_REPOSITORY,
    initiator_audits=Audits("110106", "R"),
    responder_audits=Audits("110107", "C"),
    request="xds:ProvideAndRegisterDocumentSetRequest",
    schema="xdsb.xsd",
    schema_error=ErrorCode.REPOSITORY_METADATA,
    respond=respond,
    refuse=refuse,
)

DICOM = "application/dicom"
RAD_68 = replace(
    TRANSACTION,
    number="RAD-68",
    title="Provide and Register Imaging Document Set - MTOM/XOP",
    initiator=Actor.IMAGING_DOCUMENT_SOURCE,
)
"""The same message with a manifest in it; only the audit record tells them apart."""
