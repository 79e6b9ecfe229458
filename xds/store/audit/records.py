"""Audit records as rows: recorded, numbered, and under which checkpoint.

The order of the log lives here; the files of ``audit.log.writer`` are made from it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from xds.metadata.identifiers import Oid, PatientId
from xds.store.statements import Asked, Statement, insert_ignoring, inserting
from xds.store.tables import (
    audit_checkpoint,
    audit_cursor,
    audit_head,
    audit_node,
    audit_open,
    audit_record,
    document,
    locator,
    patient,
    publication,
    study_patient,
)
from xds.wire.peers import spent


@dataclass(frozen=True, slots=True)
class Recorded:
    """One audit message with what it is searched by.  ``recorded`` is in microseconds since 1970, UTC."""

    message: bytes
    event: str
    transaction: str
    outcome: int
    patient_id: str = ""
    recorded: int = 0
    id: int = 0
    leaf_number: int | None = None
    origin: str = ""

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.recorded / 1e6, UTC)


UNREADABLE = "unreadable"
"""The kind of a record that is no audit message: it is kept all the same."""

READ_BYTES = 32 * 1024 * 1024
"""Of the messages that are read at once, more than which only a single one may be."""

MESSAGE_BYTES = 60 * 1024 * 1024
"""Of one record; what would need more is refused, and not carried out."""


_RECORD = inserting(audit_record, ("recorded", "event", "transaction", "outcome", "patient_id", "origin", "message"))

_OPEN = inserting(audit_open)
_CLOSE = Statement(sa.delete(audit_open).where(audit_open.c.id == sa.bindparam("id")))


def now_microseconds() -> int:
    return time.time_ns() // 1000


def record(connection: sa.Connection, records: Iterable[Recorded]) -> None:
    """Insert records; they are durable when the caller's transaction is."""
    _RECORD.run_each(connection, rows_of(records))


def rows_of(records: Iterable[Recorded]) -> list[dict[str, Any]]:
    """The rows of records, counted as this thread's peer's."""
    rows = list(map(row_of, records))
    if rows:
        spent(records=len(rows), size_bytes=sum(len(row["message"]) for row in rows))
    return rows


def recording(records: Iterable[Recorded]) -> list[Asked]:
    """What inserts records, with what it is given; counted as this thread's peer's."""
    return [(_RECORD, row) for row in rows_of(records)]


_IS_THERE = Statement(sa.select(audit_record.c.id).where(
    audit_record.c.recorded == sa.bindparam("recorded"), audit_record.c.message == sa.bindparam("message")
))  # fmt: skip


def is_there(connection: sa.Connection, recording_: Sequence[Asked]) -> bool:
    """Whether the first of what ``recording`` gave is in the log: then all that was committed with it is there."""
    given = recording_[0][1]
    return bool(_IS_THERE.rows(connection, recorded=given["recorded"], message=given["message"]))


def row_of(item: Recorded) -> dict[str, Any]:
    """A record's row, without what the database gives.

    Raises:
        ValueError: the message is longer than the log's files take one.
    """
    if len(item.message) > MESSAGE_BYTES:
        raise ValueError(f"an audit message is longer than {MESSAGE_BYTES} bytes")
    return {
        "recorded": item.recorded or now_microseconds(),
        "event": item.event[:16],
        "transaction": item.transaction[:16],
        "outcome": item.outcome,
        "patient_id": item.patient_id[:512],
        "origin": item.origin[:512],
        "message": item.message,
    }


def file_anew(connection: sa.Connection, item: Recorded) -> None:
    """Give a record's row the kind, outcome and patient that its message has."""
    columns = ("event", "transaction", "outcome", "patient_id")
    values = {key: value for key, value in row_of(item).items() if key in columns}
    connection.execute(sa.update(audit_record).where(audit_record.c.id == item.id).values(**values))


def open_stream(connection: sa.Connection, id_: str, owner: str, if_it_dies: Sequence[Recorded]) -> None:
    """Note a stream under way, with the records that stand if its process dies."""
    _OPEN.run(connection, id=id_, owner=owner, started=now_microseconds(), messages=_packed(if_it_dies))


def close_stream(connection: sa.Connection, id_: str, records: Iterable[Recorded]) -> bool:
    """End a stream with the records that tell what happened; False if another process has ended it before."""
    if not _CLOSE.run(connection, id=id_):
        return False
    record(connection, records)
    return True


def streams(connection: sa.Connection) -> list[tuple[str, str, list[Recorded]]]:
    """Every stream under way: id, owner, and the records that stand if it dies."""
    rows = connection.execute(sa.select(audit_open)).all()
    return [(row.id, row.owner, _unpacked(row.messages)) for row in rows]


