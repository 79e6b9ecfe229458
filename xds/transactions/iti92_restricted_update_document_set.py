"""ITI-92 Restricted Update Document Set: Update Initiator → Update Responder, which the Document Registry plays.

ITI TF-2: 3.92 (Restricted Metadata Update supplement).  The message of ITI-57, for entries alone.
"""

from __future__ import annotations

from dataclasses import replace

from xds.transactions import iti57_update_document_set as iti57
from xds.transactions.transaction import Actor, Call, Reply


def respond(call: Call) -> Reply:
    return iti57.updated(call, restricted=True)


TRANSACTION = replace(
    iti57.TRANSACTION,
    number="ITI-92",
    title="Restricted Update Document Set",
    action="urn:ihe:iti:2018:RestrictedUpdateDocumentSet",
    reply_action="urn:ihe:iti:2018:RestrictedUpdateDocumentSetResponse",
    initiator=Actor.UPDATE_INITIATOR,
    respond=respond,
)
