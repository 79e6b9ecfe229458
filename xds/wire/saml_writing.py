"""Writes a SAML 2.0 assertion of a person, to be signed.  ITI TF-2: 3.40.4.1.2; SAML 2.0 Core: 2."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from lxml import etree

from xds.wire.assertion import (
    BEARER,
    HOME_COMMUNITY,
    ORGANISATION,
    ORGANISATION_ID,
    PATIENT,
    PURPOSE_OF_USE,
    REASON,
    ROLE,
    SAML,
    SUBJECT_ID,
    Assertion,
    Code,
)
from xds.wire.xml import NAMESPACES, Element, name

UNSPECIFIED = "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified"
"""How the person was authenticated, where nothing more is said (SAML 2.0 Authentication Context)."""


def written(said: Assertion, begin: datetime, end: datetime, audiences: Sequence[str], context: str) -> Element:
    """The assertion, for a bearer; ``context`` is the class of authentication."""
    since, until = (time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in (begin, end))
    root = etree.Element(f"{SAML}Assertion", nsmap={"saml": SAML[1:-1], "hl7": NAMESPACES["hl7"]})
    for key, value in (("Version", "2.0"), ("ID", f"_{uuid4()}"), ("IssueInstant", since)):
        root.set(key, value)
    _child(root, "Issuer", said.issuer)
    subject = _child(root, "Subject")
    _child(subject, "NameID", said.name_id)
    _child(_child(subject, "SubjectConfirmation", Method=BEARER), "SubjectConfirmationData", NotOnOrAfter=until)
    conditions = _child(root, "Conditions", NotBefore=since, NotOnOrAfter=until)
    if audiences:
        restriction = _child(conditions, "AudienceRestriction")
        for audience in audiences:
            _child(restriction, "Audience", audience)
    authentication = _child(_child(root, "AuthnStatement", AuthnInstant=since), "AuthnContext")
    _child(authentication, "AuthnContextClassRef", context)
    statement = _child(root, "AttributeStatement")
    texts = (
        (SUBJECT_ID, (said.subject_id,)), (ORGANISATION, said.organisations), (ORGANISATION_ID, said.organisation_ids),
        (HOME_COMMUNITY, (said.home_community,)), (PATIENT, (said.patient,)), (REASON, (said.reason,)),
    )  # fmt: skip
    for attribute, values in texts:
        for text in filter(None, values):
            _child(_child(statement, "Attribute", Name=attribute), "AttributeValue", text)
    for attribute, tag, codes in ((ROLE, "hl7:Role", said.roles), (PURPOSE_OF_USE, "hl7:PurposeOfUse", said.purposes)):
        for code in codes:
            _coded(_child(_child(statement, "Attribute", Name=attribute), "AttributeValue"), tag, code)
    return root


def _coded(parent: Element, tag: str, code: Code) -> None:
    """A CE."""
    element = etree.SubElement(parent, name(tag), {f"{{{_XSI}}}type": "hl7:CE"}, nsmap={"xsi": _XSI})
    given = {"code": code.code, "codeSystem": code.system, "codeSystemName": code.system_name}
    for key, value in (given | {"displayName": code.display}).items():
        if value:
            element.set(key, value)


_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def _child(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    found = etree.SubElement(parent, f"{SAML}{tag}", attributes)
    found.text = text or None
    return found
