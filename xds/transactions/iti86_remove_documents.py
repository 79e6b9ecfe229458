"""ITI-86 Remove Documents: Document Administrator → Document Repository.

ITI TF-2: 3.86 (Remove Metadata and Documents supplement).  rmd:RemoveDocumentsRequest in, rs:RegistryResponse out; an
audit record a patient.  Metadata is removed by ITI-62, apart from this.
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.ebxml import rs, xdsb
from xds.errors import ErrorCode, Finding, Status
from xds.transactions.iti41_provide_and_register_document_set_b import refuse
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    requests = xdsb.read_document_requests(call.body)
    call.event.about_removed_documents(requests)
    outcomes = call.actor.repository.remove(requests, call.work)
    findings = [outcome for outcome in outcomes if isinstance(outcome, Finding)]
    _audited(call, requests, outcomes)
    status = Status.SUCCESS if not findings else _status(len(findings) < len(requests))
    return Reply.of(rs.write_response(status, findings), findings, failed=status is Status.FAILURE)


def _status(some: bool) -> Status:
    return Status.PARTIAL_SUCCESS if some else Status.FAILURE


def _audited(call: Call, requests: Sequence[xdsb.DocumentRequest], outcomes: Sequence[str | Finding]) -> None:
    """A record concerns one patient (DICOM PS3.15: A.5.3.11); what is of nobody that we know stands with the first."""
    patients = sorted({outcome for outcome in outcomes if isinstance(outcome, str) and outcome})
    for number, patient_id in enumerate(patients):
        event = call.also(call.event.copy()) if number else call.event
        event.about_patient(patient_id)
        event.objects.clear()
        told = (patient_id,) if number else (patient_id, *(o for o in outcomes if o not in patients))
        event.about_removed_documents(r for r, o in zip(requests, outcomes, strict=True) if o in told)


TRANSACTION = Transaction(
    number="ITI-86",
    title="Remove Documents",
    action="urn:ihe:iti:2017:RemoveDocuments",
    reply_action="urn:ihe:iti:2017:RemoveDocumentsResponse",
    initiator=Actor.DOCUMENT_ADMINISTRATOR,
    responder=Actor.DOCUMENT_REPOSITORY,
    initiator_audits=Audits("110110", "D"),
    responder_audits=Audits("110110", "D"),
    request="rmd:RemoveDocumentsRequest",
    schema="rmd.xsd",
    schema_error=ErrorCode.REPOSITORY_ERROR,
    respond=respond,
    refuse=refuse,
)
