"""What may be asked of the audit log by FHIR: a CapabilityStatement.  FHIR R4: CapabilityStatement; ITI TF-2: 3.81."""

from __future__ import annotations

from typing import Any

from xds import __version__
from xds.endpoints.fhir.parameters import APPLIED

_DATE = "2026-11-29"
"""When what it says was last changed."""

# Search parameters that FHIR R4 defines for AuditEvent; the others are IHE's of old, or ours.
_DEFINED = frozenset({
    "action", "address", "agent", "agent-name", "altid", "date", "entity", "entity-role", "entity-type", "outcome",
    "patient", "site", "source", "subtype", "type",
})  # fmt: skip


def statement(base: str) -> dict[str, Any]:
    """The statement of a server at an address."""
    return {
        "resourceType": "CapabilityStatement", "status": "active", "date": _DATE, "kind": "instance",
        "software": {"name": "xds", "version": __version__},
        "implementation": {"description": "Audit Record Repository, ITI-81 Retrieve ATNA Audit Event", "url": base},
        "fhirVersion": "4.0.1", "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "resource": [{
                "type": "AuditEvent", "interaction": [{"code": "read"}, {"code": "search-type"}],
                "searchParam": [_parameter(name, type_) for name, type_ in APPLIED.items()],
            }],
        }],
    }  # fmt: skip


def _parameter(name: str, type_: str) -> dict[str, str]:
    if name not in _DEFINED:
        return {"name": name, "type": type_}
    return {"name": name, "definition": f"http://hl7.org/fhir/SearchParameter/AuditEvent-{name}", "type": type_}
