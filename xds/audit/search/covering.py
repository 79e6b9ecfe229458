"""Which ids a search for a patient covers; one that can find nothing, whatever the log holds, is refused."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from xds.audit.search.indexing import by_values
from xds.errors import CannotMatch
from xds.metadata.identifiers import PatientId
from xds.settings.sections import Settings
from xds.store.audit import search
from xds.store.registry import patients
from xds.store.tables import patient


def covered(connection: sa.Connection, settings: Settings, text: str) -> list[str]:
    """What a patient is and was called, that name first: a report on them covers the records of all of these.

    A name that a record has as it is, of whatever form, is looked for as it is: other nodes write what they write.

    Raises:
        CannotMatch: it is no patient id, its authority is unknown, or nobody has ever been called so.
    """
    names = patients.aliases(connection, text)
    if any(search.found(connection, by_values({"patient": name}), 1) for name in names):
        return names
    try:
        patient_id = PatientId.parse(text)
    except ValueError as problem:
        raise CannotMatch(
            f"This is no patient id: {problem}. Patients are found by their whole id, not by a name or a part of it."
        ) from None
    where = (patient.c.authority == patient_id.authority, patient.c.id == patient_id.id)
    if connection.execute(sa.select(patient.c.patient_key).where(*where).limit(1)).first():
        return names
    authorities = list(_authorities(settings))
    if patient_id.authority not in authorities:
        raise CannotMatch(
            "Unknown authority: no record names this patient, and patients here have ids of " + ", ".join(authorities)
        )
    raise CannotMatch("Unknown patient: nobody of this id is known here, and no record names one.")


def _authorities(settings: Settings) -> Iterable[str]:
    """Assigning authorities of patients that this node hears of."""
    found = [oid for domain in settings.affinity_domains.values() for oid in domain.assigning_authorities]
    return dict.fromkeys([*found, *filter(None, [settings.imaging_source.issuer])])
