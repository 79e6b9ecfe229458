"""Whose each study is that was published from here: so that who looks at its images is found under the patient."""

from __future__ import annotations

import sqlalchemy as sa

from xds.store.statements import Statement, insert_ignoring
from xds.store.tables import publication, study_patient

_BY_ITSELF, _BY_HAND = (
    Statement(sa.select(table.c.patient_id).where(table.c.study_instance_uid == sa.bindparam("study")))
    for table in (publication, study_patient)
)


def keep(connection: sa.Connection, study_instance_uid: str, patient_id: str) -> None:
    """Note whose a study was published as."""
    mine = study_patient.c.study_instance_uid == study_instance_uid
    if not insert_ignoring(connection, study_patient, study_instance_uid=study_instance_uid, patient_id=patient_id):
        connection.execute(sa.update(study_patient).where(mine).values(patient_id=patient_id))


def forget(connection: sa.Connection, study_instance_uid: str) -> None:
    """Let a study that was published by hand be nobody's again."""
    mine = study_patient.c.study_instance_uid == study_instance_uid
    connection.execute(sa.delete(study_patient).where(mine))


def of(connection: sa.Connection, study_instance_uid: str) -> str:
    """The patient's id in the affinity domain, as CX; empty where it was not published from here."""
    for asked in (_BY_ITSELF, _BY_HAND):
        found = asked.first(connection, study=study_instance_uid)
        if found is not None and found.patient_id:
            return str(found.patient_id)
    return ""
