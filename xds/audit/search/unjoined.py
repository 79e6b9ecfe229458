"""Retrievals that name no patient, and that nothing here joins to one: a report about a patient counts them.

Who looked at a patient may stand among them; an answer without them would be a false «nobody».
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from xds.audit.messages.message import NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.search import indexing, reports
from xds.store.audit import search
from xds.store.audit.records import Recorded

RETRIEVALS = ("110103", "110104", "110106", "110107")
"""Instances accessed and transferred, export and import: what moves data (DICOM PS3.16: CID 400)."""

PEOPLE, EACH = 50, 500
"""People of a report whose other retrievals are looked at, and the newest of each and kind."""


def unjoined(connection: sa.Connection, records: Sequence[Recorded], since: int = 0, until: int = 0) -> int:
    """Retrievals without a patient by those who are in a patient's records, as far as is looked (see ``PEOPLE``).

    ``since`` and ``until``: microseconds since 1970, UTC; 0 for none.
    """
    names = dict.fromkeys(name for record in records for name in _names(record))
    found = dict[int, Recorded]()
    for name in list(names)[:PEOPLE]:
        for event in RETRIEVALS:
            wanted = replace(indexing.by_values({"user": name}), since=since, until=until, event=event)
            found |= {one.id: one for one in search.found(connection, wanted, EACH)}
    return sum(not indexing.patients(connection, one) for one in found.values())


def _names(record: Recorded) -> list[str]:
    """What those who did it are called: people, or the machine where no person is known."""
    try:
        return [key.partition(" (")[0] for key, _, _ in reports.actors(read(record.message))]
    except NotAuditMessage:
        return []
