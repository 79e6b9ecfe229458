"""A deployment from a backup, in an empty folder and database: looked at before, held to its audit log after."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509

from xds.audit.log.sequencer import Sequencer
from xds.backup import databases, layout
from xds.backup.layout import CHUNK_BYTES, SEALED, Manifest, Pooled
from xds.backup.sealing import Identities
from xds.backup.taking import Tell
from xds.backup.verifying import verify
from xds.errors import Unusable
from xds.settings.sections import Loaded
from xds.store.audit import records
from xds.store.deployment import with_identity
from xds.store.documents.generations import forget
from xds.store.documents.stores import open_blobs
from xds.store.documents.wrapping import SETTING, wrapping_keys
from xds.store.engine import make_engine
from xds.system.claims import LOCK, Folder
from xds.system.durable import sync_file
from xds.system.token import SCHEME
from xds.wire.spool import NotKept, Spool

_OURS = ("run", LOCK)
"""What a data folder may hold that a command has made by looking at it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back: ``sealed``, the audit log's records under its checkpoints."""

    loaded: Loaded
    manifest: Manifest
    documents: int
    sealed: int


def restore(
    folder: Path, loaded: Loaded, identities: Identities, tell: Tell, certificates: Sequence[x509.Certificate] = ()
) -> Restored:  # fmt: skip
    """Bring a backup back; ``certificates`` as in ``verify``.

    Raises:
        Unusable: the backup is not whole or was changed, cannot be read, the folder or the database has something in
            it already, or the audit log's files and the database do not tell one story.
    """
    settings = loaded.settings
    if key := settings.server.documents_key:
        if not key.startswith(SCHEME) and Path(key).resolve().is_relative_to(settings.data.resolve()):
            rule = "not within server.data, which must be empty: move it, and set where it is then"
            raise Unusable(f"{SETTING}: {key}: {rule}")
        wrapping_keys(key)
    manifest = _whole(folder, identities, tell, certificates)
    with tempfile.TemporaryDirectory(prefix="xds-backup-") as workspace:  # who cannot read it touches nothing
        for file in manifest.files:
            if file.name.startswith("identity"):
                with identities.opened(folder / file.name, Path(workspace)):
                    pass
    is_server = manifest.database == layout.SERVER
    if databases.kind_of(settings.database_url) != (layout.POSTGRESQL if is_server else manifest.database):
        wanted = "postgresql" if manifest.database != layout.SQLITE else "sqlite"
        raise Unusable(f"the backup is of a {wanted} database: server.database must be one")
    there_before = settings.data.exists()
    claim = Folder(settings.data)  # no server takes it meanwhile
    try:
        try:
            _empty(settings.data)
            if not is_server:
                databases.empty(settings.database_url)
        except Unusable:
            if not there_before:
                shutil.rmtree(settings.data)
            raise
        try:
            return _Restoring(folder, loaded, manifest, identities, tell).restore()
        except BaseException as problem:
            _undo(loaded, whole=not there_before)
            if isinstance(problem, OSError | NotKept):
                raise Unusable(f"it cannot be written: {problem}") from None
            raise
    finally:
        claim.done()


def unpack_server(
    folder: Path, target: Path, identities: Identities, tell: Tell, certificates: Sequence[x509.Certificate] = ()
) -> None:  # fmt: skip
    """Bring back the server of PostgreSQL that a backup has: its folder, which somebody then starts it on.

    Raises:
        Unusable: the backup is not whole, or has none, or the folder has something in it.
    """
    manifest = _whole(folder, identities, tell, certificates)
    if manifest.database != layout.SERVER:
        raise Unusable(f"{folder} has no server of PostgreSQL: it was made without --whole-server")
    try:
        with tempfile.TemporaryDirectory(prefix=".xds-restore-", dir=target.parent) as workspace:
            path = folder / f"{manifest.database}{SEALED if manifest.is_sealed else ''}"
            with identities.opened(path, Path(workspace)) as file:
                databases.unpack(Path(file.name), target)
    except OSError as problem:
        raise Unusable(f"{target.parent}: {problem.strerror}") from None


def _whole(folder: Path, identities: Identities, tell: Tell, certificates: Sequence[x509.Certificate]) -> Manifest:
    """The manifest of a backup of which nothing is wrong."""
    manifest = layout.read(folder)
    wrong = verify(folder, tell, certificates=certificates, identities=identities).wrong
    if wrong:
        raise Unusable(f"{folder} is not whole: {wrong[0]}" + _more(len(wrong)))
    return manifest


