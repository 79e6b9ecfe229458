"""A store whose documents are encrypted, each by a random key of its own; to who uses it they are as they came.

What is kept begins with a header: by which of the store's keys the document's own is wrapped, the document's size, and
that key, wrapped with the document's SHA-256, so that it opens this document and no other.  Then come the segments of
``wire/sealed.py``.  Bytes are encrypted while they are staged: they are in no file as they came.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

import sqlalchemy as sa

from xds.store.documents.both import Both
from xds.store.documents.folder import Damaged, NotReachable, Unread, verified
from xds.store.documents.generations import ID_BYTES, StoreKeys
from xds.store.documents.wrapping import NotWrapped
from xds.store.interface import Blobs
from xds.wire import sealed
from xds.wire.spool import HEADER_BYTES, PREFIX, NotKept, Spooled, Writing

log = logging.getLogger("xds.store.documents.sealing")

MAGIC = b"XDSDOC1\n"
_SIZE_AT = len(MAGIC) + ID_BYTES
_KEY_AT = _SIZE_AT + 8


def stored_bytes(size_bytes: int) -> int:
    """How many bytes a document of so many has in the store."""
    return HEADER_BYTES + sealed.sealed_bytes(size_bytes)


class Sealing:
    """Bytes by their SHA-256, encrypted, in a store that knows them by it and names them otherwise."""

    seals = True

    def __init__(self, inner: Blobs, keys: StoreKeys) -> None:
        self._inner, self._keys = inner, keys

    @property
    def staging(self) -> Path:
        return self._inner.staging

    def put(self, spooled: Spooled) -> None:
        """Keep a staged file, which was encrypted when it was staged, or is now.

        Raises:
            NotKept: it could not be kept, or the keys cannot be had.
        """
        if self._was_put(spooled):
            return
        mine = spooled if spooled.key else self._encrypted(spooled)
        try:
            header = self._header(mine)
            with mine.path.open("r+b") as file:
                file.write(header)
            self._inner.put(replace(mine, size_bytes=stored_bytes(mine.size_bytes), key=b""))
        except NotReachable as problem:
            raise NotKept(str(problem)) from None
        except OSError as problem:
            raise NotKept(problem.strerror) from None
        finally:
            if mine is not spooled:
                mine.path.unlink(missing_ok=True)
        spooled.path.unlink(missing_ok=True)

    def _was_put(self, spooled: Spooled) -> bool:
        """Whether it is kept already and staged no more: a transaction that is begun anew puts it again."""
        try:
            return not spooled.path.exists() and self.holding([(spooled.sha256, spooled.size_bytes)]) == [True]
        except NotReachable as problem:
            raise NotKept(str(problem)) from None

    def _encrypted(self, spooled: Spooled) -> Spooled:
        writing = Writing(self.staging, PREFIX, sealed=True)
        try:
            for chunk in spooled.chunks():
                writing.write(chunk)
            return writing.finish()
        except BaseException:
            writing.discard()
            raise

    def _header(self, spooled: Spooled) -> bytes:
        id_ = self._keys.newest()
        begins = MAGIC + bytes.fromhex(id_) + spooled.size_bytes.to_bytes(8, "big")
        return begins + self._keys.wrap(id_, spooled.key, [begins, bytes.fromhex(spooled.sha256)])

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes, checked on the way: the last chunk comes only if all of them are right.

        Raises:
            Damaged: they are not, or cannot be read.
        """
        return verified(self.unchecked(sha256, size_bytes), sha256)

    def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:
        """The bytes from a place on, each segment held to its tag.

        Raises:
            Damaged: gone, of another size, or changed.
            Unread: the store, or its keys, cannot be had.
        """
        failed = -1
        while True:
            try:
                for text in self._from(sha256, size_bytes, start):
                    start += len(text)
                    yield text
            except sealed.Altered as problem:
                # The same document may have been put again meanwhile, by another key: an object store takes it anew.
                if failed == start:
                    log.error("document.not_opened", extra={"sha256": sha256, "problem": str(problem)})
                    raise Damaged(sha256) from None
                failed = start
            except Unread:
                raise
            except NotReachable:
                raise Unread(sha256) from None
            else:
                return

    def _from(self, sha256: str, size_bytes: int, start: int) -> Iterator[bytes]:
        segment, stored = sealed.segment_of(start, size_bytes), stored_bytes(size_bytes)
        kept = self._inner.unchecked(sha256, stored)
        header, rest = _split(kept)
        key = self._key(header, sha256, size_bytes)
        if segment:
            kept = rest = self._inner.unchecked(sha256, stored, HEADER_BYTES + segment * sealed.UNIT_BYTES)
        skip = start - segment * sealed.SEGMENT_BYTES
        for text in sealed.opened(rest, key, segment):
            if left := text[skip:] if skip else text:
                yield left
            skip = 0

    def _key(self, header: bytes, sha256: str, size_bytes: int) -> bytes:
        begins = header[:_KEY_AT]
        if not begins.startswith(MAGIC) or int.from_bytes(begins[_SIZE_AT:], "big") != size_bytes:
            raise sealed.Altered("its header")
        id_ = begins[len(MAGIC) : _SIZE_AT].hex()
        try:
            return self._keys.unwrap(id_, header[_KEY_AT:], [begins, bytes.fromhex(sha256)])
        except NotWrapped:
            raise sealed.Altered("its key") from None

    def given_back(self, sha256: str, stored: int) -> Iterator[bytes]:
        """The bytes of what has so many in the store, checked on the way.

        Raises:
            Damaged: as ``chunks``.
        """
        return self.chunks(sha256, sealed.text_bytes(stored - HEADER_BYTES))

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        return self._inner.holding([(sha256, stored_bytes(size)) for sha256, size in wanted])

    def names(self) -> Iterator[str]:
        return self._inner.names()

    def listed(self) -> Iterator[tuple[str, float]]:
        return self._inner.listed()

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:
        return self._inner.sweep(engine, now)

    def answers(self) -> tuple[bool, ...]:
        return self._inner.answers()

    def remove(self, sha256: str, before: float = inf) -> bool:
        return self._inner.remove(sha256, before)


def _split(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The header, and what comes after it."""
    begins = b""
    while len(begins) < HEADER_BYTES:
        chunk = next(chunks, None)
        if chunk is None:
            raise sealed.Altered("its header")
        begins += chunk

    def rest() -> Iterator[bytes]:
        yield begins[HEADER_BYTES:]
        yield from chunks

    return begins[:HEADER_BYTES], rest()


class OnceInClear(Both):
    """What is encrypted, and beside it what was kept in the same store before it was so."""

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes, checked on the way: of what is encrypted each segment is, so that nothing is read twice."""
        return verified(self.unchecked(sha256, size_bytes), sha256)

    def answers(self) -> tuple[bool, ...]:
        return self.first.answers()
