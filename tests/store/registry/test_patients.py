"""Patients by their identifiers: known, unknown, merged away."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.builders import ANNA, AUTHORITY, BERT
from tests.store.databases import Domain, at_once, domain, shared_engine
from xds.metadata.identifiers import Oid, PatientId, new_oid
from xds.store.registry import patients
from xds.store.tables import patient

__all__ = ["domain", "shared_engine"]


def merge(domain: Domain, one: PatientId, into: PatientId) -> None:
    """As a later feed will (ITI-8 A40, ITI-44)."""
    key = domain(lambda store: store.patient_key(into))
    mine = sa.and_(patient.c.domain == domain.name, patient.c.id == one.id)
    with domain.engine.begin() as connection:
        connection.execute(sa.update(patient).where(mine).values(merged_into=key))


def everyone(domain: Domain) -> list[PatientId]:
    with domain.engine.begin() as connection:
        return list(patients.all_of(connection, domain.name))


def test_a_patient_is_made_known_once(domain: Domain) -> None:
    assert domain(lambda store: store.add_patient(ANNA)) is False
    carl = replace(ANNA, id="carl")
    assert domain(lambda store: store.patient_key(carl)) is None
    assert domain(lambda store: store.add_patient(carl)) is True
    keys = [domain(lambda store, one=one: store.patient_key(one)) for one in (ANNA, BERT, carl)]
    assert len(set(keys)) == 3
    assert None not in keys


def test_an_id_is_of_its_authority_and_domain(domain: Domain) -> None:
    assert domain(lambda store: store.patient_key(replace(ANNA, authority=Oid("9.9")))) is None
    assert Domain(domain.engine)(lambda store: store.patient_key(ANNA)) is None


def test_ids_are_told_apart_by_case(domain: Domain) -> None:
    assert domain(lambda store: store.patient_key(replace(ANNA, id="Anna"))) is None


def test_a_merged_patient_is_unknown(domain: Domain) -> None:
    merge(domain, BERT, ANNA)
    assert domain(lambda store: store.patient_key(BERT)) is None
    assert domain(lambda store: store.patient_key(ANNA)) is not None
    assert everyone(domain) == [ANNA]
    assert domain(lambda store: store.add_patient(BERT)) is False


def test_a_patient_is_known_by_all_that_were_merged_whoever_is_asked_for(domain: Domain) -> None:
    def known(text: str) -> list[str]:
        with domain.engine.begin() as connection:
            return patients.aliases(connection, text)

    # The same id may be known in other affinity domains, which are in the database, too.
    anna, bert, carl, dora = (replace(one, authority=new_oid()) for one in [ANNA] * 4)
    for one in (anna, bert, carl, dora):
        domain(lambda store, one=one: store.add_patient(one))
    assert known(str(anna)) == [str(anna)]
    for one, into in ((bert, anna), (carl, bert)):
        with domain.engine.begin() as connection:
            key = sa.select(patient.c.patient_key).where(patient.c.authority == into.authority).scalar_subquery()
            connection.execute(sa.update(patient).where(patient.c.authority == one.authority).values(merged_into=key))
    everybody = {str(one) for one in (anna, bert, carl)}
    for one in (anna, bert, carl):
        assert (known(str(one))[0], set(known(str(one)))) == (str(one), everybody)
    assert known(str(dora)) == [str(dora)]
    assert known("nobody at all") == ["nobody at all"]


def test_everyone_comes_in_order(domain: Domain) -> None:
    other = PatientId("aaron", Oid("1.2.3.4.50"))
    domain(lambda store: store.add_patient(other))
    assert everyone(domain) == [ANNA, BERT, other]
    assert other.authority > AUTHORITY


def test_of_many_who_make_a_patient_known_one_does(domain: Domain) -> None:
    carl = replace(ANNA, id="carl")
    made = at_once([lambda: domain(lambda store: store.add_patient(carl))] * 8)
    assert sorted(map(bool, made)) == [False] * 7 + [True]


@pytest.mark.parametrize("late", [ANNA, BERT], ids=["surviving", "subsumed"])
def test_who_comes_to_be_while_a_merge_waits_is_not_merged(
    domain: Domain, late: PatientId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who was there before is locked: with the other one it would wait in a circle."""
    asked, key_of = list[PatientId](), patients.key_of

    def at_first_not(connection: sa.Connection, name: str, one: PatientId) -> int | None:
        asked.append(one)
        return None if one == late and asked.count(late) == 1 else key_of(connection, name, one)

    monkeypatch.setattr(patients, "key_of", at_first_not)
    with pytest.raises(patients.NotMerged), domain.engine.begin() as connection:
        patients.merge(connection, domain.name, BERT, ANNA)
    monkeypatch.undo()
    assert everyone(domain) == [ANNA, BERT]


def test_however_many_are_merged_into_a_patient_all_are_locked_by_one_statement(domain: Domain) -> None:
    """A statement each cost 30 MB of a patient whom 6,000 were merged into."""
    many = [replace(ANNA, id=f"anna-{number}") for number in range(500)]
    domain(lambda store: [store.add_patient(one) for one in many])
    for one in many:
        merge(domain, one, ANNA)
    keys = domain(lambda store: store.chain(ANNA))
    assert len(keys) == 501
    (asked,) = patients.locking(reversed(keys))
    if domain.engine.dialect.name == "sqlite":  # it has one writer, and no rows to lock
        return
    with domain.engine.begin() as connection:
        statement, given = asked
        assert [row.patient_key for row in statement.rows(connection, **given)] == sorted(keys)
        free = sa.select(patient.c.patient_key).where(patient.c.domain == domain.name)
        with domain.engine.begin() as other:
            left = other.scalars(free.with_for_update(skip_locked=True)).all()
    assert left == [domain(lambda store: store.patient_key(BERT))]
