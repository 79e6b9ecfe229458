"""A signing key that never leaves its hardware: ECDSA P-256 in a PKCS#11 token, named by a URI (RFC 7512).

    pkcs11:token=audit;object=xds?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/xds/pin

Without ``pin-source`` the PIN is in the variable XDS_AUDIT_PIN.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from xds.errors import Unusable

SCHEME = "pkcs11:"
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
    path, query = _parts(uri)
    try:
        import pkcs11
    except ImportError:
        raise Unusable("audit.key is in a token: install python-pkcs11, as by pip install 'xds[hsm]'") from None
    if "module-path" not in query or "object" not in path:
        raise Unusable("audit.key: a pkcs11: URI needs object and module-path")
    try:
        library = pkcs11.lib(query["module-path"])
        token = library.get_token(token_label=path["token"]) if "token" in path else next(iter(library.get_tokens()))
        try:
            session = token.open(user_pin=_pin(query))
        except pkcs11.exceptions.UserAlreadyLoggedIn:  # this process is
            session = token.open()
        return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=path["object"])
    except (pkcs11.exceptions.PKCS11Error, RuntimeError, StopIteration) as problem:
        raise Unusable(f"audit.key: {type(problem).__name__} {problem}".rstrip()) from None


def _parts(uri: str) -> tuple[dict[str, str], dict[str, str]]:
    """Attributes of the path and of the query (RFC 7512: 2.3)."""
    path, _, query = uri.removeprefix(SCHEME).partition("?")

    def split(text: str, by: str) -> dict[str, str]:
        pairs = (part.partition("=") for part in text.split(by) if part)
        return {name: unquote(value) for name, _, value in pairs}

    return split(path, ";"), split(query, "&")


def _pin(query: dict[str, str]) -> str:
    source = query.get("pin-source", "").removeprefix("file:")
    try:
        pin = Path(source).read_text("utf-8").strip() if source else os.environ.get(PIN, "")
    except OSError as problem:
        raise Unusable(f"audit.key: pin-source: {problem.strerror}") from None
    if not pin:
        raise Unusable(f"audit.key: the PIN is neither in pin-source nor in {PIN}")
    return pin
