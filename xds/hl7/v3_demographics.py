"""patientPerson of HL7 v3 as demographics: what cannot be read is left out, and nobody's feed is refused for it.

HL7 v3, edition NE2008: PRPA_MT201301UV02.
"""

from __future__ import annotations

from xds.metadata.demographics import (
    NAMES,
    TELECOMS,
    Address,
    Demographics,
    PersonName,
    birth_date,
    cut,
    sex,
)
from xds.wire.xml import Element, name

_MOTHER = "MTH"


def demographics(patient: Element | None) -> Demographics | None:
    """What a patient role says of its person; None where that has neither name nor birth date nor gender."""
    person = None if patient is None else patient.find(name("hl7:patientPerson"))
    if person is None:
        return None
    names = tuple(one for one in map(person_name, person.findall(name("hl7:name"))[:NAMES]) if str(one))
    found = Demographics(
        names, birth_date(_value(person, "hl7:birthTime", "value")),
        sex(_value(person, "hl7:administrativeGenderCode", "code")), _mother(person),
        address(person.find(name("hl7:addr"))),
        tuple(dict.fromkeys(filter(None, (telecom(one) for one in person.findall(name("hl7:telecom"))))))[:TELECOMS],
    )  # fmt: skip
    return found if names or found.born or found.sex else None


def _value(element: Element, tag: str, attribute: str) -> str:
    found = element.find(name(tag))
    return "" if found is None else str(found.get(attribute, ""))


def _parts(element: Element, tag: str) -> str:
    return cut(" ".join(part.text or "" for part in element.findall(name(f"hl7:{tag}"))[:NAMES]))


def person_name(element: Element) -> PersonName:
    """PN; of one that has no parts its text is the family name."""
    found = PersonName(*(_parts(element, tag) for tag in ("family", "given", "prefix", "suffix")))
    return found if found.family or found.given else PersonName(cut(element.text or ""))


def _mother(person: Element) -> str:
    """The family name of whoever is the patient's mother."""
    for relation in person.findall(name("hl7:personalRelationship"))[:NAMES]:
        if _value(relation, "hl7:code", "code") == _MOTHER:
            holder = relation.find("/".join(map(name, ("hl7:relationshipHolder1", "hl7:name"))))
            return "" if holder is None else person_name(holder).family
    return ""


def address(element: Element | None) -> Address:
    """AD, where there is one."""
    if element is None:
        return Address()
    return Address(*(_parts(element, tag) for tag in ("streetAddressLine", "city", "state", "postalCode", "country")))


def telecom(element: Element) -> str:
    """The number or address of a URL of RFC 3966 and the like."""
    return cut(str(element.get("value", "")).removeprefix("tel:").removeprefix("mailto:"))
