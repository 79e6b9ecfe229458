"""A signing key that never leaves its hardware: ECDSA P-256 in a PKCS#11 token, named by a URI (RFC 7512).

    pkcs11:token=audit;object=xds?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/xds/pin

Without ``pin-source`` the PIN is in the variable XDS_AUDIT_PIN.
"""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from xds.errors import Unusable
from xds.system import token

PIN = "XDS_AUDIT_PIN"


class TokenKey(ec.EllipticCurvePrivateKey):
    """A P-256 key as ``cryptography`` has keys, of which the token does the signing.  Of one process, not its children.

    Raises:
        Unusable: the URI is malformed, or the token, the key or its PIN are not right.
    """

    def __init__(self, uri: str, public_key: ec.EllipticCurvePublicKey) -> None:
        self._public_key = public_key
        self._key = _opened(uri)

    @property
    def curve(self) -> ec.EllipticCurve:
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        return 256

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public_key

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """An ECDSA signature over the SHA-256 of ``data``, as DER."""
        import pkcs11

        assert isinstance(signature_algorithm.algorithm, hashes.SHA256)  # noqa: S101  statement.py signs so alone
        digest = hashlib.sha256(data).digest()
        try:
            raw: bytes = self._key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        except pkcs11.exceptions.PKCS11Error as problem:
            raise Unusable(f"audit.key: the token does not sign: {type(problem).__name__}") from None
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def exchange(self, *_: Any) -> NoReturn:
        raise NotImplementedError("the key signs, and does nothing else")

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError("the key does not leave its token")

    def private_bytes(self, *_: Any) -> NoReturn:
        raise NotImplementedError("the key does not leave its token")

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, _memo: Any) -> TokenKey:
        return self


def _opened(uri: str) -> Any:
    def key(session: Any, label: str) -> Any:
        import pkcs11

        return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)

    return token.opened(uri, "audit.key", PIN, key)
