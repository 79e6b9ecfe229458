"""Document bytes in a folder, named by their SHA-256; and the rows that name them.

Order of writes: staged, synced, renamed, folder synced; only then does a database row name the bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from xds.metadata.visible import NO_FACTS, Facts
from xds.store.acknowledged import concerns_everybody
from xds.store.documents.sightings import Look, Sightings
from xds.store.engine import reading
from xds.store.statements import Statement, insert_ignoring
from xds.store.tables import document
from xds.system.durable import sync_file, sync_folder
from xds.wire.spool import CHUNK_BYTES, Spooled

_BLOBS = "[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"

AT_ONCE = 500
"""Blobs of which the database is asked at once."""


class Damaged(Exception):
    """Bytes kept are not those that were stored, or are gone."""


class NotReachable(Exception):
    """The store of documents does not answer; later it may."""


class Unread(Damaged):
    """Bytes could not be read now: the store of documents does not answer."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A document of the repository."""

    document_unique_id: str
    mime_type: str
    size_bytes: int
    sha1: str
    sha256: str
    state: str = "registered"
    submission: str = ""
    patient_id: str = ""
    facts: Facts = NO_FACTS  # what decisions ask of it, as it came
    repository_unique_id: str = field(default="", compare=False)  # where it was found: the same there as it was added


class Names(Protocol):
    """What bytes of a SHA-256 are called in a store."""

    def name(self, sha256: str) -> str:
        """It, in lower-case hex, 64 digits or more."""
        ...

    def sha256(self, name: str) -> str | None:
        """Whose name it is; None of what is none."""
        ...


class Plain:
    """They are called what they are."""

    def name(self, sha256: str) -> str:
        return sha256

    def sha256(self, name: str) -> str | None:
        return name


PLAIN = Plain()


class BlobStore:
    """Bytes by their SHA-256, whole and synced or not at all."""

    seals = False

    def __init__(self, folder: Path, within: str = "", names: Names = PLAIN) -> None:
        """``within``: a folder in it, which shares its staging and locks."""
        self._root, self._folder, self._names = folder, folder / within, names
        self._sightings = Sightings()
        self.staging = folder / "staging"
        self.staging.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        name = self._names.name(sha256)
        return self._folder / name[:2] / name[2:4] / name

    def put(self, spooled: Spooled) -> None:
        """Keep a staged file under its content's name; it is on disk when this returns."""
        with self.locked(spooled.sha256):
            target = self.path(spooled.sha256)
            if target.exists() and target.stat().st_size == spooled.size_bytes:
                os.utime(target)  # young again: the sweep leaves it
                return
            sync_file(spooled.path)
            _make_folder(target.parent, self._folder)
            spooled.path.rename(target)
            sync_folder(target.parent)

    @contextmanager
    def locked(self, sha256: str) -> Iterator[None]:
        """While held, neither submission nor sweep touches blobs of this prefix."""
        folder = self._root / "locks"
        folder.mkdir(exist_ok=True)
        with (folder / sha256[:2]).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def chunks(self, sha256: str, size_bytes: int) -> Iterator[bytes]:
        """The bytes, checked on the way: the last chunk comes only if all of them are right.

        Raises:
            Damaged: gone, of another size, or of other content.
        """
        return verified(self.unchecked(sha256, size_bytes), sha256)

    def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:
        """The bytes from a place on; nobody has looked whether they are right.

        Raises:
            Damaged: gone, or of another size.
        """
        try:
            file = self.path(sha256).open("rb", buffering=0)
        except OSError:
            raise Damaged(sha256) from None
        with file:
            if os.fstat(file.fileno()).st_size != size_bytes:
                raise Damaged(sha256)
            file.seek(start)
            yield from iter(lambda: file.read(CHUNK_BYTES), b"")

    def holds(self, sha256: str, size_bytes: int) -> bool:
        """Whether the bytes seem to be there: looked up, not read."""
        try:
            return self.path(sha256).stat().st_size == size_bytes
        except OSError:
            return False

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        """The same of many, by SHA-256 and size."""
        return [self.holds(*one) for one in wanted]

    def names(self) -> Iterator[str]:
        """The SHA-256 of everything that is kept."""
        return (sha256 for _, sha256 in self._found())

    def listed(self) -> Iterator[tuple[str, float]]:
        """The same, and when it was put."""
        for path, sha256 in self._found():
            try:
                yield sha256, path.stat().st_mtime
            except FileNotFoundError:
                continue

    def _found(self) -> Iterator[tuple[Path, str]]:
        for path in self._folder.glob(_BLOBS):
            if sha256 := self._names.sha256(path.name):
                yield path, sha256

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:
        """Remove staged files and blobs that no row names, once they are old; return how many.

        Old is what this process has seen so for long enough; with ``now``, what was put long enough before that.
        """
        look = self._sightings.look(now)
        removed = swept_of(self.staging, look)
        for some in batches(self.names()):
            for sha256 in some - sizes(engine, some).keys():
                put = put_at(self.path(sha256))
                if look.is_old(sha256, put):
                    with self.locked(sha256):  # and looked at again, now that nobody puts it
                        removed += not named(engine, sha256) and remove_unchanged(self.path(sha256), put)
        look.end()
        return removed

    def answers(self) -> tuple[bool, ...]:
        return (True,)

    def remove(self, sha256: str, before: float = inf) -> bool:
        """Remove bytes that are kept elsewhere by now, unless they were put since; whether they are gone."""
        with self.locked(sha256):
            return remove_old(self.path(sha256), before) or not self.path(sha256).exists()