def _packed(records: Iterable[Recorded]) -> bytes:
    rows = [dataclasses.asdict(r) | {"message": base64.b64encode(r.message).decode()} for r in records]
    return json.dumps(rows).encode()


def _unpacked(data: bytes) -> list[Recorded]:
    return [Recorded(**{**row, "message": base64.b64decode(row["message"])}) for row in json.loads(data)]


def number(connection: sa.Connection, most: int) -> int:
    """Give leaf numbers to records that have none, in one locked step; return how many."""
    if connection.dialect.name != "sqlite":
        head = sa.select(audit_head.c.size).where(audit_head.c.id == 1).with_for_update()
    else:
        head = sa.select(audit_head.c.size).where(audit_head.c.id == 1)
    insert_ignoring(connection, audit_head, id=1, size=0)
    size = int(connection.scalar(head) or 0)
    table = audit_record
    waiting = sa.select(table.c.id).where(table.c.leaf_number.is_(None)).order_by(table.c.id).limit(most).subquery()
    numbered = sa.select(waiting.c.id, (sa.func.row_number().over(order_by=waiting.c.id) - 1).label("nth")).subquery()
    update = sa.update(table).where(table.c.id == numbered.c.id).values(leaf_number=size + numbered.c.nth)
    count: int = connection.execute(update).rowcount
    if count:
        connection.execute(sa.update(audit_head).where(audit_head.c.id == 1).values(size=size + count))
    return count


def head(connection: sa.Connection) -> int:
    """How many records are numbered."""
    return int(connection.scalar(sa.select(audit_head.c.size).where(audit_head.c.id == 1)) or 0)


def numbered_from(connection: sa.Connection, leaf: int, most: int, most_bytes: int = READ_BYTES) -> list[Recorded]:
    """Numbered records from a leaf on, in order; no more than are of so many bytes, but one where there is any."""
    row = audit_record.c
    size = sa.select(row.leaf_number, sa.func.length(row.message)).where(row.leaf_number >= leaf)
    last, total = None, 0
    for number_, bytes_ in connection.execute(size.order_by(row.leaf_number).limit(most)):
        total += bytes_
        if last is not None and total > most_bytes:
            break
        last = number_
    if last is None:
        return []
    within = (row.leaf_number >= leaf, row.leaf_number <= last)
    rows = connection.execute(sa.select(audit_record).where(*within).order_by(row.leaf_number))
    return [recorded_of(one, one.leaf_number) for one in rows]


def own_at(connection: sa.Connection, milliseconds: Collection[int]) -> set[bytes]:
    """Messages that this node itself has recorded in any of these milliseconds since 1970."""
    row, found_, asked = audit_record.c, set[bytes](), sorted(milliseconds)
    for start in range(0, len(asked), 100):
        within = (
            sa.and_(row.recorded >= one * 1000, row.recorded < (one + 1) * 1000) for one in asked[start : start + 100]
        )
        statement = sa.select(row.message).where(sa.or_(*within), row.origin == "")
        found_ |= {bytes(one) for one in connection.scalars(statement)}
    return found_


def all_numbered(connection: sa.Connection, batch: int = 1000, begin: int = 0) -> Iterator[Recorded]:
    """Every numbered record from a leaf on, in order and in flat memory."""
    leaf = begin
    while rows := numbered_from(connection, leaf, batch):
        yield from rows
        leaf = (rows[-1].leaf_number or 0) + 1


def position(connection: sa.Connection, name: str, *, to_change: bool = False) -> int | None:
    """How far somebody who goes through the records has come: the leaf number of the next; None at the first time.

    ``to_change``: nobody goes on until the transaction ends.
    """
    statement = sa.select(audit_cursor.c.position).where(audit_cursor.c.name == name)
    found_: int | None = connection.scalar(statement.with_for_update() if to_change else statement)
    return found_


def goes_on_from(connection: sa.Connection, name: str, position_: int) -> bool:
    """Whether somebody is still as far as that; until the transaction ends nobody else goes on."""
    insert_ignoring(connection, audit_cursor, name=name, position=0)
    return position(connection, name, to_change=True) == position_


def move(connection: sa.Connection, name: str, position_: int) -> None:
    """Note how far somebody has come."""
    insert_ignoring(connection, audit_cursor, name=name, position=position_)
    connection.execute(sa.update(audit_cursor).where(audit_cursor.c.name == name).values(position=position_))


