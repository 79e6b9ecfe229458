"""Bytes sealed to the holder of a key, who alone can open them: CMS EnvelopedData (RFC 5652), AES-256, RSA.

``openssl cms -decrypt -inform DER -inkey KEY.pem`` opens them, too.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import (
    PKCS7EnvelopeBuilder,
    PKCS7Options,
    pkcs7_decrypt_der,
)

from xds.errors import Unusable


def certificate(path: Path) -> x509.Certificate:
    """Whom to seal to.

    Raises:
        Unusable: it cannot be read, or its key is not RSA, which CMS recipients are here.
    """
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise Unusable(f"{path}: not a certificate in PEM ({type(problem).__name__})") from None
    if not isinstance(found.public_key(), RSAPublicKey):
        raise Unusable(f"{path}: a certificate of an RSA key is needed")
    return found


def seal(data: bytes, recipient: x509.Certificate) -> bytes:
    """DER that only the recipient opens."""
    builder = PKCS7EnvelopeBuilder().set_data(data).set_content_encryption_algorithm(AES256)
    return builder.add_recipient(recipient).encrypt(Encoding.DER, [PKCS7Options.Binary])


def opened(data: bytes, recipient: x509.Certificate, key: Path) -> bytes:
    """What was sealed.

    Raises:
        Unusable: the key cannot be read, or is not the recipient's.
    """
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as problem:
        raise Unusable(f"{key}: not an unencrypted private key in PEM ({type(problem).__name__})") from None
    if not isinstance(private, RSAPrivateKey):
        raise Unusable(f"{key}: an RSA key is needed")
    try:
        return pkcs7_decrypt_der(data, recipient, private, [])
    except ValueError:
        raise Unusable(f"{key}: it does not open what was sealed to this certificate") from None
