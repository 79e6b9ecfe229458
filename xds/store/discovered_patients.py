"""Under which ids other communities know patients of ours, as they have answered (ITI-55); known to all processes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache

import sqlalchemy as sa

from xds.metadata.demographics import Demographics
from xds.store.statements import Statement, insert_of
from xds.store.tables import discovered_patient as table

KEPT_DAYS = 100
"""After an answer is no longer taken for true: whose an id of theirs is, is asked of older ones, too."""

SEVERAL = 50
"""Patients whom one id is known to be of, that are looked at: most of them were merged since."""

_DAY = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a community has answered: its id as CX, or nothing; by what it was asked, and until when that holds."""

    theirs: str
    said: str
    until: int  # microseconds since 1970, UTC


@cache
def _keeping(dialect: str) -> Statement:
    statement = insert_of(table, table.c.keys(), dialect)
    changed = {name: statement.excluded[name] for name in ("theirs", "said", "until")}
    return Statement(
        statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed)
    )  # fmt: skip


_OF = Statement(
    sa.select(table.c.theirs, table.c.said, table.c.until).where(
        table.c.domain == sa.bindparam("domain"),
        table.c.home == sa.bindparam("home"),
        table.c.patient_id == sa.bindparam("patient"),
    )
)
_OURS = Statement(
    sa.select(table.c.patient_id)
    .where(
        table.c.domain == sa.bindparam("domain"),
        table.c.home == sa.bindparam("home"),
        table.c.theirs == sa.bindparam("theirs"),
    )
    .limit(SEVERAL)
)
_FORGET = Statement(sa.delete(table).where(table.c.until < sa.bindparam("before")))


def fingerprint(said: Demographics, authority: str) -> str:
    """What tells demographics, and the authority whose id is wanted, from others."""
    told = json.dumps([said.as_json(), authority], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def keep(connection: sa.Connection, domain: str, home: str, patient_id: str, found: Discovered) -> None:
    """Note what a community has answered about a patient; it takes the place of what it answered before."""
    _keeping(connection.dialect.name).run(
        connection, domain=domain, home=home, patient_id=patient_id, theirs=found.theirs, said=found.said,
        until=found.until,
    )  # fmt: skip


def of(connection: sa.Connection, domain: str, home: str, patient_id: str) -> Discovered | None:
    """What a community answered last about a patient."""
    row = _OF.first(connection, domain=domain, home=home, patient=patient_id)
    return None if row is None else Discovered(str(row.theirs), str(row.said), int(row.until))


def ours(connection: sa.Connection, domain: str, home: str, theirs: str) -> list[str]:
    """Whom a community knows under an id of its own, as CX, as far as it was asked for them; no more than SEVERAL."""
    rows = _OURS.rows(connection, domain=domain, home=home, theirs=theirs) if theirs else []
    return [str(row.patient_id) for row in rows]


def forget(connection: sa.Connection, now: int) -> int:
    """Remove what has not held for long; return how many.  ``now``: microseconds since 1970."""
    return _FORGET.run(connection, before=now - KEPT_DAYS * _DAY)
