"""The keys that tokens are signed by: a JSON Web Key Set in a file, or at a URL.  RFC 7517: 5."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, KeySet, RSAKey

from xds.errors import Unusable
from xds.settings.addresses import is_loopback

log = logging.getLogger("xds.wire.jwks")

BYTES, KEYS = 256 * 1024, 100
"""Of a set, and in it."""

SECONDS = 5.0
"""The longest that a URL is waited for."""

AGAIN_SECONDS = 30.0
"""Between two questions at the earliest, whatever tokens come: after one that failed, and for a key that is new."""

KEPT_SECONDS = 3600.0
"""How long keys are worth something whose URL does not answer."""

RSA_BITS = 2048
"""Of an RSA key at the least."""


class Keys:
    """One set.  Safe with threads: one asks, others go on with the keys that there are."""

    def __init__(self, where: str, seconds: float) -> None:
        """``where`` is a file, or an https URL; keys of a URL are taken for true for so long.

        Raises:
            Unusable: the file cannot be read or holds no keys, or the URL is none of https, nor of this machine.
        """
        self._where, self._seconds = where, seconds
        self._is_url = where.startswith(("http:", "https:"))
        self._keys: KeySet | None = None
        self._came = self._asked = float("-inf")
        self._stamp: tuple[int, int] = (0, 0)
        self._asking = threading.Lock()
        if self._is_url:
            _check(where)
        else:
            self._keys = self._read()

    def of(self, kid: str) -> KeySet | None:
        """The keys as they are now; None where there are none.  ``kid`` is the one that is looked for, if named."""
        if not self._is_url:
            return self._of_file()
        now, keys = time.monotonic(), self._keys
        known = keys is not None and (not kid or any(key.kid == kid for key in keys))
        due = now - self._came > self._seconds or not known
        if due and now - self._asked > AGAIN_SECONDS and self._asking.acquire(blocking=keys is None):
            try:
                if time.monotonic() - self._asked > AGAIN_SECONDS:
                    self._ask()
            finally:
                self._asking.release()
        return self._keys if time.monotonic() - self._came < max(KEPT_SECONDS, self._seconds) else None

    def _of_file(self) -> KeySet | None:
        """Read again when the file has changed; while it cannot be, the keys before stay in force."""
        try:
            if self._stamp != _stamp(Path(self._where)):
                self._keys = self._read()
        except (OSError, Unusable) as problem:
            log.warning("tokens.keys_not_read", extra={"reason": type(problem).__name__})
        return self._keys

    def _read(self) -> KeySet:
        path = Path(self._where)
        try:
            self._stamp = _stamp(path)
            with path.open("rb") as file:
                return key_set(file.read(BYTES + 1))
        except (OSError, ValueError) as problem:
            raise Unusable(f"tokens.keys: {problem}") from None

    def _ask(self) -> None:
        self._asked = time.monotonic()
        try:
            self._keys = key_set(_fetched(self._where))
            self._came = time.monotonic()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as problem:
            log.warning("tokens.keys_not_fetched", extra={"reason": type(problem).__name__})


def key_set(data: bytes) -> KeySet:
    """The public keys in a JSON Web Key Set that may sign: elliptic curves, and RSA that is long enough.

    Raises:
        ValueError: it is none, or has no such key.
    """
    if len(data) > BYTES:
        raise ValueError("the key set is too long")
    try:
        listed = json.loads(data)["keys"][:KEYS]
        found = [_key(one) for one in listed if one.get("kty") in ("EC", "RSA") and one.get("use", "sig") == "sig"]
    except (KeyError, TypeError, AttributeError, RecursionError, JoseError, ValueError):
        raise ValueError("not a JSON Web Key Set") from None
    keys: list[Any] = [key for key in found if key is not None]
    if not keys:
        raise ValueError("there is no key in it that may sign")
    return KeySet(keys)


def _key(found: dict[str, Any]) -> ECKey | RSAKey | None:
    key = JWKRegistry.import_key(found)
    if isinstance(key, RSAKey):
        return key if key.public_key.key_size >= RSA_BITS else None
    return key if isinstance(key, ECKey) else None


def _fetched(url: str) -> bytes:
    """What a URL answers: bounded in time and size, and from there alone."""
    timeout = urllib3.Timeout(total=SECONDS)
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        reply = pool.request("GET", url, redirect=False, preload_content=False, headers={"Accept": "application/json"})
        try:
            if reply.status != 200:
                raise ValueError("no answer")
            return reply.read(BYTES + 1, decode_content=False)
        finally:
            reply.release_conn()


def _check(url: str) -> None:
    host = urlsplit(url).hostname or ""
    if not host or (url.startswith("http:") and not is_loopback(host)):
        raise Unusable("tokens.keys: a URL is of https")


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino
