"""The keys of one store of documents: each wraps the keys of the documents that were put in its time.

They stand, wrapped by the operator's key, in a small file beside the documents, and once more in the database: what is
lost of the two is made from the other.  Another key of the operator's wraps them anew and begins the next one; no
document is touched.  The first of them hides the documents' names for as long as the store is there.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from xds.errors import Unusable
from xds.store.deployment import note, noted
from xds.store.documents.folder import NotReachable
from xds.store.documents.wrapping import KEY_BYTES, NotWrapped, WrappingKeys
from xds.store.engine import reading
from xds.store.tables import deployment

log = logging.getLogger("xds.store.documents.generations")

FORMAT = 1
ID_BYTES = 16
AGAIN_SECONDS = 30.0
"""After so many it is looked again whether the operator's key is there that one needs."""

NOTES = "documents keys "
"""Begins the names of what the database keeps of them."""

_ID, _BY, _WRAPPED = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9a-f]{80}")
_NAME = re.compile(r"[0-9a-f]{96}")


@dataclass(frozen=True, slots=True)
class Generation:
    """One of them: its id, when it was made (ISO 8601, UTC), and itself, wrapped by the operator's key of an id."""

    id: str
    made: str
    by: str
    wrapped: str


class Shelf(Protocol):
    """Where the file is."""

    def read(self) -> bytes | None:
        """It; None where there is none.

        Raises:
            NotReachable: the store does not answer.
            Unusable: it may not be read.
        """
        ...

    def write(self, data: bytes) -> None:
        """Write it, whole or not at all, and durably.

        Raises:
            NotReachable: it cannot be written.
            Unusable: it may not be.
        """
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Nobody else changes it meanwhile."""
        ...

    def is_bare(self) -> bool:
        """Whether the store has no encrypted document.

        Raises:
            NotReachable: the store does not answer.
        """
        ...


class Copy:
    """What the database keeps of them."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine, self._name = engine, NOTES + name

    def read(self) -> bytes:
        with reading(self._engine) as connection:
            return noted(connection, self._name).encode()

    def write(self, data: bytes) -> None:
        with self._engine.begin() as connection:
            note(connection, self._name, data.decode())


