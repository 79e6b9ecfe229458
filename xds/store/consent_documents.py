"""Consent documents that were registered here and are kept elsewhere, until their bytes have been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from xds.store.statements import insert_ignoring
from xds.store.tables import consent_document

_row = consent_document.c


@dataclass(frozen=True, slots=True)
class Waiting:
    """One that is to be read; ``since`` and ``next_try`` in microseconds, None where it is not tried again."""

    unique_id: str
    repository_unique_id: str
    since: int
    tries: int = 0
    next_try: int | None = 0
    trouble: str = ""


def add(connection: sa.Connection, domain: str, waiting: Waiting) -> None:
    """Note one; once, however often it is registered."""
    insert_ignoring(
        connection, consent_document, domain=domain, unique_id=waiting.unique_id,
        repository_unique_id=waiting.repository_unique_id, since=waiting.since, tries=0, next_try=waiting.since,
        trouble="",
    )  # fmt: skip


def due(connection: sa.Connection, domain: str, now: int) -> Waiting | None:
    """The one that is to be tried next, if any is."""
    found = sa.select(consent_document).where(_row.domain == domain, _row.next_try <= now)
    row = connection.execute(found.order_by(_row.next_try).limit(1)).first()
    return None if row is None else _read(row)


def all_of(connection: sa.Connection, domain: str, most: int = 1000) -> Sequence[Waiting]:
    """Those that have not been read, the oldest first."""
    found = sa.select(consent_document).where(_row.domain == domain).order_by(_row.since).limit(most)
    return [_read(row) for row in connection.execute(found)]


def counted(connection: sa.Connection) -> tuple[int, int]:
    """How many are to be tried again, and how many cannot be acted upon, in all domains."""
    found = sa.select(sa.func.count(_row.next_try), sa.func.count()).select_from(consent_document)
    waiting, every = connection.execute(found).one()
    return int(waiting), int(every) - int(waiting)


def failed(connection: sa.Connection, domain: str, unique_id: str, trouble: str, next_try: int | None) -> None:
    """Note that one was not read, why, and when it is tried again, if it is."""
    changed = sa.update(consent_document).where(_row.domain == domain, _row.unique_id == unique_id)
    connection.execute(changed.values(tries=_row.tries + 1, trouble=trouble, next_try=next_try))


def again(connection: sa.Connection, domain: str, unique_id: str, now: int) -> bool:
    """Let one be tried now; whether there is one."""
    changed = sa.update(consent_document).where(_row.domain == domain, _row.unique_id == unique_id)
    return bool(connection.execute(changed.values(next_try=now)).rowcount)


def remove(connection: sa.Connection, domain: str, unique_id: str) -> None:
    """It has been read, or is no longer there."""
    connection.execute(sa.delete(consent_document).where(_row.domain == domain, _row.unique_id == unique_id))


def _read(row: sa.Row[tuple[object, ...]]) -> Waiting:
    return Waiting(row.unique_id, row.repository_unique_id, row.since, row.tries, row.next_try, row.trouble)
