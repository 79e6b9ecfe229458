"""A backup of a deployment that may be running, at one moment: what was acknowledged before it began is in it.

In this order, so that each has what the one after it names: documents that are there; the audit log's files, whose last
checkpoint is older than the database then; the database; and the documents that it names beyond the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from xds.audit.log.sequencer import folder as log_folder
from xds.audit.log.sequencer import signing_key
from xds.backup import databases, layout
from xds.backup.layout import File, Manifest, Pooled
from xds.backup.sealing import Recipients, blocks_of, chunks_of
from xds.errors import Unusable
from xds.settings.sections import Loaded
from xds.store.deployment import log_id
from xds.store.documents.folder import Damaged, NotReachable
from xds.store.documents.stores import open_blobs
from xds.store.engine import reading
from xds.store.interface import Blobs
from xds.system.durable import sync_folder

Tell = Callable[[str, int, int], None]
"""Told what is being done, how many of it are done, and of how many."""

# Of the audit log's folder: a checkpoint is copied before what it seals, so that all of that is there.
_LOG_ORDER = ("checkpoints", "tree")
_NOT_COPIED = ("lock",)


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup, and the documents that could not be copied: the SHA-256 of each."""

    folder: Path
    manifest: Manifest
    copied: int
    damaged: tuple[str, ...]


