"""The interactions of ITI-44: one good one of each kind, and one part spoilt.  ITI TF-2: 3.44.4."""

from __future__ import annotations

import re

import pytest
from lxml import etree

from tests.builders import ANNA, AUTHORITY
from xds.hl7 import v3
from xds.hl7.feed import FeedAction, NotAFeed
from xds.metadata.demographics import NAMES, Address, Demographics, PersonName
from xds.metadata.identifiers import Oid, PatientId
from xds.wire.xml import NAMESPACES, Element, parse, schema

OURS = Oid("1.2.99")
ANN = PatientId("ann", AUTHORITY)


def ii(patient_id: PatientId) -> str:
    return f'<id root="{patient_id.authority}" extension="{patient_id.id}"/>'


def device(root: str) -> str:
    return f'<device classCode="DEV" determinerCode="INSTANCE"><id root="{root}"/></device>'


def interaction(name: str = "PRPA_IN201301UV02", ids: str = ii(ANNA), prior: str = "") -> str:
    """As a Patient Identity Source sends it, with what a registry does not read left in."""
    replaced = (
        '<replacementOf typeCode="RPLC"><priorRegistration classCode="REG" moodCode="EVN">'
        '<statusCode code="obsolete"/>'
        f'<subject1 typeCode="SBJ"><priorRegisteredRole classCode="PAT">{prior}</priorRegisteredRole></subject1>'
        "</priorRegistration></replacementOf>"
    )
    return (
        f'<{name} xmlns="urn:hl7-org:v3" ITSVersion="XML_1.0"><id root="1.2.9" extension="m17"/>'
        f'<creationTime value="20260301080000"/><interactionId root="2.16.840.1.113883.1.6" extension="{name}"/>'
        '<processingCode code="P"/><processingModeCode code="T"/><acceptAckCode code="AL"/>'
        f'<receiver typeCode="RCV">{device("1.2.8")}</receiver><sender typeCode="SND">{device("1.2.7")}</sender>'
        '<controlActProcess classCode="CACT" moodCode="EVN"><subject typeCode="SUBJ">'
        '<registrationEvent classCode="REG" moodCode="EVN"><statusCode code="active"/><subject1 typeCode="SBJ">'
        f'<patient classCode="PAT">{ids}<statusCode code="active"/><patientPerson><name><given>Anna</given></name>'
        f"</patientPerson></patient></subject1>{replaced if prior else ''}</registrationEvent></subject>"
        f"</controlActProcess></{name}>"
    )


def body(*arguments: str, **named: str) -> Element:
    element = parse(interaction(*arguments, **named).encode())
    schema("hl7v3.xsd").assertValid(element)
    return element


@pytest.mark.parametrize(("name", "action"), [(n, a) for n, a in v3.INTERACTIONS.items() if a is not FeedAction.MERGE])
def test_each_interaction_does_what_it_says(name: str, action: FeedAction) -> None:
    feed = v3.read(body(name))
    assert (feed.message_id, feed.action, feed.patient_ids, feed.subsumed) == ("1.2.9^m17", action, (ANNA,), ())


PERSON = (
    "<patientPerson><name use='L'><prefix>Dr.</prefix><given>Anna</given><given>Maria</given><family>Müller</family>"
    "</name>"
    "<name>Annie</name><telecom value='tel:+49-221-1'/><administrativeGenderCode code='F'/>"
    "<birthTime value='19561127'/>"
    "<addr><streetAddressLine>Am Dom 1</streetAddressLine><city>Köln</city><postalCode>50667</postalCode></addr>"
    "<personalRelationship classCode='PRS'><code code='MTH'/><relationshipHolder1><name><family>Schmitz</family></name>"
    "</relationshipHolder1></personalRelationship></patientPerson>"
)


def said(person: str) -> Demographics | None:
    """What is read of an interaction with this person."""
    text = re.sub("<patientPerson>.*</patientPerson>", person, interaction())
    return v3.read(parse(text.encode())).demographics


def test_who_the_patient_is_is_read_of_the_person() -> None:
    assert said(PERSON) == Demographics(
        (PersonName("Müller", "Anna Maria", "Dr."), PersonName("Annie")), "19561127", "F", "Schmitz",
        Address("Am Dom 1", "Köln", "", "50667"), ("+49-221-1",),
    )  # fmt: skip


@pytest.mark.parametrize(
    "person", ["", "<patientPerson/>", "<patientPerson><name nullFlavor='NI'/><birthTime/></patientPerson>"]
)
def test_of_whom_nothing_is_said_nothing_is_kept(person: str) -> None:
    assert said(person) is None


