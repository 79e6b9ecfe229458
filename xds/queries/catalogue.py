"""The stored queries that this registry answers, and their parameters.

ITI TF-2: 3.18.4.1.2.3.7 (queries), Table 3.18.4.1.2.3.7.1-1 and following (parameters); the metadata update
supplement adds ``$MetadataLevel``, ``$XDSAssociationStatus`` and the logicalIDs.
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
    """A query: exactly one of ``one_of`` must be given, and one or more of ``any_of``, when there are any.

    ``single_patient``: an answer with metadata must be of one patient (ITI TF-2: 3.18.4.1.3).
    """

    id: str
    title: str
    parameters: tuple[Parameter, ...]
    one_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    single_patient: bool = False

    def parameter(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)


def _required(name: str, many: Many = Many.LIST) -> Parameter:
    return Parameter(name, many, required=True)


def _times(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(f"{name}{end}", Many.ONE) for name in names for end in ("From", "To"))


def _one(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, Many.ONE) for name in names)


METADATA_LEVEL = Parameter("MetadataLevel", Many.ONE)
_ASSOCIATION_STATUS = Parameter("XDSAssociationStatus")
_TYPE = Parameter("XDSDocumentEntryType")
_FORMAT = Parameter("XDSDocumentEntryFormatCode")
_CONFIDENTIALITY = Parameter("XDSDocumentEntryConfidentialityCode", Many.AND_OR)
_FILTERS = (_FORMAT, _CONFIDENTIALITY, _TYPE)

_FIND_DOCUMENTS = (
    _required("XDSDocumentEntryPatientId", Many.ONE),
    _required("XDSDocumentEntryStatus"),
    Parameter("XDSDocumentEntryClassCode"),
    Parameter("XDSDocumentEntryTypeCode"),
    Parameter("XDSDocumentEntryPracticeSettingCode"),
    Parameter("XDSDocumentEntryHealthcareFacilityTypeCode"),
    Parameter("XDSDocumentEntryEventCodeList", Many.AND_OR),
    _CONFIDENTIALITY,
    _FORMAT,
    Parameter("XDSDocumentEntryAuthorPerson"),
    *_times("XDSDocumentEntryCreationTime", "XDSDocumentEntryServiceStartTime", "XDSDocumentEntryServiceStopTime"),
    _TYPE,
    Parameter("XDSDocumentEntryDocumentAvailability"),
    METADATA_LEVEL,
)

_ENTRY = ("XDSDocumentEntryEntryUUID", "XDSDocumentEntryUniqueId", "XDSDocumentEntryLogicalID")
_SET = ("XDSSubmissionSetEntryUUID", "XDSSubmissionSetUniqueId")
_FOLDER = ("XDSFolderEntryUUID", "XDSFolderUniqueId", "XDSFolderLogicalID")
_ENTRIES = tuple(map(Parameter, _ENTRY))
_WITH_ASSOCIATIONS = (_ASSOCIATION_STATUS, METADATA_LEVEL)

FIND_DOCUMENTS = StoredQuery("urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d", "FindDocuments", _FIND_DOCUMENTS)
FIND_DOCUMENTS_BY_REFERENCE_ID = StoredQuery(
    "urn:uuid:12941a89-e02e-4be5-967c-ce4bfc8fe492",
    "FindDocumentsByReferenceId",
    (*_FIND_DOCUMENTS, _required("XDSDocumentEntryReferenceIdList", Many.AND_OR)),
)
FIND_SUBMISSION_SETS = StoredQuery(
    "urn:uuid:f26abbcb-ac74-4422-8a30-edb644bbc1a9",
    "FindSubmissionSets",
    (
        _required("XDSSubmissionSetPatientId", Many.ONE),
        _required("XDSSubmissionSetStatus"),
        Parameter("XDSSubmissionSetSourceId"),
        *_times("XDSSubmissionSetSubmissionTime"),
        Parameter("XDSSubmissionSetAuthorPerson", Many.ONE),
        Parameter("XDSSubmissionSetContentType"),
        METADATA_LEVEL,
    ),
)
FIND_FOLDERS = StoredQuery(
    "urn:uuid:958f3006-baad-4929-a4de-ff1114824431",
    "FindFolders",
    (
        _required("XDSFolderPatientId", Many.ONE),
        _required("XDSFolderStatus"),
        *_times("XDSFolderLastUpdateTime"),
        Parameter("XDSFolderCodeList", Many.AND_OR),
        METADATA_LEVEL,
    ),
)
GET_ALL = StoredQuery(
    "urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3",
    "GetAll",
    (
        _required("patientId", Many.ONE),
        _required("XDSDocumentEntryStatus"),
        _required("XDSSubmissionSetStatus"),
        _required("XDSFolderStatus"),
        *_FILTERS,
        *_WITH_ASSOCIATIONS,
    ),
)
GET_DOCUMENTS = StoredQuery(
    "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4",
    "GetDocuments",
    (*_ENTRIES, METADATA_LEVEL),
    _ENTRY,
    single_patient=True,
)
GET_FOLDERS = StoredQuery(
    "urn:uuid:5737b14c-8a1a-4539-b659-e03a34a5e1e4",
    "GetFolders",
    (*map(Parameter, _FOLDER), METADATA_LEVEL),
    _FOLDER,
    single_patient=True,
)
GET_ASSOCIATIONS = StoredQuery(
    "urn:uuid:a7ae438b-4bc2-4642-93e9-be891f7bb155", "GetAssociations", (_required("uuid"), *_WITH_ASSOCIATIONS)
)
GET_DOCUMENTS_AND_ASSOCIATIONS = StoredQuery(
    "urn:uuid:bab9529a-4a10-40b3-a01f-f68a615d247a",
    "GetDocumentsAndAssociations",
    (*_ENTRIES, *_WITH_ASSOCIATIONS),
    _ENTRY,
    single_patient=True,
)
GET_SUBMISSION_SETS = StoredQuery(
    "urn:uuid:51224314-5390-4169-9b91-b1980040715a",
    "GetSubmissionSets",
    (_required("uuid"), *_WITH_ASSOCIATIONS),
    single_patient=True,
)
GET_SUBMISSION_SET_AND_CONTENTS = StoredQuery(
    "urn:uuid:e8e3cb2c-e39c-46b9-99e4-c12f57260b83",
    "GetSubmissionSetAndContents",
    (*_one(*_SET), *_FILTERS, *_WITH_ASSOCIATIONS),
    _SET,
    single_patient=True,
)
GET_FOLDER_AND_CONTENTS = StoredQuery(
    "urn:uuid:b909a503-523d-4517-8acf-8e5834dfc4c7",
    "GetFolderAndContents",
    (*_one(*_FOLDER), *_FILTERS, *_WITH_ASSOCIATIONS),
    _FOLDER,
    single_patient=True,
)
GET_FOLDERS_FOR_DOCUMENT = StoredQuery(
    "urn:uuid:10cae35a-c7f9-4cf5-b61e-fc3278ffb578",
    "GetFoldersForDocument",
    (*_one(*_ENTRY), *_WITH_ASSOCIATIONS),
    _ENTRY,
)
GET_RELATED_DOCUMENTS = StoredQuery(
    "urn:uuid:d90e5407-b356-4d91-a89f-873917b4b0e6",
    "GetRelatedDocuments",
    (*_one(*_ENTRY), _required("AssociationTypes"), _TYPE, *_WITH_ASSOCIATIONS),
    _ENTRY,
)

# ITI TF-2: 3.51.4.1.2.1: as FindDocuments and FindFolders, of any number of patients.
FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS = StoredQuery(
    "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f",
    "FindDocumentsForMultiplePatients",
    (Parameter("XDSDocumentEntryPatientId"), *_FIND_DOCUMENTS[1:]),
    any_of=tuple(
        f"XDSDocumentEntry{name}" for name in ("PatientId", "ClassCode", "EventCodeList", "HealthcareFacilityTypeCode")
    ),
)
FIND_FOLDERS_FOR_MULTIPLE_PATIENTS = StoredQuery(
    "urn:uuid:50d3f5ac-39a2-11de-a1ca-b366239e58df",
    "FindFoldersForMultiplePatients",
    (Parameter("XDSFolderPatientId"), *FIND_FOLDERS.parameters[1:]),
    any_of=("XDSFolderPatientId", "XDSFolderCodeList"),
)

# Added to ITI-51 by CP-ITI-793, read as IPF has it: as FindDocumentsByReferenceId, of any number of patients.  The
# reference id is required, and so nothing else of the minimum is.
FIND_DOCUMENTS_BY_REFERENCE_ID_FOR_MULTIPLE_PATIENTS = StoredQuery(
    "urn:uuid:1191642d-86c4-42d8-b784-f95445f9f0d5",
    "FindDocumentsByReferenceIdForMultiplePatients",
    (Parameter("XDSDocumentEntryPatientId"), *FIND_DOCUMENTS_BY_REFERENCE_ID.parameters[1:]),
)

MULTI_PATIENT_QUERIES = {
    query.id: query
    for query in (
        FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS,
        FIND_FOLDERS_FOR_MULTIPLE_PATIENTS,
        FIND_DOCUMENTS_BY_REFERENCE_ID_FOR_MULTIPLE_PATIENTS,
    )
}
"""The queries of ITI-51."""

STORED_QUERIES = {
    query.id: query
    for query in (
        FIND_DOCUMENTS,
        FIND_SUBMISSION_SETS,
        FIND_FOLDERS,
        GET_ALL,
        GET_DOCUMENTS,
        GET_FOLDERS,
        GET_ASSOCIATIONS,
        GET_DOCUMENTS_AND_ASSOCIATIONS,
        GET_SUBMISSION_SETS,
        GET_SUBMISSION_SET_AND_CONTENTS,
        GET_FOLDER_AND_CONTENTS,
        GET_FOLDERS_FOR_DOCUMENT,
        GET_RELATED_DOCUMENTS,
        FIND_DOCUMENTS_BY_REFERENCE_ID,
    )
}
"""The queries of ITI-18."""
