"""What a tree of DICOM files holds, kept in a SQLite file beside it so that it is read once.

A cache: it can be deleted at any time, and is made anew when its form or what it was made of differs.  It
holds patient data, so only its owner may read it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xds.archives.interface import Held
from xds.imaging.instance import InstanceFacts
from xds.imaging.manifest import Code, Patient, Request

VERSION = 3
"""Of the tables and of what the facts hold; another one is made anew."""

_TABLES = """
CREATE TABLE files (
    path BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    sha256 TEXT,
    study TEXT,
    series TEXT,
    instance TEXT,
    facts TEXT,
    problem TEXT,
    patient TEXT
) WITHOUT ROWID;
CREATE INDEX files_instance ON files (instance, series, study);
CREATE INDEX files_study ON files (study, path) WHERE study IS NOT NULL;
CREATE INDEX files_patient ON files (study, patient) WHERE study IS NOT NULL;
CREATE INDEX files_problem ON files (path) WHERE problem IS NOT NULL;
CREATE TABLE rejected (path BLOB NOT NULL, study TEXT NOT NULL, instance TEXT NOT NULL);
CREATE INDEX rejected_instance ON rejected (instance, study);
CREATE INDEX rejected_path ON rejected (path);
CREATE VIEW kept AS SELECT * FROM files WHERE NOT EXISTS
    (SELECT 1 FROM rejected WHERE rejected.instance = files.instance AND rejected.study = files.study);