def _undo(loaded: Loaded, *, whole: bool) -> None:
    """Leave nothing of what was half brought back, but what is in a database of PostgreSQL, and documents elsewhere.

    Those the sweep of any server takes, as no row names them.
    """
    data, url = loaded.settings.data, loaded.settings.database_url
    for path in [data] if whole else [one for one in data.iterdir() if one.name != LOCK]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if url.startswith("sqlite:///"):
        for path in databases.files_of(url):
            path.unlink(missing_ok=True)


def _more(count: int) -> str:
    return f", and {count - 1} more; xds backup verify tells all" if count > 1 else ""


def _empty(data: Path) -> None:
    if there := [one.name for one in data.iterdir() if one.name not in _OURS]:
        raise Unusable(
            f"{data} has something in it already ({there[0]}): a backup is brought back into an empty folder"
        )


class _Restoring:
    """One backup on its way back."""

    def __init__(
        self, folder: Path, loaded: Loaded, manifest: Manifest, identities: Identities, tell: Tell
    ) -> None:  # fmt: skip
        self._folder, self._loaded, self._manifest, self._identities = folder, loaded, manifest, identities
        self._tell, self._data = tell, loaded.settings.data

    def restore(self) -> Restored:
        workspace = self._data / "run"
        workspace.mkdir(exist_ok=True, mode=0o700)
        engine = make_engine(self._loaded.settings.database_url, connections=4)
        try:
            if self._manifest.database != layout.SERVER:
                self._database(engine, workspace)
            for file in self._manifest.files:
                self._file(file.name, workspace)
            if self._manifest.database == layout.SERVER:
                unique_id = with_identity(self._loaded).settings.repository.unique_id
                databases.is_back(engine, self._manifest, unique_id)
            with engine.begin() as connection:
                forget(connection)  # documents are put anew, by this deployment's keys
            for pooled in self._manifest.log:
                self._log(pooled)
            loaded = with_identity(self._loaded)
            count = self._documents(loaded, engine)
            self._tell("audit log", 0, 0)
            with engine.begin() as connection:  # what was under way then is under way nowhere
                for id_, _, if_it_dies in records.streams(connection):
                    records.close_stream(connection, id_, if_it_dies)
            sequencer = Sequencer(engine, loaded)
            try:
                sequencer.step()
                sealed = sequencer.size
            finally:
                sequencer.close()
        finally:
            engine.dispose()
        return Restored(loaded, self._manifest, count, sealed)

    def _database(self, engine: sa.Engine, workspace: Path) -> None:
        self._tell("database", 0, 0)
        path = self._folder / f"{self._manifest.database}{SEALED if self._manifest.is_sealed else ''}"
        with self._identities.opened(path, workspace) as file:
            databases.put_back(Path(file.name), engine.url)

    def _file(self, name: str, workspace: Path) -> None:
        """A file of the deployment's folder; its settings are the operator's, and stay where they are."""
        plain = name.removesuffix(SEALED)
        if not plain.startswith(("audit/", "keys/", "identity")):
            return
        target = self._data / plain
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._identities.opened(self._folder / name, workspace) as file, target.open("wb") as copy:
            target.chmod(0o600)
            shutil.copyfileobj(file, copy, CHUNK_BYTES)
        sync_file(target)

    def _log(self, pooled: Pooled) -> None:
        """A file of the audit log, of its blocks."""
        self._tell(pooled.name, 0, 0)
        target, pool = self._data / pooled.name, self._folder.parent / self._manifest.log_pool
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with target.open("wb") as copy:
            target.chmod(0o600)
            for sha256 in pooled.blocks:
                self._identities.pour(layout.pooled(pool, sha256, sealed=self._manifest.is_sealed), copy.write)
        sync_file(target)

    def _documents(self, loaded: Loaded, engine: sa.Engine) -> int:
        blobs, count = open_blobs(loaded.settings, engine), 0
        pool = self._folder.parent / self._manifest.pool
        for sha256, _ in layout.listed(self._folder / layout.LIST):
            path = layout.pooled(pool, sha256, sealed=self._manifest.is_sealed)
            spooling = Spool(blobs.staging, sealed=blobs.seals)
            with spooling as spool:
                writing = spool.new()
                self._identities.pour(path, writing.write)
                spooled = writing.finish()
                if spooled.sha256 != sha256:
                    raise Unusable(f"document {sha256} is not what was written")
                blobs.put(spooled)
            count += 1
            if count % 100 == 0:
                self._tell("documents", count, self._manifest.documents)
        self._tell("documents", count, self._manifest.documents)
        return count
