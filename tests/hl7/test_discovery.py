"""Queries for a patient of another community, and their answers.  ITI TF-2: 3.55."""

from __future__ import annotations

import pytest
from lxml import etree

from tests.builders import ANNA, AUTHORITY
from xds.hl7 import discovery, v3
from xds.hl7.discovery import Discovery, NotAQuery, Outcome
from xds.metadata.demographics import NAMES, Address, Demographics, PersonName
from xds.metadata.identifiers import Oid, PatientId
from xds.wire.xml import Element, parse

OWN, THEIRS, HOME = Oid("1.2.3.1"), Oid("1.2.3.2"), Oid("1.2.3.9")
WHO = Demographics((PersonName("Müller", "Anna Maria"),), "19561127", "F")
SOUGHT = Discovery(WHO, (ANNA,))


def query(sought: Discovery = SOUGHT, **replaced: str) -> Element:
    """As it is sent, with parts of its text replaced."""
    text = etree.tostring(discovery.message(sought, OWN, THEIRS, HOME)).decode()
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return parse(text.encode())


def values(element: Element, path: str, attribute: str) -> list[str | None]:
    return [one.get(attribute) for one in v3.found(element, path)]


def test_what_is_sent_is_read() -> None:
    assert discovery.read(query()) == SOUGHT
    assert discovery.read(query(Discovery(WHO, ()))) == Discovery(WHO, ())
    assert discovery.read(query(Discovery(Demographics(), (ANNA,)))) == Discovery(Demographics(), (ANNA,))


def test_all_that_is_known_may_be_sent() -> None:
    who = Demographics(
        WHO.names, WHO.born, WHO.sex, "Schmitz", Address("Am Dom 1", "Köln", "NW", "50667", "DE"),
        ("+49-221-1", "anna@north.example"),
    )  # fmt: skip
    assert discovery.read(query(Discovery(who, ()))).demographics == who


def test_the_community_that_asks_is_named() -> None:
    assert values(query(), "hl7:sender/hl7:device/hl7:asAgent/hl7:representedOrganization/hl7:id", "root") == [HOME]


def test_all_that_may_be_said_is_read() -> None:
    more = (
        "<patientAddress><value><streetAddressLine>Am Dom 1</streetAddressLine><city>Köln</city><postalCode>50667"
        "</postalCode></value></patientAddress><patientTelecom><value value='tel:+49-221-1'/></patientTelecom>"
        "<mothersMaidenName><value><family>Schmitz</family></value></mothersMaidenName></parameterList>"
    )
    read = discovery.read(query(Discovery(WHO, ()), **{"</parameterList>": more}))
    assert read.demographics == Demographics(
        WHO.names, WHO.born, WHO.sex, "Schmitz", Address("Am Dom 1", "Köln", "", "50667"), ("+49-221-1",)
    )


@pytest.mark.parametrize(
    ("sought", "replaced"),
    [
        (Discovery(Demographics(WHO.names), ()), {}),
        (Discovery(Demographics(born=WHO.born), ()), {}),
        (Discovery(WHO, ()), {"queryByParameter": "queryByParameters"}),
        (Discovery(WHO, ()), {"parameterList": "parameters"}),
        (Discovery(WHO, ()), {"PRPA_IN201305UV02": "PRPA_IN201309UV02"}),
        (Discovery(WHO, tuple(PatientId(f"p{n}", AUTHORITY) for n in range(31))), {}),
    ],
)
def test_what_cannot_be_looked_for_is_refused_by_its_part(sought: Discovery, replaced: dict[str, str]) -> None:
    with pytest.raises(NotAQuery, match=r"ITI TF-2: 3\.55") as refused:
        discovery.read(query(sought, **replaced))
    assert "Müller" not in str(refused.value)


def test_an_id_without_an_oid_is_passed_over() -> None:
    assert discovery.read(query(Discovery(WHO, (ANNA,)), **{f'root="{AUTHORITY}"': 'root="of-our-own"'})).ids == ()


def answer(outcome: Outcome) -> Element:
    return parse(etree.tostring(discovery.answer(query(), OWN, HOME, outcome)))


ACT = "hl7:controlActProcess"


def test_who_is_found_is_named_with_the_community_that_knows_them() -> None:
    said = answer(Outcome(ANNA, WHO))
    event = f"{ACT}/hl7:subject/hl7:registrationEvent"
    assert list(v3.identifiers(v3.found(said, event)[0], v3.PATIENT)) == [ANNA]
    assert values(said, f"{event}/hl7:custodian/hl7:assignedEntity/hl7:id", "root") == [HOME]
    assert values(said, f"{event}/hl7:subject1/hl7:patient/hl7:patientPerson/hl7:birthTime", "value") == [WHO.born]
    assert values(said, f"{ACT}/hl7:queryAck/hl7:queryResponseCode", "code") == ["OK"]
    assert values(said, "hl7:acknowledgement/hl7:typeCode", "code") == ["AA"]


def test_the_query_comes_back_as_it_came() -> None:
    asked = query()
    said = parse(etree.tostring(discovery.answer(asked, OWN, HOME, Outcome())))
    both = (v3.found(one, f"{ACT}/hl7:queryByParameter")[0] for one in (asked, said))
    first, second = (etree.tostring(one, method="c14n", exclusive=True) for one in both)
    assert first == second
    assert values(said, "hl7:acknowledgement/hl7:targetMessage/hl7:id", "root") == values(asked, "hl7:id", "root")
    assert values(said, "hl7:receiver/hl7:device/hl7:id", "root") == [OWN]


@pytest.mark.parametrize(
    ("outcome", "code", "kind"),
    [
        (Outcome(), "NF", "AA"),
        (Outcome(wanted=["PatientAddressRequested"]), "OK", "AA"),
        (Outcome(error="AnswerNotAvailable", text="no names are kept here"), "AE", "AE"),
    ],
)
def test_without_a_patient_it_says_why(outcome: Outcome, code: str, kind: str) -> None:
    said = answer(outcome)
    assert values(said, f"{ACT}/hl7:queryAck/hl7:queryResponseCode", "code") == [code]
    assert values(said, "hl7:acknowledgement/hl7:typeCode", "code") == [kind]
    assert v3.found(said, f"{ACT}/hl7:subject") == []
    orders = "hl7:reasonOf/hl7:detectedIssueEvent/hl7:triggerFor/hl7:actOrderRequired/hl7:code"
    assert values(said, f"{ACT}/{orders}", "code") == list(outcome.wanted)
    details = values(said, "hl7:acknowledgement/hl7:acknowledgementDetail/hl7:code", "code")
    assert details == ([outcome.error] if outcome.error else [])


def test_a_query_of_very_many_names_is_read_in_bounds() -> None:
    many = "<livingSubjectName>" + "<value><family>a</family><given>b</given></value>" * 5000 + "</livingSubjectName>"
    read = discovery.read(query(Discovery(WHO, ()), **{"</parameterList>": f"{many}</parameterList>"}))
    assert len(read.demographics.names) <= NAMES
