"""Whether records are filed under what they say: an index that somebody has thinned out hides what the log still holds.

Whose a document or study is, is not in its message: what was found of that beside it is not held against anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import sqlalchemy as sa

from xds.audit.log.verify import Tampered
from xds.audit.messages.message import NotAuditMessage
from xds.audit.messages.message_xml import read
from xds.audit.search.indexing import VALUES, filed, said
from xds.store.audit import records as store
from xds.store.audit import search
from xds.store.audit.records import UNREADABLE, Recorded
from xds.store.audit.search import INDEX, Value

BATCH = 500
"""Records that are looked at in one statement."""

Hours = Counter[tuple[int, str, str, int]]


class _Filed(NamedTuple):
    """A record as it is filed, as its message has it, and what the message says that it is found by."""

    record: Recorded
    as_said: Recorded
    values: list[Value]

    @classmethod
    def of(cls, record: Recorded) -> _Filed:
        """Of a message that says more than is kept, without values."""
        try:
            message = read(record.message)
        except NotAuditMessage:
            return cls(record, replace(record, event=UNREADABLE, transaction="", outcome=0, patient_id=""), [])
        event, transaction, outcome, patient = filed(message, ours=not record.origin)
        as_said = replace(
            record, event=event, transaction=transaction, outcome=outcome,
            patient_id=patient if message.patients else record.patient_id,
        )  # fmt: skip
        found = sorted(said(message, record.recorded))
        kept = found if len(found) <= VALUES else []
        return cls(record, as_said, [Value(*one, record.id, record.recorded) for one in kept])


def check(connection: sa.Connection, progress: Callable[[int], None] = lambda _: None) -> int:
    """Hold every indexed record to what it is filed under; return how many.

    (9) A record's kind, outcome and patient are those of its message, and it is found by each value of it.

    Raises:
        Tampered: naming the first record that is not.
    """
    indexed, count, hours = store.position(connection, INDEX) or 0, 0, Hours()
    for batch in _batches(connection, indexed):
        for one in batch:
            if one.as_said != one.record:
                leaf = one.record.leaf_number
                raise Tampered(9, leaf, "it is filed as another kind, outcome or patient than it says")
        for leaf in _missing(connection, batch):
            raise Tampered(9, leaf, "it is not found by something that it says")
        hours.update(search.hour_of(one.record) for one in batch)
        count += len(batch)
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
    batch = next(_batches(connection, indexed, begin), [])
    if not batch:
        search.count_again(connection, indexed)
        return begin, 0
    wrong = set[int]()
    for one in batch:
        if one.as_said != one.record:
            store.file_anew(connection, one.as_said)
            wrong.add(one.record.leaf_number or 0)
    for leaf, missing in _missing(connection, batch).items():
        search.keep_values(connection, missing)
        wrong.add(leaf)
    return (batch[-1].record.leaf_number or 0) + 1, len(wrong)


def _batches(connection: sa.Connection, indexed: int, begin: int = 0) -> Iterator[list[_Filed]]:
    while begin < indexed:
        records = [one for one in store.numbered_from(connection, begin, BATCH) if (one.leaf_number or 0) < indexed]
        if not records:
            return
        yield list(map(_Filed.of, records))
        begin = (records[-1].leaf_number or 0) + 1


def _missing(connection: sa.Connection, batch: Sequence[_Filed]) -> dict[int, list[Value]]:
    """By leaf number, the values that records are not found by."""
    there = search.kept_of(connection, [value for one in batch for value in one.values])
    found: dict[int, list[Value]] = {}
    for one in batch:
        for value in one.values:
            if (search.term(value.kind, value.value), value.record_id) not in there:
                found.setdefault(one.record.leaf_number or 0, []).append(value)
    return found
