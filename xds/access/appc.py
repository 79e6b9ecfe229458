"""Reads an APPC document: a XACML 3 PolicySet of one patient, as directives that withhold and allow the same.

IHE ITI supplement Advanced Patient Privacy Consents (APPC); OASIS XACML 3.0 core.  A document is read whole or not at
all: what is not in the tables here is refused by its name and its place, and so is what directives cannot say exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lxml import etree

from xds.access.appc_targets import Attributes, Term, alternatives, said_of
from xds.access.consent import Directive
from xds.access.document_parts import NotRead, named, not_read, path_of
from xds.metadata.identifiers import PatientId
from xds.wire.xml import Element, NotXml, local_name, parse

XACML = "urn:oasis:names:tc:xacml:3.0:core:schema:wd-17"
_POLICIES = "urn:oasis:names:tc:xacml:3.0:policy-combining-algorithm:deny-overrides"
_RULES = "urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides"

MOST_ELEMENTS, MOST_RULES = 10_000, 200


@dataclass(frozen=True, slots=True)
class _Shape:
    """What an element must have, and may have in it."""

    attributes: Mapping[str, str]  # with the one value that is read, or "" where any is
    least: Mapping[str, int]
    most: Mapping[str, int]


_ANY = 10**9
# XACML 3.0: 5.1, 5.14, 5.21 (PolicySet, Policy, Rule) and 5.6 to 5.9 (Target, AnyOf, AllOf, Match): the part of each
# that is read.  Obligations, advice, conditions, variables and references to other policies are not in it.
_SHAPES: Mapping[str, _Shape] = {
    "PolicySet": _Shape(
        {"PolicySetId": "", "Version": "", "PolicyCombiningAlgId": _POLICIES},
        {"Target": 1}, {"Description": 1, "Target": 1, "PolicySet": _ANY, "Policy": _ANY},
    ),
    "Policy": _Shape(
        {"PolicyId": "", "Version": "", "RuleCombiningAlgId": _RULES},
        {"Target": 1, "Rule": 1}, {"Description": 1, "Target": 1, "Rule": _ANY},
    ),
    "Rule": _Shape({"RuleId": "", "Effect": ""}, {}, {"Description": 1, "Target": 1}),
    "Target": _Shape({}, {}, {"AnyOf": _ANY}),
    "AnyOf": _Shape({}, {"AllOf": 1}, {"AllOf": _ANY}),
    "AllOf": _Shape({}, {"Match": 1}, {"Match": _ANY}),
    "Match": _Shape({"MatchId": ""}, {"AttributeValue": 1, "AttributeDesignator": 1},
                    {"AttributeValue": 1, "AttributeDesignator": 1}),
    "AttributeDesignator": _Shape({"Category": "", "AttributeId": "", "DataType": "", "MustBePresent": ""}, {}, {}),
    "AttributeValue": _Shape({"DataType": ""}, {}, {}),  # what is in it is looked at where it is read
    "Description": _Shape({}, {}, {}),
}  # fmt: skip
_WITH_TEXT = ("Description", "AttributeValue")
_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"


def read(
    data: bytes, patients: Collection[PatientId], attributes: Attributes, source: str, *, overridable: bool
) -> list[Directive]:
    """What an APPC document says, which has to be about one of these, who are one patient.

    ``source``: its uniqueId.  ``overridable``: whether breaking the glass opens what it withholds.

    Raises:
        NotRead: it is none, a part of it is not understood, or is nothing that directives can say.
    """
    try:
        root = parse(data, MOST_ELEMENTS)
    except NotXml as problem:
        raise NotRead(str(problem)) from None
    if root.tag != f"{{{XACML}}}PolicySet":
        raise NotRead(f"it is no PolicySet of XACML 3, {XACML}")
    _check(root)
    found: list[tuple[Directive, Element]] = []
    for rule, terms in _rules(root, [Term()], attributes):
        for term in terms:
            said = said_of(term, patients, rule)
            found.append((_directive(said, rule, source, overridable=overridable), rule))
            if len(found) > MOST_RULES:
                raise NotRead(f"it says more than {MOST_RULES} things")
    if not found:
        raise NotRead("PolicySet: there is no Rule in it")
    _by_deny_overrides(found)
    return list(dict.fromkeys(directive for directive, _ in found))


def _check(element: Element) -> None:
    """Hold an element, and all in it, to what is read.

    Raises:
        NotRead: naming the first thing that is not.
    """
    kind = local_name(element)
    shape = _SHAPES[kind]
    for attribute, value in ((str(key), one) for key, one in element.attrib.items()):
        if attribute != _SCHEMA_LOCATION and attribute not in shape.attributes:
            raise not_read(element, f"the attribute {named(attribute)} is not read")
        wanted = shape.attributes.get(attribute, "")
        if wanted and value != wanted:
            raise not_read(element, f"{attribute} {named(str(value))} is not read, only {wanted}")
    for attribute in shape.attributes.keys() - element.attrib.keys():
        raise not_read(element, f"it has no {attribute}")
    if kind not in _WITH_TEXT and any(text.strip() for text in _texts(element)):
        raise not_read(element, "there is text in it")
    if kind == "AttributeValue":
        return
    for child in element:
        if etree.QName(child).namespace != XACML or local_name(child) not in shape.most:
            raise not_read(element, "it is not read", named(local_name(child)))
    for name in shape.most:
        count = len(element.findall(f"{{{XACML}}}{name}"))
        if not shape.least.get(name, 0) <= count <= shape.most[name]:
            raise not_read(element, f"there are {count} {name}")
    for child in element:
        _check(child)


def _texts(element: Element) -> Iterator[str]:
    yield element.text or ""
    yield from (child.tail or "" for child in element)


def _rules(element: Element, terms: Sequence[Term], attributes: Attributes) -> Iterator[tuple[Element, list[Term]]]:
    """Every Rule in a PolicySet or Policy, with what its target and those around it ask for: any of these."""
    target = element.find(f"{{{XACML}}}Target")
    asked = alternatives(target, terms, attributes) if target is not None else list(terms)
    if local_name(element) == "Rule":
        yield element, asked
        return
    for child in element:
        if local_name(child) in ("PolicySet", "Policy", "Rule"):
            yield from _rules(child, asked, attributes)


def _directive(said: Mapping[str, frozenset[str]], rule: Element, source: str, *, overridable: bool) -> Directive:
    effect = rule.get("Effect", "")
    if effect not in ("Permit", "Deny"):
        raise not_read(rule, "its Effect is Permit or Deny")
    lists = {name: values for name, values in said.items() if name not in ("from_", "until")}
    days = {name: next(iter(said[name])) for name in ("from_", "until") if name in said}
    try:
        return Directive(effect == "Permit", **lists, **days, overridable=overridable, source=source)  # type: ignore[arg-type]
    except ValueError as problem:
        raise not_read(rule, f"{problem}") from None


def _by_deny_overrides(found: Iterable[tuple[Directive, Element]]) -> None:
    """Refuse what directives would open, and deny-overrides withholds.

    By XACML a Deny that applies holds whatever permits; a directive that allows opens a withholding where it is more
    particular (see ``consent.withheld``).

    Raises:
        NotRead: naming a Permit and a Deny that may both apply.
    """
    for one, other in combinations(found, 2):
        if one[0].permit is other[0].permit:
            continue
        (permit, permits), (deny, denies) = (one, other) if one[0].permit else (other, one)
        if permit.contradicts(deny) or (_opens(permit, deny) and not _apart(permit, deny)):
            rule = "as directives the Permit would open what the Deny withholds, and by deny-overrides it does not"
            raise NotRead(f"{path_of(permits)} (Permit) and {path_of(denies)} (Deny) may both apply: {rule}")


def _opens(permit: Directive, deny: Directive) -> bool:
    """Whether one that allows is more particular than one that withholds (see ``consent.withheld``)."""
    more = (permit.whom, permit.what) != (deny.whom, deny.what)
    return more and permit.whom >= deny.whom and permit.what >= deny.what


def _apart(one: Directive, other: Directive) -> bool:
    """Whether certainly both never apply at once, by day or document; of what has several values one cannot say."""
    if (one.until and one.until < other.from_) or (other.until and other.until < one.from_):
        return True
    return any(
        bool(getattr(one, name)) and bool(getattr(other, name)) and not getattr(one, name) & getattr(other, name)
        for name in ("documents", "class_codes")
    )
