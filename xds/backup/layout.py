"""What a folder of backups holds.

``documents/`` has every document once, under the SHA-256 of its content, for all backups of the folder: the next backup
copies what is new.  ``audit/`` has the audit log's files likewise, in blocks: what has grown shares all but its end.
What is encrypted has folders like them for each set of recipients.  Beside them each backup has a folder of its own,
named by its time, with what differs.  No backup needs another: each names all that is its.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from xds.audit.log import statement
from xds.audit.log.keys import SigningKey
from xds.audit.log.statement import BadStatement, Kind
from xds.errors import Unusable

SQLITE, POSTGRESQL, SERVER = "database.sqlite", "database.dump", "database.tar"
"""What a database becomes: SQLite's file, a dump of PostgreSQL's, or the files of its whole server."""

MANIFEST, STATEMENT, LIST = "manifest.json", "manifest.xml", "documents.list"
POOL, LOG_POOL = "documents", "audit"
SEALED = ".age"
"""The end of the name of what is encrypted."""

_OF_THE_DISK = "lost+found"
"""At the top of a file system of its own; only root looks into it."""

FORMAT, FORMATS = 2, (1, 2)
"""What is written, and what is read: the first had each backup's audit log in its own folder."""

BLOCK_BYTES = 16 * 1024 * 1024
INCOMPLETE = ".incomplete"
CHUNK_BYTES = 1024 * 1024
KIND = Kind("urn:xds:backup:1", "Backup", ("LogId", "Manifest", "Time"), "backup's statement")


