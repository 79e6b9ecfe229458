"""Patients by their names: every one who may be meant, and nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import ANNA, AUTHORITY, BERT
from tests.store.databases import Domain, domain, shared_engine
from xds.metadata.demographics import Demographics, PersonName
from xds.metadata.identifiers import PatientId
from xds.store.registry import demographics, patients
from xds.store.registry.demographics import MOST, TooLittle

__all__ = ["domain", "shared_engine"]

ANNA_MUELLER = Demographics((PersonName("Müller", "Anna Maria"),), "19561127", "F")
BERT_MUELLER = Demographics((PersonName("Mueller", "Bert"),), "1980", "M")


@pytest.fixture
def known(domain: Domain) -> Domain:
    """With who Anna and Bert are."""
    say(domain, ANNA, ANNA_MUELLER)
    say(domain, BERT, BERT_MUELLER)
    return domain


def say(domain: Domain, who: PatientId, said: Demographics) -> None:
    domain(lambda store: store.keep_demographics(said, who))


def found(domain: Domain, name: str, born: str = "") -> list[PatientId]:
    with domain.engine.connect() as connection:
        return [one.patient_id for one in demographics.find(connection, domain.name, name, born)[0]]


@pytest.mark.parametrize(
    ("name", "born", "who"),
    [
        ("MÜLLER", "", [BERT, ANNA]),  # in the order of their names
        ("mueller", "", [BERT, ANNA]),
        ("muller", "", [ANNA]),  # nobody writes Mueller so
        ("müll an", "", [ANNA]),
        ("Maria Müller", "", [ANNA]),
        ("Müller", "1956", [ANNA]),
        ("Müller", "19561127", [ANNA]),
        ("Müller", "19561128", []),
        ("Mueller", "1980", [BERT]),
        ("Schmidt", "", []),
        ("Müller Anton", "", []),
        ("iller", "", []),  # what is only within a word
    ],
)
def test_every_word_begins_one_of_the_patients(known: Domain, name: str, born: str, who: list[PatientId]) -> None:
    expected = {ANNA: "Müller, Anna Maria", BERT: "Mueller, Bert"}
    assert found(known, name, born) == sorted(who, key=lambda one: expected[one].casefold())


def test_another_domain_has_its_own_patients(known: Domain) -> None:
    other = Domain(known.engine)
    other(lambda store: store.add_patient(ANNA))
    assert found(other, "Müller") == []


def test_what_a_feed_says_takes_the_place_of_what_was_said_before(known: Domain) -> None:
    say(known, ANNA, Demographics((PersonName("Schmidt", "Anna"),), "19561127", "F"))
    assert found(known, "Müller Anna") == []
    assert found(known, "Schmidt") == [ANNA]


def test_what_a_feed_does_not_say_stays(known: Domain) -> None:
    """As in an A40 or an A08 that has the name alone: an empty field deletes nothing (HL7 v2.3.1: 2.10)."""
    say(known, ANNA, Demographics((PersonName("Schmidt", "Anna"),)))
    assert found(known, "Schmidt", "19561127") == [ANNA]
    with known.engine.connect() as connection:
        ((_, kept),) = demographics.of_patients(connection, [key_of(known, ANNA)]).items()
    assert kept == replace(ANNA_MUELLER, names=(PersonName("Schmidt", "Anna"),))


def key_of(domain: Domain, who: PatientId) -> int:
    key = domain(lambda store: store.patient_key(who))
    assert key is not None
    return key


def test_of_several_ids_in_a_feed_each_is_told_the_same(known: Domain) -> None:
    known(lambda store: store.keep_demographics(Demographics((PersonName("Kern", "Eva"),)), BERT, ANNA))
    assert sorted(one.id for one in found(known, "Kern")) == ["anna", "bert"]


def test_who_is_unknown_is_not_made_known_by_a_name(known: Domain) -> None:
    nobody = replace(ANNA, id="nobody")
    say(known, nobody, ANNA_MUELLER)
    assert found(known, "Müller Anna") == [ANNA]


def test_who_was_merged_is_found_as_who_they_go_on_as(known: Domain) -> None:
    with known.engine.begin() as connection:
        patients.merge(connection, known.name, BERT, ANNA)
        candidates, _ = demographics.find(connection, known.name, "Bert")
    assert [(one.patient_id, one.demographics) for one in candidates] == [(ANNA, ANNA_MUELLER)]
    assert found(known, "Mueller") == [ANNA]


def test_of_very_many_some_are_given_and_it_is_said(domain: Domain) -> None:
    many = [PatientId(f"p{number}", AUTHORITY) for number in range(MOST + 1)]
    for one in many:
        domain(lambda store, one=one: store.add_patient(one))
        say(domain, one, Demographics((PersonName("Smith", one.id),)))
    with domain.engine.connect() as connection:
        candidates, more = demographics.find(connection, domain.name, "smith")
        assert (len(candidates), more) == (MOST, True)
        candidates, more = demographics.find(connection, domain.name, "smith p7")
        assert ([one.patient_id for one in candidates], more) == ([many[7]], False)


@pytest.mark.parametrize("name", ["", "m", "a b c", "!?", "%_"])
def test_too_little_finds_nobody(known: Domain, name: str) -> None:
    with pytest.raises(TooLittle), known.engine.connect() as connection:
        demographics.find(connection, known.name, name)


@pytest.mark.parametrize(("name", "who"), [("mü% ann_", [ANNA]), ("m%ller anna", []), ("_üller anna", [])])
def test_a_sign_of_the_database_is_no_sign_in_a_name(known: Domain, name: str, who: list[PatientId]) -> None:
    assert found(known, name) == who