def verified(chunks: Iterable[bytes], sha256: str) -> Iterator[bytes]:
    """The same chunks; the last comes only if all of them together are what they should be.

    Raises:
        Damaged: they are not.
    """
    digest, held = hashlib.sha256(), b""
    for chunk in chunks:
        digest.update(chunk)
        if held:
            yield held
        held = chunk
    if digest.hexdigest() != sha256:
        raise Damaged(sha256)
    if held:
        yield held


def is_whole(chunks: Iterable[bytes]) -> bool:
    """Whether a document's bytes, checked on the way, come to their end."""
    try:
        for _ in chunks:
            pass
    except Damaged:
        return False
    return True


def named(engine: sa.Engine, sha256: str) -> bool:
    """Whether any row names the bytes."""
    with reading(engine) as connection:
        return connection.scalar(sa.select(sa.literal(1)).where(document.c.sha256 == sha256).limit(1)) is not None


def sizes(engine: sa.Engine, sha256s: Collection[str]) -> dict[str, int]:
    """Of these, what rows name, and how many bytes each has."""
    rows = sa.select(document.c.sha256, document.c.size).where(document.c.sha256.in_(sha256s)).distinct()
    with reading(engine) as connection:
        return {row.sha256: int(row.size) for row in connection.execute(rows)}


def count(engine: sa.Engine) -> int:
    """How many contents rows name."""
    with reading(engine) as connection:
        return int(connection.scalar(sa.select(sa.func.count(sa.distinct(document.c.sha256)))) or 0)


def batches(names: Iterable[str]) -> Iterator[set[str]]:
    """So many at once as the database is asked of, until there are no more."""
    iterator = iter(names)
    while some := set(islice(iterator, AT_ONCE)):
        yield some


def remove_old(path: Path, limit: float) -> bool:
    try:
        old = path.stat().st_mtime < limit
        if old:
            path.unlink()
    except FileNotFoundError:  # another process was first
        return False
    return old


