"""An APPC document is read whole, and withholds what XACML would deny; what is not read refuses it by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access.consent_builders import (
    DENY_OVERRIDES,
    ENVIRONMENT,
    SUBJECT,
    Match,
    a_rule,
    all_of,
    an_appc,
    confidential,
    day,
    document,
    of_class,
    of_patient,
    one_of,
    organisation,
    person,
    purpose,
    role,
    target,
    written_at,
)
from tests.builders import ANNA, BERT
from tests.extent import examples
from xds.access import appc
from xds.access.appc_targets import attributes_of
from xds.access.consent import Asking, Directive, filter_of
from xds.access.document_parts import NotRead
from xds.errors import Unusable
from xds.metadata.visible import Facts
from xds.settings.access import ConsentSettings

ATTRIBUTES = attributes_of(ConsentSettings().appc_attributes)
SET = frozenset


def read(data: bytes) -> list[Directive]:
    return appc.read(data, [ANNA], ATTRIBUTES, "1.2.3", overridable=True)


def refusal(data: bytes) -> str:
    with pytest.raises(NotRead) as refused:
        read(data)
    return str(refused.value)


def test_what_a_target_names_is_what_a_directive_names() -> None:
    for matches, said in (
        ((), {}),
        ((organisation("1.2.9"),), {"organisations": SET({"1.2.9"})}),
        ((person("doc"), purpose("TREAT")), {"persons": SET({"doc"}), "purposes": SET({"TREAT^^p"})}),
        ((role("GP"), document("1.1.1")), {"roles": SET({"GP^^roles"}), "documents": SET({"1.1.1"})}),
        ((of_class("IMG", "1"),), {"class_codes": SET({"IMG^^1"})}),
        ((confidential("V"),), {"confidentiality_codes": SET({"V^^2.16.840.1.113883.5.25"})}),
        ((written_at("1.2.8"),), {"author_organisations": SET({"1.2.8"})}),
        ((day("2026-01-01"), day("2026-12-31", until=True)), {"from_": "2026-01-01", "until": "2026-12-31"}),
    ):
        for effect, permit in (("Deny", False), ("Permit", True)):
            found = read(an_appc(a_rule(effect, *([all_of(*matches)] if matches else []))))
            assert found == [Directive(permit, source="1.2.3", **said)]  # type: ignore[arg-type]


def test_any_of_several_is_one_directive_and_alternatives_of_different_kinds_are_several() -> None:
    north, south = organisation("1.2.9"), organisation("1.2.10")
    (one,) = read(an_appc(a_rule("Deny", one_of(north, south), one_of(document("1"), document("2")))))
    assert (one.organisations, one.documents) == (SET({"1.2.9", "1.2.10"}), SET({"1", "2"}))
    either = read(an_appc(a_rule("Deny", [[north, role("GP")], [person("doc")]])))
    assert {(d.organisations, d.roles, d.persons) for d in either} == {
        (SET({"1.2.9"}), SET({"GP^^roles"}), SET()), (SET(), SET(), SET({"doc"})),
    }  # fmt: skip


def test_targets_around_a_rule_hold_for_it() -> None:
    inner = an_appc(a_rule("Deny", one_of(document("1.1.1")))).decode()
    begin, end = inner.index("<Policy "), inner.index("</Policy>") + len("</Policy>")
    around = (
        f'<PolicySet PolicySetId="urn:x:2" Version="1.0" PolicyCombiningAlgId="{DENY_OVERRIDES.format("policy")}">'
        f"{target(one_of(organisation('1.2.9')))}{inner[begin:end]}</PolicySet>"
    )
    nested = inner[:begin] + around + inner[end:]
    (found,) = read(nested.encode())
    assert (found.organisations, found.documents) == (SET({"1.2.9"}), SET({"1.1.1"}))


def test_glass_opens_what_the_setting_says() -> None:
    (found,) = appc.read(an_appc(), [ANNA], ATTRIBUTES, "1.2.3", overridable=False)
    assert not found.overridable


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("<ObligationExpressions/>", r"PolicySet/Policy/Rule/ObligationExpressions"),
        ("<AdviceExpressions/>", r"Rule/AdviceExpressions"),
        ('<Condition><Apply FunctionId="urn:x:any"/></Condition>', r"Rule/Condition"),
        ("<Target/>", "there are 2 Target"),
        ("<x:Target xmlns:x='urn:x'/>", "Rule/Target"),
        ("as he likes", "text"),
    ],
)
def test_what_a_rule_says_beside_is_refused_by_its_name(more: str, named: str) -> None:
    assert named in refusal(an_appc(a_rule("Deny", more=more)))


@pytest.mark.parametrize(
    "more",
    [
        "<PolicyIdReference>urn:x</PolicyIdReference>", "<PolicySetIdReference>urn:x</PolicySetIdReference>",
        "<PolicyIssuer/>", "<PolicySetDefaults/>", "<CombinerParameters/>", "<ObligationExpressions/>",
    ],
)  # fmt: skip
def test_what_a_policy_set_says_beside_is_refused_by_its_name(more: str) -> None:
    assert f"PolicySet/{more[1:].partition('>')[0].strip('/')}: it is not read" in refusal(an_appc(more=more))


def test_a_variable_is_refused_by_its_name() -> None:
    data = an_appc(a_rule("Deny") + '<VariableDefinition VariableId="x"/>')
    assert "PolicySet/Policy/VariableDefinition: it is not read" in refusal(data)


@pytest.mark.parametrize(
    ("part", "spoilt", "named"),
    [
        ("xacml:3.0:core:schema:wd-17", "xacml:2.0:policy:schema:os", "no PolicySet of XACML 3"),
        ("policy-combining-algorithm:deny-", "policy-combining-algorithm:permit-", "permit-overrides"),
        ("rule-combining-algorithm:deny-overrides", "rule-combining-algorithm:first-applicable", "first-applicable"),
        ('Effect="Deny"', 'Effect="Maybe"', "Effect"),
        ('Effect="Deny"', "", "it has no Effect"),
        ('Version="1.0"', 'Version="1.0" MaxDelegationDepth="1"', "MaxDelegationDepth"),
        ("anyURI-equal", "anyURI-regexp-match", "anyURI-regexp-match"),
        ("subject:organization-id", "subject:npi", "npi"),
        (SUBJECT, ENVIRONMENT, "access-subject only"),
        ('MustBePresent="false"/></Match></AllOf></AnyOf></Target></Rule>',
         'MustBePresent="true"/></Match></AllOf></AnyOf></Target></Rule>', "MustBePresent"),
        ('extension="anna"', 'extension="bert"', "not of the patient"),
        ('extension="anna"', "", "the patient is"),
        ('root="1.2.3.4.5" extension="anna"', 'nullFlavor="UNK"', "InstanceIdentifier has"),
        ("urn:oid:1.2.9", "", "1 to 256"),
        ("urn:oid:1.2.9", "<x/>", "there are elements"),
        ("<Target/>", "", "there are 0 Target"),
        ("<AllOf>", "<AllOf>x", "text"),
        ("</Policy>", "", "not well-formed"),
        ("<PolicySet", "<!DOCTYPE x><PolicySet", "document type declaration"),
    ],
)  # fmt: skip
def test_one_part_spoilt_refuses_the_document_by_name(part: str, spoilt: str, named: str) -> None:
    good = an_appc().decode()
    assert part in good
    assert named in refusal(good.replace(part, spoilt).encode())


def test_a_document_without_a_rule_or_a_patient_is_refused() -> None:
    empty = an_appc().decode()
    begin, end = empty.index("<Policy "), empty.index("</Policy>") + len("</Policy>")
    assert "no Rule" in refusal((empty[:begin] + empty[end:]).encode())
    assert "not of the patient" in refusal(an_appc().replace(target(one_of(of_patient())).encode(), b"<Target/>"))
    assert "not of the patient" in refusal(an_appc(a_rule("Deny", one_of(of_patient(), of_patient(BERT)))).replace(
        target(one_of(of_patient())).encode(), b"<Target/>"))  # fmt: skip


@pytest.mark.parametrize(
    "match",
    [
        replace(document("1.1.1"), attribute="urn:x:unknown"), replace(day("2026-02-30")), day("tomorrow"),
        replace(day("2026-02-03"), function="urn:oasis:names:tc:xacml:1.0:function:date-less-than"),
        replace(document("1.1.1"), function="urn:oasis:names:tc:xacml:1.0:function:string-regexp-match"),
        replace(document("1.1.1"), type="http://www.w3.org/2001/XMLSchema#integer"),
        replace(role("GP"), value='<CodedValue xmlns="urn:hl7-org:v3" code="GP"/>'),
        replace(role("GP"), value='<CodedValue xmlns="urn:hl7-org:v3" code="GP" codeSystem="1" qualifier="x"/>'),
        replace(role("GP"), value="GP"), replace(person("x"), value="x" * 257),
    ],
)  # fmt: skip
def test_a_match_that_is_not_read_is_named_with_its_place(match: Match) -> None:
    said = refusal(an_appc(a_rule("Deny"), a_rule("Deny", one_of(role("GP"), match))))
    assert said.startswith("PolicySet/Policy/Rule[2]/Target/AnyOf/AllOf[2]/Match")


@pytest.mark.parametrize(
    "matches",
    [
        (of_class("IMG", "1"), confidential("V")), (role("GP"), role("MD")), (document("1"), document("2")),
        (day("2027-01-01"), day("2026-01-01", until=True)),
    ],
)  # fmt: skip
def test_what_no_directive_can_say_is_refused(matches: tuple[Match, ...]) -> None:
    assert "PolicySet/Policy/Rule" in refusal(an_appc(a_rule("Deny", all_of(*matches))))


def test_a_permit_that_would_open_a_deny_is_refused_and_one_that_cannot_is_not() -> None:
    everything, north = a_rule("Deny"), a_rule("Permit", one_of(organisation("1.2.9")))
    said = refusal(an_appc(everything, north))
    assert "Rule[2] (Permit)" in said
    assert "Rule[1] (Deny)" in said
    assert "(Permit)" in refusal(an_appc(everything, a_rule("Permit")))
    assert len(read(an_appc(a_rule("Deny", one_of(person("doc"))), north))) == 2  # less particular: it opens nothing
    apart = a_rule("Deny", one_of(document("1"))), a_rule("Permit", one_of(document("2")), one_of(person("doc")))
    assert len(read(an_appc(*apart))) == 2
    then = (
        a_rule("Deny", all_of(day("2026-06-30", until=True))),
        a_rule("Permit", all_of(day("2026-07-01"), role("GP"))),
    )
    assert len(read(an_appc(*then))) == 2


def test_ways_to_meet_a_target_are_bounded() -> None:
    either = [[document("1")], [person("doc")]]
    assert "more than 200" in refusal(an_appc(a_rule("Deny", *[either] * 12)))
    assert "elements or attributes" in refusal(an_appc(*[a_rule("Deny")] * 10_001))


def test_another_attribute_is_read_where_a_setting_says_what_it_is() -> None:
    rule = a_rule("Deny", one_of(replace(organisation("1.2.9"), attribute="urn:region:organisation")))
    assert "urn:region:organisation" in refusal(an_appc(rule))
    more = attributes_of(["urn:region:organisation=organisations"])
    (found,) = appc.read(an_appc(rule), [ANNA], more, "1.2.3", overridable=True)
    assert found.organisations == {"1.2.9"}
    for mistake in ("urn:x", "urn:x=whoever", "=roles", "urn:x=permit"):
        with pytest.raises(Unusable, match="appc_attributes"):
            attributes_of([mistake])


# What XACML says itself, told by a few lines that know nothing of directives.

HL7 = "^^2.16.840.1.113883.5.25"
DOCUMENTS = [
    Facts({"unique_id": n, "class_code": f"{c}^^1"}, {"confidentialityCode": SET(f"{x}{HL7}" for x in k)}, 7)
    for n in ("1", "2") for c, k in (("IMG", "N"), ("REP", "NV"))
]  # fmt: skip
PEOPLE = [
    Asking(SET(o), SET(p), SET(f"{x}^^roles" for x in r), SET(), date.fromisoformat(d))
    for o, p, r, d in (
        ((), (), (), "2026-06-30"), (("1.9",), ("doc",), ("GP",), "2026-06-30"), (("1.9", "1.8"), (), (), "2026-07-01"),
        (("1.8",), ("nurse",), ("GP", "MD"), "2026-07-01"), ((), ("doc",), ("MD",), "2027-01-01"),
    )
]  # fmt: skip
MATCHES: dict[Match, Callable[[Asking, Facts], bool]] = {
    organisation("1.9"): lambda who, _: "1.9" in who.organisations,
    organisation("1.8"): lambda who, _: "1.8" in who.organisations,
    person("doc"): lambda who, _: "doc" in who.names,
    role("GP"): lambda who, _: "GP^^roles" in who.roles,
    role("MD"): lambda who, _: "MD^^roles" in who.roles,
    document("1"): lambda _, what: what.single["unique_id"] == "1",
    document("2"): lambda _, what: what.single["unique_id"] == "2",
    of_class("IMG", "1"): lambda _, what: what.single["class_code"] == "IMG^^1",
    confidential("V"): lambda _, what: f"V{HL7}" in what.multiple["confidentialityCode"],
    day("2026-07-01"): lambda who, _: who.today >= date(2026, 7, 1),
    day("2026-06-30", until=True): lambda who, _: who.today <= date(2026, 6, 30),
}
TARGETS = st.lists(
    st.lists(st.lists(st.sampled_from(list(MATCHES)), min_size=1, max_size=2), min_size=1, max_size=3), max_size=3
)
RULES = st.lists(st.tuples(st.sampled_from(["Permit", "Deny"]), TARGETS), min_size=1, max_size=4)


@settings(max_examples=examples(300), deadline=None)
@given(RULES, st.booleans())
def test_what_is_read_withholds_what_xacml_denies_and_nothing_else(
    rules: list[tuple[str, list[list[list[Match]]]]], by_default: bool
) -> None:
    try:
        said = read(an_appc(*(a_rule(effect, *target_) for effect, target_ in rules)))
    except NotRead:
        return
    for asking in PEOPLE:
        for one in DOCUMENTS:
            effects = {
                effect for effect, target_ in rules
                if all(any(all(MATCHES[m](asking, one) for m in all_) for all_ in any_) for any_ in target_)
            }  # fmt: skip
            expected = "Deny" not in effects and ("Permit" in effects or not by_default)
            assert filter_of({(7,): said}, asking, by_default=by_default).shows(one) is expected


@settings(max_examples=examples(50), deadline=None)
@given(st.data())
def test_a_document_cut_or_changed_anywhere_is_read_whole_or_refused(data: st.DataObject) -> None:
    good = an_appc()
    at = data.draw(st.integers(0, len(good)))
    try:
        found = read(good[:at] + data.draw(st.binary(max_size=3)) + good[at + data.draw(st.integers(0, 3)) :])
    except NotRead:
        return
    assert len(found) == 1
