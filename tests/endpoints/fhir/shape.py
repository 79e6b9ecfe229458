"""What FHIR R4 demands of the resources that we write, as a table: elements, how often they occur, and their forms.

From the definitions of R4 (4.0.1) of AuditEvent, Bundle, CapabilityStatement, OperationOutcome and their data types, as
far as we write them: an element that is not here is not written.
"""

from __future__ import annotations

import re
from typing import Any

MANY = 10**6

# Data types of one value, by FHIR R4's own expressions (datatypes: primitive types).
PRIMITIVES = {
    "string": r"[ \r\n\t\S]+", "uri": r"\S+", "url": r"\S+", "canonical": r"\S+", "code": r"[^\s]+(\s[^\s]+)*",
    "id": r"[A-Za-z0-9\-\.]{1,64}", "base64Binary": r"(\s*([0-9a-zA-Z\+/=]){4}\s*)+",
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "dateTime": r"\d{4}(-\d\d(-\d\d(T\S+)?)?)?",
}  # fmt: skip

# Codes that a required binding allows.
CODES = {
    "AuditEvent.action": "C R U D E", "AuditEvent.outcome": "0 4 8 12", "network.type": "1 2 3 4 5",
    "issue.severity": "fatal error warning information", "Bundle.type": "searchset", "search.mode": "match",
    "issue.code": "invalid not-supported forbidden not-found", "CapabilityStatement.status": "active",
    "CapabilityStatement.kind": "instance", "rest.mode": "server", "interaction.code": "read search-type",
    "searchParam.type": "number date string token reference composite quantity uri special",
}  # fmt: skip

# Code systems that FHIR R4 has, and the codes in them.
SYSTEMS = {
    "http://terminology.hl7.org/CodeSystem/audit-entity-type": [str(one) for one in range(1, 5)],
    "http://terminology.hl7.org/CodeSystem/object-role": [str(one) for one in range(1, 25)],
    "http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle": [str(one) for one in range(1, 16)],
    "http://terminology.hl7.org/CodeSystem/security-source-type": [str(one) for one in range(1, 10)],
}

