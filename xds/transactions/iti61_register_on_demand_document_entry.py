"""ITI-61 Register On-Demand Document Entry: On-Demand Document Source → Document Registry.

ITI TF-2: 3.61.  The message of ITI-42, with entries of the other kind.
"""

from __future__ import annotations

from dataclasses import replace

from xds.transactions import iti42_register_document_set_b as iti42
from xds.transactions.transaction import Actor, Call, Reply


def respond(call: Call) -> Reply:
    return iti42.registered(call, on_demand=True)


TRANSACTION = replace(
    iti42.TRANSACTION,
    number="ITI-61",
    title="Register On-Demand Document Entry",
    action="urn:ihe:iti:2010:RegisterOnDemandDocumentEntry",
    # Irregular, without «Entry» (ITI TF-2: 3.61.5).
    reply_action="urn:ihe:iti:2010:RegisterOnDemandDocumentResponse",
    initiator=Actor.ON_DEMAND_DOCUMENT_SOURCE,
    respond=respond,
)
