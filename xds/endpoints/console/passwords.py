"""Passwords, and how many are compared at once: each costs 64 MiB and a tenth of a second, whoever tries it."""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import argon2

AT_ONCE, WAITING = 2, 3
"""Compared at once in a process, and such as wait: of one address one each.  All others are sent away at once."""

WAITING_SECONDS = 2.0
"""How long a sign-in waits for others."""

HASHER = argon2.PasswordHasher(parallelism=1)
_MAKING = threading.Lock()


class Busy(Exception):
    """Too many are signing in just now."""


def nobodys() -> str:
    """Compared with where there is no such password, which must take as long; of something that nobody knows."""
    with _MAKING:  # once, though many come at once: it costs as much as a comparison
        return _made()


@functools.cache
def _made() -> str:
    return HASHER.hash(secrets.token_hex())


def hashed(password: str) -> str:
    """A password as it is kept: Argon2id, with its own salt (RFC 9106)."""
    return HASHER.hash(password)


def right(kept: str, password: str, address: str) -> bool:
    """Whether it is the password.

    Raises:
        Busy: too many are being compared.
    """
    with _PLACES.place(address):
        try:
            return HASHER.verify(kept, password)
        except argon2.exceptions.VerifyMismatchError:
            return False


class Places:
    """A few at once, and of one address one: who tries from one place cannot keep the others out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._comparing, self._waiting = set[str](), set[str]()

    @contextmanager
    def place(self, address: str) -> Iterator[None]:
        """A place to compare in.

        Raises:
            Busy: there is none now, nor one to wait for.
        """
        with self._changed:
            if address in self._waiting or len(self._waiting) >= WAITING:
                raise Busy
            self._waiting.add(address)
            free = lambda: address not in self._comparing and len(self._comparing) < AT_ONCE  # noqa: E731
            came = self._changed.wait_for(free, WAITING_SECONDS)
            self._waiting.discard(address)
            if not came:
                raise Busy
            self._comparing.add(address)
        try:
            yield
        finally:
            with self._changed:
                self._comparing.discard(address)
                self._changed.notify_all()


_PLACES = Places()
