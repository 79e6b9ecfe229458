"""Manifests that gateways have passed on, by each study that they are of.

A request for images of another community, or of a source elsewhere, names no patient and no manifest: whoever may see
a manifest of a study may see its images, and which these are is known of those that were fetched through here.
"""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa

from xds.ebxml.xdsb import DocumentRequest
from xds.store.peer_use import today
from xds.store.statements import Statement, insert_of
from xds.store.tables import passed_manifest as table

KEPT_DAYS = 100
"""Since one was last fetched; afterwards it is to be fetched again before its images are."""

MOST = 5
"""Manifests of one study that are looked at, those fetched last first."""


@cache
def _keeping(dialect: str) -> Statement:
    statement = insert_of(table, table.c.keys(), dialect)
    return Statement(statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={"day": statement.excluded.day, "repository_unique_id": statement.excluded.repository_unique_id},
        where=sa.or_(
            table.c.day != statement.excluded.day,
            table.c.repository_unique_id != statement.excluded.repository_unique_id,
        ),
    ))  # fmt: skip


_OF = Statement(
    sa.select(table.c.repository_unique_id, table.c.document_unique_id)
    .where(
        table.c.domain == sa.bindparam("domain"),
        table.c.home == sa.bindparam("home"),
        table.c.study_instance_uid == sa.bindparam("study"),
    )
    .order_by(table.c.day.desc(), table.c.document_unique_id)
    .limit(MOST)
)
_PATIENTS = Statement(
    sa.select(table.c.patient_id)
    .distinct()
    .where(
        table.c.domain == sa.bindparam("domain"),
        table.c.study_instance_uid == sa.bindparam("study"),
        table.c.home == sa.bindparam("home"),
    )
    .limit(2)
)
_FORGET = Statement(sa.delete(table).where(table.c.day < sa.bindparam("day")))


def keep(connection: sa.Connection, domain: str, manifest: DocumentRequest, study: str, patient_id: str) -> None:
    """Note of which study a manifest is, and of whom, as it says; its homeCommunityId says of which community."""
    _keeping(connection.dialect.name).run(
        connection, domain=domain, home=manifest.home_community_id or "", study_instance_uid=study,
        document_unique_id=manifest.document_unique_id, repository_unique_id=manifest.repository_unique_id,
        patient_id=patient_id, day=today(),
    )  # fmt: skip


def of(connection: sa.Connection, domain: str, home: str, study: str) -> list[DocumentRequest]:
    """The manifests of a study of a community, as they were asked for."""
    return [
        DocumentRequest(row.repository_unique_id, row.document_unique_id, home or None)
        for row in _OF.rows(connection, domain=domain, home=home, study=study)
    ]


def patient_of(connection: sa.Connection, domain: str, home: str, study: str) -> str:
    """Whom a community's manifests of a study name; empty where there is none, or they name several."""
    found = {row.patient_id for row in _PATIENTS.rows(connection, domain=domain, home=home, study=study)}
    return str(found.pop()) if len(found) == 1 else ""


def forget(connection: sa.Connection) -> int:
    """Remove those that nobody has fetched for long; return how many."""
    return _FORGET.run(connection, day=today() - KEPT_DAYS)
