"""Whose a client certificate is: its parsed names, its serial number and its key.

RFC 5280: 4.1.2.4 (issuer), 4.1.2.6 (subject), 4.1.2.7 (the key), 4.2.1.6 (subjectAltName); RFC 4514 (names as text).
Names are compared as the sets of attributes that they are, never as text that was joined.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

Name: TypeAlias = tuple[frozenset[tuple[str, str]], ...]
"""Relative distinguished names, sorted, each the set of its attributes: OID and value."""

# Long names that programs write, and people have in their settings; RFC 4514 knows short ones.
_LONG = {
    "commonName": NameOID.COMMON_NAME, "organizationName": NameOID.ORGANIZATION_NAME,
    "organizationalUnitName": NameOID.ORGANIZATIONAL_UNIT_NAME, "countryName": NameOID.COUNTRY_NAME,
    "localityName": NameOID.LOCALITY_NAME, "stateOrProvinceName": NameOID.STATE_OR_PROVINCE_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER, "emailAddress": NameOID.EMAIL_ADDRESS,
}  # fmt: skip

_BETWEEN = re.compile(r"(?<!\\)((?:\\\\)*),\s+")

KNOWN = 4096
"""Certificates of which a process remembers what they say."""


class NotACertificate(ValueError):
    """Bytes that are no X.509 certificate, or text that is no distinguished name."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says; it was verified where it was presented, or comes from who is believed."""

    subject: Name
    issuer: Name
    subject_text: str  # RFC 4514
    issuer_text: str
    serial: str  # hexadecimal, upper case
    spki_sha256: str  # of SubjectPublicKeyInfo, hexadecimal, lower case
    alternative_names: frozenset[str]  # dns:NAME, uri:URI, ip:ADDRESS, email:ADDRESS
    not_after: datetime
    organisation: str = ""  # O of the subject

    @classmethod
    def of(cls, der: bytes) -> Certificate:
        """What a certificate in DER says.

        Raises:
            NotACertificate: it is none.
        """
        return _parsed(der)

    @property
    def text(self) -> str:
        """Who it names, by whom, and which one of theirs: for a record."""
        return f"{self.subject_text} (serial number {self.serial}, issuer {self.issuer_text})"


@lru_cache(KNOWN)
def _parsed(der: bytes) -> Certificate:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old forms that are still in use
            found = x509.load_der_x509_certificate(der)
            subject, issuer = found.subject, found.issuer
            names = frozenset(_alternative_names(found))
            organisation = next(
                (str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)), ""
            )
            return Certificate(
                _set(subject), _set(issuer), subject.rfc4514_string(), issuer.rfc4514_string(),
                f"{found.serial_number:X}", spki_sha256(found.public_key()), names, found.not_valid_after_utc,
                organisation,
            )  # fmt: skip
    except Exception:  # cryptography raises many kinds, of bytes that anybody may send
        raise NotACertificate("no X.509 certificate") from None


def spki_sha256(key: PublicKeyTypes) -> str:
    """SHA-256 of a public key's SubjectPublicKeyInfo (RFC 5280: 4.1.2.7), in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _set(name: x509.Name) -> Name:
    rdns = [frozenset((one.oid.dotted_string, str(one.value)) for one in rdn) for rdn in name.rdns]
    return tuple(sorted(rdns, key=sorted))


def _alternative_names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for kind, type_ in (("dns", x509.DNSName), ("uri", x509.UniformResourceIdentifier), ("email", x509.RFC822Name)):
        yield from (f"{kind}:{text.lower() if kind == 'dns' else text}" for text in names.get_values_for_type(type_))
    yield from (f"ip:{address}" for address in names.get_values_for_type(x509.IPAddress))


def name_of(text: str) -> Name:
    """A distinguished name that is written as RFC 4514 has it; spaces behind commas and long names are understood.

    Raises:
        NotACertificate: it is written otherwise.
    """
    try:
        parsed = x509.Name.from_rfc4514_string(_BETWEEN.sub(r"\1,", text.strip()), _LONG)
    except ValueError:
        raise NotACertificate('a distinguished name is written "CN=pacs.north,O=North"') from None
    if not parsed.rdns:
        raise NotACertificate('a distinguished name is written "CN=pacs.north,O=North"')
    return _set(parsed)


def from_pem(text: str) -> Certificate:
    """The first certificate of a PEM text.

    Raises:
        NotACertificate: there is none.
    """
    try:
        return Certificate.of(x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER))
    except ValueError:
        raise NotACertificate("no X.509 certificate in PEM") from None
