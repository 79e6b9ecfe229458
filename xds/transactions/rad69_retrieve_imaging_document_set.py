"""RAD-69 Retrieve Imaging Document Set: Imaging Document Consumer → Imaging Document Source.

RAD TF-2: 4.69.  xdsi:RetrieveImagingDocumentSetRequest in, xds:RetrieveDocumentSetResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.ebxml import xdsb
from xds.errors import ErrorCode, Finding
from xds.transactions import retrieving
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    request = xdsb.read_imaging_request(call.body)
    call.event.about_studies(request)
    studies = {one.study_instance_uid for one in request.instances}
    call.event.of_patients(call.actor.study_patients.of(studies))
    withheld = call.actor.studies.withheld(call.work.access, studies)
    source = call.actor.imaging_source
    call.at_end(source.streams.enter())
    given, findings = [], []
    for found in source.retrieve(request, withheld):
        if isinstance(found, Finding):
            findings.append(found)
        else:
            call.at_end(found.release)
            document = found.request.document
            call.event.of_classes([(document.document_unique_id, found.sop_class_uid)])
            given.append(retrieving.Given(document, "application/dicom", found.size_bytes, found.chunks))
    return retrieving.reply(given, findings)


def refuse(_call: Call, findings: Sequence[Finding]) -> Reply:
    """A response without instances."""
    return retrieving.reply((), findings)


TRANSACTION = Transaction(
    number="RAD-69",
    title="Retrieve Imaging Document Set",
    action="urn:ihe:rad:2009:RetrieveImagingDocumentSet",
    reply_action="urn:ihe:iti:2007:RetrieveDocumentSetResponse",
    initiator=Actor.IMAGING_DOCUMENT_CONSUMER,
    responder=Actor.IMAGING_DOCUMENT_SOURCE,
    initiator_audits=Audits("110103", "C"),
    responder_audits=Audits("110104", "R"),
    request="xdsi:RetrieveImagingDocumentSetRequest",
    schema="xdsib.xsd",
    schema_error=ErrorCode.XDSI_REQUEST,
    respond=respond,
    refuse=refuse,
    retrieve=True,
)
