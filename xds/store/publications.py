"""What became of each study of the imaging source's archive."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from xds.store.tables import publication


@dataclass(frozen=True, slots=True)
class Publication:
    """One study; times in microseconds since 1970, UTC.  See ``tables.publication``."""

    study_instance_uid: str
    state: str = "waiting"
    reason: str = ""
    fingerprint: str = ""
    seen: int = 0
    published: str = ""
    entry_uuid: str = ""
    patient_id: str = ""
    entry_patient: str = ""
    own_patient: str = ""
    mapped: int = 0
    attempts: int = 0
    next_try: int = 0
    sending: str = ""
    sending_entry: str = ""
    sending_set: str = ""
    metadata: bytes | None = None
    content: bytes | None = None


_MESSAGE = ("metadata", "content")


def look(connection: sa.Connection, found: Mapping[str, str], now: int, only: Collection[str] | None = None) -> None:
    """Note what an archive holds now: fingerprints by Study Instance UID; what is not among them is gone.

    ``only``: these studies have been looked at, and no others.
    """
    statement = sa.select(publication.c.study_instance_uid, publication.c.fingerprint)
    if only is not None:
        statement = statement.where(publication.c.study_instance_uid.in_(only))
    known = {row.study_instance_uid: row.fingerprint for row in connection.execute(statement)}
    for uid, fingerprint in found.items():
        if uid not in known:
            values = {name: getattr(Publication(uid), name) for name in Publication.__slots__}
            connection.execute(sa.insert(publication).values(**values | {"fingerprint": fingerprint, "seen": now}))
        elif known[uid] != fingerprint:
            _changed(connection, uid, fingerprint, now)
    for uid in known.keys() - found.keys():
        if known[uid]:
            _changed(connection, uid, "", now)


def _changed(connection: sa.Connection, uid: str, fingerprint: str, now: int) -> None:
    change(connection, uid, fingerprint=fingerprint, seen=now, next_try=0, attempts=0)


def change(connection: sa.Connection, uid: str, **values: Any) -> None:
    """Change what is noted of a study."""
    connection.execute(sa.update(publication).where(publication.c.study_instance_uid == uid).values(**values))


def due(connection: sa.Connection, quiet_since: int, now: int, most: int = 100) -> Sequence[Publication]:
    """Studies that are other than what was published, have been so since before a time, and may be tried now."""
    wanted = (
        sa.or_(
            publication.c.fingerprint != publication.c.published,
            publication.c.sending != "",
            publication.c.state == "moving",
        ),
        sa.or_(publication.c.seen <= quiet_since, publication.c.sending != ""),
        publication.c.next_try <= now,
    )
    rows = connection.execute(sa.select(publication).where(*wanted).order_by(publication.c.next_try).limit(most))
    return [Publication(**dict(row._mapping)) for row in rows]


def mapped_before(connection: sa.Connection, time: int, most: int = 100) -> Sequence[Publication]:
    """Published studies of whose patient it was last asked before a time, longest ago first."""
    columns = [column for column in publication.c if column.name not in _MESSAGE]
    here = (publication.c.own_patient != "", publication.c.fingerprint != "")  # what is gone is withdrawn anyway
    where = (publication.c.state == "published", publication.c.mapped < time, *here)
    statement = sa.select(*columns).where(*where).order_by(publication.c.mapped).limit(most)
    return [Publication(**dict(row._mapping)) for row in connection.execute(statement)]


def listed(connection: sa.Connection, state: str = "") -> Sequence[Publication]:
    """Every study, or those in a state, without the messages under way."""
    columns = [column for column in publication.c if column.name not in _MESSAGE]
    statement = sa.select(*columns).order_by(publication.c.study_instance_uid)
    if state:
        statement = statement.where(publication.c.state == state)
    return [Publication(**dict(row._mapping)) for row in connection.execute(statement)]