class StoreKeys:
    """Looked for when they are first needed: a store that does not answer may do so later.  Safe with threads."""

    def __init__(self, where: str, wrapping: WrappingKeys, shelf: Shelf, copy: Copy) -> None:
        """``where``: what the operator calls the store."""
        self._where, self._wrapping, self._shelf, self._copy = where, wrapping, shelf, copy
        self._lock = threading.Lock()
        self._generations: tuple[Generation, ...] = ()
        self._secrets = dict[str, bytes]()
        self._names: AESSIV | None = None
        self._look_at = 0.0

    # Names: a document's is its SHA-256, which says to whoever has the document that it is there.

    def name(self, sha256: str) -> str:
        """What a document is called in the store.

        Raises:
            NotReachable: the keys cannot be had.
        """
        return self._naming().encrypt(bytes.fromhex(sha256), None).hex()

    def sha256(self, name: str) -> str | None:
        """Whose name it is; None of what is none.

        Raises:
            NotReachable: the keys cannot be had.
        """
        if not _NAME.fullmatch(name):
            return None
        try:
            return self._naming().decrypt(bytes.fromhex(name), None).hex()
        except InvalidTag:
            return None

    def _naming(self) -> AESSIV:
        if self._names is None:
            self._loaded()
            self._names = AESSIV(_derived(self._secret(self._generations[0].id), b"names"))
        return self._names

    # Documents' keys.

    def newest(self) -> str:
        """The id of the one that wraps: the last that can be unwrapped here, where the operator's key may come later.

        Raises:
            NotReachable: the keys cannot be had.
        """
        self._loaded()
        if self._generations[-1].id not in self._secrets and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + AGAIN_SECONDS
            self._load_again()
            last = self._generations[-1]
            if last.id not in self._secrets:
                log.error("documents.key_missing", extra={"store": self._where, "key": last.by})
        for one in reversed(self._generations):
            if one.id in self._secrets:
                return one.id
        raise NotReachable(f"the keys of {self._where} cannot be had")

    def wrap(self, id_: str, key: bytes, about: Sequence[bytes]) -> bytes:
        """Wrap a document's key: of 32 bytes 48, which are worth nothing but with what they are about."""
        return AESSIV(_derived(self._secret(id_), b"documents")).encrypt(key, list(about))

    def unwrap(self, id_: str, wrapped: bytes, about: Sequence[bytes]) -> bytes:
        """
        Raises:
            NotWrapped: it was wrapped by none of them, about something else, or was changed.
            NotReachable: the keys cannot be had.
        """
        self._loaded()
        if id_ not in self._secrets:  # another node may have begun it
            self._load_again()
        if not any(one.id == id_ for one in self._generations):
            log.error("documents.key_unknown", extra={"store": self._where, "key": id_})
            raise NotWrapped
        try:
            return AESSIV(_derived(self._secret(id_), b"documents")).decrypt(wrapped, list(about))
        except InvalidTag:
            raise NotWrapped from None

    def _secret(self, id_: str) -> bytes:
        try:
            return self._secrets[id_]
        except KeyError:
            raise NotReachable(f"the keys of {self._where} cannot be had") from None

    def _loaded(self) -> None:
        """See that they are there; the first who needs them makes them.

        Raises:
            NotReachable: they cannot be had.
        """
        if self._generations:
            return
        with self._lock:
            if not self._generations:
                try:
                    self.make()
                except Unusable as problem:
                    self._generations = ()
                    self._say(problem)
                    with suppress(Unusable):
                        self._wrapping.read_again()  # for who comes next: it may have been put right
                    raise NotReachable(str(problem)) from None

    def _say(self, problem: Unusable) -> None:
        log.error("documents.keys_unusable", extra={"store": self._where, "problem": str(problem)})

    def _load_again(self) -> None:
        with self._lock:
            try:
                self._wrapping.read_again()
                if found := self._found():
                    self._take(found)
            except Unusable as problem:
                self._say(problem)

    def make(self) -> None:
        """See that there are keys, here and in the database, and that all of them can be unwrapped.

        Raises:
            Unusable: one cannot be, or they are gone and documents are there.
            NotReachable: the store does not answer.
        """
        found, copied = self._found(), self._copy.read()
        if found is None or _text(found) != copied:
            with self._shelf.locked():
                found = self._found()
                found = self._first() if found is None and not _read(copied) else self._joined(found or ())
        self._take(found)
        for one in found:
            self._see(one)

    def _see(self, one: Generation) -> None:
        key = self._wrapping.keys.get(one.by)
        if key is None:
            rule = "bring that key back from where its copy is kept"
            has_not = f"which {self._wrapping.where} has not"
            raise Unusable(f"documents in {self._where} need the key {one.by}, {has_not}: {rule}")
        if one.id not in self._secrets:
            rule = "bring the file of keys back from a backup of the store"
            raise Unusable(f"the keys of documents in {self._where}, wrapped by the key {one.by}, are damaged: {rule}")

    def _take(self, found: Sequence[Generation]) -> None:
        for one in found:
            key = self._wrapping.keys.get(one.by)
            if key is not None and one.id not in self._secrets:
                try:
                    self._secrets[one.id] = key.unwrap(bytes.fromhex(one.wrapped))
                except NotWrapped:
                    continue
        self._generations = tuple(found)

    def _found(self) -> tuple[Generation, ...] | None:
        """What the store has; None where it has nothing, or that is damaged."""
        said = self._shelf.read()
        return None if said is None else _read(said)

    def _joined(self, found: Sequence[Generation]) -> tuple[Generation, ...]:
        """What the store and the database have together: either may have been brought back from an earlier time."""
        joined, ranks = {one.id: one for one in found}, {id_: rank for rank, id_ in enumerate(self._wrapping.keys, 1)}
        for one in _read(self._copy.read()) or ():
            mine = joined.get(one.id)
            if mine is None or ranks.get(one.by, 0) > ranks.get(mine.by, 0):  # wrapped by a newer key
                joined[one.id] = one
        all_ = tuple(joined.values())
        if not all(one.by in ranks for one in all_):
            return all_  # which of two is the newer one is not known here, and nothing is made of them
        if all_ != tuple(found):
            log.warning("documents.keys_brought_back", extra={"store": self._where})
            self._shelf.write(_text(all_))
        if _text(all_) != self._copy.read():
            self._copy.write(_text(all_))
        return all_

    def _first(self) -> tuple[Generation, ...]:
        if self._shelf.read() is not None or not self._shelf.is_bare():
            rule = "they are in none of the store and the database: restore a backup"
            raise Unusable(f"documents in {self._where} are encrypted, and their keys are gone: {rule}")
        made = (self._new(),)
        self._write(made)
        return made

    def _new(self) -> Generation:
        secret, key = secrets.token_bytes(KEY_BYTES), self._wrapping.newest
        made = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return Generation(secrets.token_hex(ID_BYTES), made, key.id, key.wrap(secret).hex())

    def _write(self, generations: Sequence[Generation]) -> None:
        """The database first: what it alone has is found, and nothing was put by it yet."""
        said = _text(generations)
        self._copy.write(said)
        self._shelf.write(said)

    # What an operator does.

    def uses(self) -> dict[str, int]:
        """How many of them each of the operator's keys wraps, by its id; nothing is made.

        Raises:
            NotReachable: the store does not answer.
        """
        found, count = self._found() or _read(self._copy.read()) or (), dict[str, int]()
        for one in found:
            count[one.by] = count.get(one.by, 0) + 1
        return count

    @property
    def wrapped_by(self) -> str:
        """The id of the operator's key that wraps."""
        return self._wrapping.newest.id

    def rotate(self) -> int:
        """Wrap all by the operator's newest key, and begin another for what is put from now on; how many were.

        Raises:
            Unusable: one cannot be unwrapped.
            NotReachable: the store does not answer.
        """
        self.make()
        with self._shelf.locked():
            found = self._found()
            if found is None:
                raise Unusable(f"the keys of documents in {self._where} have just gone: run this again")
            self._take(found)
            for one in found:
                self._see(one)
            key = self._wrapping.newest
            again = [replace(one, by=key.id, wrapped=key.wrap(self._secrets[one.id]).hex()) for one in found]
            changed = sum(one.by != key.id for one in found)
            said = [*again, self._new()]
            # The store first: the copy is brought up to it at each start.
            self._shelf.write(_text(said))
            self._copy.write(_text(said))
            self._take(said)
        return changed