TYPES: dict[str, dict[str, tuple[str, int, int]]] = {
    "Coding": {"system": ("uri", 0, 1), "code": ("code", 0, 1), "display": ("string", 0, 1)},
    "CodeableConcept": {"coding": ("Coding", 0, MANY), "text": ("string", 0, 1)},
    "Identifier": {"type": ("CodeableConcept", 0, 1), "value": ("string", 0, 1)},
    "Reference": {"identifier": ("Identifier", 0, 1), "display": ("string", 0, 1)},
    "Meta": {"source": ("uri", 0, 1)},
    "AuditEvent": {
        "id": ("id", 0, 1), "meta": ("Meta", 0, 1), "type": ("Coding", 1, 1), "subtype": ("Coding", 0, MANY),
        "action": ("code", 0, 1), "recorded": ("instant", 1, 1), "outcome": ("code", 0, 1),
        "outcomeDesc": ("string", 0, 1), "purposeOfEvent": ("CodeableConcept", 0, MANY), "agent": ("agent", 1, MANY),
        "source": ("source", 1, 1), "entity": ("entity", 0, MANY),
    },
    "agent": {
        "role": ("CodeableConcept", 0, MANY), "who": ("Reference", 0, 1), "altId": ("string", 0, 1),
        "name": ("string", 0, 1), "requestor": ("boolean", 1, 1), "network": ("network", 0, 1),
    },
    "network": {"address": ("string", 0, 1), "type": ("code", 0, 1)},
    "source": {"site": ("string", 0, 1), "observer": ("Reference", 1, 1), "type": ("Coding", 0, MANY)},
    "entity": {
        "what": ("Reference", 0, 1), "type": ("Coding", 0, 1), "role": ("Coding", 0, 1), "lifecycle": ("Coding", 0, 1),
        "name": ("string", 0, 1), "query": ("base64Binary", 0, 1), "detail": ("detail", 0, MANY),
    },
    "detail": {"type": ("string", 1, 1), "valueBase64Binary": ("base64Binary", 1, 1)},
    "Bundle": {"type": ("code", 1, 1), "link": ("link", 0, MANY), "entry": ("entry", 0, MANY)},
    "link": {"relation": ("string", 1, 1), "url": ("uri", 1, 1)},
    "entry": {"fullUrl": ("uri", 0, 1), "resource": ("resource", 0, 1), "search": ("search", 0, 1)},
    "search": {"mode": ("code", 0, 1)},
    "OperationOutcome": {"issue": ("issue", 1, MANY)},
    "issue": {"severity": ("code", 1, 1), "code": ("code", 1, 1), "diagnostics": ("string", 0, 1)},
    "CapabilityStatement": {
        "status": ("code", 1, 1), "date": ("dateTime", 1, 1), "kind": ("code", 1, 1), "software": ("software", 0, 1),
        "implementation": ("implementation", 1, 1), "fhirVersion": ("code", 1, 1), "format": ("code", 1, MANY),
        "rest": ("rest", 1, MANY),
    },
    "software": {"name": ("string", 1, 1), "version": ("string", 0, 1)},
    "implementation": {"description": ("string", 1, 1), "url": ("url", 0, 1)},
    "rest": {"mode": ("code", 1, 1), "resource": ("rest.resource", 0, MANY)},
    "rest.resource": {
        "type": ("code", 1, 1), "interaction": ("interaction", 0, MANY), "searchParam": ("searchParam", 0, MANY),
    },
    "interaction": {"code": ("code", 1, 1)},
    "searchParam": {"name": ("string", 1, 1), "definition": ("canonical", 0, 1), "type": ("code", 1, 1)},
}  # fmt: skip


def wrong(value: Any, type_: str = "resource", where: str = "") -> list[str]:
    """What R4 does not allow of a value, each with its place; nothing where all is as it should be."""
    if type_ in PRIMITIVES:
        right = isinstance(value, str) and re.fullmatch(PRIMITIVES[type_], value, re.ASCII) and value.strip()
        return [] if right else [f"{where}: no {type_}"]
    if type_ == "boolean":
        return [] if isinstance(value, bool) else [f"{where}: no boolean"]
    if not isinstance(value, dict) or not value:
        return [f"{where}: not an object with something in it"]
    if type_ == "resource":
        type_ = value.get("resourceType", "")
        where, value = type_, {key: held for key, held in value.items() if key != "resourceType"}
    known = TYPES.get(type_, {})
    found = [f"{where}.{name}: is not an element of {type_}" for name in value.keys() - known.keys()]
    for name, (of, least, most) in known.items():
        found += _occurrences(value.get(name), of, least, most, f"{where}.{name}")
        allowed = CODES.get(f"{type_}.{name}", "").split()
        if allowed and name in value and value[name] not in allowed:
            found.append(f"{where}.{name}: is none of {allowed}")
    return found + _more(value, type_, where)


def _occurrences(value: Any, of: str, least: int, most: int, where: str) -> list[str]:
    if value is None:
        return [f"{where}: is required"] if least else []
    if most == 1:
        return wrong(value, of, where)
    if not isinstance(value, list) or not value:
        return [f"{where}: no list with something in it"]
    return [one for number, held in enumerate(value) for one in wrong(held, of, f"{where}[{number}]")]


def _more(value: dict[str, Any], type_: str, where: str) -> list[str]:
    """What is no matter of one element."""
    if type_ == "entity" and "name" in value and "query" in value:
        return [f"{where}: a name and a query (AuditEvent: sev-1)"]
    if type_ == "Coding" and value.get("code") not in SYSTEMS.get(value.get("system", ""), [value.get("code")]):
        return [f"{where}: the system has no such code"]
    return []
