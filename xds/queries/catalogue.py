"""The stored queries that this registry answers, and their parameters.

ITI TF-2: 3.18.4.1.2.3.7 (queries), Table 3.18.4.1.2.3.7.1-1 and following (parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Many(Enum):
    """How often a parameter may come."""

    ONE = "one value"
    LIST = "a list, any of which will do"
    AND_OR = "lists, of each of which one value must be met"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter by its name without ``$``."""

    name: str
    many: Many = Many.LIST
    required: bool = False


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query: exactly one of ``one_of`` must be given, when there are any."""

    id: str
    title: str
    parameters: tuple[Parameter, ...]
    one_of: tuple[str, ...] = ()

    def parameter(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)


_TYPE = Parameter("XDSDocumentEntryType")
_FORMAT = Parameter("XDSDocumentEntryFormatCode")
_CONFIDENTIALITY = Parameter("XDSDocumentEntryConfidentialityCode", Many.AND_OR)

_FIND_DOCUMENTS = (
    Parameter("XDSDocumentEntryPatientId", Many.ONE, required=True),
    Parameter("XDSDocumentEntryStatus", required=True),
    Parameter("XDSDocumentEntryClassCode"),
    Parameter("XDSDocumentEntryTypeCode"),
    Parameter("XDSDocumentEntryPracticeSettingCode"),
    Parameter("XDSDocumentEntryHealthcareFacilityTypeCode"),
    Parameter("XDSDocumentEntryEventCodeList", Many.AND_OR),
    _CONFIDENTIALITY,
    _FORMAT,
    Parameter("XDSDocumentEntryAuthorPerson"),
    *(
        Parameter(f"XDSDocumentEntry{time}{end}", Many.ONE)
        for time in ("CreationTime", "ServiceStartTime", "ServiceStopTime")
        for end in ("From", "To")
    ),
    _TYPE,
)

_ENTRY_IDS = (Parameter("XDSDocumentEntryEntryUUID"), Parameter("XDSDocumentEntryUniqueId"))
_SET_IDS = (Parameter("XDSSubmissionSetEntryUUID", Many.ONE), Parameter("XDSSubmissionSetUniqueId", Many.ONE))

FIND_DOCUMENTS = StoredQuery("urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d", "FindDocuments", _FIND_DOCUMENTS)
FIND_DOCUMENTS_BY_REFERENCE_ID = StoredQuery(
    "urn:uuid:12941a89-e02e-4be5-967c-ce4bfc8fe492",
    "FindDocumentsByReferenceId",
    (*_FIND_DOCUMENTS, Parameter("XDSDocumentEntryReferenceIdList", Many.AND_OR, required=True)),
)
GET_DOCUMENTS = StoredQuery(
    "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4", "GetDocuments", _ENTRY_IDS, tuple(p.name for p in _ENTRY_IDS)
)
GET_ASSOCIATIONS = StoredQuery(
    "urn:uuid:a7ae438b-4bc2-4642-93e9-be891f7bb155", "GetAssociations", (Parameter("uuid", required=True),)
)
GET_SUBMISSION_SET_AND_CONTENTS = StoredQuery(
    "urn:uuid:e8e3cb2c-e39c-46b9-99e4-c12f57260b83",
    "GetSubmissionSetAndContents",
    (*_SET_IDS, _FORMAT, _CONFIDENTIALITY, _TYPE),
    tuple(p.name for p in _SET_IDS),
)

STORED_QUERIES = {
    query.id: query
    for query in (
        FIND_DOCUMENTS,
        FIND_DOCUMENTS_BY_REFERENCE_ID,
        GET_DOCUMENTS,
        GET_ASSOCIATIONS,
        GET_SUBMISSION_SET_AND_CONTENTS,
    )
}
