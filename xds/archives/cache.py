"""Instances of a PACS, kept on disk as they came, so that many who want a study cost the PACS one read.

A cache: it can be deleted at any time, and is empty after the machine has been started, or when it is of another PACS.
It holds images of patients, so only its owner may read it.  Its files are named by chance, never by what a PACS says.

Exact with any number of processes: the room of a file is taken, others are removed for it, and it is put in its place,
in one transaction of the index, which one process has at a time.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xds.archives.cache_index import FILES, CacheIndex, count, counted
from xds.system.disk import Reserve
from xds.system.whose import is_over, life

LOOK_SECONDS = 60.0
"""How often it is looked for what nobody has wanted for long."""

_UNREAD = "NOT EXISTS (SELECT 1 FROM pinned WHERE pinned.file = kept.file)"


class Key(NamedTuple):
    """An instance by the UIDs of its study, its series and itself."""

    study: str
    series: str
    instance: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An instance's file, which stays until ``Cache.done`` is told.

    ``tag`` is what the PACS calls this state of it.  ``is_due``: it is to be asked whether it is still so.
    """

    path: Path
    size_bytes: int
    sha256: str
    tag: str
    is_due: bool


class Cache:
    """Safe with threads, processes and forks.  One that cannot be read or written is empty, and keeps nothing."""

    def __init__(
        self, folder: Path, limit_bytes: int, seconds: float, *, made_of: str = "", disk: Reserve | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """Nothing is opened yet.

        ``limit_bytes``: of all files.  ``seconds``: the longest that what is here is given unasked, and is left here
        when nobody wants it.  ``made_of`` names the PACS.  ``disk``: it gives way while that is low.
        """
        self._folder, self._limit, self._seconds, self._disk, self._clock = folder, limit_bytes, seconds, disk, clock
        self._index, self._looked = CacheIndex(folder, made_of, self._reconcile), -math.inf
        self.lock_file = folder / "fetching.lock"
        """For who fetches, among processes."""

    def taken(self, key: Key, stamp: str, *, due: bool = False) -> Kept | None:
        """An instance that is here, in the state that ``stamp`` tells from others; ``due``: one that is, too."""
        return self._index.tried(lambda at: self._taken(at, key, stamp, due=due))

    def _taken(self, at: sqlite3.Connection, key: Key, stamp: str, *, due: bool) -> Kept | None:
        found = at.execute(
            "SELECT file, size, sha256, stamp, tag, looked FROM kept"
            " WHERE study = ? AND series = ? AND instance = ? AND is_current", key,
        ).fetchone()  # fmt: skip
        if found is None:
            return None
        file, size, sha256, was, tag, looked = found
        path, now = self._path(file), self._clock()
        if was != stamp or not _has(path, size):
            self._forget(at, file)
            return None
        is_due = not looked <= now < looked + self._seconds  # nor is one believed of a clock that was set back
        if is_due and not due:
            return None
        if not is_due:
            _hit(at, size)
        self._pin(at, file, now)
        return Kept(path, size, sha256, tag, is_due)

    def confirmed(self, kept: Kept) -> None:
        """The PACS says that it is still so."""

        def noted(at: sqlite3.Connection) -> None:
            at.execute("UPDATE kept SET looked = ? WHERE file = ?", (self._clock(), kept.path.name))
            _hit(at, kept.size_bytes)

        self._index.tried(noted)

    def keep(self, key: Key, stamp: str, tag: str, path: Path, size_bytes: int, sha256: str) -> Kept | None:
        """Keep a whole file of the same file system, under another name, in place of what is here of that instance.

        Returns ``None`` when there is no room beside what is being read.
        """
        return self._index.tried(lambda at: self._kept(at, key, (size_bytes, sha256, stamp, tag), path))

    def _kept(self, at: sqlite3.Connection, key: Key, what: tuple[int, str, str, str], path: Path) -> Kept | None:
        size, sha256, _, tag = what
        count(at, "from archive", size)
        self._drop_unwanted(at)
        if not self._has_room(at, size):
            count(at, "uncached")
            return None
        before = at.execute(
            "SELECT file FROM kept WHERE study = ? AND series = ? AND instance = ? AND is_current", key
        ).fetchone()
        if before is not None:
            self._forget(at, before[0])
        now, file = self._clock(), uuid.uuid4().hex
        at.execute(
            "INSERT INTO kept (file, study, series, instance, size, sha256, stamp, tag, looked, used, turn)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", (file, *key, *what, now, now),
        )  # fmt: skip
        self._pin(at, file, now)
        count(at, "miss")
        target = self._path(file)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        os.link(path, target)
        return Kept(target, size, sha256, tag, is_due=False)

    def done(self, kept: Kept) -> None:
        """Who took it reads it no more."""

        def noted(at: sqlite3.Connection) -> None:
            one = (kept.path.name, life())
            at.execute("UPDATE pinned SET count = count - 1 WHERE file = ? AND owner = ?", one)
            at.execute("DELETE FROM pinned WHERE count <= 0 AND file = ? AND owner = ?", one)
            self._remove(at, f"file = ? AND NOT is_current AND {_UNREAD}", kept.path.name)

        self._index.tried(noted)

    def forget(self, kept: Kept) -> None:
        """It is not what the PACS has, or not what came: it is given to nobody any more."""
        self._index.tried(lambda at: self._forget(at, kept.path.name))

    def only(self, study: str, stamps: Mapping[tuple[str, str], str | None]) -> None:
        """Of a study only these are there, by Series and SOP Instance UID; ``None``: in a state that is not known."""

        def noted(at: sqlite3.Connection) -> None:
            statement = "SELECT file, series, instance, stamp FROM kept WHERE study = ? AND is_current"
            for file, series, instance, was in at.execute(statement, (study,)).fetchall():
                stamp = stamps.get((series, instance), "")
                if stamp is not None and stamp != was:
                    self._forget(at, file)

        self._index.tried(noted)

    def tidy(self) -> None:
        """Remove what a process that was killed has left, and what there is no room for any more."""
        self._index.close()
        self._index.tried(lambda _: None)

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    # Within a transaction.

    def _pin(self, at: sqlite3.Connection, file: str, now: float) -> None:
        """It is read, and was wanted last of all."""
        count(at, "turn")
        at.execute(
            "UPDATE kept SET used = ?, turn = (SELECT count FROM counted WHERE what = 'turn') WHERE file = ?",
            (now, file),
        )
        at.execute(
            "INSERT INTO pinned VALUES (?, ?, 1) ON CONFLICT (file, owner) DO UPDATE SET count = count + 1",
            (file, life()),
        )

    def _forget(self, at: sqlite3.Connection, file: str) -> None:
        at.execute("UPDATE kept SET is_current = 0 WHERE file = ?", (file,))
        self._remove(at, f"file = ? AND {_UNREAD}", file)

    def _remove(self, at: sqlite3.Connection, where: str, *values: object) -> None:
        """Remove files, then their rows."""
        for (file,) in at.execute(f"SELECT file FROM kept WHERE {where}", values).fetchall():  # noqa: S608  # nosec B608
            self._path(file).unlink(missing_ok=True)
            at.execute("DELETE FROM kept WHERE file = ?", (file,))

    def _has_room(self, at: sqlite3.Connection, size: int) -> bool:
        """Make room for so many bytes, and say whether there is: for it goes what was not wanted for longest."""
        self._unpin_the_dead(at)
        if self._disk is not None:
            while self._disk.is_low(anew=True):
                if not self._evict(at, 1):
                    return False
        return self._evict(at, counted(at, "bytes") + size - self._limit)

    def _evict(self, at: sqlite3.Connection, needed: int) -> bool:
        """Make so many bytes free, or leave all as it is."""
        found, freed = list[str](), 0
        rows = at.execute(f"SELECT file, size FROM kept WHERE {_UNREAD} ORDER BY is_current, turn")  # noqa: S608  # nosec B608
        for file, size in rows if needed > 0 else ():
            found.append(file)
            freed += size
            if freed >= needed:
                break
        rows.close()
        if freed < needed:
            return False
        for file in found:
            self._remove(at, "file = ?", file)
        count(at, "evicted", len(found))
        return True

    def _drop_unwanted(self, at: sqlite3.Connection) -> None:
        now = self._clock()
        if abs(now - self._looked) >= LOOK_SECONDS:
            self._looked, before = now, now - self._seconds
            self._remove(at, f"used < ? AND looked < ? AND {_UNREAD}", before, before)

    def _unpin_the_dead(self, at: sqlite3.Connection) -> None:
        for (owner,) in at.execute("SELECT DISTINCT owner FROM pinned").fetchall():
            if is_over(owner):
                at.execute("DELETE FROM pinned WHERE owner = ?", (owner,))
        self._remove(at, f"NOT is_current AND {_UNREAD}")

    def _reconcile(self, at: sqlite3.Connection) -> None:
        """Files and rows tell one story again: nobody puts a file in just now, for that is done in a transaction."""
        self._unpin_the_dead(at)
        sizes = dict(at.execute("SELECT file, size FROM kept").fetchall())
        for path in (self._folder / FILES).glob("*/*"):
            if path.name not in sizes:
                path.unlink(missing_ok=True)
        for file, size in sizes.items():
            if not _has(self._path(file), size):
                self._forget(at, file)
        self._evict(at, counted(at, "bytes") - self._limit)

    def _path(self, file: str) -> Path:
        return self._folder / FILES / file[:2] / file


def _hit(at: sqlite3.Connection, size: int) -> None:
    count(at, "hit")
    count(at, "from cache", size)


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