CREATE TABLE made_of (text TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its instance, or the instances that it rejects, or what is wrong with it."""

    path: str  # relative to the tree, with /; as os.fsdecode has it
    size_bytes: int
    modified_ns: int
    sha256: str | None = None
    facts: InstanceFacts | None = None
    rejects: tuple[tuple[str, str], ...] = ()  # Study and SOP Instance UIDs
    problem: str | None = None


class Index:
    """The entries of one tree.  Safe with threads, processes and forks: each has a connection of its own."""

    def __init__(self, path: Path, root: Path, made_of: str) -> None:
        """Open the index, or make an empty one.

        ``made_of`` names what entries depend on besides the files; with another one the index starts empty.

        Raises:
            OSError: it cannot be made there.
        """
        self._path, self._root = path, root
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with self.alone("prepare"):
            try:
                self._prepare(made_of)
            except sqlite3.DatabaseError:
                self._delete()  # no SQLite file, or a damaged one
                self._prepare(made_of)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Only one process at a time does this."""
        path = self._path.with_name(f"{self._path.name}-{what}.lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _prepare(self, made_of: str) -> None:
        connection = self._connection()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == VERSION and connection.execute("SELECT text FROM made_of").fetchone() == (made_of,):
            return
        if version:
            self._delete()
            connection = self._connection()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {VERSION};")
        connection.execute("INSERT INTO made_of VALUES (?)", (made_of,))
        connection.execute("COMMIT")

    def _delete(self) -> None:
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._path.touch(mode=0o600)

    def _connection(self) -> sqlite3.Connection:
        kept: tuple[int, sqlite3.Connection] | None = getattr(self._local, "kept", None)
        if kept is None or kept[0] != os.getpid():
            connection = sqlite3.connect(self._path, timeout=30.0, isolation_level=None)
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.kept = kept = (os.getpid(), connection)
        return kept[1]

    def close(self) -> None:
        """Close this thread's connection."""
        kept: tuple[int, sqlite3.Connection] | None = getattr(self._local, "kept", None)
        if kept is not None and kept[0] == os.getpid():
            kept[1].close()
            self._local.kept = None

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of every file known, by path."""
        rows = self._connection().execute("SELECT path, size, modified_ns FROM files")
        return {os.fsdecode(path): (size, modified) for path, size, modified in rows}

    def store(self, entries: Iterable[Entry]) -> None:
        """Put in entries in place of those of the same paths, all or none."""
        with self._transaction() as connection:
            for entry in entries:
                key = os.fsencode(entry.path)
                connection.execute("DELETE FROM rejected WHERE path = ?", (key,))
                connection.execute("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?)", _row(entry))
                connection.executemany(
                    "INSERT INTO rejected VALUES (?, ?, ?)", ((key, *pair) for pair in entry.rejects)
                )

    def remove(self, paths: Iterable[str]) -> None:
        """Take out entries, all or none."""
        with self._transaction() as connection:
            for path in paths:
                connection.execute("DELETE FROM rejected WHERE path = ?", (os.fsencode(path),))
                connection.execute("DELETE FROM files WHERE path = ?", (os.fsencode(path),))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def find(self, study: str, series: str, instance: str) -> Held | None:
        """An instance that is not rejected; of several files the first by path."""
        row = (
            self._connection()
            .execute(
                "SELECT path, size, modified_ns, sha256, study, series, instance, facts FROM kept"
                " WHERE instance = ? AND series = ? AND study = ? ORDER BY path LIMIT 1",
                (instance, series, study),
            )
            .fetchone()
        )
        return None if row is None else _held(row[:-1], json.loads(row[-1]))

    def members(self, study: str, series: str = "", instance: str = "") -> list[Held]:
        """The instances of a study that are not rejected, by series and number; of several files the first by path."""
        rows = self._connection().execute(
            "SELECT path, size, modified_ns, sha256, study, series, instance, facts FROM kept"
            " WHERE study = ? AND (? = '' OR series = ?) AND (? = '' OR instance = ?) ORDER BY path",
            (study, series, series, instance, instance),
        )
        found: dict[str, tuple[tuple[int, int], Held]] = {}
        for row in rows:
            kept = json.loads(row[-1])
            series_number, number = (kept[name] if kept[name] is not None else 1 << 31 for name in _NUMBERS)
            found.setdefault(row[6], ((series_number, number), _held(row[:-1], kept)))
        ordered = sorted(found.values(), key=lambda one: (one[0][0], one[1].series_instance_uid, one[0][1]))
        return [held for _, held in ordered]

    def patient(self, study: str) -> Patient | None:
        """Whom one of the instances of a study shows."""
        return next(iter(self.patients(study)), None)

    def patients(self, study: str) -> list[Patient]:
        """All whom the instances of a study show, those that are rejected too."""
        statement = "SELECT DISTINCT patient FROM files WHERE study = ? AND patient IS NOT NULL"
        return [Patient(**json.loads(patient)) for (patient,) in self._connection().execute(statement, (study,))]

    def whose(self, study: str) -> list[tuple[str, Patient]]:
        """Whom each file of a study shows, by its path."""
        rows = self._connection().execute(
            "SELECT path, patient FROM files WHERE study = ? AND patient IS NOT NULL", (study,)
        )
        return [(os.fsdecode(path), Patient(**json.loads(patient))) for path, patient in rows]

    def with_problem(self, problem: str) -> list[str]:
        """The files of which that is wrong."""
        rows = self._connection().execute("SELECT path FROM files WHERE problem = ?", (problem,))
        return [os.fsdecode(path) for (path,) in rows]

    def study(self, study: str, most: int = -1) -> list[InstanceFacts]:
        """The instances of a study that are not rejected, in order of path; the first of them, or all."""
        statement = "SELECT path, size, facts FROM kept WHERE study = ? ORDER BY path LIMIT ?"
        return [self._facts(*row) for row in self._connection().execute(statement, (study, most))]

    def fingerprints(self, study_instance_uid: str = "") -> list[tuple[str, str]]:
        """Every study, or the one, with how many files it has that are not rejected, and a digest of which."""
        rows = self._connection().execute(
            "SELECT study, instance, sha256 FROM kept WHERE study BETWEEN ? AND ? ORDER BY study, instance, path",
            [study_instance_uid, study_instance_uid or "~"],
        )
        found: dict[str, tuple[int, Any]] = {}
        for study, instance, sha256 in rows:
            count, digest = found.get(study, (0, hashlib.sha256()))
            digest.update(f"{instance} {sha256}\n".encode())
            found[study] = (count + 1, digest)
        return [(study, f"{count} {digest.hexdigest()[:32]}") for study, (count, digest) in found.items()]

    def study_uids(self) -> list[str]:
        """Every study, in order."""
        rows = self._connection().execute("SELECT DISTINCT study FROM files WHERE study IS NOT NULL ORDER BY study")
        return [study for (study,) in rows]

    def problems(self) -> list[tuple[str, str]]:
        """Paths that hold nothing usable or rejected instances, and why."""
        rows = self._connection().execute(
            "SELECT path, problem FROM files WHERE problem IS NOT NULL UNION ALL"
            " SELECT path, 'taken back by a rejection note' FROM files"
            " WHERE (instance, study) IN (SELECT instance, study FROM rejected) ORDER BY path"
        )
        return [(os.fsdecode(path), problem) for path, problem in rows]

    def count_problems(self) -> int:
        query = "SELECT COUNT(*) FROM files WHERE problem IS NOT NULL"
        return int(self._connection().execute(query).fetchone()[0])

    def _facts(self, path: bytes, size: int, facts: str) -> InstanceFacts:
        kept = json.loads(facts)
        kept["patient"] = Patient(**kept["patient"])
        kept["requests"] = tuple(Request(**one) for one in kept["requests"])
        for name in ("anatomic_regions", "procedure_codes"):
            kept[name] = tuple(Code(**one) for one in kept[name])
        return InstanceFacts(path=self._root / os.fsdecode(path), size_bytes=size, **kept)


_NUMBERS = ("series_number", "instance_number")


def _held(row: tuple[Any, ...], kept: Any) -> Held:
    path, size, modified, sha256, study, series, instance = row
    return Held(
        study_instance_uid=study,
        series_instance_uid=series,
        sop_class_uid=kept["sop_class_uid"],
        sop_instance_uid=instance,
        transfer_syntax_uid=kept["transfer_syntax_uid"],
        size_bytes=size,
        sha256=sha256,
        locator=os.fsdecode(path),
        modified_ns=modified,
        dataset_begin=kept["dataset_begin"],
        is_part10=kept["is_part10"],
        has_odd_preamble=kept["has_odd_preamble"],
    )


def _row(entry: Entry) -> tuple[Any, ...]:
    facts = entry.facts
    kept = None
    if facts is not None:
        kept = asdict(facts)
        del kept["path"], kept["size_bytes"]
    return (
        os.fsencode(entry.path),
        entry.size_bytes,
        entry.modified_ns,
        entry.sha256,
        facts and facts.study_instance_uid,
        facts and facts.series_instance_uid,
        facts and facts.sop_instance_uid,
        kept and json.dumps(kept, ensure_ascii=False),
        entry.problem,
        kept and json.dumps(kept["patient"], ensure_ascii=False),
    )
