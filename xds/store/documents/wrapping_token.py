"""Wrapping keys that never leave their hardware: AES-256 in a PKCS#11 token, named by a URI (RFC 7512).

    pkcs11:token=xds;object=documents?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/xds/pin

They are all those whose labels begin so, such as documents-2026 and documents-2027: the last one by its number wraps.
Without ``pin-source`` the PIN is in the variable XDS_DOCUMENTS_PIN.  The token is asked at a start and when keys
change: it wraps the keys of stores, not those of documents.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from xds.errors import Unusable
from xds.store.documents.wrapping import KEY_BYTES, SETTING, NotWrapped
from xds.system import token

PIN = "XDS_DOCUMENTS_PIN"


class TokenKey:
    """A key of a token; its id is made of its label."""

    def __init__(self, label: str, key: Any) -> None:
        self.made, self._key = label, key
        self.id = hashlib.sha256(f"xds documents key {label}".encode()).hexdigest()[:16]

    def wrap(self, secret: bytes) -> bytes:
        import pkcs11

        attribute = pkcs11.Attribute
        taken = self._key.session.create_object({
            attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, attribute.KEY_TYPE: pkcs11.KeyType.AES,
            attribute.VALUE: secret, **_passing(),
        })  # fmt: skip
        try:
            return bytes(self._key.wrap_key(taken, mechanism=pkcs11.Mechanism.AES_KEY_WRAP))
        except pkcs11.exceptions.PKCS11Error as problem:
            raise Unusable(f"{SETTING}: the token does not wrap: {type(problem).__name__}") from None
        finally:
            taken.destroy()

    def unwrap(self, wrapped: bytes) -> bytes:
        import pkcs11

        try:
            taken = self._key.unwrap_key(
                pkcs11.ObjectClass.SECRET_KEY, pkcs11.KeyType.AES, wrapped,
                mechanism=pkcs11.Mechanism.AES_KEY_WRAP, template=_passing(),
            )  # fmt: skip
        except pkcs11.exceptions.PKCS11Error:
            raise NotWrapped from None
        try:
            secret = bytes(taken[pkcs11.Attribute.VALUE])
        finally:
            taken.destroy()
        if len(secret) != KEY_BYTES:
            raise NotWrapped
        return secret


class TokenKeys:
    """The keys of a token."""

    def __init__(self, uri: str) -> None:
        """
        Raises:
            Unusable: the URI is malformed, or the token, its PIN or its keys are not right.
        """
        self._uri = uri
        self._keys = _found(uri)

    @property
    def where(self) -> str:
        return f"the token of {SETTING}"

    @property
    def newest(self) -> TokenKey:
        return next(reversed(self._keys.values()))

    @property
    def keys(self) -> Mapping[str, TokenKey]:
        return self._keys

    def read_again(self) -> None:
        self._keys = _found(self._uri)


def _found(uri: str) -> dict[str, TokenKey]:
    def all_of(session: Any, label: str) -> dict[str, Any]:
        import pkcs11

        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES}
        found = [one for one in session.get_objects(wanted) if one.label.startswith(label)]
        return {one.label: one for one in found}

    found = token.opened(uri, SETTING, PIN, all_of)
    keys = [TokenKey(label, found[label]) for label in sorted(found, key=in_turn)]
    if not keys:
        raise Unusable(f"{SETTING}: the token has no AES key whose label begins so: make one with its own tool")
    return {key.id: key for key in keys}


def in_turn(label: str) -> list[str | int]:
    """What labels are sorted by: documents-10 comes after documents-9."""
    return [int(part) if number % 2 else part for number, part in enumerate(re.split("([0-9]+)", label))]


def _passing() -> dict[Any, Any]:
    """What a key is that only passes through the token."""
    import pkcs11

    attribute = pkcs11.Attribute
    return {attribute.TOKEN: False, attribute.SENSITIVE: False, attribute.EXTRACTABLE: True}
