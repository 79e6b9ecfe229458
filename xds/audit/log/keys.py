"""The key that signs checkpoints: ECDSA P-256, made at first start, or given by the operator; and others made alike."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from xds.audit.log.hsm import TokenKey
from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.system.durable import sync_folder
from xds.system.token import SCHEME

LIFETIME = timedelta(days=730)
"""ITI-19 recommends two years at most."""

RENEWED_BEFORE = timedelta(days=60)
"""A key of ours whose certificate ends within this is followed by a new one at the next start."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, its certificate, and the certificates of the log's keys before it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    earlier: tuple[x509.Certificate, ...] = ()


AUDIT = "audit-signing"
"""What the files of the audit log's key are called."""


def load_or_make(
    folder: Path, *, key: str = "", certificate: str = "", name: str = AUDIT, subject: str = "xds audit log"
) -> SigningKey:
    """The key and certificate in the given files, else those of the folder, made if it has none.

    The certificate's file begins with the key's own; the others in it are of the log's keys before.  A key that
    was made here is renewed in time; its files are called ``name``, and its certificate is of ``subject``.

    Raises:
        Unusable: a file cannot be read, is no P-256 key or certificate, or they do not belong together.
    """
    if bool(key) != bool(certificate):
        raise Unusable("audit.key and audit.certificate are set together or not at all")
    key_path = Path(key) if key else folder / f"{name}.pem"
    certificate_path = _certificate_path(folder, certificate, name)
    try:
        if key.startswith(SCHEME):
            return _in_token(key, certificate_path)
        if not key:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _keep_up(key_path, certificate_path, subject)
        return _load(key_path, certificate_path)
    except OSError as problem:
        raise Unusable(f"the audit log's signing key: {problem}") from None


def log_certificates(settings: Settings) -> list[x509.Certificate]:
    """The certificates of a deployment's log: whom its checkpoints are trusted of.

    Raises:
        Unusable: see ``load_certificates``.
    """
    return load_certificates(_certificate_path(settings.data / "keys", settings.audit.certificate))


def _certificate_path(folder: Path, configured: str, name: str = AUDIT) -> Path:
    return Path(configured) if configured else folder / f"{name}.crt"


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file.

    Raises:
        Unusable: it cannot be read or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise Unusable(f"{path}: no certificate: {problem}") from None


def _in_token(uri: str, certificate_path: Path) -> SigningKey:
    """The key of a token; that the certificate is its own, a signature shows."""
    certificate, *earlier = load_certificates(certificate_path)
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp256r1":
        raise Unusable(f"{certificate_path}: not of an ECDSA P-256 key")
    key = TokenKey(uri, public_key)
    try:
        public_key.verify(key.sign(b"xds", ec.ECDSA(hashes.SHA256())), b"xds", ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Unusable(f"{certificate_path} is not the certificate of audit.key") from None
    return SigningKey(key, certificate, tuple(earlier))


def _load(key_path: Path, certificate_path: Path) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        certificate, *earlier = x509.load_pem_x509_certificates(certificate_path.read_bytes())
    except (ValueError, TypeError) as problem:
        raise Unusable(f"the audit log's signing key: {problem}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise Unusable(f"{key_path}: not an ECDSA P-256 key")
    if key.public_key() != certificate.public_key():
        raise Unusable(f"{certificate_path} is not the certificate of {key_path}")
    return SigningKey(key, certificate, tuple(earlier))


def _keep_up(key_path: Path, certificate_path: Path, subject: str) -> None:
    """Make a key where there is none, or where its certificate ends soon; finish what a crash has left undone.

    The new key waits beside the old one until its certificate is in place.
    """
    waiting = key_path.with_suffix(".next")
    try:
        earlier = x509.load_pem_x509_certificates(certificate_path.read_bytes())
    except FileNotFoundError:
        _make(key_path, certificate_path, [], subject)
        return
    except ValueError:
        return  # _load says what is wrong
    if waiting.exists():
        key = serialization.load_pem_private_key(waiting.read_bytes(), None)
        if key.public_key() == earlier[0].public_key():
            waiting.rename(key_path)
        else:
            waiting.unlink()
    if earlier[0].not_valid_after_utc - datetime.now(UTC) < RENEWED_BEFORE:
        _make(waiting, certificate_path, earlier, subject)
        waiting.rename(key_path)
    sync_folder(key_path.parent)


def _make(key_path: Path, certificate_path: Path, earlier: list[x509.Certificate], subject: str) -> None:
    """The certificate is written last: while it is absent there is no key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(key_path, pem)
    certificates = (one.public_bytes(serialization.Encoding.PEM) for one in (certificate, *earlier))
    _write(certificate_path, b"".join(certificates))


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)
