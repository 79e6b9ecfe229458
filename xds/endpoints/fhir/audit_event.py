"""A record as a FHIR R4 AuditEvent, element by element of DICOM's message.  ITI TF-2: 3.81; FHIR R4: AuditEvent."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from xds.audit.messages.codes import Coded
from xds.audit.messages.message import ActiveParticipant, AuditMessage, NotAuditMessage, ParticipantObject
from xds.audit.messages.message_xml import read
from xds.store.audit.records import Recorded

# The systems of DICOM's codes as FHIR names them.
SYSTEMS = {
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "IHE Transactions": "urn:ihe:event-type-code",
    "RFC-3881": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
}
_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_LIFE_CYCLE = "http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle"


def resource(record: Recorded) -> dict[str, Any]:
    """The resource of a record; of one that cannot be read, when and how it came, and its bytes."""
    try:
        message = read(record.message)
    except NotAuditMessage:
        return _unreadable(record)
    event = message.event
    return _filled({
        "resourceType": "AuditEvent", "id": str(record.id), "meta": _meta(record), "type": _coding(event.event_id),
        "subtype": [_coding(code) for code in event.type_codes],
        "action": str(event.action.value) if event.action else None,
        "recorded": event.date_time.isoformat(timespec="milliseconds"), "outcome": str(int(event.outcome)),
        "outcomeDesc": event.outcome_description, "purposeOfEvent": _concepts(event.purposes_of_use),
        "agent": [_agent(one) for one in message.participants] or [{"requestor": False}],
        "source": _source(message), "entity": [_entity(one) for one in message.objects],
    })  # fmt: skip


def _meta(record: Recorded) -> dict[str, str]:
    """Where a record came from, if it is another node's."""
    return {"source": f"urn:xds:audit:origin:{quote(record.origin)}"} if record.origin else {}


def _unreadable(record: Recorded) -> dict[str, Any]:
    return {
        "resourceType": "AuditEvent", "id": str(record.id), "meta": _meta(record),
        "type": {"system": "urn:xds:audit", "code": "unreadable", "display": "No audit message, kept as it came"},
        "recorded": record.time.isoformat(timespec="milliseconds"), "agent": [{"requestor": False}],
        "source": {"observer": {"display": record.origin or "this node"}},
        "entity": [{"detail": [{"type": "message", "valueBase64Binary": _base64(record.message)}]}],
    }  # fmt: skip


def _coding(code: Coded) -> dict[str, str]:
    system = SYSTEMS.get(code.system, f"urn:oid:{code.system}" if code.system[:2] in ("1.", "2.") else code.system)
    return _filled({"system": system, "code": code.code, "display": code.text})


def _concepts(codes: Iterable[Coded]) -> list[dict[str, Any]]:
    return [{"coding": [_coding(code)]} for code in codes]


def _agent(one: ActiveParticipant) -> dict[str, Any]:
    kind = one.network_access_point_type
    network = {"address": one.network_access_point_id, "type": str(int(kind)) if kind else None}
    return _filled({
        "role": _concepts(one.role_ids), "who": _identified(one.user_id), "altId": one.alternative_user_id,
        "name": one.user_name, "requestor": one.user_is_requestor, "network": _filled(network),
    })  # fmt: skip


def _source(message: AuditMessage) -> dict[str, Any]:
    types = [_coding(code) for code in message.source.type_codes]
    observer = _identified(message.source.source_id) or {"display": "not named"}
    return _filled({"site": message.source.enterprise_site_id, "observer": observer, "type": types})


def _entity(one: ParticipantObject) -> dict[str, Any]:
    what: dict[str, Any] = {"value": one.id, "type": {"coding": [_coding(one.id_type)]}}
    details = [{"type": detail.type, "valueBase64Binary": _base64(detail.value)} for detail in one.details]
    return _filled({
        "what": {"identifier": _filled(what)}, "type": _numbered(_TYPE, one.type_code),
        "role": _numbered(_ROLE, one.role), "lifecycle": _numbered(_LIFE_CYCLE, one.life_cycle), "name": one.name,
        "query": None if one.query is None else _base64(one.query), "detail": details,
    })  # fmt: skip


def _numbered(system: str, number: int | None) -> dict[str, str] | None:
    return None if number is None else {"system": system, "code": str(int(number))}


def _identified(value: str) -> dict[str, Any] | None:
    return {"identifier": {"value": value}} if value else None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, which FHIR does not have."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}
