"""One good description, and one part of it said otherwise, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.metadata.demographics import Address, Demographics, PersonName
from xds.rules.patient_matching import Attribute, contradicts, is_alike, telling_apart

ANNA = Demographics(
    (PersonName("Müller", "Anna Maria"),), "19561127", "F", "Schmitz", Address("", "Köln", "", "50667"),
    ("+49 221 123456",),
)  # fmt: skip


def agrees(asked: Demographics, known: Demographics) -> bool:
    return is_alike(asked, known) and not contradicts(asked, known)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"names": (PersonName("MUELLER", "anna"),)}, {"names": (PersonName("Müller", "Anna M. Maria"),)},
        {"names": (PersonName("Müller", "Anna L."),)},
        {"names": (PersonName("Schmidt", "Anna"), PersonName("Mueller", "Anna"))},
        {"sex": ""}, {"sex": "U"}, {"mothers_maiden_name": ""}, {"mothers_maiden_name": "SCHMITZ"},
        {"address": Address()}, {"address": Address(postal_code="50 667")}, {"address": Address(city="Bonn")},
        {"telecoms": ()}, {"telecoms": ("0221/123456", "1")},
    ],
)  # fmt: skip
def test_what_is_the_same_or_not_said_agrees(changes: dict[str, Any]) -> None:
    assert agrees(replace(ANNA, **changes), ANNA)
    assert agrees(ANNA, replace(ANNA, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ()}, {"names": (PersonName("Müller", "Anna Lena"),)},
        {"names": (PersonName("Müller", "Anne"),)}, {"names": (PersonName("Müller"),)},
        {"names": (PersonName("Muller", "Anna"), PersonName("Schmidt", "Maria"))} | {"born": "19561128"},
        {"names": (PersonName("Müller Schmitz", "Anna"),)}, {"names": (PersonName("", "Anna"),)},
        {"born": "195611"}, {"born": ""}, {"born": "19561128"}, {"sex": "M"}, {"mothers_maiden_name": "Schulz"},
        {"address": Address(postal_code="50668")}, {"telecoms": ("0221 654321",)},
    ],
)  # fmt: skip
def test_what_is_said_otherwise_does_not(changes: dict[str, Any]) -> None:
    assert not agrees(replace(ANNA, **changes), ANNA)
    assert not agrees(ANNA, replace(ANNA, **changes))


def test_less_does_not_contradict_but_does_not_agree_either() -> None:
    less = Demographics(ANNA.names, "1956")
    assert not contradicts(less, ANNA)
    assert not agrees(less, ANNA)
    assert contradicts(replace(less, born="1957"), ANNA)
    assert not contradicts(Demographics(), ANNA)


_texts = st.text("abü ", max_size=4)
_people = st.builds(
    Demographics,
    st.lists(st.builds(PersonName, _texts, _texts), max_size=2).map(tuple),
    st.sampled_from(["", "1956", "19561127", "19561128"]), st.sampled_from(["", "F", "M", "U"]), _texts,
    st.builds(Address, postal_code=_texts), st.lists(_texts, max_size=2).map(tuple),
)  # fmt: skip


@given(_people, _people)
def test_it_is_the_same_whoever_asks(one: Demographics, other: Demographics) -> None:
    assert agrees(one, other) == agrees(other, one)
    assert contradicts(one, other) == contradicts(other, one)
    assert not (agrees(one, other) and contradicts(one, other))


def test_what_was_not_said_and_differs_tells_them_apart() -> None:
    asked = Demographics(ANNA.names, ANNA.born)
    sister = replace(ANNA, sex="M", telecoms=())
    assert telling_apart(asked, [ANNA, sister]) == [Attribute.SEX]
    assert telling_apart(replace(asked, sex="F"), [ANNA, sister]) == []
    moved = replace(ANNA, address=Address(postal_code="53111"), mothers_maiden_name="Kern")
    assert telling_apart(asked, [ANNA, moved]) == [Attribute.ADDRESS, Attribute.MAIDEN_NAME]
