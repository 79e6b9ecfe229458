"""WS-Addressing headers of a request and its reply.

WS-Addressing 1.0 Core: 3.2; ITI TF-2: Appendix V.3.2.
"""

from __future__ import annotations

import uuid

from lxml import etree

from xds.system.values import value
from xds.wire.faults import AddressingFault, Fault, FaultCode
from xds.wire.xml import NAMESPACES, Element, name

ANONYMOUS = NAMESPACES["wsa"] + "/anonymous"
ONCE = ("Action", "MessageID", "To", "ReplyTo", "FaultTo", "From")
HEADERS = frozenset({*ONCE, "RelatesTo", "ReferenceParameters"})
"""What is understood of WS-Addressing (WS-Addressing 1.0 Core: 3.2)."""

LENGTH = 2048
"""Characters of an address or id; longer ones are not anybody's."""


@value(frozen=True, slots=True)
class Addressing:
    """Who asks for what; empty strings where a header is absent."""

    action: str
    message_id: str = ""
    to: str = ""
    reply_to: str = ""


def new_message_id() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def read_addressing(header: Element | None) -> Addressing:
    """The addressing headers of a request.

    ReplyTo may be absent: the ITI TF's own samples omit it.

    Raises:
        Fault: one occurs twice, Action is missing, or a reply is wanted elsewhere than on this connection.
    """
    values: dict[str, str] = {}
    for local in ONCE:
        found = [] if header is None else header.findall(name(f"wsa:{local}"))
        if len(found) > 1:
            raise _invalid(f"wsa:{local} occurs more than once", local, AddressingFault.INVALID_CARDINALITY)
        if found:
            values[local] = _address(found[0]) if local in ("ReplyTo", "FaultTo", "From") else _text(found[0])
            if len(values[local]) > LENGTH:
                raise _invalid(f"wsa:{local} is too long", local)
    if not values.get("Action"):
        raise Fault(
            FaultCode.SENDER,
            "wsa:Action is required (WS-Addressing 1.0 Core: 3.2)",
            (AddressingFault.MESSAGE_ADDRESSING_HEADER_REQUIRED,),
            problem_header="wsa:Action",
        )
    for local in ("ReplyTo", "FaultTo"):
        if values.get(local, ANONYMOUS) not in (ANONYMOUS, ""):
            raise _invalid(
                f"wsa:{local}: only the anonymous address is supported",
                local,
                AddressingFault.ONLY_ANONYMOUS_ADDRESS_SUPPORTED,
            )
    return Addressing(values["Action"], values.get("MessageID", ""), values.get("To", ""), values.get("ReplyTo", ""))


def message_id_of(header: Element | None) -> str:
    """The MessageID, for a fault's RelatesTo, when the rest cannot be read."""
    found = None if header is None else header.find(name("wsa:MessageID"))
    return "" if found is None else _text(found)[:LENGTH]


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _address(element: Element) -> str:
    address = element.find(name("wsa:Address"))
    return "" if address is None else _text(address)


def _invalid(reason: str, local: str, detail: AddressingFault | None = None) -> Fault:
    subcodes = (AddressingFault.INVALID_ADDRESSING_HEADER, *([detail] if detail else []))
    return Fault(FaultCode.SENDER, reason, subcodes, problem_header=f"wsa:{local}")


def reply_headers(action: str, relates_to: str) -> list[Element]:
    """Action, MessageID and RelatesTo of a reply on the same connection."""
    return [_header("Action", action, understand=True), _header("MessageID", new_message_id())] + (
        [_header("RelatesTo", relates_to)] if relates_to else []
    )


def request_headers(action: str, to: str, message_id: str) -> list[Element]:
    """The headers of a synchronous request (ITI TF-2: Appendix V.3.2.2)."""
    reply_to = etree.Element(name("wsa:ReplyTo"))
    etree.SubElement(reply_to, name("wsa:Address")).text = ANONYMOUS
    return [
        _header("To", to, understand=True),
        _header("MessageID", message_id),
        _header("Action", action, understand=True),
        reply_to,
    ]


def _header(local: str, value: str, *, understand: bool = False) -> Element:
    element = etree.Element(name(f"wsa:{local}"), nsmap={"wsa": NAMESPACES["wsa"]})
    element.text = value
    if understand:
        element.set(name("soap:mustUnderstand"), "true")
    return element
