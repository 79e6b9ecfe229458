"""Patients of the affinity domain, by their identifiers."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from xds.metadata.identifiers import Oid, PatientId
from xds.store.engine import insert_ignoring
from xds.store.tables import patient


def key_of(connection: sa.Connection, domain: str, patient_id: PatientId) -> int | None:
    """The key of an active patient; None when unknown or merged away."""
    row = connection.execute(
        sa.select(patient.c.patient_key, patient.c.merged_into).where(
            patient.c.domain == domain, patient.c.authority == patient_id.authority, patient.c.id == patient_id.id
        )
    ).first()
    return None if row is None or row.merged_into is not None else int(row.patient_key)


def add(connection: sa.Connection, domain: str, patient_id: PatientId) -> bool:
    """Make a patient known; whether it was new."""
    return insert_ignoring(connection, patient, domain=domain, authority=patient_id.authority, id=patient_id.id)


def lock(connection: sa.Connection, patient_key: int) -> None:
    """Let no other submission of this patient run until the commit (SQLite has one writer anyway)."""
    if connection.dialect.name != "sqlite":
        connection.execute(
            sa.select(patient.c.patient_key).where(patient.c.patient_key == patient_key).with_for_update()
        )


def all_of(connection: sa.Connection, domain: str) -> Sequence[PatientId]:
    """Every active patient, by authority and id."""
    rows = connection.execute(
        sa.select(patient.c.id, patient.c.authority)
        .where(patient.c.domain == domain, patient.c.merged_into.is_(None))
        .order_by(patient.c.authority, patient.c.id)
    )
    return [PatientId(row.id, Oid(row.authority)) for row in rows]
