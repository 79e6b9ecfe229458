"""Signatures of SAML 2.0 assertions: what of one was signed, and signing one.  SAML 2.0 Core: 5.4."""

from __future__ import annotations

from typing import Any

import signxml
from cryptography import x509
from lxml import etree

from xds.wire.assertion import SAML
from xds.wire.faults import SecurityFault, insecure
from xds.wire.xml import Element, name, parse

BYTES = 256 * 1024
"""Of an assertion."""

NAMESPACE_DECLARATIONS = 100
"""In an assertion: to put many into canonical form takes a time that grows with their square."""

_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_TRANSFORMS = frozenset({_EXCLUSIVE, "http://www.w3.org/2000/09/xmldsig#enveloped-signature"})
_SIGNED_BY = frozenset({
    signxml.SignatureMethod.RSA_SHA256, signxml.SignatureMethod.RSA_SHA384, signxml.SignatureMethod.RSA_SHA512,
    signxml.SignatureMethod.ECDSA_SHA256, signxml.SignatureMethod.ECDSA_SHA384, signxml.SignatureMethod.ECDSA_SHA512,
})  # fmt: skip
_DIGESTS = frozenset({
    signxml.DigestAlgorithm.SHA256, signxml.DigestAlgorithm.SHA384, signxml.DigestAlgorithm.SHA512,
})  # fmt: skip


def verified(assertion: Element, certificate: x509.Certificate) -> Element:
    """What was signed of it, by the holder of a certificate: it alone may be read.

    Raises:
        Fault: it is too long, its signature does not hold, or is of something else.
    """
    data = etree.tostring(assertion, with_tail=False)
    if len(data) > BYTES or data.count(b"xmlns") > NAMESPACE_DECLARATIONS:
        raise insecure(SecurityFault.INVALID_SECURITY_TOKEN, "the assertion is too long")
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
        raise insecure(SecurityFault.UNSUPPORTED_ALGORITHM, _why(problem)) from None
    except Exception as problem:  # whatever a library makes of hostile XML
        raise insecure(SecurityFault.FAILED_CHECK, _why(problem)) from None
    signed = None if isinstance(result, list) else result.signed_xml
    if signed is None or signed.tag != f"{SAML}Assertion" or signed.get("ID") != assertion.get("ID"):
        raise insecure(SecurityFault.FAILED_CHECK, "it is not the assertion that is signed")
    found: Element = signed
    return found


def signed(assertion: Element, key: Any, certificate: x509.Certificate) -> Element:
    """An assertion with the signature of an ECDSA P-256 key, after its Issuer (SAML 2.0 Core: 2.3.3)."""
    place = etree.Element(name("ds:Signature"), nsmap={"ds": name("ds:Signature")[1:].split("}")[0]})
    place.set("Id", "placeholder")  # by which signxml knows where the signature goes
    assertion.insert(1, place)
    signer = signxml.XMLSigner(
        signature_algorithm=signxml.SignatureMethod.ECDSA_SHA256,
        c14n_algorithm=signxml.CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    made: Element = signer.sign(
        assertion, key=key, cert=[certificate], reference_uri=assertion.get("ID"), id_attribute="ID"
    )
    return made


def _canonical(assertion: Element) -> None:
    """That only the canonical form is used that SAML recommends (SAML 2.0 Core: 5.4.3, 5.4.4)."""
    methods = [*assertion.iter(name("ds:CanonicalizationMethod")), *assertion.iter(name("ds:Transform"))]
    if len(methods) > 4 or not {method.get("Algorithm", "") for method in methods} <= _TRANSFORMS:
        raise insecure(SecurityFault.UNSUPPORTED_ALGORITHM, "only exclusive canonicalisation is supported")


def _why(problem: Exception) -> str:
    """Without what the library quotes of the message."""
    return f"the assertion's signature does not hold ({type(problem).__name__})"
