"""The index of a cache of instances: what is in it, who reads it, and what was counted; one transaction at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TypeVar

log = logging.getLogger("xds.archives.cache")

T = TypeVar("T")

VERSION = 1
"""Of the tables; with another one it is made anew."""

INDEX, FILES = "index.sqlite", "files"

OUTCOMES = ("hit", "miss", "uncached")
"""What becomes of who wants an instance: it is here; it is fetched, and kept; it is fetched, and there is no room."""

_COUNTS = ("bytes", "instances", "evicted", "turn", "from cache", "from archive", *OUTCOMES)

_TABLES = """
CREATE TABLE kept (
    file TEXT PRIMARY KEY,
    study TEXT NOT NULL, series TEXT NOT NULL, instance TEXT NOT NULL,
    size INTEGER NOT NULL, sha256 TEXT NOT NULL, stamp TEXT NOT NULL, tag TEXT NOT NULL,
    looked REAL NOT NULL, used REAL NOT NULL, turn INTEGER NOT NULL,
    is_current INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE UNIQUE INDEX kept_current ON kept (study, series, instance) WHERE is_current;
CREATE INDEX kept_turn ON kept (is_current, turn);
CREATE TABLE pinned (
    file TEXT NOT NULL, owner TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (file, owner)
) WITHOUT ROWID;
CREATE TABLE counted (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE made_of (text TEXT NOT NULL);
CREATE TRIGGER came AFTER INSERT ON kept BEGIN
    UPDATE counted SET count = count + NEW.size WHERE what = 'bytes';
    UPDATE counted SET count = count + 1 WHERE what = 'instances';
END;
CREATE TRIGGER went AFTER DELETE ON kept BEGIN
    UPDATE counted SET count = count - OLD.size WHERE what = 'bytes';
    UPDATE counted SET count = count - 1 WHERE what = 'instances';
END;
"""


class CacheIndex:
    """Safe with threads, processes and forks.  ``begun`` is done in the first transaction of each process."""

    def __init__(self, folder: Path, made_of: str, begun: Callable[[sqlite3.Connection], None]) -> None:
        """Nothing is opened yet.  ``made_of``: with another text it starts empty, and so it does at each start of the
        machine: nothing here is synced to disk.
        """
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        self._folder, self._made_of, self._begun = folder, f"{made_of}\n{boot}", begun
        self._connection: sqlite3.Connection | None = None
        self._begin()

    def _begin(self) -> None:
        self._process, self._lock, self._inode = os.getpid(), RLock(), 0
        self._parents, self._connection = self._connection, None  # the parent's: SQLite wants it not even closed here

    def tried(self, do: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do it in a transaction; ``None`` where that cannot be: then nothing is here."""
        if self._process != os.getpid():
            self._begin()
        try:
            with self._lock, self._transaction() as at:
                return do(at)
        except (OSError, sqlite3.Error) as problem:
            log.warning("image_cache.unusable", extra={"reason": f"{type(problem).__name__}: {problem}"})
            return None

    def close(self) -> None:
        """Close it; the next transaction opens it again."""
        if self._process == os.getpid():
            with self._lock:
                self._let_go()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        at = self._opened()
        try:
            at.execute("BEGIN IMMEDIATE")
            yield at
            at.execute("COMMIT")
        except BaseException:
            self._let_go()  # files may have gone that rows name, or come that none does: the next one looks
            raise

    def _opened(self) -> sqlite3.Connection:
        path = self._folder / INDEX
        if self._connection is not None and _inode(path) == self._inode:
            return self._connection
        self._let_go()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "prepare.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                at = self._prepared(path)
            except sqlite3.OperationalError:  # such as a disk that is full
                raise
            except sqlite3.DatabaseError:  # damaged, or of something else
                remove_all(self._folder)
                at = self._prepared(path)
        try:
            at.execute("BEGIN IMMEDIATE")
            self._begun(at)
            at.execute("COMMIT")
        except BaseException:
            at.close()
            raise
        self._connection, self._inode = at, _inode(path)
        return at

    def _prepared(self, path: Path) -> sqlite3.Connection:
        (self._folder / FILES).mkdir(exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        at = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            at.execute("PRAGMA synchronous = OFF")
            (version,) = at.execute("PRAGMA user_version").fetchone()
            if version == VERSION and at.execute("SELECT text FROM made_of").fetchone() == (self._made_of,):
                return at
            if version:
                raise sqlite3.DatabaseError("of another version, or made of something else")
            at.execute("PRAGMA journal_mode = WAL")
            at.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {VERSION};")
            at.execute("INSERT INTO made_of VALUES (?)", (self._made_of,))
            at.executemany("INSERT INTO counted VALUES (?, 0)", ((what,) for what in _COUNTS))
            at.execute("COMMIT")
        except BaseException:
            at.close()
            raise
        return at

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()  # what was not committed is undone
        self._connection = None


def remove_all(folder: Path) -> None:
    """Remove what a cache has, and its index."""
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{INDEX}{suffix}").unlink(missing_ok=True)
    shutil.rmtree(folder / FILES, ignore_errors=True)


def counts(folder: Path) -> Mapping[str, int]:
    """What is in a cache, and what it has done since it was made; nothing where there is none."""
    path = folder / INDEX
    if not path.exists():
        return {}
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as at:
            return dict(at.execute("SELECT what, count FROM counted").fetchall())
    except sqlite3.Error:
        return {}


def counted(at: sqlite3.Connection, what: str) -> int:
    return int(at.execute("SELECT count FROM counted WHERE what = ?", (what,)).fetchone()[0])


def count(at: sqlite3.Connection, what: str, number: int = 1) -> None:
    at.execute("UPDATE counted SET count = count + ? WHERE what = ?", (number, what))


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