def patients_of(connection: sa.Connection, documents: Sequence[tuple[str, str]], studies: Sequence[str]) -> set[str]:
    """Whose documents, by repository and uniqueId, and studies are, as far as this node knows."""
    found_ = set[str]()
    for repository, unique_id in documents:
        where = (document.c.repository_unique_id == repository, document.c.document_unique_id == unique_id)
        found_ |= set(connection.scalars(sa.select(document.c.patient_id).where(*where)))
    missing = [unique_id for _, unique_id in documents] if not found_ else []
    for start in range(0, len(missing), 500):
        ids = missing[start : start + 500]
        located = sa.select(locator.c.patient_key).where(locator.c.id.in_(ids), locator.c.nth != "").distinct()
        rows = connection.execute(
            sa.select(patient.c.id, patient.c.authority).where(patient.c.patient_key.in_(located))
        )
        found_ |= {str(PatientId(row.id, Oid(row.authority))) for row in rows}
    for start in range(0, len(studies), 500):
        ids = list(studies[start : start + 500])
        published = sa.select(publication.c.patient_id).where(publication.c.study_instance_uid.in_(ids))
        by_hand = sa.select(study_patient.c.patient_id).where(study_patient.c.study_instance_uid.in_(ids))
        found_ |= {*connection.scalars(published), *connection.scalars(by_hand)}
    return {one for one in found_ if one}


def count(connection: sa.Connection) -> int:
    """How many records there are."""
    return int(connection.scalar(sa.select(sa.func.count()).select_from(audit_record)) or 0)


def one(connection: sa.Connection, id_: int) -> Recorded | None:
    row = connection.execute(sa.select(audit_record).where(audit_record.c.id == id_)).first()
    return None if row is None else recorded_of(row, row.leaf_number)


def oldest_unnumbered_seconds(connection: sa.Connection) -> float:
    """How old the oldest record without a number is; 0 when there is none."""
    oldest = connection.scalar(
        sa.select(sa.func.min(audit_record.c.recorded)).where(audit_record.c.leaf_number.is_(None))
    )
    return 0.0 if oldest is None else (now_microseconds() - oldest) / 1e6


FORGOTTEN_SECONDS = 86_400
"""After which nobody asks for a host any more of which nothing is under way."""


def here(connection: sa.Connection, host: str) -> None:
    """Note that a node of this host is there."""
    now = _of_the_database(connection)
    if not insert_ignoring(connection, audit_node, host=host, seen=now):
        connection.execute(sa.update(audit_node).where(audit_node.c.host == host).values(seen=now))
    known_by = sa.select(sa.literal(1)).where(audit_open.c.owner.startswith(audit_node.c.host + " "))
    long_gone = audit_node.c.seen < now - FORGOTTEN_SECONDS * 1_000_000
    connection.execute(sa.delete(audit_node).where(long_gone, ~known_by.exists()))


def not_here(connection: sa.Connection, host: str) -> None:
    """Note that a node of this host ends in order; another of it says at once again that it is there."""
    connection.execute(sa.delete(audit_node).where(audit_node.c.host == host))


def hosts_gone(connection: sa.Connection, seconds: float) -> set[str]:
    """Hosts of which no node was there for so long."""
    before = _of_the_database(connection) - round(seconds * 1e6)
    return {*connection.scalars(sa.select(audit_node.c.host).where(audit_node.c.seen < before))}


def _of_the_database(connection: sa.Connection) -> int:
    """Microseconds since 1970 by one clock for all nodes: PostgreSQL's, or this machine's where SQLite is."""
    if connection.dialect.name == "sqlite":
        return now_microseconds()
    seconds = sa.func.extract("epoch", sa.func.clock_timestamp())
    return int(connection.scalar(sa.select(sa.cast(seconds * 1_000_000, sa.BigInteger))) or 0)


def keep_checkpoint(connection: sa.Connection, size: int, signed: bytes) -> None:
    insert_ignoring(connection, audit_checkpoint, size=size, signed=signed)


def last_checkpoint(connection: sa.Connection) -> tuple[int, bytes] | None:
    """Size and signed bytes of the newest checkpoint."""
    table = audit_checkpoint
    row = connection.execute(sa.select(table).order_by(table.c.size.desc()).limit(1)).first()
    return None if row is None else (row.size, bytes(row.signed))


def recorded_of(row: sa.Row[tuple[object, ...]], leaf: int | None) -> Recorded:
    """A row of the table, with the leaf number that it has or is given."""
    values = row._mapping
    message = values["message"]
    if isinstance(message, str):  # somebody has changed it by hand: SQLite then takes it for text
        message = message.encode("utf-8", "replace")
    return Recorded(
        bytes(message), values["event"], values["transaction"], values["outcome"], values["patient_id"],
        values["recorded"], values["id"], leaf, values["origin"],
    )  # fmt: skip
