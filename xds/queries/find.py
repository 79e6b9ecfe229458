"""The queries by patient: FindDocuments, FindSubmissionSets, FindFolders, GetAll, FindDocumentsByReferenceId.

ITI TF-2: 3.18.4.1.2.3.7.1 to .4 and .14.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from xds.errors import ErrorCode, Finding, Refused
from xds.metadata.datatypes import Dtm, trimmed
from xds.metadata.identifiers import PatientId
from xds.metadata.vocabulary import OFFLINE, ONLINE, STABLE, AvailabilityStatus
from xds.queries.parameters import CODING, PARAMETERS
from xds.store.interface import Criteria, Found, FoundAssociation, Kind, Range, RegistryReader, TooMany

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
_CONFIDENTIALITY = {"XDSDocumentEntryConfidentialityCode": "confidentialityCode"}
_VALUES = {"XDSDocumentEntryEventCodeList": "eventCodeList", **_CONFIDENTIALITY}
_OFFLINE = ("availability", (OFFLINE,))
_PATIENT_IDS = ("XDSDocumentEntryPatientId", "XDSSubmissionSetPatientId", "XDSFolderPatientId", "patientId")
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
    criteria = _documents(parameters, findings)
    keys = _patient("XDSDocumentEntryPatientId", parameters, registry, findings)
    return _found(Kind.DOCUMENT_ENTRY, keys, criteria, registry, most)


def find_documents_of_many(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """The entries of several patients, or of all.

    Raises:
        Refused: as ``find_documents`` does.
    """
    findings: list[Finding] = []
    criteria = _documents(parameters, findings)
    keys = _patients("XDSDocumentEntryPatientId", parameters, registry, findings)
    return _found(Kind.DOCUMENT_ENTRY, keys, criteria, registry, most)


def _documents(parameters: Parameters, findings: list[Finding]) -> Criteria:
    return Criteria(
        statuses=_statuses("XDSDocumentEntryStatus", parameters, findings),
        columns=(*_codes_of(_CODES, parameters, findings), ("object_type", object_types(parameters))),
        values=(
            *_values(_VALUES, parameters, findings),
            *_references(parameters),
            *([_OFFLINE] if _availability(parameters) == {OFFLINE} else []),
        ),
        patterns=_patterns("XDSDocumentEntryAuthorPerson", parameters, findings),
        ranges=tuple((a, _range(p, parameters, findings)) for p, a in _TIMES.items()),
        without=(_OFFLINE,) if _availability(parameters) == {ONLINE} else (),
        latest=latest_only(parameters),
    )


def _availability(parameters: Parameters) -> set[str]:
    """The availabilities asked for; both or none restrict nothing (XDS Metadata Update: 3.18)."""
    given = parameters.get("XDSDocumentEntryDocumentAvailability", ((),))
    return {ONLINE, OFFLINE}.intersection(given[0])


def find_submission_sets(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """A patient's submission sets; an unknown patient has none.

    Raises:
        Refused: as ``find_documents`` does.
    """
    findings: list[Finding] = []
    sources = parameters.get("XDSSubmissionSetSourceId")
    columns = _codes_of({"XDSSubmissionSetContentType": "content_type_code"}, parameters, findings)
    criteria = Criteria(
        statuses=_statuses("XDSSubmissionSetStatus", parameters, findings),
        columns=(*columns, ("source_id", sources[0])) if sources else columns,
        patterns=_patterns("XDSSubmissionSetAuthorPerson", parameters, findings),
        ranges=(("submission_time", _range("XDSSubmissionSetSubmissionTime", parameters, findings)),),
    )
    keys = _patient("XDSSubmissionSetPatientId", parameters, registry, findings)
    return _found(Kind.SUBMISSION_SET, keys, criteria, registry, most)


def find_folders(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """A patient's folders; an unknown patient has none.

    Raises:
        Refused: as ``find_documents`` does.
    """
    findings: list[Finding] = []
    criteria = _folders(parameters, findings)
    return _found(Kind.FOLDER, _patient("XDSFolderPatientId", parameters, registry, findings), criteria, registry, most)


def find_folders_of_many(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """The folders of several patients, or of all.

    Raises:
        Refused: as ``find_documents`` does.
    """
    findings: list[Finding] = []
    criteria = _folders(parameters, findings)
    return _found(
        Kind.FOLDER, _patients("XDSFolderPatientId", parameters, registry, findings), criteria, registry, most
    )


def _folders(parameters: Parameters, findings: list[Finding]) -> Criteria:
    return Criteria(
        statuses=_statuses("XDSFolderStatus", parameters, findings),
        values=tuple(_values({"XDSFolderCodeList": "codeList"}, parameters, findings)),
        ranges=(("last_update_time", _range("XDSFolderLastUpdateTime", parameters, findings)),),
        latest=latest_only(parameters),
    )


def get_all(parameters: Parameters, registry: RegistryReader, most: int) -> Sequence[Found]:
    """All of a patient, each kind by its statuses, entries by the filters too; and the associations touching them.

    Raises:
        Refused: as ``find_documents`` does.
    """
    findings: list[Finding] = []
    wanted = {
        Kind.SUBMISSION_SET: Criteria(statuses=_statuses("XDSSubmissionSetStatus", parameters, findings)),
        Kind.DOCUMENT_ENTRY: Criteria(
            statuses=_statuses("XDSDocumentEntryStatus", parameters, findings),
            columns=(
                *_codes_of({"XDSDocumentEntryFormatCode": "format_code"}, parameters, findings),
                ("object_type", object_types(parameters)),
            ),
            values=tuple(_values(_CONFIDENTIALITY, parameters, findings)),
            latest=latest_only(parameters),
        ),
        Kind.FOLDER: Criteria(
            statuses=_statuses("XDSFolderStatus", parameters, findings), latest=latest_only(parameters)
        ),
    }
    approved = association_statuses(parameters, findings)
    keys = _patient("patientId", parameters, registry, findings)
    found: list[Found] = []
    for kind, criteria in wanted.items():
        found += _found(kind, keys, criteria, registry, most - len(found))
    touching = registry.associations_of([item.entry_uuid for item in found])
    return bounded([*found, *with_status(touching, approved)], most)


def refuse_unknown_patients(parameters: Parameters, registry: RegistryReader) -> None:
    """Where the domain wants it so, a query for a patient that is not known is refused (ITI TF-2: 3.18.4.1.3).

    One of whom who asks can be told nothing is not known to them.

    Raises:
        Refused: naming the first such patient; also where a patient id is malformed.
    """
    for parameter in _PATIENT_IDS:
        for value in parameters.get(parameter, ((),))[0]:
            keys = _patients(parameter, {parameter: ((value,),)}, registry, [])
            told = registry.answers_about(keys or [])
            if not keys or not told:
                # Table 4.2.4.1-2 wants the patient id in codeContext.
                raise Refused([Finding(ErrorCode.UNKNOWN_PATIENT_ID, value)])


def _found(
    kind: Kind, keys: Sequence[int] | None, criteria: Criteria, registry: RegistryReader, most: int
) -> Sequence[Found]:
    """What meets the criteria, of these patients; of all where that is None."""
    try:
        return registry.find(kind, keys, criteria, most)
    except TooMany:
        raise Refused([_too_many(most)]) from None


def _patient(
    parameter: str, parameters: Parameters, registry: RegistryReader, findings: list[Finding]
) -> Sequence[int]:
    """The keys of the patient asked for, those merged into it with it; nothing for an unknown one.

    Raises:
        Refused: with what was found before, or the patient id is malformed.
    """
    return _patients(parameter, parameters, registry, findings) or []


def _patients(
    parameter: str, parameters: Parameters, registry: RegistryReader, findings: list[Finding]
) -> Sequence[int] | None:
    """The keys of all patients asked for; None where the parameter is not given.

    Raises:
        Refused: with what was found before, or a patient id is malformed.
    """
    patient_ids = []
    for value in dict.fromkeys(parameters.get(parameter, ((),))[0]):
        try:
            patient_ids.append(PatientId.parse(value))
        except ValueError as problem:
            rule = f"${parameter}: {problem} (ITI TF-3: Table 4.2.3.1.7-2)"
            findings.append(Finding(ErrorCode.REGISTRY_ERROR, rule))
    if findings:
        raise Refused(findings)
    if not patient_ids:
        return None
    return sorted({key for patient_id in patient_ids for key in registry.chain(patient_id)})


def bounded(found: Sequence[Found], most: int) -> Sequence[Found]:
    """The objects, unless there are too many for one answer."""
    if len(found) > most:
        raise Refused([_too_many(most)])
    return found


def _too_many(most: int) -> Finding:
    rule = f"more than {most} objects; ask for less at once (ITI TF-3: Table 4.2.4.1-2)"
    return Finding(ErrorCode.TOO_MANY_RESULTS, rule)


def statuses(values: Sequence[str], parameter: str, findings: list[Finding]) -> tuple[str, ...]:
    """Status URNs as stored; those not understood are dropped, and one must be left.

    The TF's sample says ResponseStatusType for StatusType; senders copied it.
    """
    known = {status.rpartition(":")[2] for status in AvailabilityStatus}
    urn = re.compile(r"urn:oasis:names:tc:ebxml-regrep:(?:Response)?StatusType:(\w+)")
    kept = tuple(m[1] for m in map(urn.fullmatch, values) if m and m[1] in known)
    if not kept:
        findings.append(
            Finding(ErrorCode.STORED_QUERY_MISSING_PARAM, f"${parameter} names no known status ({PARAMETERS})")
        )
    return kept


def _statuses(parameter: str, parameters: Parameters, findings: list[Finding]) -> tuple[str, ...]:
    return statuses(parameters[parameter][0], parameter, findings)


def association_statuses(parameters: Parameters, findings: list[Finding]) -> tuple[str, ...]:
    """Statuses of the associations wanted; without the parameter Approved ones (XDS Metadata Update: 3.18)."""
    given = parameters.get("XDSAssociationStatus")
    return statuses(given[0], "XDSAssociationStatus", findings) if given else ("Approved",)


def with_status(associations: Sequence[FoundAssociation], wanted: Sequence[str]) -> list[FoundAssociation]:
    return [association for association in associations if association.status in wanted]


def latest_only(parameters: Parameters) -> bool:
    """Whether only the latest versions are asked for: at metadata level 1, which holds without the parameter."""
    return parameters.get("MetadataLevel", (("1",),))[0][0] != "2"


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


def _codes_of(
    table: Mapping[str, str], parameters: Parameters, findings: list[Finding]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((a, _codes(p, parameters[p][0], findings)) for p, a in table.items() if p in parameters)


def _values(
    table: Mapping[str, str], parameters: Parameters, findings: list[Finding]
) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (attribute, _codes(parameter, slot, findings))
        for parameter, attribute in table.items()
        for slot in parameters.get(parameter, ())
    ]


def _references(parameters: Parameters) -> list[tuple[str, tuple[str, ...]]]:
    """Reference ids compare exactly, trailing delimiters aside: ``_`` is common in them."""
    slots = parameters.get("XDSDocumentEntryReferenceIdList", ())
    return [("referenceIdList", tuple(map(trimmed, slot))) for slot in slots]


def _patterns(
    parameter: str, parameters: Parameters, findings: list[Finding]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    slots = parameters.get(parameter, ())
    if any(len(slot) > PATTERNS for slot in slots):
        rule = f"${parameter} takes at most {PATTERNS} patterns ({CODING})"
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
