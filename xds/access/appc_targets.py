"""Targets of XACML 3 as what directives ask about: which attributes, by which functions, of which types.

OASIS XACML 3.0 core: 5.6 to 5.9; IHE ITI supplement SeR: Table 3.79.4.1.2-1 (what XUA's attributes are in XACML).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import reduce
from typing import TypeAlias

from xds.access.consent import Directive
from xds.access.document_parts import named, not_read
from xds.errors import Unusable
from xds.metadata.identifiers import Oid, PatientId
from xds.wire.xml import Element, name

SUBJECT = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject"
RESOURCE = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource"
ENVIRONMENT = "urn:oasis:names:tc:xacml:3.0:attribute-category:environment"

PATIENT, TODAY = "patient", "today"

Attributes: TypeAlias = Mapping[str, str]
"""What an AttributeId is: a field of a directive, the patient, or today."""

STANDARD: Attributes = {
    "urn:oasis:names:tc:xacml:2.0:resource:resource-id": PATIENT,  # as in XUA (ITI TF-2: 3.40)
    "urn:ihe:iti:ser:2016:patient-id": PATIENT,
    "urn:oasis:names:tc:xacml:1.0:resource:resource-id": "documents",  # as in ITI-79
    "urn:ihe:iti:appc:2016:author-institution:id": "author_organisations",
    "urn:oasis:names:tc:xspa:1.0:subject:organization": "organisations",
    "urn:oasis:names:tc:xspa:1.0:subject:organization-id": "organisations",
    "urn:oasis:names:tc:xacml:1.0:subject:subject-id": "persons",
    "urn:oasis:names:tc:xacml:2.0:subject:role": "roles",
    "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse": "purposes",
    "urn:oasis:names:tc:xacml:1.0:environment:current-date": TODAY,
}

# Of whom a document is, and what every document has: MustBePresent says nothing of them.
_WHAT = ("documents", "class_codes", "confidentiality_codes", "author_organisations")
_WHOM = ("organisations", "persons", "roles", "purposes")
_ALWAYS_THERE = (PATIENT, TODAY, "documents", "class_codes", "confidentiality_codes")
_ONE_VALUE = (PATIENT, "documents", "class_codes")  # the others may have several

_XSD, _FUNCTION = "http://www.w3.org/2001/XMLSchema#", "urn:oasis:names:tc:xacml:1.0:function:"
STRING, ANY_URI, DATE, CODED, INSTANCE = (
    f"{_XSD}string", f"{_XSD}anyURI", f"{_XSD}date", "urn:hl7-org:v3#CV", "urn:hl7-org:v3#II",
)  # fmt: skip

# A Match applies its function to the value of the policy and then that of the request (XACML 3.0: 5.9).
_FUNCTIONS: Mapping[str, Mapping[str, str]] = {
    STRING: {f"{_FUNCTION}string-equal": ""},
    ANY_URI: {f"{_FUNCTION}anyURI-equal": ""},
    CODED: {"urn:hl7-org:v3:function:CV-equal": ""},
    INSTANCE: {"urn:hl7-org:v3:function:II-equal": ""},
    DATE: {f"{_FUNCTION}date-less-than-or-equal": "from_", f"{_FUNCTION}date-greater-than-or-equal": "until"},
}

MOST_TERMS, MOST_CHARACTERS = 200, 256


def attributes_of(more: Iterable[str]) -> Attributes:
    """The standard attributes, and those of a setting: ``AttributeId=FIELD``.

    Raises:
        Unusable: one is not of this form.
    """
    found = dict(STANDARD)
    for one in more:
        id_, _, what = one.rpartition("=")
        if not id_ or what not in (*_WHAT, *_WHOM, PATIENT):
            raise Unusable(f"consent.appc_attributes: AttributeId=FIELD, of {', '.join((*_WHAT, *_WHOM, PATIENT))}")
        found[id_] = what
    return found


@dataclass(frozen=True, slots=True)
class Term:
    """What has to be so together: an attribute has one of these values."""

    wanted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def and_(self, other: Term, at: Element) -> Term:
        """Both.

        Raises:
            NotRead: one attribute would need two values, or cannot have them.
        """
        wanted = dict(self.wanted)
        for what, values in other.wanted.items():
            wanted[what] = _both(what, wanted[what], values, at) if what in wanted else values
        return Term(wanted)


def _both(what: str, one: frozenset[str], other: frozenset[str], at: Element) -> frozenset[str]:
    if what in ("from_", "until"):
        return frozenset({(max if what == "from_" else min)(*one, *other)})
    # Of what may have several values one of these and one of those: that is the first where it is part of the second.
    common = one & other
    if common and (what in _ONE_VALUE or common in (one, other)):
        return common
    raise not_read(at, f"two values of {what} at once cannot be said by a directive")


def alternatives(target: Element, terms: Sequence[Term], attributes: Attributes) -> list[Term]:
    """What a target asks for beside what is asked for already: any of these.

    Raises:
        NotRead: a Match is not read, or there are too many.
    """
    for any_of in target:
        asked = _joined(_conjunction(all_of, attributes) for all_of in any_of)
        if len(terms) * len(asked) > MOST_TERMS:
            raise not_read(any_of, f"there are more than {MOST_TERMS} ways for the target to be met")
        terms = [one.and_(other, any_of) for one in terms for other in asked]
    return list(terms)


def _conjunction(all_of: Element, attributes: Attributes) -> Term:
    matches = (_match(match, attributes) for match in all_of)
    return reduce(lambda one, other: one.and_(other, all_of), matches)


def _joined(terms: Iterable[Term]) -> list[Term]:
    """Terms that ask for one and the same attribute and nothing else, as one that asks for any of their values."""
    joined: dict[str, frozenset[str]] = {}
    rest = []
    for term in terms:
        what = next(iter(term.wanted))
        if len(term.wanted) == 1 and what in (*_WHAT, *_WHOM):
            joined[what] = joined.get(what, frozenset()) | term.wanted[what]
        else:
            rest.append(term)
    return [Term({what: values}) for what, values in joined.items()] + rest


def said_of(term: Term, patients: Collection[PatientId], at: Element) -> Mapping[str, frozenset[str]]:
    """What is asked for beside the patient, by the fields of a directive.

    Raises:
        NotRead: it is of no patient or of another, or asks for what a directive cannot.
    """
    said = dict(term.wanted)
    if not said.pop(PATIENT, frozenset()) <= {str(one) for one in patients} or PATIENT not in term.wanted:
        raise not_read(at, "it is not of the patient of its DocumentEntry alone")
    what = [one for one in _WHAT if one in said]
    if len(what) > 1:  # of several a directive is about any, and a target about what is all of it
        raise not_read(at, f"{' and '.join(what)} together cannot be said by a directive")
    return said


def _match(at: Element, attributes: Attributes) -> Term:
    value, designator = sorted(at, key=lambda one: one.tag.endswith("AttributeDesignator"))
    id_, category = designator.get("AttributeId", ""), designator.get("Category", "")
    what, type_ = attributes.get(id_, ""), value.get("DataType", "")
    if not what:
        raise not_read(at, f"the attribute {named(id_)} is not read")
    expected = ENVIRONMENT if what == TODAY else SUBJECT if what in _WHOM else RESOURCE
    if category != expected:
        raise not_read(at, f"the attribute {named(id_)} is read of {expected} only")
    if designator.get("DataType") != type_ or type_ not in _FUNCTIONS or (type_ == DATE) is not (what == TODAY):
        raise not_read(at, f"the DataType {named(type_)} is not read there")
    if designator.get("MustBePresent") not in ("false", *(("true",) if what in _ALWAYS_THERE else ())):
        raise not_read(at, "MustBePresent is false of what a request may be without")
    function = at.get("MatchId", "")
    if function not in _FUNCTIONS[type_]:
        raise not_read(at, f"the function {named(function)} is not read there")
    text = _READ[type_](value, what, at)
    if not text or len(text) > MOST_CHARACTERS:
        raise not_read(at, f"its value has 1 to {MOST_CHARACTERS} characters")
    return Term({_FUNCTIONS[type_][function] or what: frozenset({text})})


def _string(value: Element, what: str, at: Element) -> str:
    text = _text(value, at)
    if what == PATIENT:
        try:
            return str(PatientId.parse(text))
        except ValueError as problem:
            raise not_read(at, f"the patient is {problem}") from None
    if what in ("class_codes", "confidentiality_codes") and not re.fullmatch(r"[^^]+\^\^[^^]+", text):
        raise not_read(at, "a code is written CODE^^SCHEME")
    return text


def _uri(value: Element, what: str, at: Element) -> str:
    if what not in ("documents", "author_organisations", "organisations"):
        raise not_read(at, f"the DataType {ANY_URI} is not read there")
    return _text(value, at).removeprefix("urn:oid:")


def _date(value: Element, _what: str, at: Element) -> str:
    text = _text(value, at)
    try:
        if date.fromisoformat(text).isoformat() != text:
            raise ValueError
    except ValueError:
        raise not_read(at, "a date is written YYYY-MM-DD") from None
    return text


def _code(value: Element, what: str, at: Element) -> str:
    if what not in ("class_codes", "confidentiality_codes", "roles", "purposes"):
        raise not_read(at, f"the DataType {CODED} is not read there")
    code, system = _hl7(value, "CodedValue", ("code", "codeSystem"), ("codeSystemName", "displayName"), at)
    if not code or not system:
        raise not_read(at, "a CodedValue has code and codeSystem")
    return f"{code}^^{system}"


def _instance(value: Element, what: str, at: Element) -> str:
    allowed = ("assigningAuthorityName", "displayable")
    root, extension = _hl7(value, "InstanceIdentifier", ("root", "extension"), allowed, at)
    if what == PATIENT:
        try:
            return str(PatientId.of(extension, Oid(root)))
        except ValueError as problem:
            raise not_read(at, f"the patient is {problem}") from None
    if what == "author_organisations" and extension:
        return f"{extension}^{root}"  # as ``Xon.keys`` has it
    if what not in ("documents", "author_organisations", "organisations") or extension:
        raise not_read(at, "an InstanceIdentifier with extension is not read there")
    return root


_READ: Mapping[str, Callable[[Element, str, Element], str]] = {
    STRING: _string, ANY_URI: _uri, DATE: _date, CODED: _code, INSTANCE: _instance,
}  # fmt: skip


def _text(value: Element, at: Element) -> str:
    if len(value):
        raise not_read(at, "there are elements in it", "AttributeValue")
    return (value.text or "").strip()


def _hl7(
    value: Element, tag: str, wanted: Sequence[str], allowed: Sequence[str], at: Element
) -> tuple[str, ...]:  # fmt: skip
    """Attributes of the one element that is the value."""
    if len(value) != 1 or value[0].tag != name(f"hl7:{tag}") or len(value[0]) or (value.text or "").strip():
        raise not_read(at, f"there is one {tag} in it", "AttributeValue")
    one = value[0]
    if {str(key) for key in one.attrib} - {*wanted, *allowed} or (one.text or one.tail or "").strip():
        raise not_read(at, f"the {tag} has {', '.join(wanted)} only", "AttributeValue")
    return tuple(one.get(attribute, "") for attribute in wanted)


assert {*_WHAT, *_WHOM} <= {f.name for f in fields(Directive)}  # noqa: S101
