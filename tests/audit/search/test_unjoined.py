"""Retrievals that nobody can join to a patient are counted beside the answer."""

from __future__ import annotations

import sqlalchemy as sa

from tests.audit.databases import database_url, engine, shared_postgres
from tests.audit.search.test_reports import a_record
from xds.audit.search import indexing
from xds.audit.search.unjoined import unjoined
from xds.store import study_patients
from xds.store.audit import records as store
from xds.store.audit.records import Recorded
from xds.store.tables import metadata

__all__ = ["database_url", "engine", "shared_postgres"]  # fixtures


def kept(engine: sa.Engine, *records: Recorded) -> list[Recorded]:
    """Recorded, numbered and indexed."""
    metadata.create_all(engine)
    with engine.begin() as connection:
        store.record(connection, records)
        found = [Recorded(**dict(row)) for row in connection.execute(sa.select(store.audit_record)).mappings()]
        indexing.indexed(connection, found).keep(connection)
    return found


def without_patient(number: int, person: str) -> Recorded:
    record = a_record(number, "rad107_responder", person=person)
    start = record.message.index(b"<ParticipantObjectIdentification")
    end = record.message.index(b"</ParticipantObjectIdentification>") + len(b"</ParticipantObjectIdentification>")
    return Recorded(
        record.message[:start] + record.message[end:], "110104", "RAD-107", 0, recorded=record.recorded, id=number
    )


def test_retrievals_by_the_same_people_that_name_no_patient_are_counted(engine: sa.Engine) -> None:
    found = kept(engine, a_record(1, person="Anna"), without_patient(2, "Anna"), without_patient(3, "Bert"))
    with engine.connect() as connection:
        assert unjoined(connection, found[:1]) == 1
        assert unjoined(connection, []) == 0
        assert unjoined(connection, found[:1], since=found[1].recorded + 1) == 0


def test_what_names_a_patient_or_is_joined_to_one_is_not_counted(engine: sa.Engine) -> None:
    found = kept(engine, a_record(1, person="Anna"), a_record(2, "rad107_responder", person="Anna"))
    with engine.begin() as connection:
        study_patients.keep(connection, "1.2.3.100", "anna^^^&1.2.3&ISO")
        assert unjoined(connection, found[:1]) == 0
