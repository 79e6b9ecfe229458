"""What an issuer says of a person: the value, and how a SAML 2.0 assertion says it.

ITI TF-2: 3.40.4.1.2; SAML 2.0 Core: 2.  Whether it is to be believed is for ``xua.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from xds.wire.faults import SecurityFault, insecure
from xds.wire.xml import Element, name

SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
HOLDER_OF_KEY = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"

# Attributes.  ITI TF-2: 3.40.4.1.2.
SUBJECT_ID = "urn:oasis:names:tc:xspa:1.0:subject:subject-id"
ORGANISATION = "urn:oasis:names:tc:xspa:1.0:subject:organization"
ORGANISATION_ID = "urn:oasis:names:tc:xspa:1.0:subject:organization-id"
HOME_COMMUNITY = "urn:ihe:iti:xca:2010:homeCommunityId"
ROLE = "urn:oasis:names:tc:xacml:2.0:subject:role"
PURPOSE_OF_USE = "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse"
PATIENT = "urn:oasis:names:tc:xacml:2.0:resource:resource-id"
CONSENT = "urn:ihe:iti:bppc:2007:docid"
POLICY = "urn:ihe:iti:xua:2012:acp"
REASON = "urn:xds:override-reason"
"""Ours: ITI TF-2: 3.40 has purposes of use, and no place for a reason."""

ATTRIBUTES, LENGTH = 200, 1024
"""How many values of attributes are read, and characters of each."""


@dataclass(frozen=True, slots=True)
class Code:
    """An HL7 v3 CE, or a text that stands for one; ``system`` is its codeSystem."""

    code: str
    system: str = ""
    system_name: str = ""
    display: str = ""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an issuer says of a person; empty where it does not say."""

    issuer: str
    name_id: str
    alias: str = ""  # NameID/@SPProvidedID
    subject_id: str = ""  # the name that people know them by
    organisations: tuple[str, ...] = ()
    organisation_ids: tuple[str, ...] = ()
    roles: tuple[Code, ...] = ()
    purposes: tuple[Code, ...] = ()
    home_community: str = ""
    patient: str = ""  # of the requesting organisation, as CX
    consents: tuple[str, ...] = ()  # documents of BPPC that are referred to
    policies: tuple[str, ...] = ()
    id: str = ""  # of the assertion or token
    method: str = ""  # by which who presents it was confirmed
    until: datetime | None = None  # it is worth nothing from then on
    reason: str = ""  # of an emergency, as the person gives it

    @property
    def user_name(self) -> str:
        """As audit records have it (ITI TF-2: 3.40.4.2)."""
        return f"{self.alias}<{self.name_id}@{self.issuer}>"


def read(assertion: Element) -> Assertion:
    """What an assertion says, before it is held to anything.

    Raises:
        Fault: it lacks what it needs, or has too many attributes.
    """
    who = assertion.find(f"{SAML}Subject/{SAML}NameID")
    issuer, name_id = text_of(assertion.find(f"{SAML}Issuer")), text_of(who)
    if not issuer or not name_id or who is None:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "Issuer and NameID are required")
    values: dict[str, list[Code]] = {}
    for number, (key, code) in enumerate(_attributes(assertion)):
        if number == ATTRIBUTES:
            raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "the assertion has too many attributes")
        values.setdefault(key, []).append(code)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(one.code for one in values.get(key, ()))

    def first(key: str) -> str:
        return next(iter(texts(key)), "")

    return Assertion(
        issuer, name_id, (who.get("SPProvidedID") or "")[:LENGTH], first(SUBJECT_ID), texts(ORGANISATION),
        texts(ORGANISATION_ID), tuple(values.get(ROLE, ())), tuple(values.get(PURPOSE_OF_USE, ())),
        first(HOME_COMMUNITY), first(PATIENT), texts(CONSENT), texts(POLICY), assertion.get("ID", "")[:LENGTH],
        reason=first(REASON),
    )  # fmt: skip


def _attributes(assertion: Element) -> Iterator[tuple[str, Code]]:
    """Every value by its attribute's name, as attributes and statements may repeat (ITI TF-2: 3.40.4.1.2)."""
    for attribute in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute"):
        for value in attribute.iterfind(f"{SAML}AttributeValue"):
            coded = next((one for one in value if one.tag in (name("hl7:Role"), name("hl7:PurposeOfUse"))), None)
            if coded is None:
                code = Code(text_of(value))
            else:
                given = (coded.get(key, "")[:LENGTH] for key in ("code", "codeSystem", "codeSystemName", "displayName"))
                code = Code(*given)
            if code.code:
                yield attribute.get("Name", ""), code


def text_of(element: Element | None) -> str:
    """All of its text: a comment in it must not cut a name short."""
    return "" if element is None else str(element.xpath("string()")).strip()[:LENGTH]