@dataclass(frozen=True, slots=True)
class File:
    """A file of one backup, as it lies there: its name in the backup, bytes, and SHA-256."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Pooled:
    """A file of the audit log: its name, bytes, and the SHA-256 of each block of its content, in order."""

    name: str
    size_bytes: int
    blocks: tuple[str, ...]

    def sized(self) -> Iterator[tuple[str, int]]:
        """Each block's SHA-256 and size."""
        for number, sha256 in enumerate(self.blocks):
            yield sha256, min(BLOCK_BYTES, self.size_bytes - number * BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one backup holds.  ``records``: of the audit log, numbered; ``made`` is UTC."""

    made: datetime
    log_id: str
    database: str  # the name of its file
    tables: str  # the step of the migrations
    records: int
    documents: int
    document_bytes: int
    is_sealed: bool
    pool: str  # the folder of its documents
    files: tuple[File, ...]  # in its own folder
    log: tuple[Pooled, ...] = ()

    @property
    def log_pool(self) -> str:
        """The folder of its audit log's blocks."""
        return self.pool.replace(POOL, LOG_POOL, 1)

    def text(self) -> bytes:
        """As it is written."""
        said = dataclasses.asdict(self) | {"made": self.made.isoformat(), "format": FORMAT}
        return json.dumps(said, indent=1).encode()


def read(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        Unusable: there is none, or it is of a later version.
    """
    try:
        said = json.loads((folder / MANIFEST).read_text("utf-8"))
        if said.pop("format") not in FORMATS:
            raise Unusable(f"{folder}: a backup of a later version of xds")
        files = tuple(File(**one) for one in said.pop("files"))
        log = tuple(_pooled(one) for one in said.pop("log", ()))
        found = Manifest(datetime.fromisoformat(said.pop("made")), files=files, log=log, **said)
        if (
            found.made.tzinfo is None
            or not _POOL.fullmatch(found.pool)
            or found.database not in (SQLITE, POSTGRESQL, SERVER)
        ):
            raise ValueError("its manifest is none")
        return found
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Unusable(f"{folder} holds no backup: {problem}") from None


def _pooled(said: dict[str, Any]) -> Pooled:
    found = Pooled(said["name"], said["size_bytes"], tuple(said["blocks"]))
    path, count = Path(found.name), -(-found.size_bytes // BLOCK_BYTES)
    if path.parts[:1] != ("audit",) or ".." in path.parts or count != len(found.blocks):
        raise ValueError(f"its manifest names {found.name}, which is no file of a log")
    if not all(_SHA256.fullmatch(one) for one in found.blocks):
        raise ValueError("its manifest names a block that is none")
    return found


def signed(manifest: bytes, log_id: str, key: SigningKey) -> bytes:
    """A statement about a manifest by the audit log's key."""
    return statement.sign(KIND, (log_id, hashlib.sha256(manifest).hexdigest(), datetime.now(UTC).isoformat()), key)


def _hash_said(said: bytes) -> tuple[str, datetime]:
    """The SHA-256 of the manifest that a statement is about, and when it was made."""
    _, hashed_, time = statement.values_of(KIND, said)
    return hashed_, datetime.fromisoformat(time)


def agrees(folder: Path) -> bool:
    """Whether a backup's manifest is the one that its statement names, whoever has signed that."""
    try:
        return hashed(folder / MANIFEST).sha256 == _hash_said((folder / STATEMENT).read_bytes())[0]
    except (OSError, ValueError):
        return False


def believed(folder: Path, certificates: Sequence[x509.Certificate]) -> None:
    """Hold a backup's manifest to the statement about it.

    Raises:
        Unusable: it is not signed by any of these, or is another manifest.
    """
    try:
        said = (folder / STATEMENT).read_bytes()
        statement.verify(KIND, said, _hash_said(said)[1], certificates)
        if not agrees(folder):
            raise BadStatement("the manifest is another one than was signed")
    except (OSError, ValueError) as problem:
        raise Unusable(f"{folder} was changed: {problem}") from None


def backups(folder: Path) -> list[Path]:
    """The whole backups of a folder, the oldest first."""
    return sorted(one.parent for one in folder.glob(f"*/{MANIFEST}") if not one.parent.name.startswith("."))


def folders(target: Path) -> list[Path]:
    """What may be backups, the oldest first: whatever is no pool, is not empty, and not on its way in or out."""
    found = (one for one in target.iterdir() if one.is_dir() and not one.name.startswith("."))
    return sorted(one for one in found if not (is_pool(one.name) or one.name == _OF_THE_DISK or _is_empty(one)))


def _is_empty(folder: Path) -> bool:
    try:
        return next(folder.iterdir(), None) is None
    except OSError:  # what is in it cannot be said
        return False


def is_pool(name: str) -> bool:
    """Whether a folder of a name has what backups share."""
    return re.fullmatch(rf"({POOL}|{LOG_POOL})(-[0-9a-f]{{16}})?", name) is not None


def pooled(pool: Path, sha256: str, *, sealed: bool) -> Path:
    """Where a document lies in the documents' folder."""
    return pool / sha256[:2] / sha256[2:4] / f"{sha256}{SEALED if sealed else ''}"


def hashed(path: Path) -> File:
    """A file's size and hash.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return digest_of(file)


def digest_of(file: Any) -> File:
    """The size and hash of a file that is open at its beginning."""
    digest = hashlib.file_digest(file, "sha256")
    return File("", file.tell(), digest.hexdigest())


_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE, _POOL = re.compile(r"([0-9a-f]{64}) ([0-9]{1,18})\n?"), re.compile(r"documents(-[0-9a-f]{16})?")


def listed(file: Path) -> Iterator[tuple[str, int]]:
    """Each document's SHA-256 and size, of a list of them.

    Raises:
        Unusable: it is gone, or is none.
    """
    try:
        with file.open(encoding="ascii") as lines:
            for line in lines:
                if (found := _LINE.fullmatch(line)) is None:
                    raise Unusable(f"{LIST} is no list of documents")
                yield found[1], int(found[2])
    except (OSError, UnicodeDecodeError) as problem:
        raise Unusable(f"{file}: {problem}") from None


def each_once(lists: Sequence[Iterator[tuple[str, int]]]) -> Iterator[tuple[str, int]]:
    """What is in any of some lists, in the order of names that each has: of millions nothing is kept in memory.

    Raises:
        Unusable: one is not in order.
    """
    last: tuple[str, int] | None = None
    for one in heapq.merge(*map(_ordered, lists)):
        if one != last:
            yield one
        last = one


def _ordered(list_: Iterator[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    last = ""
    for sha256, size in list_:
        if sha256 < last:
            raise Unusable("a list of documents is not in order")
        last = sha256
        yield sha256, size