def take(
    loaded: Loaded, engine: sa.Engine, target: Path, recipients: Recipients, tell: Tell, config: Path | None = None,
    *, in_clear: bool = False, whole_server: bool = False,
) -> Taken:  # fmt: skip
    """Copy a deployment into a folder of backups.

    ``config``: its settings file; the files that this names are not copied.  ``in_clear``: documents that are encrypted
    here may be in a backup that is not.  ``whole_server``: of PostgreSQL, by pg_basebackup.

    Raises:
        Unusable: the folder cannot be used, the store of documents does not answer, the database is not copied, or
            documents would leave their encryption behind.
    """
    if loaded.settings.server.documents_key and not recipients and not in_clear:
        rule = "encrypt it (--recipient AGE), or say --in-clear where its disk is encrypted"
        raise Unusable(f"documents are encrypted here, and would be in clear in the backup: {rule}")
    if whole_server and databases.kind_of(loaded.settings.database_url) != layout.POSTGRESQL:
        raise Unusable("only a server of PostgreSQL is copied by pg_basebackup")
    if target.resolve().is_relative_to(loaded.settings.data.resolve()):
        raise Unusable(f"{target} is within the deployment's own folder")
    with alone(target), _workspace(loaded.settings.data) as workspace:
        try:
            return _Taking(loaded, engine, target, recipients, tell, workspace).take(config, whole_server=whole_server)
        except OSError as problem:
            raise Unusable(f"{target}: {problem.strerror or problem}") from None
        except NotReachable as problem:
            raise Unusable(f"the store of documents does not answer: {problem}") from None


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Nobody else makes backups in this folder, or removes them, meanwhile.

    Raises:
        Unusable: somebody does, or it cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (target / "lock").open("w")
    except OSError as problem:
        raise Unusable(f"{target}: {problem.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unusable(f"a backup is being made into {target}, or one is removed") from None
        shutil.rmtree(target / layout.INCOMPLETE, ignore_errors=True)
        yield


@contextmanager
def _workspace(data: Path) -> Iterator[Path]:
    """Where something is in clear on its way: in the deployment's own folder, and nobody else's to read."""
    folder = data / "run" / f"backup-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Taking:
    """One backup under way."""

    def __init__(
        self, loaded: Loaded, engine: sa.Engine, target: Path, recipients: Recipients, tell: Tell, workspace: Path
    ) -> None:  # fmt: skip
        self._loaded, self._engine, self._target, self._recipients = loaded, engine, target, recipients
        self._tell, self._workspace = tell, workspace
        self._blobs: Blobs = open_blobs(loaded.settings, engine)
        self._folder = target / layout.INCOMPLETE
        self._copied, self._damaged, self._log = 0, set[str](), list[Pooled]()

    def take(self, config: Path | None, *, whole_server: bool) -> Taken:
        made = datetime.now(UTC).replace(microsecond=0)
        self._folder.mkdir(mode=0o700)
        first = self._workspace / layout.LIST
        with reading(self._engine) as connection:  # not for as long as they are copied: others write meanwhile
            _list(databases.documents(connection), first)
        self._copy_documents(first)
        self._copy_files(config)
        database = layout.SERVER if whole_server else databases.kind_of(str(self._engine.url))
        self._tell("database", 0, 0)
        with databases.kept(self._engine, self._recipients, self._folder, self._workspace, database) as moment:
            named = databases.documents(moment.connection)
            if moment.is_later:  # what was removed in between is named by what was written
                named = layout.each_once([layout.listed(first), named])
            count, size = _list(named, self._folder / layout.LIST)
        self._damaged.clear()  # what was removed meanwhile is missed by nobody
        self._copy_documents(self._folder / layout.LIST)
        manifest = Manifest(
            made, log_id(self._loaded.settings.data), database, moment.tables, moment.records, count, size,
            bool(self._recipients), self._recipients.pool, tuple(self._hashed()), tuple(self._log),
        )  # fmt: skip
        text = manifest.text()
        said = layout.signed(text, manifest.log_id, signing_key(self._loaded))
        plain = Recipients()
        plain.write(iter((text,)), self._folder / layout.MANIFEST)
        plain.write(iter((said,)), self._folder / layout.STATEMENT)
        folder = self._target / f"{made:%Y-%m-%dT%H%M%SZ}"
        if folder.exists():
            raise Unusable(f"{folder} is there already")
        self._folder.rename(folder)
        sync_folder(self._target)
        return Taken(folder, manifest, self._copied, tuple(sorted(self._damaged)))

    def _copy_documents(self, list_: Path) -> None:
        """Copy what is not there yet."""
        pool, sealed, count = self._target / self._recipients.pool, bool(self._recipients), 0
        for count, (sha256, size) in enumerate(layout.listed(list_), 1):
            target = layout.pooled(pool, sha256, sealed=sealed)
            if not target.exists() or (not sealed and target.stat().st_size != size):
                self._copy_document(sha256, size, target)
            if count % 100 == 0:
                self._tell("documents", count, 0)
        self._tell("documents", count, count)

    def _copy_document(self, sha256: str, size: int, target: Path) -> None:
        try:
            self._recipients.write(self._blobs.chunks(sha256, size), target)
            self._copied += 1
        except Damaged:
            self._damaged.add(sha256)

    def _copy_files(self, config: Path | None) -> None:
        data, folder = self._loaded.settings.data, log_folder(self._loaded)
        for path in self._logs(folder):
            name = f"audit/{path.relative_to(folder)}"
            self._tell(name, 0, 0)
            self._log.append(Pooled(name, *self._blocks(path)))
        for path in [*sorted(data.glob("identity*.json")), *sorted((data / "keys").rglob("*"))]:
            if path.is_file() and path.name not in _NOT_COPIED and not self._is_withheld(path):
                self._copy(path, str(path.relative_to(data)))
        if config is not None:
            self._copy(config, "xds.toml")

    def _is_withheld(self, path: Path) -> bool:
        """Of what opens the documents: it stays apart from a backup that anybody can read."""
        key = self._loaded.settings.server.documents_key
        return bool(key) and not self._recipients and path.resolve() == Path(key).resolve()

    def _blocks(self, path: Path) -> tuple[int, tuple[str, ...]]:
        """Copy what is not there yet of a file that grows at its end: its bytes, and the SHA-256 of each block."""
        pool, sealed = self._target / self._recipients.log_pool, bool(self._recipients)
        names, size = list[str](), 0
        for block in blocks_of(path):
            sha256 = hashlib.sha256(block).hexdigest()
            target = layout.pooled(pool, sha256, sealed=sealed)
            if not target.exists() or (not sealed and target.stat().st_size != len(block)):
                self._recipients.write(iter((block,)), target)
            names.append(sha256)
            size += len(block)
        return size, tuple(names)

    def _logs(self, folder: Path) -> list[Path]:
        def order(path: Path) -> tuple[int, str]:
            first = path.relative_to(folder).parts[0]
            return (_LOG_ORDER.index(first) if first in _LOG_ORDER else len(_LOG_ORDER), str(path))

        return sorted((one for one in folder.rglob("*") if one.is_file() and one.name not in _NOT_COPIED), key=order)

    def _copy(self, path: Path, name: str) -> None:
        self._tell(name, 0, 0)
        self._recipients.write(chunks_of(path), self._folder / self._recipients.name(name))

    def _hashed(self) -> Iterator[File]:
        for path in sorted(self._folder.rglob("*")):
            if path.is_file():
                yield replace(layout.hashed(path), name=str(path.relative_to(self._folder)))


def _list(documents: Iterator[tuple[str, int]], file: Path) -> tuple[int, int]:
    """Write down what documents there are; how many, and their bytes."""
    count = total = 0
    with file.open("w", encoding="ascii") as lines:
        for sha256, size in documents:
            count, total = count + 1, total + size
            lines.write(f"{sha256} {size}\n")
        lines.flush()
        os.fsync(lines.fileno())
    return count, total
