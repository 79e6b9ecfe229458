"""Captures of a partner's messages: who asked for them, how long they run, and the sealed messages themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from xds.store.tables import capture, captured_message


@dataclass(frozen=True, slots=True)
class Capturing:
    """One capture; times in microseconds since 1970, UTC."""

    id: int
    sender: str
    started: int
    until: int  # it takes no more messages from then on
    kept_until: int  # its messages are erased then
    started_by: str
    reason: str
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Captured:
    """One message and its reply, each sealed (CMS EnvelopedData, DER)."""

    id: int
    capture_id: int
    received: int
    path: str
    remote_address: str
    content_type: str
    request: bytes
    reply: bytes


def start(connection: sa.Connection, capturing: Capturing) -> int:
    """Begin a capture; return its id."""
    values = {name: getattr(capturing, name) for name in Capturing.__slots__ if name not in ("id", "messages")}
    statement = sa.insert(capture).values(**values).returning(capture.c.id)
    return int(connection.execute(statement).scalar_one())


def stop(connection: sa.Connection, capture_id: int, now: int) -> bool:
    """End a capture now; whether it was running."""
    running = (capture.c.id == capture_id, capture.c.until > now)
    return connection.execute(sa.update(capture).where(*running).values(until=now)).rowcount == 1


def running(connection: sa.Connection, now: int) -> dict[str, int]:
    """The captures that take messages now: the newest of each sender, by its name."""
    statement = sa.select(capture.c.sender, capture.c.id).where(capture.c.until > now).order_by(capture.c.id)
    return {row.sender: int(row.id) for row in connection.execute(statement)}


def add(connection: sa.Connection, message: Captured, most: int) -> bool:
    """Keep a message, unless the capture holds so many; whether it was kept."""
    held = sa.select(sa.func.count()).where(captured_message.c.capture_id == message.capture_id)
    if int(connection.scalar(held) or 0) >= most:
        return False
    values = {name: getattr(message, name) for name in Captured.__slots__ if name != "id"}
    connection.execute(sa.insert(captured_message).values(**values))
    return True


def listed(connection: sa.Connection) -> Sequence[Capturing]:
    """Every capture whose messages are still kept, newest first, with how many it holds."""
    count = sa.select(sa.func.count()).where(captured_message.c.capture_id == capture.c.id).scalar_subquery()
    rows = connection.execute(sa.select(capture, count.label("messages")).order_by(capture.c.id.desc()))
    return [
        Capturing(row.id, row.sender, row.started, row.until, row.kept_until, row.started_by, row.reason, row.messages)
        for row in rows
    ]


def messages(connection: sa.Connection, capture_id: int) -> Sequence[Captured]:
    """What a capture holds, in the order it came."""
    statement = sa.select(captured_message).where(captured_message.c.capture_id == capture_id)
    rows = connection.execute(statement.order_by(captured_message.c.id))
    return [Captured(**dict(row._mapping)) for row in rows]


def erase(connection: sa.Connection, now: int) -> int:
    """Erase captures that are past their time, with their messages; return how many."""
    past = sa.select(capture.c.id).where(capture.c.kept_until <= now)
    connection.execute(sa.delete(captured_message).where(captured_message.c.capture_id.in_(past)))
    return connection.execute(sa.delete(capture).where(capture.c.kept_until <= now)).rowcount
