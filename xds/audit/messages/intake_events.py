"""Events of instances that are taken in, beside that of their transfer: studies taken back, and studies in danger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from xds.audit.messages.codes import EVENT_TYPES, STUDY_INSTANCE_UID, URI, ObjectRole
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.objects import as_details, thing
from xds.audit.messages.parties import Party


def taken_back(event: AuditEvent, instances: Iterable[tuple[str, str]]) -> AuditEvent:
    """DICOM Study Deleted (110105), by a rejection note: these are not given out any more.

    ``event`` is the note's transfer; ``instances`` are Study and SOP Instance UIDs.  IHE RAD IOCM.
    """
    deleted = replace(event, event_id="110105", action="D", objects=[])
    deleted.about_instances(instances)
    return deleted


def set_against(
    event: AuditEvent, patient_id: str, study_instance_uid: str, why: str, *, is_apart: bool = False
) -> AuditEvent:
    """Security Alert: what was sent would have changed another's study: it is set apart, or refused."""
    kinds = (EVENT_TYPES["110132"],)  # Use of Restricted Function
    alert = replace(event, event_id="110113", action="E", transaction=("", ""), kinds=kinds, objects=[])
    details = as_details([("Alert Description", f"{'set apart' if is_apart else 'refused'}: {why}")])
    alert.objects.append(thing(study_instance_uid, STUDY_INSTANCE_UID, ObjectRole.SECURITY_RESOURCE, details=details))
    alert.about_patient(patient_id)
    alert.refused(why)
    return alert


def apart_seen(node: AuditSource, who: Party, patient_id: str, studies: Iterable[str]) -> AuditEvent:
    """DICOM Instances Accessed (110103): a person has looked at what is set apart, and at whose study it is against."""
    event = AuditEvent(node, "110103", "R", ("", ""), who, who)
    event.about_patient(patient_id)
    event.objects += [thing(study, STUDY_INSTANCE_UID) for study in studies]
    event.end(failed=False)
    return event


def apart_decided(
    node: AuditSource, who: Party, case: int, patient_id: str, instances: Iterable[tuple[str, str]], decision: str,
    *, taken: bool,
) -> AuditEvent:  # fmt: skip
    """The same, to take in what is set apart (C), or to throw it away (D); with the decision as it was said."""
    event = AuditEvent(node, "110103", "C" if taken else "D", ("", ""), who, who)
    event.about_patient(patient_id)
    event.about_instances(instances)
    details = as_details([("Decision", decision)])
    event.objects.append(thing(f"urn:xds:apart:{case}", URI, ObjectRole.SECURITY_RESOURCE, details=details))
    event.end(failed=False)
    return event
