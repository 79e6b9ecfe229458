"""Events of instances that are taken in, beside that of their transfer: studies taken back, and studies in danger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from xds.audit.messages.codes import EVENT_TYPES, STUDY_INSTANCE_UID, ObjectRole
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.objects import as_details, thing


def taken_back(event: AuditEvent, instances: Iterable[tuple[str, str]]) -> AuditEvent:
    """DICOM Study Deleted (110105), by a rejection note: these are not given out any more.

    ``event`` is the note's transfer; ``instances`` are Study and SOP Instance UIDs.  IHE RAD IOCM.
    """
    deleted = replace(event, event_id="110105", action="D", objects=[])
    deleted.about_instances(instances)
    return deleted


def set_against(event: AuditEvent, patient_id: str, study_instance_uid: str, why: str) -> AuditEvent:
    """Security Alert: what was sent would have changed another's study, and was refused; a person decides."""
    kinds = (EVENT_TYPES["110132"],)  # Use of Restricted Function
    alert = replace(event, event_id="110113", action="E", transaction=("", ""), kinds=kinds, objects=[])
    details = as_details([("Alert Description", f"refused: {why}")])
    alert.objects.append(thing(study_instance_uid, STUDY_INSTANCE_UID, ObjectRole.SECURITY_RESOURCE, details=details))
    alert.about_patient(patient_id)
    alert.refused(why)
    return alert
