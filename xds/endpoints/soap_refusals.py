"""What a SOAP client is told where there is no answer of a transaction, or an error of ours in one."""

from __future__ import annotations

from xds.errors import ErrorCode, Finding
from xds.system.disk import LOW
from xds.transactions.transaction import Transaction
from xds.wire import mtom
from xds.wire.faults import Fault, FaultCode
from xds.wire.http import HttpReply
from xds.wire.soap import fault_envelope
from xds.wire.turned_away import busy

FULL_SECONDS = 60
"""After which it may be tried again, when somebody may have made room."""


AWAY_SECONDS = 5
"""After which it may be tried again: another server takes over in some seconds."""


def cannot_keep() -> Fault:
    return Fault(FaultCode.RECEIVER, "the message cannot be stored now; nothing was changed")


def code_of(transaction: Transaction) -> ErrorCode:
    return ErrorCode.REGISTRY_ERROR if transaction.of_registry else ErrorCode.REPOSITORY_ERROR


def come_again(transaction: Transaction) -> HttpReply:
    """There is no memory for a message now; who sent it is not at fault.  ``transaction``: one of the address."""
    return faulted(busy(transaction.busy, "too many messages are being read; send it again"), "", mtom_reply=False)


def not_now(transaction: Transaction) -> Fault:
    """The database does not answer, so that nothing was done."""
    return busy(transaction.busy, "the database does not answer, and nothing was changed; send it again", AWAY_SECONDS)


def not_known(transaction: Transaction) -> Fault:
    """The database was lost at the commit, and has not come back."""
    why = "the database was lost at the commit: whether it was carried out is not known; ask before it is sent again"
    return busy(transaction.busy, why, AWAY_SECONDS)


def no_room(transaction: Transaction) -> Fault:
    """A message that was not read to its end, since it would have filled the disk; ``transaction``: as above."""
    return busy(transaction.out_of_resources, LOW, FULL_SECONDS)


def internal(transaction: Transaction) -> Finding:
    return Finding(code_of(transaction), "an internal error; nothing was changed")


def faulted(fault: Fault, relates_to: str, *, mtom_reply: bool) -> HttpReply:
    """A reply with a fault in it."""
    pieces = (fault_envelope(fault, relates_to),)
    out = mtom.mtom(pieces) if mtom_reply else mtom.plain(pieces)
    again = [("Retry-After", str(fault.retry_seconds))] if fault.retry_seconds else []
    return HttpReply(fault.http_status, [*out.headers, *again], out.chunks, out.length)
