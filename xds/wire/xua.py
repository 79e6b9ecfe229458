"""ITI-40 Provide X-User Assertion: who the person is that a message is sent for, vouched for by a trusted issuer.

ITI TF-2: 3.40; SAML 2.0 Core; OASIS WS-Security 1.1: 12 (faults).  Only what was signed is read.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import signxml
from cryptography import x509
from lxml import etree

from xds.errors import Unusable
from xds.wire.faults import Fault, FaultCode, SecurityFault
from xds.wire.xml import NAMESPACES, Element, name, parse

SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SECURITY = name("wsse:Security")
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

SUBJECT_ID = "urn:oasis:names:tc:xspa:1.0:subject:subject-id"
ORGANISATION = "urn:oasis:names:tc:xspa:1.0:subject:organization"
ORGANISATION_ID = "urn:oasis:names:tc:xspa:1.0:subject:organization-id"
ROLE = "urn:oasis:names:tc:xacml:2.0:subject:role"
PURPOSE_OF_USE = "urn:oasis:names:tc:xspa:1.0:subject:purposeofuse"

SKEW = timedelta(seconds=60)
"""How far an issuer's clock may be from ours."""

NAMESPACE_DECLARATIONS = 100
"""In an assertion: to put many into canonical form takes a time that grows with their square."""

BYTES, ATTRIBUTES, LENGTH = 256 * 1024, 200, 1024
"""Of an assertion; of its attributes' values, how many are read, and characters of each."""

