"""What a folder of backups holds.

``documents/`` has every document once, under the SHA-256 of its content, for all backups of the folder: the next backup
copies what is new.  What is encrypted has a folder like it for each set of recipients.  Beside them each backup has a
folder of its own, named by its time, with what differs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from xds.audit.log import statement
from xds.audit.log.keys import SigningKey
from xds.audit.log.statement import BadStatement, Kind
from xds.errors import Unusable

SQLITE, POSTGRESQL = "database.sqlite", "database.dump"
MANIFEST, STATEMENT, LIST, POOL = "manifest.json", "manifest.xml", "documents.list", "documents"
SEALED = ".age"
"""The end of the name of what is encrypted."""

FORMAT = 1
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
    files: tuple[File, ...]

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
        if said.pop("format") != FORMAT:
            raise Unusable(f"{folder}: a backup of a later version of xds")
        files = tuple(File(**one) for one in said.pop("files"))
        found = Manifest(datetime.fromisoformat(said.pop("made")), files=files, **said)
        if not _POOL.fullmatch(found.pool) or found.database not in (SQLITE, POSTGRESQL):
            raise ValueError("its manifest is none")
        return found
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Unusable(f"{folder} holds no backup: {problem}") from None


def signed(manifest: bytes, log_id: str, key: SigningKey) -> bytes:
    """A statement about a manifest by the audit log's key."""
    return statement.sign(KIND, (log_id, hashlib.sha256(manifest).hexdigest(), datetime.now(UTC).isoformat()), key)


def agrees(folder: Path) -> bool:
    """Whether a backup's manifest is the one that its statement names, whoever has signed that."""
    try:
        _, hashed_, _ = statement.values_of(KIND, (folder / STATEMENT).read_bytes())
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest() == hashed_
    except (OSError, ValueError):
        return False


def believed(folder: Path, certificates: Sequence[x509.Certificate]) -> None:
    """Hold a backup's manifest to the statement about it.

    Raises:
        Unusable: it is not signed by any of these, or is another manifest.
    """
    try:
        said = (folder / STATEMENT).read_bytes()
        _, hashed_, time = statement.values_of(KIND, said)
        statement.verify(KIND, said, datetime.fromisoformat(time), certificates)
        if hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest() != hashed_:
            raise BadStatement("the manifest is another one than was signed")
    except (OSError, ValueError) as problem:
        raise Unusable(f"{folder} was changed: {problem}") from None


def backups(folder: Path) -> list[Path]:
    """The whole backups of a folder, the oldest first."""
    return sorted(one.parent for one in folder.glob(f"*/{MANIFEST}") if not one.parent.name.startswith("."))


def pooled(pool: Path, sha256: str, *, sealed: bool) -> Path:
    """Where a document lies in the documents' folder."""
    return pool / sha256[:2] / sha256[2:4] / f"{sha256}{SEALED if sealed else ''}"


def hashed(path: Path) -> File:
    """A file's size and hash.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return File("", size, digest.hexdigest())


_LINE, _POOL = re.compile(r"([0-9a-f]{64}) ([0-9]{1,18})\n?"), re.compile(r"documents(-[0-9a-f]{16})?")


def listed(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each document's SHA-256 and size, of a backup's list.

    Raises:
        Unusable: it is no list.
    """
    for line in lines:
        if (found := _LINE.fullmatch(line)) is None:
            raise Unusable(f"{LIST} is no list of documents")
        yield found[1], int(found[2])


def list_of(folder: Path) -> Iterator[tuple[str, int]]:
    """The documents of a backup.

    Raises:
        Unusable: its list is gone, or is none.
    """
    try:
        with (folder / LIST).open(encoding="ascii") as lines:
            yield from listed(lines)
    except (OSError, UnicodeDecodeError) as problem:
        raise Unusable(f"{folder / LIST}: {problem}") from None
