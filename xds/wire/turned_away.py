"""What is said to a peer that has its share already, so that its request is turned away for the sake of others.

A SOAP message that was read is answered as the transaction that it is, by a response with XDSRegistryBusy or
XDSRepositoryBusy (ITI TF-3: Table 4.2.4.1-2); ``endpoints/soap.py`` does that.  One that was not read is no transaction
yet: nobody knows by its wsa:Action which response it is to have, nor by its wsa:MessageID what that relates to.  So it
has what SOAP has for a node that cannot take a message now: a fault of the Receiver, wsa:EndpointUnavailable with
wsa:RetryAfter (WS-Addressing 1.0 SOAP Binding: 6.4), with HTTP's own 503 and Retry-After.  Its reason begins with the
code that the transaction would have had, and no wsa:RelatesTo is made up.
"""

from __future__ import annotations

from collections.abc import Mapping

from xds.errors import ErrorCode
from xds.wire.faults import AddressingFault, Fault, FaultCode
from xds.wire.head import Head
from xds.wire.mtom import SOAP
from xds.wire.refusals import RETRY_SECONDS, reply
from xds.wire.soap import fault_envelope

BUSY = "as many requests as this peer may have at once are under way; try again"
UNAVAILABLE = "503 Service Unavailable"


def busy(code: ErrorCode | str, why: str, seconds: int = RETRY_SECONDS) -> Fault:
    """The fault of an address whose transactions have this code when they are busy."""
    reason, subcodes = f"{code}: {why}", (AddressingFault.ENDPOINT_UNAVAILABLE,)
    return Fault(FaultCode.RECEIVER, reason, subcodes, http_status=503, retry_seconds=seconds)


def is_soap(head: Head, addresses: Mapping[str, str]) -> bool:
    """Whether a request is a SOAP message, by the paths of SOAP addresses."""
    return head.method == "POST" and head.path.rstrip("/") in addresses


def unread(head: Head | None, addresses: Mapping[str, str], why: str) -> bytes:
    """The whole HTTP reply to a request of which no more than the head was read; ``addresses``: see ``Pace.soap``."""
    if head is None or not is_soap(head, addresses):
        return reply(UNAVAILABLE, f"{why}\n".encode(), retry=True)
    envelope = fault_envelope(busy(addresses[head.path.rstrip("/")], why), "")
    return reply(UNAVAILABLE, envelope, retry=True, content_type=SOAP)
