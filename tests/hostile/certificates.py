"""An authority of the tests' own, and certificates by it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from xds.wire.certificates import Certificate, name_of


@dataclass(frozen=True)
class Signed:
    """A certificate and its key, as PEM files."""

    certificate: str
    key: str


class Authority:
    """Signs certificates into a folder; its own is ``trusted``."""

    def __init__(self, folder: Path, title: str = "authority") -> None:
        self._folder, self._title = folder, title
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = self._certificate(title, self._key.public_key(), is_authority=True)
        (folder / f"{title}.crt").write_bytes(own.public_bytes(serialization.Encoding.PEM))
        self.trusted = str(folder / f"{title}.crt")

    def signed(self, title: str) -> Signed:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(title, key.public_key(), is_authority=False)
        paths = (self._folder / f"{title}.crt", self._folder / f"{title}.key")
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
        return Signed(str(paths[0]), str(paths[1]))

    def _certificate(self, title: str, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now, issuer = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._title)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)]))
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if is_authority:
            builder = builder.add_extension(
                x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True
            )
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def named(subject: str, issuer: str = "CN=region") -> Certificate:
    """What a certificate says, of a subject and an issuer as RFC 4514 writes them."""
    return Certificate(
        name_of(subject), name_of(issuer), subject, issuer, "1F", "ab" * 32, frozenset(),
        datetime(2099, 1, 1, tzinfo=UTC),
    )  # fmt: skip
