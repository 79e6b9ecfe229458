"""What a SOAP client is told where there is no answer of a transaction, or an error of ours in one."""

from __future__ import annotations

from xds.errors import ErrorCode, Finding
from xds.transactions.transaction import Transaction
from xds.wire import mtom
from xds.wire.faults import Fault, FaultCode
from xds.wire.http import HttpReply
from xds.wire.soap import fault_envelope
from xds.wire.turned_away import busy


def cannot_keep() -> Fault:
    return Fault(FaultCode.RECEIVER, "the message cannot be stored now; nothing was changed")


def code_of(transaction: Transaction) -> ErrorCode:
    return ErrorCode.REGISTRY_ERROR if transaction.of_registry else ErrorCode.REPOSITORY_ERROR


def come_again(code: ErrorCode) -> HttpReply:
    """There is no memory for a message now; who sent it is not at fault.  ``code``: of the address where it came."""
    return faulted(busy(code, "too many messages are being read; send it again"), "", mtom_reply=False)


def internal(transaction: Transaction) -> Finding:
    return Finding(code_of(transaction), "an internal error; nothing was changed")


def faulted(fault: Fault, relates_to: str, *, mtom_reply: bool) -> HttpReply:
    """A reply with a fault in it."""
    pieces = (fault_envelope(fault, relates_to),)
    out = mtom.mtom(pieces) if mtom_reply else mtom.plain(pieces)
    again = [("Retry-After", str(fault.retry_seconds))] if fault.retry_seconds else []
    return HttpReply(fault.http_status, [*out.headers, *again], out.chunks, out.length)
