"""ITI-8 Patient Identity Feed: Patient Identity Source → Document Registry.

ITI TF-2: 3.8.  ADT of HL7 v2.3.1 in, ACK out, over MLLP; ``feeding`` is its exchange.
"""

from __future__ import annotations

from xds.audit.messages.events import AuditEvent
from xds.hl7.feed import FeedAction
from xds.metadata.identifiers import PatientId
from xds.transactions.transaction import Audits

NUMBER, TITLE = "ITI-8", "Patient Identity Feed"

# EventActionCode of each record: a merge leaves two, of the subsumed patient and of the surviving (3.8.5.1).
AUDITS = {
    FeedAction.ADD: (Audits("110110", "C"),),
    FeedAction.REVISE: (Audits("110110", "U"),),
    FeedAction.MERGE: (Audits("110110", "D"), Audits("110110", "U")),
}


def audited(event: AuditEvent, action: FeedAction, patient_ids: list[PatientId]) -> list[AuditEvent]:
    """The records of what a feed has done: of a merge one a patient, else one an identifier."""
    several = AUDITS[action] if action is FeedAction.MERGE else AUDITS[action] * max(len(patient_ids), 1)
    events = [event, *(event.copy() for _ in several[1:])]
    for each, audits, patient_id in zip(events, several, patient_ids, strict=False):
        each.action = audits.action
        each.about_patient(str(patient_id))
    return events
