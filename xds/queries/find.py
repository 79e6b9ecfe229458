"""FindDocuments and FindDocumentsByReferenceId.  ITI TF-2: 3.18.4.1.2.3.7.1 and .14."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from xds.errors import ErrorCode, Finding, Refused
from xds.metadata.datatypes import Dtm, trimmed
from xds.metadata.identifiers import PatientId
from xds.metadata.vocabulary import STABLE, AvailabilityStatus
from xds.store.interface import DocumentCriteria, Found, Range, RegistryReader

Parameters: TypeAlias = Mapping[str, tuple[tuple[str, ...], ...]]

PATTERNS = 200
"""LIKE patterns of one query; each is looked for by itself."""

_CODES = {
    "XDSDocumentEntryClassCode": "class_code",
    "XDSDocumentEntryTypeCode": "type_code",
    "XDSDocumentEntryPracticeSettingCode": "practice_setting_code",
    "XDSDocumentEntryHealthcareFacilityTypeCode": "healthcare_facility_type_code",
    "XDSDocumentEntryFormatCode": "format_code",
}
_VALUES = {
    "XDSDocumentEntryEventCodeList": "eventCodeList",
    "XDSDocumentEntryConfidentialityCode": "confidentialityCode",
}
_TIMES = {
    "XDSDocumentEntryCreationTime": "creation_time",
    "XDSDocumentEntryServiceStartTime": "service_start_time",
    "XDSDocumentEntryServiceStopTime": "service_stop_time",
}


def find_documents(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """A patient's entries; an unknown patient has none.

    Raises:
        Refused: a code, date, status or patient id is malformed, or there are more than ``most``.
    """
    findings: list[Finding] = []
    criteria = DocumentCriteria(
        statuses=statuses(parameters["XDSDocumentEntryStatus"][0], "XDSDocumentEntryStatus"),
        object_types=object_types(parameters),
        codes=tuple((a, _codes(p, parameters[p][0], findings)) for p, a in _CODES.items() if p in parameters),
        values=(*_values(parameters, findings), *_references(parameters)),
        patterns=_patterns(parameters, findings),
        ranges=tuple((a, _range(p, parameters, findings)) for p, a in _TIMES.items()),
    )
    try:
        patient_id = PatientId.parse(parameters["XDSDocumentEntryPatientId"][0][0])
    except ValueError as problem:
        findings.append(
            Finding(ErrorCode.REGISTRY_ERROR, f"$XDSDocumentEntryPatientId: {problem} (ITI TF-3: Table 4.2.3.1.7-2)")
        )
    if findings:
        raise Refused(findings)
    patient_key = registry.patient_key(patient_id)
    if patient_key is None:
        return []
    return bounded(registry.find_documents(patient_key, criteria, most), most)


def bounded(found: Sequence[Found], most: int) -> Sequence[Found]:
    """The objects, unless there are too many for one answer."""
    if len(found) > most:
        raise Refused([Finding(ErrorCode.TOO_MANY_RESULTS, f"more than {most} objects; ask for less at once")])
    return found


def statuses(values: Sequence[str], parameter: str) -> tuple[str, ...]:
    """Status URNs as stored; those not understood are dropped, and one must be left.

    The TF's sample says ResponseStatusType for StatusType; senders copied it.
    """
    known = {status.rpartition(":")[2] for status in AvailabilityStatus}
    urn = re.compile(r"urn:oasis:names:tc:ebxml-regrep:(?:Response)?StatusType:(\w+)")
    kept = tuple(m[1] for m in map(urn.fullmatch, values) if m and m[1] in known)
    if not kept:
        raise Refused([Finding(ErrorCode.STORED_QUERY_MISSING_PARAM, f"${parameter} names no known status")])
    return kept


def object_types(parameters: Parameters) -> tuple[str, ...]:
    """The kinds of entry asked for; without the parameter only stable ones (ITI TF-2: 3.18.4.1.2.3.6.2)."""
    given = parameters.get("XDSDocumentEntryType")
    return given[0] if given else (STABLE,)


def codes(parameter: str, values: Sequence[str]) -> tuple[tuple[str, ...], list[Finding]]:
    """``code^^scheme`` values, and findings for those that are none."""
    findings: list[Finding] = []
    return _codes(parameter, values, findings), findings


def _codes(parameter: str, values: Sequence[str], findings: list[Finding]) -> tuple[str, ...]:
    for value in values:
        parts = value.split("^")
        if len(parts) != 3 or not parts[0] or parts[1] or not parts[2]:
            rule = "is not of the form code^^codingScheme (ITI TF-2: 3.18.4.1.2.3.4)"
            findings.append(Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, f"${parameter} {rule}"))
    return tuple(values)


def _values(parameters: Parameters, findings: list[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (attribute, _codes(parameter, slot, findings))
        for parameter, attribute in _VALUES.items()
        for slot in parameters.get(parameter, ())
    ]


def _references(parameters: Parameters) -> list[tuple[str, tuple[str, ...]]]:
    """Reference ids compare exactly, trailing delimiters aside: ``_`` is common in them."""
    slots = parameters.get("XDSDocumentEntryReferenceIdList", ())
    return [("referenceIdList", tuple(map(trimmed, slot))) for slot in slots]


def _patterns(parameters: Parameters, findings: list[Finding]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    slots = parameters.get("XDSDocumentEntryAuthorPerson", ())
    if any(len(slot) > PATTERNS for slot in slots):
        rule = f"$XDSDocumentEntryAuthorPerson takes at most {PATTERNS} patterns"
        findings.append(Finding(ErrorCode.STORED_QUERY_PARAM_NUMBER, rule))
    return tuple(("authorPerson", slot) for slot in slots)


def _range(parameter: str, parameters: Parameters, findings: list[Finding]) -> Range:
    ends: list[str | None] = []
    for end in ("From", "To"):
        given = parameters.get(parameter + end)
        try:
            ends.append(Dtm(given[0][0]).padded if given else None)
        except ValueError as problem:
            findings.append(Finding(ErrorCode.REGISTRY_ERROR, f"${parameter}{end}: {problem} (ITI TF-3: 4.2.3.1)"))
            ends.append(None)
    return Range(*ends)
