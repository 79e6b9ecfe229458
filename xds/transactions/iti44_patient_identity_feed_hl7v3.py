"""ITI-44 Patient Identity Feed HL7 V3: Patient Identity Source → Document Registry.

ITI TF-2: 3.44.  PRPA_IN201301UV02 (add), 302 (revise) or 304 (merge) in, MCCI_IN000002UV01 out.
"""

from __future__ import annotations

from collections.abc import Sequence

from xds.errors import ErrorCode, Finding, Refused
from xds.hl7 import v3
from xds.hl7.feed import NotAFeed
from xds.transactions import iti8_patient_identity_feed as iti8
from xds.transactions.transaction import Actor, Audits, Call, Reply, Transaction


def respond(call: Call) -> Reply:
    call.event.patient_details = (("II", v3.message_id(call.body)),)
    try:
        feed = v3.read(call.body)
    except NotAFeed as problem:
        raise Refused([Finding(ErrorCode.REGISTRY_ERROR, str(problem))]) from None
    for patient_id in (*feed.subsumed, *feed.patient_ids)[:1]:
        call.event.about_patient(str(patient_id))  # should it be refused
    call.may_feed([one for one in (*feed.patient_ids, *feed.subsumed) if call.actor.registry.is_ours(one)])
    concerned = call.actor.registry.feed(feed, call.work.registry)
    for event in iti8.audited(call.event, feed.action, concerned)[1:]:
        call.also(event)
    return Reply.of(v3.acknowledgement(call.body, call.actor.device))


def refuse(call: Call, findings: Sequence[Finding]) -> Reply:
    """An acknowledgement that names what is wrong."""
    reason = "; ".join(finding.context for finding in findings)
    return Reply.of(v3.acknowledgement(call.body, call.actor.device, reason), findings, failed=True)


def _interaction(name: str, action: str) -> Transaction:
    return Transaction(
        number="ITI-44",
        title="Patient Identity Feed HL7 V3",
        action=f"urn:hl7-org:v3:{name}",
        reply_action="urn:hl7-org:v3:MCCI_IN000002UV01",
        initiator=Actor.PATIENT_IDENTITY_SOURCE,
        responder=Actor.DOCUMENT_REGISTRY,
        initiator_audits=Audits("110110", action),
        responder_audits=Audits("110110", action),
        request=f"hl7:{name}",
        schema="hl7v3.xsd",
        schema_error=ErrorCode.REGISTRY_ERROR,
        respond=respond,
        refuse=refuse,
        audit_title="Patient Identity Feed",  # ITI TF-2: 3.44.5.1
    )


TRANSACTION = _interaction("PRPA_IN201301UV02", "C")
REVISE = _interaction("PRPA_IN201302UV02", "U")
MERGE = _interaction("PRPA_IN201304UV02", "D")
TRANSACTIONS = (TRANSACTION, REVISE, MERGE)
"""One an interaction."""
