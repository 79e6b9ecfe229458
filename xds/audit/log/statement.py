"""Signed statements about the log: flat XML of a few fields, under one signature.

Signed with signxml: enveloped, ECDSA P-256 with SHA-256, exclusive canonicalisation.  The certificate is pinned by who
verifies; the signature names it by its fingerprint only, because there are many statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import signxml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from lxml import etree
from signxml.exceptions import SignXMLException

from xds.audit.log.keys import SigningKey
from xds.wire.xml import NAMESPACES, Element, NotXml, name, parse

_SIGNER = signxml.XMLSigner(
    method=signxml.SignatureConstructionMethod.enveloped,
    signature_algorithm=signxml.SignatureMethod.ECDSA_SHA256,
    digest_algorithm=signxml.DigestAlgorithm.SHA256,
    c14n_algorithm=signxml.CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
)


class BadStatement(ValueError):
    """A statement that cannot be read, or whose signature does not hold."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a statement is: its root element, and the fields in it, in order.  ``called`` is for people."""

    namespace: str
    name: str
    fields: tuple[str, ...]
    called: str


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate, hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def sign(kind: Kind, values: Sequence[str], signing: SigningKey) -> bytes:
    """The statement as signed XML."""
    prefixes: dict[Any, str] = {None: kind.namespace}
    root = etree.Element(f"{{{kind.namespace}}}{kind.name}", nsmap=prefixes)
    for field, value in zip(kind.fields, values, strict=True):
        etree.SubElement(root, f"{{{kind.namespace}}}{field}").text = value
    key_info = etree.Element(name("ds:KeyInfo"), nsmap={"ds": NAMESPACES["ds"]})
    etree.SubElement(key_info, name("ds:KeyName")).text = fingerprint(signing.certificate)
    return etree.tostring(_SIGNER.sign(root, key=signing.key, key_info=key_info))


def values_of(kind: Kind, signed: bytes) -> list[str]:
    """What a statement says, field by field; whether it is to be believed is ``verify``'s to find.

    Raises:
        BadStatement: it is none of the kind.
    """
    try:
        return _values(kind, parse(signed))
    except (NotXml, ValueError) as problem:
        raise BadStatement(f"not a {kind.called}: {problem}") from None


def _values(kind: Kind, root: Element) -> list[str]:
    children = [child for child in root if child.tag != name("ds:Signature")]
    wanted = [f"{{{kind.namespace}}}{field}" for field in kind.fields]
    if root.tag != f"{{{kind.namespace}}}{kind.name}" or [child.tag for child in children] != wanted:
        raise ValueError(f"its elements are not those of a {kind.called}")
    return [child.text or "" for child in children]


def signer(signed: bytes) -> str:
    """The fingerprint of the certificate that a statement says it is signed by; empty if it does not say."""
    return parse(signed).findtext(f".//{name('ds:KeyName')}") or ""


def verify(kind: Kind, signed: bytes, time: datetime, certificates: Sequence[x509.Certificate]) -> None:
    """That one of the certificates, valid at the statement's own time, signed it.

    Raises:
        BadStatement: none of them did.
    """
    trusted = [one for one in certificates if fingerprint(one) == signer(signed)]
    if not trusted:
        raise BadStatement("signed by a key that is not trusted")
    if not trusted[0].not_valid_before_utc <= time <= trusted[0].not_valid_after_utc:
        raise BadStatement("signed outside the time that its certificate is valid")
    verify_signature(kind, signed, trusted[0])


def verify_signature(kind: Kind, signed: bytes, certificate: x509.Certificate) -> None:
    """That what is read of a statement was signed by the certificate's key, whenever that was.

    Raises:
        BadStatement: it was not.
    """
    configuration = signxml.SignatureConfiguration(
        signature_methods=frozenset({signxml.SignatureMethod.ECDSA_SHA256}),
        digest_algorithms=frozenset({signxml.DigestAlgorithm.SHA256}),
        location="./",
        verification_time=certificate.not_valid_before_utc,
    )
    try:
        result = signxml.XMLVerifier().verify(signed, x509_cert=certificate, expect_config=configuration)
    except (SignXMLException, etree.LxmlError, ValueError) as problem:
        raise BadStatement(f"the signature does not hold: {type(problem).__name__}") from None
    if isinstance(result, list) or result.signed_xml is None:
        raise BadStatement("more than one thing is signed")
    try:
        same = _values(kind, result.signed_xml) == values_of(kind, signed)
    except ValueError as problem:
        raise BadStatement(f"what was signed is no {kind.called}: {problem}") from None
    if not same:
        raise BadStatement(f"what was signed is another {kind.called}")
