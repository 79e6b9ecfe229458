"""What a patient withholds, by whom it names and what it is about; and what cannot be a directive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extent import examples
from xds.access.consent import Asking, Directive, filter_of
from xds.access.peers import Peer
from xds.access.studies import references
from xds.audit.messages.people import Person
from xds.errors import Unusable
from xds.metadata.visible import Facts
from xds.settings.access import PeerEntry
from xds.wire.assertion import Code

TODAY = date(2026, 11, 29)
NORTH = Asking.by(Peer("north", PeerEntry(organisation="North", organisation_ids=("1.2.9",))), None, TODAY)
DOCTOR = Asking.by(
    Peer("north", PeerEntry(organisation="North")),
    Person("doc", "<doc@idp>", roles=(Code("GP", "roles"),), purposes=(Code("TREAT", "p"),)),
    TODAY,
)
SOUTH = Asking.by(Peer("south", PeerEntry(organisation="South")), None, TODAY)
ANNA = 7
CT, MR = (
    Facts({"unique_id": f"1.1.{n}", "class_code": "IMG^^1"}, {"referenceIdList": references(f"1.9.{n}")}, ANNA)
    for n in (1, 2)
)
SET = frozenset


def sees(
    asking: Asking, document: Facts, *said: Directive, by_default: bool = False, broken: Sequence[int] = ()
) -> bool:
    return filter_of({(ANNA,): said}, asking, by_default=by_default, broken=broken).shows(document)


def test_who_is_named_does_not_see_what_is_withheld_and_others_do() -> None:
    for scope in (
        {"documents": SET({"1.1.1"})}, {"studies": SET({"1.9.1"})}, {"class_codes": SET({"IMG^^1"})}, {},
    ):  # fmt: skip
        for whom, named in (
            ({"organisations": SET({"North"})}, (NORTH, DOCTOR)), ({"organisations": SET({"1.2.9"})}, (NORTH,)),
            ({"persons": SET({"doc@idp"})}, (DOCTOR,)), ({"persons": SET({"doc"})}, (DOCTOR,)),
            ({"roles": SET({"GP"})}, (DOCTOR,)), ({"purposes": SET({"TREAT^^p"})}, (DOCTOR,)),
            ({}, (NORTH, DOCTOR, SOUTH)),
        ):  # fmt: skip
            said = Directive(permit=False, **scope, **whom)  # type: ignore[arg-type]
            for asking in (NORTH, DOCTOR, SOUTH):
                assert sees(asking, CT, said) is (asking not in named), (scope, whom)
            if "documents" in scope or "studies" in scope:
                assert sees(DOCTOR, MR, said)


def test_a_directive_is_of_its_patient_and_of_its_days() -> None:
    other = Facts(CT.single, CT.multiple, ANNA + 1)
    assert sees(NORTH, other, Directive(permit=False))
    for from_, until, holds in (
        ("2026-11-29", "2026-11-29", True), ("", "2026-11-28", False),
        ("2026-11-30", "", False), ("2026-01-01", "", True),
    ):  # fmt: skip
        assert sees(NORTH, CT, Directive(permit=False, from_=from_, until=until)) is not holds
    assert sees(NORTH, CT, Directive(permit=False, withdrawn=True))


def test_an_exception_opens_what_is_withheld_when_it_is_as_particular() -> None:
    all_ = Directive(permit=False)
    study = Directive(permit=False, studies=SET({"1.9.1"}))
    for_north = Directive(permit=True, organisations=SET({"North"}))
    assert sees(NORTH, CT, all_, for_north)
    assert not sees(SOUTH, CT, all_, for_north)
    assert not sees(NORTH, CT, study, for_north)  # all of a patient is less particular than one study
    assert sees(NORTH, CT, study, Directive(permit=True, organisations=SET({"North"}), studies=SET({"1.9.1"})))
    assert not sees(NORTH, CT, Directive(permit=False, persons=SET({"x"})), all_)


def test_where_nothing_is_given_without_being_allowed_only_that_is_seen() -> None:
    assert not sees(NORTH, CT, by_default=True)
    assert sees(NORTH, CT, Directive(permit=True), by_default=True)
    only_ct = Directive(permit=True, documents=SET({"1.1.1"}), organisations=SET({"North"}))
    assert [sees(NORTH, one, only_ct, by_default=True) for one in (CT, MR)] == [True, False]
    assert not sees(SOUTH, CT, only_ct, by_default=True)


def test_broken_glass_opens_what_may_be_opened() -> None:
    assert sees(NORTH, CT, Directive(permit=False), broken=[ANNA])
    assert sees(NORTH, CT, by_default=True, broken=[ANNA])
    assert not sees(NORTH, CT, Directive(permit=False, overridable=False), broken=[ANNA])
    assert not sees(NORTH, CT, Directive(permit=False), broken=[ANNA + 1])


names = st.frozensets(st.sampled_from(["North", "South"]), max_size=1)
directives = st.lists(
    st.builds(
        Directive,
        permit=st.booleans(),
        documents=st.frozensets(st.sampled_from(["1.1.1", "1.1.2"]), max_size=2),
        class_codes=st.frozensets(st.just("IMG^^1"), max_size=1),
        organisations=names,
        persons=st.frozensets(st.just("doc"), max_size=1),
    ),
    max_size=6,
)


@settings(max_examples=examples(60), deadline=None)
@given(directives, st.sampled_from([NORTH, DOCTOR, SOUTH]), st.sampled_from([CT, MR]))
def test_another_withholding_never_opens_anything(said: list[Directive], asking: Asking, document: Facts) -> None:
    """And a directive for somebody else changes nothing."""
    before = sees(asking, document, *said)
    for more in said:
        if not more.permit and not before:
            assert not sees(asking, document, *said, more)
    assert sees(asking, document, *said, Directive(permit=False, organisations=SET({"Nobody"}))) is before


@given(directives)
def test_a_directive_is_read_as_it_was_written(said: list[Directive]) -> None:
    assert [Directive.of(one.text()) for one in said] == said


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "a directive has permit"),
        ({"permit": False, "everything": True}, "a directive has permit"),
        ({"permit": False, "from_": "29.11.2026"}, "."),
        ({"permit": False, "from_": "2026-12-01", "until": "2026-11-01"}, "ends before it begins"),
        ({"permit": False, "persons": [str(n) for n in range(501)]}, "at most 500"),
        ([], "a directive has permit"),
    ],
)
def test_what_is_no_directive_is_refused(said: object, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        Directive.of(json.dumps(said))


def test_the_opposite_of_the_same_at_the_same_time_contradicts() -> None:
    one = Directive(permit=False, organisations=SET({"North"}), from_="2026-01-01", until="2026-06-30")
    for other, contradicts in (
        (Directive(permit=True, organisations=SET({"North"})), True),
        (Directive(permit=True, organisations=SET({"North"}), from_="2026-07-01"), False),
        (Directive(permit=True, organisations=SET({"South"})), False),
        (Directive(permit=False, organisations=SET({"North"})), False),
        (Directive(permit=True, organisations=SET({"North"}), withdrawn=True), False),
    ):
        assert one.contradicts(other) is other.contradicts(one) is contradicts
