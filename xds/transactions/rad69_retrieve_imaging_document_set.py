"""RAD-69 Retrieve Imaging Document Set: Imaging Document Consumer → Imaging Document Source.

RAD TF-2: 4.69.  xdsi:RetrieveImagingDocumentSetRequest in, xds:RetrieveDocumentSetResponse out.
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.ebxml import xdsb
from xds.ebxml.xdsb import ImagingRequest
from xds.errors import ErrorCode, Finding
from xds.transactions import retrieving
from xds.transactions.retrieving import Given
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    request = xdsb.read_imaging_request(call.body)
    call.event.about_studies(request)
    call.event.of_patients(call.actor.study_patients.of({one.study_instance_uid for one in request.instances}))
    call.at_end(call.actor.imaging_source.streams.enter())
    return retrieving.reply(*given(call, request))


def given(call: Call, request: ImagingRequest) -> tuple[list[Given], list[Finding]]:
    """What the source in this process can give of what who asks may see, and why not the rest.

    Raises:
        Refused: as ``ImagingDocumentSource.retrieve`` does.
    """
    withheld = call.actor.studies.withheld(call.work.access, {one.study_instance_uid for one in request.instances})
    found, findings = list[Given](), list[Finding]()
    for one in call.actor.imaging_source.retrieve(request, withheld):
        if isinstance(one, Finding):
            findings.append(one)
            continue
        call.at_end(one.release)
        document = one.request.document
        call.event.of_classes([(document.document_unique_id, one.sop_class_uid)])
        found.append(Given(document, "application/dicom", one.size_bytes, one.chunks))
    return found, findings


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
