"""Document bytes in an S3-compatible store, named by their SHA-256 as in a folder; ``obstore`` speaks to it.

Parts are staged in a folder of this node, hashed on the way in, and uploaded before a database row names them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import obstore
import sqlalchemy as sa
from obstore.exceptions import BaseError
from obstore.store import S3Store

from xds.store.documents.folder import (
    AT_ONCE,
    PLAIN,
    Damaged,
    Names,
    NotReachable,
    Unread,
    named,
    sizes,
    swept_of,
    verified,
)
from xds.store.documents.sightings import Sightings
from xds.wire.spool import NotKept, Spooled

if TYPE_CHECKING:
    from obstore import GetOptions

log = logging.getLogger("xds.store.documents.object_store")

RANGE_BYTES = 8 * 1024 * 1024
"""Read, and uploaded, at once: each is a request with a time limit of its own."""

OURS = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{64}(?:[0-9a-f]{32})?")
"""The names of objects that are documents."""

_PARALLEL = 16
"""Objects looked up at once."""

_TRIES, _AGAIN_SECONDS = 3, 10.0
"""Of what breaks off in the middle, or arrives damaged; and how long after the first a try may be begun."""

NO_VERSION = (None, "", "null")
"""What a store says of an object that has no version of its own."""

VERSIONS_RIGHT = "a lifecycle rule of the bucket that ends older versions after a day"
"""What to do where they stay."""

Lock: TypeAlias = Callable[[str], AbstractContextManager[None]]


class ObjectStore:
    """Bytes by their SHA-256, whole or not at all, in a bucket."""

    seals = False

    def __init__(
        self, store: S3Store, staging: Path, lock: Lock, *, read_back: bool = True, names: Names = PLAIN
    ) -> None:
        """``read_back``: what was uploaded is read again before it is said to be kept."""
        self._store, self.staging, self._lock, self._read_back = store, staging, lock, read_back
        self._names, self._warned, self._sightings = names, False, Sightings()
        self.given_back: Callable[[str, int], Iterator[bytes]] = self.chunks
        staging.mkdir(parents=True, exist_ok=True)

    def put(self, spooled: Spooled) -> None:
        """Upload a staged file under its content's name, whether it is there or not: it is young again.

        Nothing is asked of the store that some do not keep: no condition, no checksum of its own.

        Raises:
            NotKept: the store does not take it, or holds something else than was sent.
        """
        key = self._key(spooled.sha256)
        try:
            if not spooled.path.exists() and self._holds(spooled.sha256, spooled.size_bytes):
                return  # a transaction that is begun anew puts it again
            for _ in range(_TRIES):  # what was damaged on the way may have been there, whole, before
                with self._lock(spooled.sha256):
                    obstore.put(self._store, key, spooled.path, chunk_size=RANGE_BYTES, max_concurrency=2)
                if self._has(spooled):
                    break
            else:
                raise NotKept("the object store holds something else than was sent")
        except (BaseError, OSError, NotReachable) as problem:
            raise NotKept(type(problem).__name__) from None
        except Unread:
            raise NotKept("the object store does not give back what was sent") from None
        spooled.path.unlink(missing_ok=True)

    def _has(self, spooled: Spooled) -> bool:
        """Whether the store has what was just put: all of it is read, unless the settings say otherwise."""
        if not self._read_back:
            return bool(obstore.head(self._store, self._key(spooled.sha256))["size"] == spooled.size_bytes)
        try:
            for _ in self.given_back(spooled.sha256, spooled.size_bytes):
                pass
        except Unread:
            raise
        except Damaged:
            return False
        return True

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes, checked on the way: the last chunk comes only if all of them are right.

        Raises:
            Damaged: gone, out of reach, of another size, or of other content.
        """
        return verified(self.unchecked(sha256, size_bytes), sha256)

    def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:
        """The bytes from a place on; nobody has looked whether they are right.

        Raises:
            Damaged: gone, or of another size.
            Unread: the store does not answer.
        """
        for first in range(start, size_bytes, RANGE_BYTES) if size_bytes else (0,):
            yield self._range(sha256, size_bytes, first)

    def _range(self, sha256: str, size_bytes: int, start: int) -> bytes:
        """What comes from a place on, of an object that has so many bytes."""
        length = min(RANGE_BYTES, size_bytes - start)
        asked: GetOptions = {"range": (start, start + length)} if length else {}
        tries, began = 0, time.monotonic()
        while tries < _TRIES and time.monotonic() - began < _AGAIN_SECONDS:
            tries += 1
            try:
                found = obstore.get(self._store, self._key(sha256), options=asked)
                if found.meta["size"] != size_bytes:
                    raise Damaged(sha256)
                chunk = bytes(found.bytes())
            except FileNotFoundError:
                raise Damaged(sha256) from None
            except (BaseError, OSError):  # it may be that the connection broke off in the middle
                continue
            if len(chunk) == length:
                return chunk
        raise self._problem(sha256, size_bytes)

    def _problem(self, sha256: str, size_bytes: int) -> Damaged:
        try:
            return Unread(sha256) if self._holds(sha256, size_bytes) else Damaged(sha256)
        except NotReachable:
            return Unread(sha256)

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        """Whether each of the bytes seem to be there, by SHA-256 and size: looked up, not read.

        Raises:
            NotReachable: the store does not answer.
        """
        if len(wanted) == 1:
            found = [self._holds(*wanted[0])]
        else:
            with ThreadPoolExecutor(_PARALLEL) as pool:
                found = list(pool.map(lambda one: self._holds(*one), wanted))
        if not all(found):  # of a bucket that is gone, too, a store says only that there is no such object
            next(self.listed("none"), None)
        return found

    def _holds(self, sha256: str, size_bytes: int) -> bool:
        try:
            return bool(obstore.head(self._store, self._key(sha256))["size"] == size_bytes)
        except FileNotFoundError:
            return False
        except (BaseError, OSError):
            raise NotReachable from None

    def names(self) -> Iterator[str]:
        """The SHA-256 of everything that is kept.

        Raises:
            NotReachable: the store does not answer.
        """
        return (sha256 for sha256, _ in self.listed())

    def listed(self, below: str | None = None) -> Iterator[tuple[str, float]]:
        """What is kept, and when it was put: by the thousand, however much it is; what others put there is not.

        Raises:
            NotReachable: the store does not answer.
        """
        try:
            for batch in obstore.list(self._store, below):
                for item in batch:
                    if not OURS.fullmatch(item["path"]):
                        continue
                    if sha256 := self._names.sha256(item["path"].rpartition("/")[2]):
                        yield sha256, item["last_modified"].timestamp()
        except (BaseError, OSError):
            raise NotReachable from None

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:
        """Remove staged files and objects that no row names, once they are old; return how many.

        Old is what this process has seen so for long enough; with ``now``, what was put long enough before that.
        """
        look, listed = self._sightings.look(now), iter(self.listed())
        removed = swept_of(self.staging, look)
        while some := dict(islice(listed, AT_ONCE)):
            for sha256 in some.keys() - sizes(engine, some.keys()).keys():
                if look.is_old(sha256, some[sha256]):
                    with self._lock(sha256):
                        removed += self._removed(engine, sha256, some[sha256])
        look.end()
        return removed

    def _removed(self, engine: sa.Engine, sha256: str, put: float) -> bool:
        """Look again, now that nobody puts it; whether it was removed."""
        try:
            found = obstore.head(self._store, self._key(sha256))
            # A list tells of parts of a second, and this does not.
            if abs(found["last_modified"].timestamp() - put) >= 1 or named(engine, sha256):
                return False
            obstore.delete(self._store, self._key(sha256))
        except FileNotFoundError:  # another process was first
            return False
        except (BaseError, OSError):
            raise NotReachable from None
        self._warn(found["version"])
        return True

    def answers(self) -> tuple[bool, ...]:
        """Asked is for a document that is never there."""
        try:
            self.holding([("0" * 64, 0)])
        except NotReachable:
            return (False,)
        return (True,)

    def remove(self, sha256: str, before: float = inf) -> bool:
        """Remove bytes that are kept elsewhere by now, unless they were put since; whether they are gone.

        Raises:
            NotReachable: the store does not answer.
        """
        try:
            with self._lock(sha256):
                if before < inf and obstore.head(self._store, self._key(sha256))["last_modified"].timestamp() >= before:
                    return False
                obstore.delete(self._store, self._key(sha256))
        except FileNotFoundError:
            return True
        except (BaseError, OSError):
            raise NotReachable from None
        return True

    def _key(self, sha256: str) -> str:
        return _key(self._names.name(sha256))

    def _warn(self, version: str | None) -> None:
        """Say once that what was removed is there as an older version, where the bucket keeps these."""
        if version not in NO_VERSION and not self._warned:
            self._warned = True
            log.warning("documents.versions_stay", extra={"right": VERSIONS_RIGHT})


def _key(name: str) -> str:
    return f"{name[:2]}/{name[2:4]}/{name}"
