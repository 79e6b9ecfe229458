"""Whom another community looks for: the one who is meant, a question, or nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import ANNA, AUTHORITY, BERT
from tests.store.databases import Domain, domain, shared_engine
from xds.actors.patient_discovery import PatientDiscovery
from xds.hl7.discovery import Discovery, Outcome
from xds.metadata.demographics import Address, Demographics, PersonName
from xds.metadata.identifiers import Oid, PatientId
from xds.metadata.visible import NOTHING, Access, Clause, Those, Visible
from xds.store.registry import patients
from xds.store.registry.sql_registry import SqlRegistry

__all__ = ["domain", "shared_engine"]

MUELLER = Demographics((PersonName("Müller", "Anna Maria"),), "19561127", "F", address=Address(postal_code="50667"))
ASKED = Demographics((PersonName("Mueller", "Anna"),), "19561127")
FOREIGN = PatientId("4711", Oid("1.9.9"))


@pytest.fixture
def known(domain: Domain) -> Domain:
    """With who Anna is."""
    say(domain, ANNA, MUELLER)
    return domain


def say(domain: Domain, who: PatientId, said: Demographics) -> None:
    domain(lambda store: (store.add_patient(who), store.keep_demographics(said, who)))


def discover(domain: Domain, said: Demographics = ASKED, *ids: PatientId, keeps: bool = True, **seen: Any) -> Outcome:
    discovery = PatientDiscovery([AUTHORITY], keeps_demographics=keeps)
    with domain.engine.connect() as connection:
        return discovery.discover(Discovery(said, ids), SqlRegistry(connection, domain.name, **seen))


def test_who_agrees_is_named_with_what_is_known(known: Domain) -> None:
    assert discover(known) == Outcome(ANNA, MUELLER)
    assert discover(known, replace(ASKED, sex="F")) == Outcome(ANNA, MUELLER)


@pytest.mark.parametrize(
    "changes",
    [{"sex": "M"}, {"born": "19561128"}, {"born": "1956"}, {"names": (PersonName("Müller", "Anne"),)},
     {"address": Address(postal_code="50668")}, {"names": (PersonName("M", "A"),)}],
)  # fmt: skip
def test_who_does_not_agree_is_nobody(known: Domain, changes: dict[str, Any]) -> None:
    assert discover(known, replace(ASKED, **changes)) == Outcome()


def test_of_several_nobody_is_chosen_and_what_tells_them_apart_is_asked_for(known: Domain) -> None:
    say(known, BERT, replace(MUELLER, sex="M", address=Address(postal_code="53111")))
    assert list(discover(known).wanted) == ["LivingSubjectAdministrativeGenderRequested", "PatientAddressRequested"]
    assert discover(known).patient is None
    assert discover(known, replace(ASKED, sex="M")).patient == BERT


def test_of_those_whom_nothing_tells_apart_it_is_said_so(known: Domain) -> None:
    say(known, BERT, MUELLER)
    found = discover(known)
    assert (found.patient, found.error) == (None, "AnswerNotAvailable")


def test_many_whose_names_only_begin_so_hide_nobody(domain: Domain) -> None:
    """Two are alike, and between them stand very many whose family name is longer."""
    ali = Demographics((PersonName("Ali", "Mohamed"),), "19800101")
    longer = Demographics((PersonName("Alizadeh", "Mohamed"),), "19800101")
    everybody = [ANNA, *(replace(ANNA, id=f"p{number}") for number in range(45)), BERT]
    for number, one in enumerate(everybody):
        say(domain, one, ali if number in (0, 46) else longer)
    found = discover(domain, ali)
    assert (found.patient, found.error) == (None, "AnswerNotAvailable")


def test_one_of_two_who_are_alike_is_not_given_because_nothing_may_be_told_of_the_other(known: Domain) -> None:
    say(known, BERT, replace(MUELLER, sex=""))
    key = known(lambda store: store.patient_key(BERT))

    class Withheld:
        def of(self, _connection: Any, _keys: Any) -> Visible:
            return Visible.by((Clause(False, Those(patients=frozenset({key}))), Clause(True)))

    access = Access(consents=Withheld())
    found = discover(known, seen=access)
    assert (found.patient, found.error) == (None, "AnswerNotAvailable")
    assert discover(known, Demographics(), BERT, seen=access) == Outcome()
    assert discover(known, Demographics(), ANNA, seen=access).patient == ANNA


def test_who_is_left_because_something_speaks_against_the_other_is_not_the_one(known: Domain) -> None:
    """She has moved; of her namesake no address is known."""
    say(known, BERT, replace(MUELLER, address=Address(), sex=""))
    moved = replace(ASKED, address=Address(postal_code="53111"))
    assert discover(known, moved).patient is None
    assert discover(known, replace(moved, sex="F")).patient is None
    say(known, BERT, replace(MUELLER, address=Address(postal_code="53111")))
    assert discover(known, moved).patient == BERT  # of whom that address is known


def test_by_an_id_of_ours_it_is_its_patient_unless_they_are_somebody_else(known: Domain) -> None:
    assert discover(known, Demographics(), ANNA) == Outcome(ANNA, MUELLER)
    assert discover(known, ASKED, ANNA, FOREIGN) == Outcome(ANNA, MUELLER)
    assert discover(known, replace(ASKED, born="19700101"), ANNA) == Outcome()
    assert discover(known, Demographics(), replace(ANNA, id="nobody")) == Outcome()
    assert discover(known, Demographics(), BERT) == Outcome(BERT, Demographics())


def test_ids_of_two_patients_are_nobodys(known: Domain) -> None:
    assert discover(known, Demographics(), ANNA, BERT) == Outcome()


def test_an_id_of_another_authority_leaves_it_to_name_and_birth_date(known: Domain) -> None:
    assert discover(known, ASKED, FOREIGN) == Outcome(ANNA, MUELLER)
    assert discover(known, Demographics(), FOREIGN) == Outcome()


def test_where_no_names_are_kept_it_is_said_so(known: Domain) -> None:
    assert discover(known, keeps=False).error == "AnswerNotAvailable"
    assert discover(known, Demographics(), ANNA, keeps=False).patient == ANNA


def test_of_whom_nothing_may_be_told_nobody_hears(known: Domain) -> None:
    nothing = Access(NOTHING)
    assert discover(known, seen=nothing) == Outcome()
    assert discover(known, Demographics(), ANNA, seen=nothing) == Outcome()


def test_who_was_merged_is_who_they_go_on_as(known: Domain) -> None:
    say(known, BERT, Demographics((PersonName("Schmidt", "Bert"),), "19800101"))
    with known.engine.begin() as connection:
        patients.merge(connection, known.name, BERT, ANNA)
    assert discover(known, Demographics(), BERT) == Outcome()
    assert discover(known) == Outcome(ANNA, MUELLER)
    # By the name that they had it is another's description: the one that goes on does not agree.
    assert discover(known, Demographics((PersonName("Schmidt", "Bert"),), "19800101")) == Outcome()