def forget(connection: sa.Connection) -> None:
    """Drop what a database keeps of stores that it is no longer beside: it comes from a backup."""
    connection.execute(sa.delete(deployment).where(deployment.c.name.startswith(NOTES, autoescape=True)))


def _derived(secret: bytes, what: bytes) -> bytes:
    return HKDF(SHA256(), 64, None, b"xds 1 " + what).derive(secret)


def _text(generations: Sequence[Generation]) -> bytes:
    return json.dumps({"format": FORMAT, "keys": [asdict(one) for one in generations]}, indent=1).encode()


def _read(said: bytes) -> tuple[Generation, ...] | None:
    """The keys of a file; None where it is none.

    Raises:
        Unusable: it is of a later version: nothing is written in its place.
    """
    try:
        read = json.loads(said)
        if isinstance(read["format"], int) and read["format"] > FORMAT:
            raise Unusable("the file of keys beside the documents is of a later version of xds")
        if read["format"] != FORMAT:
            return None
        found = tuple(Generation(**one) for one in read["keys"])
        for one in found:
            if not (_ID.fullmatch(one.id) and _BY.fullmatch(one.by) and _WRAPPED.fullmatch(one.wrapped)):
                return None
    except (ValueError, KeyError, TypeError):
        return None
    return found or None


def by_whom(said: bytes) -> str:
    """The operator's key that the newest of a file is wrapped by; empty where the file is none."""
    found = _read(said)
    return found[-1].by if found else ""
