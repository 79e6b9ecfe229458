"""The coded values of audit messages.  DICOM PS3.15: A.5; PS3.16: CID 400 to 403; RFC 3881: 5; ITI TF-1 and TF-2."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from xds.system.values import value

DCM = "DCM"
IHE_TRANSACTIONS = "IHE Transactions"
RFC_3881 = "RFC-3881"


@value(frozen=True, slots=True)
class Coded:
    """A coded value: csd-code, codeSystemName, originalText and, where there is one, displayName."""

    code: str
    system: str
    text: str
    display_name: str = ""


# The organisation that a person acts for, beside them; the system is the XSPA attribute's name (ITI TF-2: 3.40.4.1.2).
ORGANISATION = Coded("organization", "urn:oasis:names:tc:xspa:1.0:subject", "Organization")


class Action(StrEnum):
    """EventActionCode.  DICOM PS3.15: A.5.2."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


class Outcome(IntEnum):
    """EventOutcomeIndicator.  DICOM PS3.15: A.5.2."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class NetworkAccessPointType(IntEnum):
    """NetworkAccessPointTypeCode.  DICOM PS3.15: A.5.2."""

    MACHINE_NAME = 1
    IP_ADDRESS = 2
    PHONE_NUMBER = 3
    EMAIL_ADDRESS = 4
    URI = 5


class ObjectType(IntEnum):
    """ParticipantObjectTypeCode.  RFC 3881: 5.5.1."""

    PERSON = 1
    SYSTEM_OBJECT = 2
    ORGANIZATION = 3
    OTHER = 4


class ObjectRole(IntEnum):
    """ParticipantObjectTypeCodeRole.  RFC 3881: 5.5.2; 25 and 26 DICOM PS3.15: A.5.2."""

    PATIENT = 1
    LOCATION = 2
    REPORT = 3
    RESOURCE = 4
    MASTER_FILE = 5
    USER = 6
    LIST = 7
    DOCTOR = 8
    SUBSCRIBER = 9
    GUARANTOR = 10
    SECURITY_USER_ENTITY = 11
    SECURITY_USER_GROUP = 12
    SECURITY_RESOURCE = 13
    SECURITY_GRANULARITY_DEFINITION = 14
    PROVIDER = 15
    REPORT_DESTINATION = 16
    REPORT_LIBRARY = 17
    SCHEDULE = 18
    CUSTOMER = 19
    JOB = 20
    JOB_STREAM = 21
    TABLE = 22
    ROUTING_CRITERIA = 23
    QUERY = 24
    DATA_SOURCE = 25
    PROCESSING_ELEMENT = 26


class LifeCycle(IntEnum):
    """ParticipantObjectDataLifeCycle.  RFC 3881: 5.5.3."""

    ORIGINATION = 1
    IMPORT = 2
    AMENDMENT = 3
    VERIFICATION = 4
    TRANSLATION = 5
    ACCESS = 6
    DE_IDENTIFICATION = 7
    AGGREGATION = 8
    REPORT = 9
    EXPORT = 10
    DISCLOSURE = 11
    RECEIPT_OF_DISCLOSURE = 12
    ARCHIVING = 13
    LOGICAL_DELETION = 14
    PERMANENT_ERASURE = 15


def _table(system: str, texts: dict[str, str]) -> dict[str, Coded]:
    return {code: Coded(code, system, text) for code, text in texts.items()}


# DICOM PS3.16: CID 400 Audit Event ID.
EVENT_IDS = _table(DCM, {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110106": "Export",
    "110107": "Import",
    "110108": "Network Entry",
    "110109": "Order Record",
    "110110": "Patient Record",
    "110111": "Procedure Record",
    "110112": "Query",
    "110113": "Security Alert",
    "110114": "User Authentication",
})  # fmt: skip

# DICOM PS3.16: CID 401 Audit Event Type Code.
EVENT_TYPES = _table(DCM, {
    "110120": "Application Start",
    "110121": "Application Stop",
    "110122": "Login",
    "110123": "Logout",
    "110124": "Attach",
    "110125": "Detach",
    "110126": "Node Authentication",
    "110127": "Emergency Override Started",
    "110128": "Network Configuration",
    "110129": "Security Configuration",
    "110130": "Hardware Configuration",
    "110131": "Software Configuration",
    "110132": "Use of Restricted Function",
    "110133": "Audit Recording Stopped",
    "110134": "Audit Recording Started",
    "110135": "Object Security Attributes Changed",
    "110136": "Security Roles Changed",
    "110137": "User Security Attributes Changed",
    "110138": "Emergency Override Stopped",
    "110139": "Remote Service Operation Started",
    "110140": "Remote Service Operation Stopped",
    "110141": "Local Service Operation Started",
    "110142": "Local Service Operation Stopped",
})  # fmt: skip
OVERRIDE = EVENT_TYPES["110127"]

# DICOM PS3.16: CID 402 Audit Active Participant Role ID Code.
ROLES = _table(DCM, {
    "110150": "Application",
    "110151": "Application Launcher",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
    "110154": "Destination Media",
    "110155": "Source Media",
})  # fmt: skip
APPLICATION, LAUNCHER = ROLES["110150"], ROLES["110151"]
DESTINATION, SOURCE = ROLES["110152"], ROLES["110153"]

# RFC 3881: 5.5.4, and DICOM PS3.16: CID 404 Audit Participant Object ID Type Code.
OBJECT_ID_TYPES = _table(RFC_3881, {
    "1": "Medical Record Number",
    "2": "Patient Number",
    "3": "Encounter Number",
    "4": "Enrollee Number",
    "5": "Social Security Number",
    "6": "Account Number",
    "7": "Guarantor Number",
    "8": "Report Name",
    "9": "Report Number",
    "10": "Search Criteria",
    "11": "User Identifier",
    "12": "URI",
}) | _table(DCM, {
    "110180": "Study Instance UID",
    "110181": "SOP Class UID",
    "110182": "Node ID",
    "113877": "Device Name",
})  # fmt: skip
PATIENT_NUMBER, REPORT_NUMBER, URI = OBJECT_ID_TYPES["2"], OBJECT_ID_TYPES["9"], OBJECT_ID_TYPES["12"]
STUDY_INSTANCE_UID, NODE_ID = OBJECT_ID_TYPES["110180"], OBJECT_ID_TYPES["110182"]

# ITI TF-2: 3.41.5.1, 3.42.5.1.
SUBMISSION_SET = Coded(
    "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd", "IHE XDS Metadata", "submission set classificationNode"
)


@value(frozen=True, slots=True)
class TransactionWords:
    """A transaction for a reader: its title, its source and destination in the audit's sense, what the former did.

    In a retrieve the source is who holds the data (ITI TF-2: 3.43.5.1), whoever asked.
    """

    title: str
    source: str
    destination: str
    did: str


# ITI TF-2: «Security Considerations» of each transaction; RAD TF-2: 4.68.5, 4.69.5.
_PIX = ("Patient Identifier Cross-reference Consumer", "Patient Identifier Cross-reference Manager", "asked")
TRANSACTIONS = {
    "ITI-8": TransactionWords("Patient Identity Feed", "Patient Identity Source", "Document Registry",
                              "sent a patient's identity to"),
    "ITI-9": TransactionWords("PIX Query", *_PIX),
    "ITI-18": TransactionWords("Registry Stored Query", "Document Consumer", "Document Registry", "asked"),
    "ITI-38": TransactionWords("Cross Gateway Query", "Initiating Gateway", "Responding Gateway", "asked"),
    "ITI-39": TransactionWords("Cross Gateway Retrieve", "Responding Gateway", "Initiating Gateway",
                               "gave documents to"),
    "ITI-41": TransactionWords("Provide and Register Document Set-b", "Document Source", "Document Repository",
                               "sent documents to"),
    "ITI-42": TransactionWords("Register Document Set-b", "Document Repository", "Document Registry",
                               "registered documents with"),
    "ITI-43": TransactionWords("Retrieve Document Set", "Document Repository", "Document Consumer",
                               "gave documents to"),
    "ITI-44": TransactionWords("Patient Identity Feed HL7 V3", "Patient Identity Source", "Document Registry",
                               "sent a patient's identity to"),
    "ITI-55": TransactionWords("Cross Gateway Patient Discovery", "Initiating Gateway", "Responding Gateway",
                               "looked for a patient at"),
    "ITI-45": TransactionWords("PIXV3 Query", *_PIX),
    "ITI-51": TransactionWords("Multi-Patient Stored Query", "Document Consumer", "Document Registry", "asked"),
    "ITI-57": TransactionWords("Update Document Set", "Document Administrator", "Document Registry",
                               "sent changed metadata to"),
    "ITI-61": TransactionWords("Register On-Demand Document Entry", "On-Demand Document Source", "Document Registry",
                               "registered documents with"),
    "ITI-62": TransactionWords("Remove Metadata", "Document Administrator", "Document Registry",
                               "asked for metadata to be removed from"),
    "ITI-81": TransactionWords("Retrieve ATNA Audit Event", "Audit Consumer", "Audit Record Repository", "asked"),
    "ITI-86": TransactionWords("Remove Documents", "Document Administrator", "Document Repository",
                               "asked for documents to be removed from"),
    "ITI-92": TransactionWords("Restricted Update Document Set", "Update Initiator", "Update Responder",
                               "sent changed metadata to"),
    "RAD-55": TransactionWords("WADO Retrieve", "Imaging Document Source", "Imaging Document Consumer",
                               "gave images to"),
    "RAD-68": TransactionWords("Provide and Register Imaging Document Set - MTOM/XOP", "Imaging Document Source",
                               "Document Repository", "sent documents to"),
    "RAD-69": TransactionWords("Retrieve Imaging Document Set", "Imaging Document Source", "Imaging Document Consumer",
                               "gave images to"),
    "RAD-75": TransactionWords("Cross Gateway Retrieve Imaging Document Set", "Responding Imaging Gateway",
                               "Initiating Imaging Gateway", "gave images to"),
    "RAD-107": TransactionWords("WADO-RS Retrieve", "Imaging Document Source", "Imaging Document Consumer",
                                "gave images to"),
    "ITI-83": TransactionWords("Mobile Patient Identifier Cross-reference Query", *_PIX),
    "RAD-108": TransactionWords("STOW-RS Store", "Evidence Creator", "Image Manager", "sent images to"),
}  # fmt: skip
