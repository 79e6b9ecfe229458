"""SAML 2.0 assertions of X-User Assertion (ITI TF-2: 3.40), signed, each part to be spoilt."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import signxml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree

AUDIENCE = "https://xds.hospital.example"
ISSUER = "https://idp.hospital.example"

_TEMPLATE = """
<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" xmlns:hl7="urn:hl7-org:v3"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" Version="2.0" ID="{id}" IssueInstant="{begin}">
<saml:Issuer>{issuer}</saml:Issuer>
<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Id="placeholder"/>
<saml:Subject><saml:NameID SPProvidedID="{alias}">{user}</saml:NameID>
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:{method}">
<saml:SubjectConfirmationData {confirmation}>{key_info}</saml:SubjectConfirmationData></saml:SubjectConfirmation>{more}
</saml:Subject>
<saml:Conditions NotBefore="{begin}" NotOnOrAfter="{end}">
<saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction>{condition}
</saml:Conditions>
<saml:AuthnStatement AuthnInstant="{begin}"><saml:AuthnContext><saml:AuthnContextClassRef>
urn:oasis:names:tc:SAML:2.0:ac:classes:X509</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
<saml:AttributeStatement>
<saml:Attribute Name="urn:oasis:names:tc:xspa:1.0:subject:subject-id">
<saml:AttributeValue>{known_as}</saml:AttributeValue>
</saml:Attribute>
<saml:Attribute Name="urn:oasis:names:tc:xspa:1.0:subject:organization">
<saml:AttributeValue>North Hospital</saml:AttributeValue>
</saml:Attribute>
<saml:Attribute Name="urn:oasis:names:tc:xspa:1.0:subject:organization-id">
<saml:AttributeValue>urn:oid:1.2.3.9</saml:AttributeValue>
</saml:Attribute>
<saml:Attribute Name="urn:oasis:names:tc:xacml:2.0:subject:role"><saml:AttributeValue><hl7:Role xsi:type="hl7:CE"
 code="223366009" codeSystem="2.16.840.1.113883.6.96" codeSystemName="SNOMED_CT" displayName="Radiologist"/>
</saml:AttributeValue></saml:Attribute>
<saml:Attribute Name="urn:oasis:names:tc:xspa:1.0:subject:purposeofuse"><saml:AttributeValue><hl7:PurposeOfUse
 xsi:type="hl7:CE" code="{purpose}" codeSystem="2.16.840.1.113883.1.11.20448" codeSystemName="PurposeOfUse"
 displayName="{purpose_text}"/></saml:AttributeValue></saml:Attribute>
</saml:AttributeStatement></saml:Assertion>
"""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who vouches for people."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@cache
def an_issuer(name: str = "idp") -> Issuer:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return Issuer(key, certificate)


@dataclass(frozen=True, slots=True)
class Claims:
    """What an assertion says; times in seconds from now."""

    user: str = "anna.meier"
    known_as: str = "Dr. Anna Meier"
    alias: str = "am"
    audience: str = AUDIENCE
    method: str = "bearer"
    purpose: str = "TREATMENT"
    purpose_text: str = "Treatment"
    issuer: str = ISSUER
    begin: int = -5
    end: int = 300
    id: str = "_a1"
    condition: str = ""  # another one, as XML
    confirmation: str = 'NotOnOrAfter="{end}"'  # attributes of SubjectConfirmationData
    key_info: str = ""  # what is in its ds:KeyInfo, as XML
    more: str = ""  # another SubjectConfirmation, as XML
    by: Issuer = field(default_factory=an_issuer)
    method_of_signature: signxml.SignatureMethod = signxml.SignatureMethod.ECDSA_SHA256


def unsigned(claims: Claims) -> str:
    now = datetime.now(UTC)

    def time(seconds: int) -> str:
        return (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    times = {"begin": time(claims.begin), "end": time(claims.end), "short": time(240)}
    info = '<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{}</ds:KeyInfo>'
    given = {name: getattr(claims, name) for name in Claims.__slots__} | times
    given |= {name: getattr(claims, name).format(**times) for name in ("confirmation", "more")}
    given["key_info"] = info.format(claims.key_info) if claims.key_info else ""
    return _TEMPLATE.strip().format(**given)


def signed(claims: Claims = Claims()) -> bytes:
    """The assertion, signed by its issuer."""
    signer = signxml.XMLSigner(
        signature_algorithm=claims.method_of_signature, c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"
    )
    root = etree.fromstring(unsigned(claims))
    done = signer.sign(
        root, key=claims.by.key, cert=[claims.by.certificate], reference_uri=claims.id, id_attribute="ID"
    )
    return bytes(etree.tostring(done))
