"""What this node knows of a patient id, where a registry has answered that it has nothing: why that may be."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

import sqlalchemy as sa

from xds.metadata.identifiers import PatientId
from xds.store.registry import patients
from xds.store.tables import patient


class Standing(Enum):
    """How an id stands in an affinity domain."""

    KNOWN = auto()
    MERGED = auto()  # into another, under which its documents are
    UNKNOWN = auto()
    FOREIGN = auto()  # its authority is none of the domain's
    UNSURE = auto()  # the registry is elsewhere and does not say


def standing(
    connection: sa.Connection, domain: str, authorities: Sequence[str], patient_id: PatientId
) -> tuple[Standing, str]:
    """How an id stands in a domain whose registry is here; of a merged one also who goes on for it."""
    where = (patient.c.domain == domain, patient.c.authority == patient_id.authority, patient.c.id == patient_id.id)
    row = connection.execute(sa.select(patient.c.patient_key, patient.c.merged_into).where(*where)).first()
    if row is None:
        return elsewhere(authorities, patient_id, Standing.UNKNOWN), ""
    if row.merged_into is None:
        return Standing.KNOWN, ""
    survivor = patients.survivors(connection, [row.patient_key]).get(int(row.patient_key))
    return Standing.MERGED, str(survivor.patient_id) if survivor else ""


def elsewhere(authorities: Sequence[str], patient_id: PatientId, otherwise: Standing = Standing.UNSURE) -> Standing:
    """How an id stands by its authority alone; without a list of them nothing is foreign."""
    return Standing.FOREIGN if authorities and patient_id.authority not in authorities else otherwise


def said(standing: Standing, authorities: Sequence[str] = (), survivor: str = "", what: str = "document") -> str:
    """In words for people, what an answer without anything means."""
    return {
        Standing.KNOWN: f"The patient is known, and has no {what}.",
        Standing.MERGED: f"This id was merged into {survivor}: ask for that one.",
        Standing.UNKNOWN: "Unknown patient: the registry has nobody of this id whom you may ask about.",
        Standing.FOREIGN: f"Unknown authority: ids of this affinity domain are of {', '.join(authorities)}.",
        Standing.UNSURE: "No documents, or an unknown patient: the registry does not say which.",
    }[standing]