_TRANSFORMS = frozenset({
    "http://www.w3.org/2001/10/xml-exc-c14n#", "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
})  # fmt: skip
_SIGNED_BY = frozenset({
    signxml.SignatureMethod.RSA_SHA256, signxml.SignatureMethod.RSA_SHA384, signxml.SignatureMethod.RSA_SHA512,
    signxml.SignatureMethod.ECDSA_SHA256, signxml.SignatureMethod.ECDSA_SHA384, signxml.SignatureMethod.ECDSA_SHA512,
})  # fmt: skip
_DIGESTS = frozenset({
    signxml.DigestAlgorithm.SHA256, signxml.DigestAlgorithm.SHA384, signxml.DigestAlgorithm.SHA512,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Code:
    """An HL7 v3 CE, or a text that stands for one."""

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
    organisation: str = ""
    organisation_id: str = ""
    roles: tuple[Code, ...] = ()
    purposes: tuple[Code, ...] = ()

    @property
    def user_name(self) -> str:
        """As audit records have it (ITI TF-2: 3.40.4.2)."""
        return f"{self.alias}<{self.name_id}@{self.issuer}>"


class Trust:
    """Whose assertions are believed, and which are for us.  Safe with threads."""

    def __init__(
        self, certificates: Sequence[x509.Certificate], audiences: Sequence[str], *, required: bool,
        issuers: Mapping[str, Sequence[x509.Certificate]] | None = None,
    ) -> None:  # fmt: skip
        """``issuers`` have certificates of their own; all others speak by any of ``certificates``."""
        self._others, self._issuers = tuple(certificates), issuers or {}
        self._certificates = (*self._others, *(one for own in self._issuers.values() for one in own))
        self._audiences, self._required = frozenset(audiences), required

    @classmethod
    def of(cls, path: str, issuers: Sequence[str], audiences: Sequence[str], *, required: bool) -> Trust:
        """Trust the certificates of a PEM file, where one is named, and issuers by ISSUER=FILE.

        Raises:
            Unusable: one cannot be read, or holds none, or an entry is malformed.
        """
        certificates = _certificates("xua.trusted", path) if path else []
        own = dict[str, list[x509.Certificate]]()
        for entry in issuers:
            issuer, _, file = entry.rpartition("=")  # an Issuer may hold one
            if not issuer or not file:
                raise Unusable("xua.issuers: each entry is of the form ISSUER=FILE")
            own.setdefault(issuer, []).extend(_certificates("xua.issuers", file))
        return cls(certificates, audiences, required=required, issuers=own)

    def asserted(self, header: Element | None, now: datetime | None = None) -> Assertion | None:
        """Who a message is sent for; None where it does not say and need not.

        Raises:
            Fault: an assertion is wanted and missing, or there is one that is not to be believed; each with the
                subcode of WS-Security that says why.
        """
        blocks = [] if header is None else header.findall(SECURITY)
        found = [one for block in blocks for one in block.findall(f"{SAML}Assertion")]
        if len(blocks) > 1 or len(found) > 1:
            raise _refused(SecurityFault.INVALID_SECURITY, "one wsse:Security with one Assertion is wanted")
        if not found:
            if blocks and len(blocks[0]):
                raise _refused(SecurityFault.UNSUPPORTED_SECURITY_TOKEN, "only SAML 2.0 assertions are supported")
            if self._required:
                raise _refused(SecurityFault.INVALID_SECURITY, "a SAML 2.0 assertion is required (ITI TF-2: 3.40)")
            return None
        certificate = self._signer(found[0])
        signed = _verified(found[0], certificate)
        said = _read(signed)
        if certificate not in self._issuers.get(said.issuer, self._others):
            raise _refused(SecurityFault.FAILED_AUTHENTICATION, "the assertion is signed by another than its issuer")
        self._in_time(signed, now or datetime.now(UTC))
        self._for_us(signed)
        return said

    def _signer(self, assertion: Element) -> x509.Certificate:
        """The trusted certificate that the signature names; the only one where it names none."""
        signature = assertion.find(name("ds:Signature"))
        if signature is None:
            raise _refused(SecurityFault.FAILED_CHECK, "the assertion is not signed")
        named = signature.findtext(f"{name('ds:KeyInfo')}//{name('ds:X509Certificate')}")
        if named is None and len(self._certificates) == 1:
            return self._certificates[0]
        try:
            claimed = x509.load_der_x509_certificate(_base64(named or ""))
        except ValueError:
            raise _refused(SecurityFault.SECURITY_TOKEN_UNAVAILABLE, "the signature names no certificate") from None
        if claimed not in self._certificates:
            raise _refused(SecurityFault.FAILED_AUTHENTICATION, "the assertion's issuer is not trusted")
        return claimed

    def _in_time(self, assertion: Element, now: datetime) -> None:
        conditions = assertion.find(f"{SAML}Conditions")
        confirmations = assertion.findall(f"{SAML}Subject/{SAML}SubjectConfirmation")
        if conditions is None or assertion.find(f"{SAML}AuthnStatement") is None:
            raise _refused(SecurityFault.INVALID_SECURITY_TOKEN, "Conditions and AuthnStatement are required")
        bearers = [one for one in confirmations if one.get("Method") == BEARER]
        if not bearers:
            raise _refused(SecurityFault.UNSUPPORTED_SECURITY_TOKEN, "only bearer assertions are supported")
        limits = [conditions, *(data for one in bearers for data in one.findall(f"{SAML}SubjectConfirmationData"))]
        for limit in limits:
            begin, end = _time(limit, "NotBefore"), _time(limit, "NotOnOrAfter")
            if (begin is not None and now + SKEW < begin) or (end is not None and now - SKEW >= end):
                raise _refused(SecurityFault.MESSAGE_EXPIRED, "the assertion is not valid now")
        if _time(conditions, "NotOnOrAfter") is None:
            raise _refused(SecurityFault.INVALID_SECURITY_TOKEN, "Conditions need NotOnOrAfter")

    def _for_us(self, assertion: Element) -> None:
        """One restriction there must be (ITI TF-2: 3.40.4.1.2); of each an audience is ours (SAML Core: 2.5.1.4)."""
        restrictions = assertion.findall(f"{SAML}Conditions/{SAML}AudienceRestriction")
        if self._audiences and not restrictions:
            raise _refused(SecurityFault.FAILED_AUTHENTICATION, "the assertion is for nobody in particular")
        for restriction in restrictions:
            named = {(one.text or "").strip() for one in restriction.iterfind(f"{SAML}Audience")}
            if self._audiences and not named & self._audiences:
                raise _refused(SecurityFault.FAILED_AUTHENTICATION, "the assertion is for another audience")


def _certificates(setting: str, path: str) -> list[x509.Certificate]:
    """Of a PEM file.

    Raises:
        Unusable: it cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as problem:
        raise Unusable(f"{setting}: {problem}") from None


def _verified(assertion: Element, certificate: x509.Certificate) -> Element:
    """What was signed of it, by the holder of a certificate."""
    data = etree.tostring(assertion, with_tail=False)
    if len(data) > BYTES or data.count(b"xmlns") > NAMESPACE_DECLARATIONS:
        raise _refused(SecurityFault.INVALID_SECURITY_TOKEN, "the assertion is too long")
    _canonical(assertion)
    try:
        alone = parse(data)
        configuration = signxml.SignatureConfiguration(
            signature_methods=_SIGNED_BY, digest_algorithms=_DIGESTS, location="./",
            # Whether the issuer's own certificate has ended is for who lists it here.
            verification_time=certificate.not_valid_before_utc,
        )  # fmt: skip
        verifier = signxml.XMLVerifier()
        result = verifier.verify(alone, x509_cert=certificate, expect_config=configuration, id_attribute="ID")
    except signxml.exceptions.InvalidInput as problem:
        raise _refused(SecurityFault.UNSUPPORTED_ALGORITHM, _why(problem)) from None
    except Exception as problem:  # whatever a library makes of hostile XML
        raise _refused(SecurityFault.FAILED_CHECK, _why(problem)) from None
    signed = None if isinstance(result, list) else result.signed_xml
    if signed is None or signed.tag != f"{SAML}Assertion" or signed.get("ID") != assertion.get("ID"):
        raise _refused(SecurityFault.FAILED_CHECK, "it is not the assertion that is signed")
    found: Element = signed
    return found


def _read(assertion: Element) -> Assertion:
    who = assertion.find(f"{SAML}Subject/{SAML}NameID")
    issuer, name_id = _text(assertion.find(f"{SAML}Issuer")), _text(who)
    if not issuer or not name_id or who is None:
        raise _refused(SecurityFault.INVALID_SECURITY_TOKEN, "Issuer and NameID are required")
    values: dict[str, list[Code]] = {}
    for number, (key, code) in enumerate(_attributes(assertion)):
        if number == ATTRIBUTES:
            raise _refused(SecurityFault.INVALID_SECURITY_TOKEN, "the assertion has too many attributes")
        values.setdefault(key, []).append(code)

    def first(key: str) -> str:
        return values[key][0].code if values.get(key) else ""

    return Assertion(
        issuer, name_id, (who.get("SPProvidedID") or "")[:LENGTH], first(SUBJECT_ID), first(ORGANISATION),
        first(ORGANISATION_ID), tuple(values.get(ROLE, ())), tuple(values.get(PURPOSE_OF_USE, ())),
    )  # fmt: skip


def _attributes(assertion: Element) -> Iterator[tuple[str, Code]]:
    """Every value by its attribute's name, as attributes and statements may repeat (ITI TF-2: 3.40.4.1.2)."""
    for attribute in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute"):
        for value in attribute.iterfind(f"{SAML}AttributeValue"):
            coded = next((one for one in value if one.tag in (name("hl7:Role"), name("hl7:PurposeOfUse"))), None)
            if coded is None:
                code = Code(_text(value))
            else:
                given = (coded.get(key, "")[:LENGTH] for key in ("code", "codeSystem", "codeSystemName", "displayName"))
                code = Code(*given)
            if code.code:
                yield attribute.get("Name", ""), code


def _text(element: Element | None) -> str:
    """All of its text: a comment in it must not cut a name short."""
    return "" if element is None else str(element.xpath("string()")).strip()[:LENGTH]


def _canonical(assertion: Element) -> None:
    """That only the canonical form is used that SAML recommends (SAML 2.0 Core: 5.4.3, 5.4.4)."""
    methods = [*assertion.iter(name("ds:CanonicalizationMethod")), *assertion.iter(name("ds:Transform"))]
    if len(methods) > 4 or not {method.get("Algorithm", "") for method in methods} <= _TRANSFORMS:
        raise _refused(SecurityFault.UNSUPPORTED_ALGORITHM, "only exclusive canonicalisation is supported")


def _time(element: Element, attribute: str) -> datetime | None:
    text = element.get(attribute)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _refused(SecurityFault.INVALID_SECURITY_TOKEN, f"{attribute} is no time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _base64(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


def _why(problem: Exception) -> str:
    """Without what the library quotes of the message."""
    return f"the assertion's signature does not hold ({type(problem).__name__})"


def _refused(why: SecurityFault, reason: str) -> Fault:
    return Fault(FaultCode.SENDER, reason, (why,))


def claimed(assertion: bytes) -> Assertion:
    """What an assertion of our own says, which is for others to believe.

    Raises:
        ValueError: it is no SAML 2.0 assertion.
    """
    try:
        return _read(parse(assertion))
    except Fault as fault:
        raise ValueError(fault.reason) from None


def header_block(assertion: bytes) -> Any:
    """The wsse:Security header of a message that is sent for a person.

    Raises:
        ValueError: it is no SAML 2.0 assertion.
    """
    found = parse(assertion)
    if found.tag != f"{SAML}Assertion":
        raise ValueError("not a SAML 2.0 assertion")
    block = etree.Element(SECURITY, nsmap={"wsse": NAMESPACES["wsse"]})
    block.append(found)
    return block
