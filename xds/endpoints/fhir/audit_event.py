"""A record as a FHIR R4 AuditEvent, element by element of DICOM's message.  ITI TF-2: 3.81; FHIR R4: AuditEvent."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Any
from urllib.parse import quote

from xds.audit.messages.codes import Coded
from xds.audit.messages.message import ActiveParticipant, AuditMessage, Detail, NotAuditMessage, ParticipantObject
from xds.audit.messages.message_xml import read
from xds.metadata.identifiers import is_oid
from xds.store.audit.records import Recorded

# The systems of DICOM's codes as FHIR names them.  RFC 3881's types of ids (5.5.4) are in none that FHIR R4 knows, and
# neither are names that somebody has given a system: such codes go without one, or as text.
SYSTEMS = {
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "1.2.840.10008.2.16.4": "http://dicom.nema.org/resources/ontology/DCM",
    "IHE Transactions": "urn:ihe:event-type-code",
}
_TYPE = ("http://terminology.hl7.org/CodeSystem/audit-entity-type", 4)
_ROLE = ("http://terminology.hl7.org/CodeSystem/object-role", 24)
_LIFE_CYCLE = ("http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle", 15)
_SOURCE_TYPE = ("http://terminology.hl7.org/CodeSystem/security-source-type", 9)
"""FHIR R4's systems for DICOM's numbers, and the last that each has."""


def resource(record: Recorded) -> dict[str, Any]:
    """The resource of a record; of one that cannot be read, when and how it came, and its bytes."""
    try:
        message = read(record.message)
    except NotAuditMessage:
        return _unreadable(record)
    event = message.event
    return _filled({
        "resourceType": "AuditEvent", "id": str(record.id), "meta": _meta(record),
        "type": _coding(event.event_id) or _UNNAMED, "subtype": [_coding(code) for code in event.type_codes],
        "action": str(event.action.value) if event.action else None,
        "recorded": event.date_time.isoformat(timespec="milliseconds"), "outcome": str(int(event.outcome)),
        "outcomeDesc": event.outcome_description, "purposeOfEvent": _concepts(event.purposes_of_use),
        "agent": [_agent(one) for one in message.participants] or [{"requestor": False}],
        "source": _source(message), "entity": [_entity(one) for one in message.objects],
    })  # fmt: skip


_UNNAMED = {"display": "not named"}


def _meta(record: Recorded) -> dict[str, str]:
    """Where a record came from, if it is another node's."""
    return {"source": f"urn:xds:audit:origin:{quote(record.origin)}"} if record.origin else {}


def _unreadable(record: Recorded) -> dict[str, Any]:
    return _filled({
        "resourceType": "AuditEvent", "id": str(record.id), "meta": _meta(record),
        "type": {"system": "urn:xds:audit", "code": "unreadable", "display": "No audit message, kept as it came"},
        "recorded": record.time.isoformat(timespec="milliseconds"), "agent": [{"requestor": False}],
        "source": {"observer": {"display": record.origin or "this node"}},
        "entity": [_filled({"detail": _details([Detail("message", record.message)])})],
    })  # fmt: skip


def _coding(code: Coded) -> dict[str, str]:
    """A code with its system, where that is one that can be named by a URI."""
    name = code.system.strip()
    system = SYSTEMS.get(name) or (f"urn:oid:{name}" if is_oid(name) else name if _URI.fullmatch(name) else "")
    return _filled({"system": system, "code": " ".join(code.code.split()), "display": code.text})


_URI = re.compile(r"(?:https?|urn):[!-~]+")


def _concept(code: Coded) -> dict[str, Any]:
    """A code of a system, or what it is called."""
    coding = _coding(code)
    return {"coding": [coding]} if coding.get("system") else _filled({"text": code.text or code.code})


def _concepts(codes: Iterable[Coded]) -> list[dict[str, Any]]:
    return [_concept(code) for code in codes]


def _agent(one: ActiveParticipant) -> dict[str, Any]:
    kind = one.network_access_point_type
    network = {"address": one.network_access_point_id, "type": str(int(kind)) if kind else None}
    return _filled({
        "role": _concepts(one.role_ids), "who": _identified(one.user_id), "altId": one.alternative_user_id,
        "name": one.user_name, "requestor": one.user_is_requestor, "network": _filled(network),
    })  # fmt: skip


def _source(message: AuditMessage) -> dict[str, Any]:
    # Texts of these differ from FHIR's, and so are left out.
    types = [_numbered(_SOURCE_TYPE, code.code) or _coding(code) for code in message.source.type_codes]
    observer = _identified(message.source.source_id) or {"display": "not named"}
    return _filled({"site": message.source.enterprise_site_id, "observer": observer, "type": types})


def _entity(one: ParticipantObject) -> dict[str, Any]:
    what: dict[str, Any] = {"value": one.id, "type": _concept(one.id_type)}
    query = None if one.query is None else _base64(one.query)
    return _filled({
        "what": _filled({"identifier": _filled(what)}), "type": _of_ours(_TYPE, one.type_code),
        "role": _of_ours(_ROLE, one.role), "lifecycle": _of_ours(_LIFE_CYCLE, one.life_cycle),
        "name": "" if query else one.name,  # FHIR R4: AuditEvent, sev-1
        "query": query, "detail": _details(one.details),
    })  # fmt: skip


def _details(details: Iterable[Detail]) -> list[dict[str, str]]:
    """Those that have a value: FHIR has no empty ones."""
    return [
        {"type": one.type.strip() or "not named", "valueBase64Binary": _base64(one.value)}
        for one in details if one.value
    ]  # fmt: skip


def _numbered(system: tuple[str, int], code: str) -> dict[str, str]:
    """A number in one of FHIR's systems; nothing where that does not have it."""
    name, last = system
    return {"system": name, "code": code} if code in map(str, range(1, last + 1)) else {}


def _of_ours(system: tuple[str, int], number: IntEnum | None) -> dict[str, str] | None:
    """A number of DICOM's, by FHIR's system where that has it, else by its name."""
    if number is None:
        return None
    return _numbered(system, str(int(number))) or {"display": number.name.replace("_", " ").capitalize()}


def _identified(value: str) -> dict[str, Any] | None:
    return {"identifier": {"value": value.strip()}} if value.strip() else None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty or blank, and empty parts of lists, which FHIR does not have."""
    found = {
        key: value.strip() if isinstance(value, str) else _members(value) if isinstance(value, list) else value
        for key, value in values.items()
    }
    return {key: value for key, value in found.items() if value not in (None, "", [], {})}


def _members(values: list[Any]) -> list[Any]:
    return [one for one in values if one]
