"""SOAP 1.2 faults, WS-Addressing's among them.

SOAP 1.2 part 1: 5.4; WS-Addressing 1.0 SOAP Binding: 6; ITI TF-2: Appendix V.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lxml import etree

from xds.wire.xml import NAMESPACES, Element, name

SOAP_FAULT_ACTION = "http://www.w3.org/2005/08/addressing/soap/fault"
ADDRESSING_FAULT_ACTION = "http://www.w3.org/2005/08/addressing/fault"


class FaultCode(StrEnum):
    """The codes of SOAP 1.2 part 1: 5.4.6 that we send, and the HTTP status each travels with."""

    VERSION_MISMATCH = "VersionMismatch"
    MUST_UNDERSTAND = "MustUnderstand"
    DATA_ENCODING_UNKNOWN = "DataEncodingUnknown"
    SENDER = "Sender"
    RECEIVER = "Receiver"

    @property
    def http_status(self) -> int:
        return 400 if self is FaultCode.SENDER else 500


class AddressingFault(StrEnum):
    """Subcodes of WS-Addressing 1.0 SOAP Binding: 6.4."""

    INVALID_ADDRESSING_HEADER = "InvalidAddressingHeader"
    INVALID_CARDINALITY = "InvalidCardinality"
    ONLY_ANONYMOUS_ADDRESS_SUPPORTED = "OnlyAnonymousAddressSupported"
    MESSAGE_ADDRESSING_HEADER_REQUIRED = "MessageAddressingHeaderRequired"
    ACTION_NOT_SUPPORTED = "ActionNotSupported"
    ENDPOINT_UNAVAILABLE = "EndpointUnavailable"


class SecurityFault(StrEnum):
    """Subcodes of WS-Security 1.1: 12."""

    UNSUPPORTED_SECURITY_TOKEN = "UnsupportedSecurityToken"  # noqa: S105  # nosec B105
    UNSUPPORTED_ALGORITHM = "UnsupportedAlgorithm"
    INVALID_SECURITY = "InvalidSecurity"
    INVALID_SECURITY_TOKEN = "InvalidSecurityToken"  # noqa: S105  # nosec B105
    FAILED_AUTHENTICATION = "FailedAuthentication"
    FAILED_CHECK = "FailedCheck"
    SECURITY_TOKEN_UNAVAILABLE = "SecurityTokenUnavailable"  # noqa: S105  # nosec B105
    MESSAGE_EXPIRED = "MessageExpired"


@dataclass(slots=True)
class Fault(Exception):
    """A message that could not be understood as a transaction at all.  The reason holds no patient data."""

    code: FaultCode
    reason: str
    subcodes: tuple[AddressingFault | SecurityFault, ...] = ()
    problem_header: str | None = None  # prefixed name of the header at fault
    problem_action: str | None = None
    not_understood: tuple[tuple[str, str], ...] = field(default=())  # (namespace, local name)
    http_status: int = 0
    retry_seconds: int = 0  # when it may be sent again; 0: nothing is said of that

    def __post_init__(self) -> None:
        self.http_status = self.http_status or self.code.http_status

    @property
    def action(self) -> str:
        addressing = any(isinstance(subcode, AddressingFault) for subcode in self.subcodes)
        return ADDRESSING_FAULT_ACTION if addressing else SOAP_FAULT_ACTION

    @property
    def is_about_security(self) -> bool:
        return any(isinstance(subcode, SecurityFault) for subcode in self.subcodes)

    def header_blocks(self) -> list[Element]:
        """What a fault adds to the Header: NotUnderstood and Upgrade (SOAP 1.2 part 1: 5.4.7, 5.4.8).

        SOAP's own namespace goes by the prefix that every envelope of ours declares: lxml drops a second one.
        """
        blocks = []
        for namespace, local in self.not_understood:
            prefix = "soap" if namespace == NAMESPACES["soap"] else "h"
            block = etree.Element(name("soap:NotUnderstood"), nsmap={prefix: namespace} if namespace else None)
            block.set("qname", f"{prefix}:{local}" if namespace else local)
            blocks.append(block)
        if self.code is FaultCode.VERSION_MISMATCH:
            block = etree.Element(name("soap:Upgrade"))
            etree.SubElement(block, name("soap:SupportedEnvelope")).set("qname", "soap:Envelope")
            blocks.append(block)
        return blocks

    def element(self) -> Element:
        """The ``soap:Fault``."""
        prefixes = ("soap", "wsa", "wsse") if self.is_about_security else ("soap", "wsa")
        fault = etree.Element(name("soap:Fault"), nsmap={prefix: NAMESPACES[prefix] for prefix in prefixes})
        code = etree.SubElement(fault, name("soap:Code"))
        etree.SubElement(code, name("soap:Value")).text = f"soap:{self.code}"
        for subcode in self.subcodes:
            code = etree.SubElement(code, name("soap:Subcode"))
            prefix = "wsse" if isinstance(subcode, SecurityFault) else "wsa"
            etree.SubElement(code, name("soap:Value")).text = f"{prefix}:{subcode}"
        reason = etree.SubElement(etree.SubElement(fault, name("soap:Reason")), name("soap:Text"))
        reason.set("{http://www.w3.org/XML/1998/namespace}lang", "en")
        reason.text = self.reason
        if self.problem_header or self.problem_action or self.retry_seconds:
            detail = etree.SubElement(fault, name("soap:Detail"))
            if self.problem_header:
                etree.SubElement(detail, name("wsa:ProblemHeaderQName")).text = self.problem_header
            if self.problem_action:
                problem = etree.SubElement(detail, name("wsa:ProblemAction"))
                etree.SubElement(problem, name("wsa:Action")).text = self.problem_action
            if self.retry_seconds:  # in milliseconds
                etree.SubElement(detail, name("wsa:RetryAfter")).text = str(self.retry_seconds * 1000)
        return fault


def sender(reason: str, *subcodes: AddressingFault, http_status: int = 0) -> Fault:
    """A fault of the one who sent the message."""
    return Fault(FaultCode.SENDER, reason, subcodes, http_status=http_status)


def insecure(why: SecurityFault, reason: str) -> Fault:
    """A fault of who sent the message, about its WS-Security header."""
    return Fault(FaultCode.SENDER, reason, (why,))
