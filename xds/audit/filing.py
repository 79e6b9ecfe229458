"""Whether records are filed under what they say: an index that somebody has thinned out hides what the log still holds.

Whose a document or study is, is not in its message: what was found of that beside it is not held against anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import sqlalchemy as sa

from xds.audit.codes import IHE_TRANSACTIONS
from xds.audit.indexing import VALUES, said
from xds.audit.message import AuditMessage, NotAuditMessage
from xds.audit.message_xml import read
from xds.audit.verify import Tampered
from xds.store import audit as store
from xds.store import audit_search as search
from xds.store.audit import UNREADABLE, Recorded
from xds.store.audit_search import INDEX, Value

BATCH = 500
"""Records that are looked at in one statement."""

Hours = Counter[tuple[int, str, str, int]]


def as_said(record: Recorded) -> Recorded:
    """A record with kind, outcome and patient as its message has them."""
    try:
        message = read(record.message)
    except NotAuditMessage:
        return replace(record, event=UNREADABLE, transaction="", outcome=0, patient_id="")
    event, patients = message.event, message.patients
    ours = [one.code for one in event.type_codes if record.origin or one.system == IHE_TRANSACTIONS]
    return replace(
        record, event=event.event_id.code[:16], transaction=ours[0][:16] if ours else "", outcome=int(event.outcome),
        patient_id=patients[0][:512] if patients else record.patient_id,
    )  # fmt: skip


def check(connection: sa.Connection, progress: Callable[[int], None] = lambda _: None) -> int:
    """Hold every indexed record to what it is filed under; return how many.

    (9) A record's kind, outcome and patient are those of its message, and it is found by each value of it.

    Raises:
        Tampered: naming the first record that is not.
    """
    indexed, count, hours = store.position(connection, INDEX) or 0, 0, Hours()
    for records in _batches(connection, indexed):
        for record in records:
            if as_said(record) != record:
                raise Tampered(9, record.leaf_number, "it is filed as another kind, outcome or patient than it says")
        for leaf in _missing(connection, records):
            raise Tampered(9, leaf, "it is not found by something that it says")
        hours.update(search.hour_of(record) for record in records)
        count += len(records)
        progress(count)
    counted = search.hours(connection)
    if any(counted.get(key, 0) < least for key, least in hours.items()):
        raise Tampered(9, None, "fewer records are counted than there are; run xds audit reindex")
    return count


def mend(connection: sa.Connection, begin: int) -> tuple[int, int]:
    """File some records from a leaf on as they say; return where to go on, and how many were filed wrongly.

    Where nothing is left the hours are counted anew, and the beginning is returned.
    """
    indexed = store.position(connection, INDEX, to_change=True) or 0
    records = next(_batches(connection, indexed, begin), [])
    if not records:
        search.count_again(connection, indexed)
        return begin, 0
    wrong = {record.leaf_number for record in records if as_said(record) != record}
    for record in records:
        if record.leaf_number in wrong:
            store.file_anew(connection, as_said(record))
    for leaf, missing in _missing(connection, records).items():
        search.keep_values(connection, missing)
        wrong.add(leaf)
    return (records[-1].leaf_number or 0) + 1, len(wrong)


def _batches(connection: sa.Connection, indexed: int, begin: int = 0) -> Iterator[list[Recorded]]:
    while begin < indexed:
        records = [one for one in store.numbered_from(connection, begin, BATCH) if (one.leaf_number or 0) < indexed]
        if not records:
            return
        yield records
        begin = (records[-1].leaf_number or 0) + 1


def _missing(connection: sa.Connection, records: Sequence[Recorded]) -> dict[int, list[Value]]:
    """By leaf number, the values that records are not found by."""
    wanted = [value for record in records for value in _values(record)]
    there = search.kept_of(connection, wanted)
    leaves = {record.id: record.leaf_number or 0 for record in records}
    found: dict[int, list[Value]] = {}
    for value in wanted:
        if (search.term(value.kind, value.value), value.record_id) not in there:
            found.setdefault(leaves[value.record_id], []).append(value)
    return dict(sorted(found.items()))


def _values(record: Recorded) -> list[Value]:
    """What a record says that it is found by; nothing of one that says more than is kept."""
    try:
        message: AuditMessage = read(record.message)
    except NotAuditMessage:
        return []
    found = said(message, record.recorded)
    return [Value(*one, record.id, record.recorded) for one in sorted(found)] if len(found) <= VALUES else []
