"""Who has read while two patients were one, so that they can be told when that was wrong."""

from __future__ import annotations

import sqlalchemy as sa

from xds.audit.messages.codes import Action
from xds.audit.messages.message import NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.search.reports import Line, who_saw
from xds.store.audit.search import Wanted, found

MOST = 10_000
"""Records that are looked at."""


def read_since_merged(connection: sa.Connection, subsumed: str, surviving: str) -> list[Line]:
    """Who did something with the data of either since the one was merged into the other, as far as the log reaches."""
    begun = _merged_at(connection, subsumed)
    records = [
        record
        for one in dict.fromkeys((surviving, subsumed))
        for record in found(connection, Wanted(values=(("patient", one),), since=begun), MOST)
        if record.event != "110110"
    ]
    return who_saw({record.id: record for record in records}.values())


def _merged_at(connection: sa.Connection, subsumed: str) -> int:
    """When a patient was merged away last (Patient Record, deleted); 0 where the log does not say."""
    for record in found(connection, Wanted(values=(("patient", subsumed),), event="110110"), MOST):
        try:
            if read(record.message).event.action is Action.DELETE and record.outcome == 0:
                return record.recorded
        except NotAuditMessage:
            continue
    return 0
