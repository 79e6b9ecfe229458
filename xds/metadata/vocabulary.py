"""The fixed identifiers of XDS metadata.  ITI TF-3: 4.2.5, Tables 4.2.3.2-1, 4.2.3.3-1, 4.2.3.4-1."""

from __future__ import annotations

from enum import StrEnum

from xds.system.values import value

STABLE = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
ON_DEMAND = "urn:uuid:34268e47-fdf5-41a6-ba33-82133c465248"

SUBMISSION_SET = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
FOLDER = "urn:uuid:d9d542f3-6cc4-48b6-8870-ea235fbc94c2"

LIMITED_METADATA = {
    "DocumentEntry": "urn:uuid:ab9b591b-83ab-4d03-8f5d-f93b1fb92e85",
    "SubmissionSet": "urn:uuid:5003a9db-8d8d-49e6-bf0c-990e34ac7707",
    "Folder": "urn:uuid:2c144a76-29a9-4b7c-af54-b25409fe7d03",
}

ASSOCIATION_DOCUMENTATION = "urn:uuid:abd807a3-4432-4053-87b4-fd82c643d1f3"
_OBJECT = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:"
ASSOCIATION_OBJECT_TYPE = _OBJECT + "Association"
REGISTRY_PACKAGE_OBJECT_TYPE = _OBJECT + "RegistryPackage"

MANY = 1_000_000_000
"""No upper limit on how often an attribute occurs."""


class AvailabilityStatus(StrEnum):
    APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
    DEPRECATED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"


class AssociationType(StrEnum):
    """ITI TF-3: 4.2.2.2 and Table 4.2.2-1."""

    HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
    RPLC = "urn:ihe:iti:2007:AssociationType:RPLC"
    XFRM = "urn:ihe:iti:2007:AssociationType:XFRM"
    APND = "urn:ihe:iti:2007:AssociationType:APND"
    XFRM_RPLC = "urn:ihe:iti:2007:AssociationType:XFRM_RPLC"
    SIGNS = "urn:ihe:iti:2007:AssociationType:signs"
    IS_SNAPSHOT_OF = "urn:ihe:iti:2010:AssociationType:IsSnapshotOf"


UPDATE_AVAILABILITY_STATUS = "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus"
UPDATE_SLOTS = frozenset({"PreviousVersion", "AssociationPropagation", "OriginalStatus", "NewStatus"})
"""Slots of the associations that an update is said by."""

SUBMIT_ASSOCIATION = "urn:ihe:iti:2010:AssociationType:SubmitAssociation"
"""What a SubmissionSet does to metadata, beside HasMember (XDS Metadata Update: 4.1.3)."""

REPLACING = frozenset({AssociationType.RPLC, AssociationType.XFRM_RPLC})
RELATIONSHIPS = frozenset(AssociationType) - {AssociationType.HAS_MEMBER}


@value(frozen=True, slots=True)
class Coded:
    """A coded attribute: its classification scheme and how often it must and may occur."""

    scheme: str
    least: int
    most: int


# ITI TF-3: Table 4.2.3.2-1 (optionality for ITI-42) and 4.2.5.2 (UUIDs).
DOCUMENT_ENTRY_AUTHOR = "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d"
DOCUMENT_ENTRY_CODES = {
    "class_code": Coded("urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a", 1, 1),
    "confidentiality_code": Coded("urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f", 1, MANY),
    "event_code_list": Coded("urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4", 0, MANY),
    "format_code": Coded("urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d", 1, 1),
    "healthcare_facility_type_code": Coded("urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1", 1, 1),
    "practice_setting_code": Coded("urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead", 1, 1),
    "type_code": Coded("urn:uuid:f0306f51-975f-434e-a61c-c59651d33983", 1, 1),
}
DOCUMENT_ENTRY_PATIENT_ID = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
DOCUMENT_ENTRY_UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"

# ITI TF-3: Table 4.2.3.3-1 and 4.2.5.1.
SUBMISSION_SET_AUTHOR = "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d"
SUBMISSION_SET_CODES = {"content_type_code": Coded("urn:uuid:aa543740-bdda-424e-8c96-df4873be8500", 1, 1)}
SUBMISSION_SET_PATIENT_ID = "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446"
SUBMISSION_SET_SOURCE_ID = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"
SUBMISSION_SET_UNIQUE_ID = "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8"

# ITI TF-3: Table 4.2.3.4-1 and 4.2.5.3.
FOLDER_CODES = {"code_list": Coded("urn:uuid:1ba97051-7806-41a8-a48b-8fce7af683c5", 1, MANY)}
FOLDER_PATIENT_ID = "urn:uuid:f64ffdf0-4b97-4e06-b79f-a52b38ec2f8a"
FOLDER_UNIQUE_ID = "urn:uuid:75df8f67-9973-4fbe-a900-df66cefecc5a"

REFERENCE_ID_LIST = "urn:ihe:iti:xds:2013:referenceIdList"

# CXi.5, ITI TF-3: 4.2.3.1.7, Table 4.2.3.1.7-2.
REFERENCE_STUDY = "urn:ihe:iti:xds:2016:studyInstanceUID"
REFERENCE_ACCESSION = "urn:ihe:iti:xds:2013:accession"
REFERENCE_ORDER = "urn:ihe:iti:xds:2013:order"
REFERENCE_UNIQUE_ID = "urn:ihe:iti:xds:2013:uniqueId"

DOCUMENT_AVAILABILITY = "urn:ihe:iti:2010:DocumentAvailability:"
ONLINE, OFFLINE = f"{DOCUMENT_AVAILABILITY}Online", f"{DOCUMENT_AVAILABILITY}Offline"
"""DocumentEntry.documentAvailability; absent, it is Online."""