def put_at(path: Path) -> float:
    """When a file was put last; in the future where it is gone: then another process was first."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return inf


def swept_of(staging: Path, look: Look) -> int:
    """Remove staged files that are old; return how many."""
    files = [(path, put_at(path)) for path in staging.iterdir() if path.is_file()]
    return sum(remove_unchanged(path, put) for path, put in files if look.is_old(str(path), put))


def remove_unchanged(path: Path, put: float) -> bool:
    """Remove a file unless it was put again; whether it was removed."""
    if put_at(path) != put or put == inf:
        return False
    path.unlink(missing_ok=True)
    return True


def _make_folder(path: Path, top: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent, top)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


_FIND = Statement(sa.select(document).where(
    document.c.repository_unique_id == sa.bindparam("repository"),
    document.c.document_unique_id == sa.bindparam("document"),
))  # fmt: skip


class DocumentTable:
    """The rows of one repository, inside one database transaction."""

    def __init__(self, connection: sa.Connection, repository_unique_id: str) -> None:
        self._connection, self._repository = connection, repository_unique_id

    def of(self, repository_unique_id: str) -> DocumentTable:
        """The rows of another repository, in the same transaction."""
        return DocumentTable(self._connection, repository_unique_id)

    def find(self, document_unique_id: str) -> Kept | None:
        row = _FIND.first(self._connection, repository=self._repository, document=document_unique_id)
        return None if row is None else _kept(row)

    def add(self, kept: Kept) -> bool:
        """Add a row unless the id is there; whether it was added.  A pending one is taken over by this submission."""
        added = insert_ignoring(
            self._connection, document,
            repository_unique_id=self._repository, document_unique_id=kept.document_unique_id,
            state=kept.state, submission=kept.submission, since=_now(), mime_type=kept.mime_type,
            size=kept.size_bytes, sha1=kept.sha1, sha256=kept.sha256, patient_id=kept.patient_id,
            facts=kept.facts.text(),
        )  # fmt: skip
        if not added:
            mine = sa.and_(self._pending(), document.c.document_unique_id == kept.document_unique_id,
                           document.c.sha256 == kept.sha256)  # fmt: skip
            changes = {"state": kept.state, "submission": kept.submission, "since": _now()}
            self._connection.execute(sa.update(document).where(mine).values(changes))
        return added

    def remove(self, document_unique_id: str) -> bool:
        """Take a registered document's row away, and with the sweep its bytes; whether there was one."""
        mine = sa.and_(
            document.c.repository_unique_id == self._repository,
            document.c.document_unique_id == document_unique_id,
            document.c.state == "registered",
        )
        concerns_everybody(self._connection)
        return self._connection.execute(sa.delete(document).where(mine)).rowcount == 1

    def settle(self, submission: str) -> None:
        """End the waiting of a submission's pending documents: they are registered."""
        self._settle(document.c.submission == submission, registered=True)

    def settle_one(self, document_unique_id: str, *, registered: bool) -> None:
        """End the waiting of one document."""
        self._settle(document.c.document_unique_id == document_unique_id, registered=registered)

    def _settle(self, which: sa.ColumnElement[bool], *, registered: bool) -> None:
        mine = sa.and_(self._pending(), which)
        if registered:
            self._connection.execute(sa.update(document).where(mine).values(state="registered", since=_now()))
        else:
            self._connection.execute(sa.delete(document).where(mine))

    def _pending(self) -> sa.ColumnElement[bool]:
        return sa.and_(document.c.repository_unique_id == self._repository, document.c.state == "pending")

    def after(self, document_unique_id: str, most: int = 1000) -> list[Kept]:
        """The next documents by uniqueId, to go through all of them."""
        statement = sa.select(document).where(
            document.c.repository_unique_id == self._repository, document.c.document_unique_id > document_unique_id
        )
        rows = self._connection.execute(statement.order_by(document.c.document_unique_id).limit(most))
        return [_kept(row) for row in rows]

    def count(self) -> int:
        """How many documents there are."""
        mine = document.c.repository_unique_id == self._repository
        return int(self._connection.scalar(sa.select(sa.func.count()).select_from(document).where(mine)) or 0)

    def pending(self, older_than_seconds: float, most: int = 100) -> list[str]:
        """The uniqueIds of documents that have waited for so long."""
        limit = _now() - int(older_than_seconds * 1e6)
        statement = sa.select(document.c.document_unique_id).where(self._pending(), document.c.since <= limit)
        return list(self._connection.scalars(statement.order_by(document.c.since).limit(most)))


def _kept(row: Any) -> Kept:
    return Kept(
        row.document_unique_id, row.mime_type, row.size, row.sha1, row.sha256, row.state, row.submission,
        row.patient_id, Facts.of(row.facts), row.repository_unique_id,
    )  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1000