def test_a_person_of_very_many_names_keeps_nobody_from_being_fed() -> None:
    names, telecoms = "<name><family>a</family></name>" * 2000, "<telecom value='tel:1'/>" * 2000
    found = said(f"<patientPerson>{names}{telecoms}</patientPerson>")
    assert found is not None
    assert len(found.names) == NAMES


def test_a_merge_names_both() -> None:
    feed = v3.read(body("PRPA_IN201304UV02", prior=ii(ANN)))
    assert (feed.action, feed.patient_ids, feed.subsumed) == (FeedAction.MERGE, (ANNA,), (ANN,))


def test_identifiers_of_all_authorities_are_read_and_odd_ones_passed_over() -> None:
    other = PatientId("x", Oid("1.9.9"))
    odd = '<id root="not-an-oid" extension="x"/><id root="1.2.3"/>'
    assert v3.read(body(ids=odd + ii(other) + ii(ANNA))).patient_ids == (other, ANNA)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (interaction(ids=""), "subject1/patient/id"),
        (interaction("PRPA_IN201304UV02"), "priorRegistration"),
        (interaction().replace("registrationEvent", "registrationRequest"), "registrationEvent"),
        (interaction().replace("PRPA_IN201301UV02", "PRPA_IN201305UV02"), "interaction"),
    ],
)
def test_what_is_missing_is_named(text: str, part: str) -> None:
    with pytest.raises(NotAFeed) as problem:
        v3.read(parse(text.encode()))
    assert part in str(problem.value)
    assert "Anna" not in str(problem.value)


def hl7(path: str) -> str:
    return "/".join(f"{{{NAMESPACES['hl7']}}}{step}" for step in path.split("/"))


def test_an_acknowledgement_goes_back_to_who_has_sent() -> None:
    ack = parse(etree.tostring(v3.acknowledgement(body(), OURS)))
    schema("hl7v3.xsd").assertValid(ack)
    order = ["id", "creationTime", "interactionId", "processingCode", "processingModeCode", "acceptAckCode",
             "receiver", "sender", "acknowledgement"]  # fmt: skip
    assert [etree.QName(child).localname for child in ack] == order
    assert [e.get("root") for e in ack.iterfind(hl7("receiver/device/id"))] == ["1.2.7"]
    assert [e.get("code") for e in ack.iterfind(hl7("acknowledgement/typeCode"))] == ["CA"]
    (target,) = ack.iterfind(hl7("acknowledgement/targetMessage/id"))
    assert (target.get("root"), target.get("extension")) == ("1.2.9", "m17")
    assert ack.find(hl7("acknowledgement/acknowledgementDetail")) is None


def test_a_refusal_says_why() -> None:
    ack = v3.acknowledgement(body(), OURS, "no identifier")
    assert [e.get("code") for e in ack.iterfind(hl7("acknowledgement/typeCode"))] == ["CE"]
    (detail,) = ack.iterfind(hl7("acknowledgement/acknowledgementDetail"))
    assert (detail.get("typeCode"), detail.findtext(hl7("text"))) == ("E", "no identifier")


def test_a_message_without_an_id_or_a_sender_is_acknowledged_all_the_same() -> None:
    element = parse(b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v3"><x/></PRPA_IN201301UV02>')
    ack = v3.acknowledgement(element, OURS, "nothing in it")
    assert [e.get("nullFlavor") for e in ack.iterfind(hl7("acknowledgement/targetMessage/id"))] == ["UNK"]
    assert v3.message_id(element) == ""


@pytest.mark.parametrize(
    ("receiver", "sender"),
    [
        ('<id root="1.2.8"/>', ("1.2.8", None)),
        ('<id root="1.2.8" extension="registry"/>', ("1.2.8", "registry")),
        ('<id root="xds"/>', (OURS, None)),
        ('<id root="not an oid" extension="x"/>', (OURS, None)),
        ('<id nullFlavor="UNK"/>', (OURS, None)),
        ('<id root="2f3b5e1c-0000-4000-8000-000000000000"/>', (OURS, None)),
        ("", (OURS, None)),
    ],
)
@pytest.mark.parametrize("problem", ["", "no identifier"])
def test_sender_and_receiver_of_an_acknowledgement_are_oids(
    receiver: str, sender: tuple[str, str | None], problem: str
) -> None:
    """IHE wants each device's id to be one (ITI TF-2: Table O.1.2-1)."""
    ack = v3.acknowledgement(parse(interaction().replace('<id root="1.2.8"/>', receiver).encode()), OURS, problem)
    (found,) = ack.iterfind(hl7("sender/device/id"))
    assert (found.get("root"), found.get("extension")) == sender
    assert [e.get("root") for e in ack.iterfind(hl7("receiver/device/id"))] == ["1.2.7"]
