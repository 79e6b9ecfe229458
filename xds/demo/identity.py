"""Who the demo's people are: an issuer of assertions, and the doctor at the clinic that it vouches for (ITI-40)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import signxml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lxml import etree

from xds.wire.assertion import BEARER, ORGANISATION, PURPOSE_OF_USE, ROLE, SAML, SUBJECT_ID
from xds.wire.xml import NAMESPACES, Element

DOCTOR = "Dr. Mira Horvat"
ISSUER = "urn:xds:demo:identity"
HOURS = 12
"""That the doctor's assertion lasts."""


def vouch(folder: Path) -> tuple[Path, Path]:
    """Make an issuer, and its assertion of the doctor; the issuer's certificate and the assertion, as files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "demo identity provider")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    assertion = _assertion(now)
    signer = signxml.XMLSigner(
        signature_algorithm=signxml.SignatureMethod.ECDSA_SHA256,
        c14n_algorithm=signxml.CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    signed = signer.sign(assertion, key=key, cert=[certificate], reference_uri=assertion.get("ID"), id_attribute="ID")
    paths = folder / "identity-provider.pem", folder / "doctor.xml"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(etree.tostring(signed))
    return paths


def _assertion(now: datetime) -> Element:
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in (now, now + timedelta(hours=HOURS)))
    root = etree.Element(f"{SAML}Assertion", nsmap={"saml": SAML[1:-1], "hl7": NAMESPACES["hl7"]})
    for key, value in (("Version", "2.0"), ("ID", f"_{uuid4()}"), ("IssueInstant", begin)):
        root.set(key, value)

    def child(parent: Element, name: str, text: str = "", **attributes: str) -> Element:
        found = etree.SubElement(parent, f"{SAML}{name}", attributes)
        found.text = text or None
        return found

    child(root, "Issuer", ISSUER)
    subject = child(root, "Subject")
    child(subject, "NameID", "mira.horvat")
    child(child(subject, "SubjectConfirmation", Method=BEARER), "SubjectConfirmationData", NotOnOrAfter=end)
    child(root, "Conditions", NotBefore=begin, NotOnOrAfter=end)
    context = child(child(root, "AuthnStatement", AuthnInstant=begin), "AuthnContext")
    child(context, "AuthnContextClassRef", "urn:oasis:names:tc:SAML:2.0:ac:classes:X509")
    statement = child(root, "AttributeStatement")
    for name, text in ((SUBJECT_ID, DOCTOR), (ORGANISATION, "Clinic")):
        child(child(statement, "Attribute", Name=name), "AttributeValue", text)
    for name, tag, code, display in (
        (ROLE, "Role", "158965000", "Doctor"), (PURPOSE_OF_USE, "PurposeOfUse", "TREAT", "treatment"),
    ):  # fmt: skip
        holder = child(child(statement, "Attribute", Name=name), "AttributeValue")
        etree.SubElement(holder, f"{{{NAMESPACES['hl7']}}}{tag}", {
            "code": code, "codeSystemName": "demo", "displayName": display,
        })  # fmt: skip
    return root
