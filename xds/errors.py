"""What can be wrong with a message: IHE's error codes, a finding, a refusal.

ITI TF-3: 4.2.4, Table 4.2.4.1-2 (codes) and 4.2.4.2 (statuses).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """The errorCode of a RegistryError.  ITI TF-3: Table 4.2.4.1-2 and the supplements; RAD-69's as peers send them."""

    DOCUMENT_UNIQUE_ID = "XDSDocumentUniqueIdError"
    DUPLICATE_UNIQUE_ID_IN_REGISTRY = "XDSDuplicateUniqueIdInRegistry"
    EXTRA_METADATA_NOT_SAVED = "XDSExtraMetadataNotSaved"
    INVALID_DOCUMENT_CONTENT = "InvalidDocumentContent"
    MISSING_DOCUMENT = "XDSMissingDocument"
    MISSING_DOCUMENT_METADATA = "XDSMissingDocumentMetadata"
    MISSING_HOME_COMMUNITY_ID = "XDSMissingHomeCommunityId"
    NON_IDENTICAL_HASH = "XDSNonIdenticalHash"
    NON_IDENTICAL_SIZE = "XDSNonIdenticalSize"
    PATIENT_ID_DOES_NOT_MATCH = "XDSPatientIdDoesNotMatch"
    INVALID_REQUEST = "XDSInvalidRequestException"
    METADATA_ANNOTATION = "XDSMetadataAnnotationError"
    METADATA_IDENTIFIER = "XDSMetadataIdentifierError"
    METADATA_UPDATE = "XDSMetadataUpdateError"
    METADATA_UPDATE_OPERATION = "XDSMetadataUpdateOperationError"
    METADATA_VERSION = "XDSMetadataVersionError"
    OBJECT_TYPE = "XDSObjectTypeError"
    PATIENT_ID_RECONCILIATION = "XDSPatientIDReconciliationError"
    UNMODIFIABLE_METADATA = "UnmodifiableMetadataError"
    REFERENCES_EXIST = "ReferencesExistException"
    REGISTRY_BUSY = "XDSRegistryBusy"
    REPOSITORY_BUSY = "XDSRepositoryBusy"
    REGISTRY_DEPRECATED_DOCUMENT = "XDSRegistryDeprecatedDocumentError"
    REGISTRY_DUPLICATE_UNIQUE_ID_IN_MESSAGE = "XDSRegistryDuplicateUniqueIdInMessage"
    REPOSITORY_DUPLICATE_UNIQUE_ID_IN_MESSAGE = "XDSRepositoryDuplicateUniqueIdInMessage"
    REGISTRY_ERROR = "XDSRegistryError"
    REPOSITORY_ERROR = "XDSRepositoryError"
    REGISTRY_METADATA = "XDSRegistryMetadataError"
    REPOSITORY_METADATA = "XDSRepositoryMetadataError"
    REMOVE_DOCUMENTS = "XDSRemoveDocumentsError"
    REGISTRY_NOT_AVAILABLE = "XDSRegistryNotAvailable"
    REGISTRY_OUT_OF_RESOURCES = "XDSRegistryOutOfResources"
    REPOSITORY_OUT_OF_RESOURCES = "XDSRepositoryOutOfResources"
    RESULT_NOT_SINGLE_PATIENT = "XDSResultNotSinglePatient"
    STORED_QUERY_MISSING_PARAM = "XDSStoredQueryMissingParam"
    STORED_QUERY_PARAM_NUMBER = "XDSStoredQueryParamNumber"
    TOO_MANY_RESULTS = "XDSTooManyResults"
    UNAVAILABLE_COMMUNITY = "XDSUnavailableCommunity"
    UNKNOWN_COMMUNITY = "XDSUnknownCommunity"
    UNKNOWN_PATIENT_ID = "XDSUnknownPatientId"
    UNKNOWN_REPOSITORY_ID = "XDSUnknownRepositoryId"
    UNKNOWN_STORED_QUERY = "XDSUnknownStoredQuery"
    UNREFERENCED_OBJECT = "XDSUnreferencedObjectException"
    UNRESOLVED_REFERENCE = "UnresolvedReferenceException"
    XDSI_REQUEST = "XDSIRequestError"
    XDSI_UNKNOWN_IDS = "XDSIUnknownIdsUid"


class Severity(StrEnum):
    """ebRS 3.0 ErrorSeverityType.  ITI TF-3: 4.2.4.1."""

    ERROR = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error"
    WARNING = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning"


class Status(StrEnum):
    """The status of a RegistryResponse.  ITI TF-3: 4.2.4.2."""

    SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
    FAILURE = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
    PARTIAL_SUCCESS = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a message.

    ``context`` names the object, the attribute, the rule and its clause, never patient data
    unless Table 4.2.4.1-2 prescribes it; ``location`` is what the table or the transaction prescribes.
    """

    code: ErrorCode
    context: str
    location: str = ""
    severity: Severity = Severity.ERROR


class Refused(Exception):
    """A message understood and refused, with everything that is wrong with it."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(", ".join(sorted({finding.code for finding in self.findings})))


class Unusable(Exception):
    """Something given by the operator or found on disk cannot be used; the message is for them to read."""


class CannotMatch(Unusable):
    """A question that nothing can answer, such as one about a patient whom nobody knows: no answer is not «nothing»."""
