"""By what peers are told apart, for shares, limits and who stored what: the public key, else what they are called."""

from __future__ import annotations

import hashlib
import warnings
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KNOWN = 4096
"""Certificates whose keys are remembered."""


def key_of(certificate: bytes, otherwise: str) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo, RFC 5280: 4.1.2.7) in hexadecimal; of no certificate, the other.

    The key and not the certificate: it stays when that is renewed.
    """
    return (_digest(certificate) if certificate else "") or otherwise


def certificate_of(connection: object) -> bytes:
    """The certificate in DER that a peer presented on a connection; none without mutual TLS."""
    get = getattr(connection, "getpeercert", None)
    return (get(True) or b"") if get is not None else b""


@lru_cache(KNOWN)
def _digest(certificate: bytes) -> str:
    """Empty where it cannot be read: OpenSSL takes some old forms that the library does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            key = x509.load_der_x509_certificate(certificate).public_key()
            return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    except Exception:  # whatever its parts raise
        return ""
