"""A certificate authority for a pilot: a folder with its key, the certificates it has issued, and its CRL.

P-256 and SHA-256, certificates for both sides of ITI-19 (RFC 5280: 4.2.1.12, serverAuth and clientAuth).  Who has an
authority already uses that one; this is for the first day, and to try revocation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from xds.errors import Unusable
from xds.system import private

MOST_YEARS = 20
"""Of an authority; a pilot is over long before."""

MOST_YEARS_ISSUED = 2
"""Of a node's certificate: ITI-19 recommends two years at most."""

MOST_DAYS_OF_CRL = 366

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"(?=.{1,253}$)(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # fmt: skip  # noqa: E501
_SKEW = timedelta(minutes=5)  # clocks of two nodes differ


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, where it is, and where its key is."""

    certificate: x509.Certificate
    certificate_file: Path
    key_file: Path


class Authority:
    """One that was made before."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            Unusable: the folder holds none.
        """
        self.folder = folder
        try:
            self.certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except (OSError, ValueError, TypeError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "not its certificate and key"
            raise Unusable(f"{folder} holds no authority (xds pki init makes one): {why}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self.certificate.public_key():
            raise Unusable(f"{folder}: ca.crt is not the certificate of ca.key")
        self._key = key

    @classmethod
    def made(cls, folder: Path, title: str, years: int) -> Authority:
        """Make one in a folder that has none, with a CRL that revokes nothing.

        Raises:
            Unusable: the folder has one, it cannot be written, or the name or the years cannot be.
        """
        _within("years", years, MOST_YEARS)
        if not 0 < len(title) <= 64 or not title.isprintable():
            raise Unusable("a name has 1 to 64 printable characters")
        key, name = ec.generate_private_key(ec.SECP256R1()), _name(title)
        builder = _builder(name, name, key.public_key(), key.public_key(), _years_from_now(years))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        certificate = builder.add_extension(_usage(signs_certificates=True), critical=True).sign(key, hashes.SHA256())
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            private.write(folder / "ca.key", _pem_of(key))
            private.write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))
        except FileExistsError:
            raise Unusable(f"{folder} holds an authority already") from None
        except OSError as problem:
            raise Unusable(f"{folder}: {problem.strerror}") from None
        authority = cls(folder)
        authority.sign_crl()
        return authority

    def issue(
        self, title: str, hosts: Sequence[str] = (), addresses: Sequence[str] = (), *,
        organisation: str = "", years: int = MOST_YEARS_ISSUED,
    ) -> Issued:  # fmt: skip
        """A node's or client's certificate and key, called by hosts and addresses, or by its title.

        It ends with the authority at the latest.

        Raises:
            Unusable: a name, an address or the years cannot be; or there is a certificate of this title.
        """
        _within("years", years, MOST_YEARS_ISSUED)
        if _NAME.fullmatch(title) is None:
            raise Unusable("a certificate's name has letters, digits, dots and hyphens, at most 64")
        alternative = _alternative(hosts or ([] if addresses else [title]), addresses)
        key = ec.generate_private_key(ec.SECP256R1())
        until = min(_years_from_now(years), self.certificate.not_valid_after_utc)
        builder = _builder(_name(title, organisation), self.certificate.subject, key.public_key(),
                           self._key.public_key(), until)  # fmt: skip
        both_sides = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(both_sides, critical=False)
            .add_extension(alternative, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = self.folder / f"{title}.crt", self.folder / f"{title}.key"
        try:
            private.write(files[1], _pem_of(key))
            private.write(files[0], certificate.public_bytes(serialization.Encoding.PEM))
        except FileExistsError:
            raise Unusable(f"there is a certificate {title} already; revoke it, and use another name") from None
        except OSError as problem:
            raise Unusable(f"{self.folder}: {problem.strerror}") from None
        return Issued(certificate, *files)

    def revoke(self, which: str) -> int:
        """Put a certificate on the CRL, by the name it was issued by or its serial number in hex; the number.

        Raises:
            Unusable: there is no such certificate, or it is the authority's own.
        """
        serial = self._serial(which)
        if serial == self.certificate.serial_number:
            raise Unusable("an authority does not revoke itself: take its certificate out of tls.trusted")
        self.sign_crl((serial,))
        return serial

    def sign_crl(self, more: Sequence[int] = (), days: int = 30) -> x509.CertificateRevocationList:
        """Sign the CRL anew, with more serial numbers on it.

        Raises:
            Unusable: what there is cannot be read or written, or the days cannot be.
        """
        _within("days", days, MOST_DAYS_OF_CRL)
        path, now, before = self.folder / "ca.crl", datetime.now(UTC), self._crl()
        revoked = {} if before is None else {one.serial_number: one.revocation_date_utc for one in before}
        number = 1 if before is None else before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - _SKEW)
            .next_update(now + timedelta(days=days))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for serial, since in {**dict.fromkeys(more, now), **revoked}.items():
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
            builder = builder.add_revoked_certificate(one)
        crl = builder.sign(self._key, hashes.SHA256())
        try:
            private.write(path, crl.public_bytes(serialization.Encoding.PEM), replaces=True)
        except OSError as problem:
            raise Unusable(f"{path}: {problem.strerror}") from None
        return crl

    def _crl(self) -> x509.CertificateRevocationList | None:
        try:
            return x509.load_pem_x509_crl((self.folder / "ca.crl").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise Unusable(f"{self.folder / 'ca.crl'} is no CRL") from None

    def _serial(self, which: str) -> int:
        path = self.folder / f"{which}.crt"
        if _NAME.fullmatch(which) and path.is_file():
            return x509.load_pem_x509_certificate(path.read_bytes()).serial_number
        digits = which.replace(":", "")
        if re.fullmatch(r"[0-9A-Fa-f]{2,40}", digits) and int(digits, 16):
            return int(digits, 16)
        raise Unusable(f"{self.folder} has no certificate {which}")


def _within(what: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise Unusable(f"{what}: 1 to {most}")


def _name(title: str, organisation: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, title)]
    if organisation:
        if len(organisation) > 64 or not organisation.isprintable():
            raise Unusable("an organisation has at most 64 printable characters")
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, signed_by: ec.EllipticCurvePublicKey,
    until: datetime,
) -> x509.CertificateBuilder:  # fmt: skip
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by), critical=False)
    )


def _years_from_now(years: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=365 * years)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _alternative(hosts: Sequence[str], addresses: Sequence[str]) -> x509.SubjectAlternativeName:
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise Unusable(f"{host} is no host name; an address is given by --ip")
    try:
        ips = [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
    except ValueError as problem:
        raise Unusable(f"--ip: {problem}") from None
    return x509.SubjectAlternativeName([*map(x509.DNSName, hosts), *ips])


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
