"""What is kept of a request that was refused: its hash, its length and its beginning, not all of it for ten years."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from xds.audit.messages.codes import IHE_TRANSACTIONS, Coded, ObjectRole
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import ParticipantObject
from xds.audit.messages.objects import as_details, thing

BEGINNING_BYTES = 4096
"""Of a refused request: enough to see what it asked, and of whom."""


def cut(item: ParticipantObject) -> ParticipantObject:
    """An object whose query is no longer than that; of a longer one with its SHA-256 and its length."""
    query = item.query
    if query is None or len(query) <= BEGINNING_BYTES:
        return item
    said = [("Query SHA-256", hashlib.sha256(query).hexdigest()), ("Query Length", str(len(query)))]
    return replace(item, query=query[:BEGINNING_BYTES], details=(*item.details, *as_details(said)))


def about_refused(event: AuditEvent, request: bytes) -> None:
    """A request that was refused for what it is, before it was understood."""
    number, title = event.transaction
    kind = Coded(number, IHE_TRANSACTIONS, title)
    event.objects.append(cut(thing(number, kind, ObjectRole.QUERY, query=request)))


def shorten(event: AuditEvent) -> None:
    """Hold what an event is about to that: its request was refused."""
    event.objects = [cut(item) for item in event.objects]
