"""Whether backups are whole and unchanged, without bringing them back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from xds.backup import layout
from xds.backup.layout import SEALED, Manifest
from xds.backup.sealing import Identities, Tally
from xds.backup.taking import Tell
from xds.errors import Unusable


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at backups has found: ``read``, of how many documents the content was looked at."""

    manifests: tuple[Manifest, ...]
    documents: int
    read: int
    wrong: tuple[str, ...]


def verify(
    folder: Path, tell: Tell, *, certificates: Sequence[x509.Certificate] = (), identities: Identities | None = None
) -> Verified:  # fmt: skip
    """Look at every file and every document of a backup; or of all backups of a folder, at what they share once.

    ``certificates``: of the audit log's key, kept elsewhere; without them it is not looked at who has made the backup,
    which finds damage and no forger.  ``identities``: without them encrypted documents are only seen to be there.

    Raises:
        Unusable: it is no backup, or its manifest was changed.
    """
    identities, wrong = identities or Identities(), list[str]()
    found = dict(_manifests(folder, wrong))
    for one, manifest in found.items():
        where = "" if one == folder else f"{one.name}/"
        wrong += [f"{where}{problem}" for problem in _files(one, manifest, certificates)]
    count = read = 0
    for pool, pooled in _pools(found).items():
        for sha256, size in pooled.log:
            _, problem = _content(layout.pooled(pool.with_name(pooled.log_pool), sha256, sealed=pooled.sealed),
                                  sha256, size, identities)  # fmt: skip
            if problem:
                wrong.append(f"audit log, block {sha256}: {problem}")
        for sha256, size in pooled.documents():
            count += 1
            looked, problem = _content(layout.pooled(pool, sha256, sealed=pooled.sealed), sha256, size, identities)
            read += looked
            if problem:
                wrong.append(f"document {sha256}: {problem}")
            if count % 100 == 0:
                tell("documents", count, 0)
    tell("documents", count, count)
    return Verified(tuple(found.values()), count, read, tuple(wrong))


def _manifests(folder: Path, wrong: list[str]) -> Iterator[tuple[Path, Manifest]]:
    """Of a backup, or of each of a folder; of these, which cannot be read is wrong.

    Raises:
        Unusable: there is none.
    """
    if (folder / layout.MANIFEST).exists() or not layout.backups(folder):
        yield folder, layout.read(folder)
        return
    for one in layout.folders(folder):
        try:
            yield one, layout.read(one)
        except Unusable as problem:
            wrong.append(str(problem))


def _files(folder: Path, manifest: Manifest, certificates: Sequence[x509.Certificate]) -> Iterator[str]:
    """What is wrong with what is a backup's alone.

    Raises:
        Unusable: its manifest was changed, or names what it must not.
    """
    if certificates:
        layout.believed(folder, certificates)
    elif not layout.agrees(folder):
        yield f"{layout.MANIFEST}: it is not the one that {layout.STATEMENT} is about"
    for file in manifest.files:
        if Path(file.name).is_absolute() or ".." in Path(file.name).parts:
            raise Unusable(f"{folder}: its manifest names {file.name}, which is no file of a backup")
        try:
            found = layout.hashed(folder / file.name)
        except OSError as problem:
            yield f"{file.name}: {problem.strerror}"
            continue
        if (found.size_bytes, found.sha256) != (file.size_bytes, file.sha256):
            yield f"{file.name}: it is not what was written"
    named = {file.name for file in manifest.files} | {layout.MANIFEST, layout.STATEMENT}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and str(path.relative_to(folder)) not in named:
            yield f"{path.relative_to(folder)}: it is not in the manifest"
    count = sum(1 for _ in layout.listed(folder / layout.LIST))
    if count != manifest.documents:
        yield f"{layout.LIST}: {count} documents, and the manifest says {manifest.documents}"


@dataclass(slots=True)
class _Pooled:
    """What backups share of one pool."""

    sealed: bool
    log_pool: str
    lists: list[Path]
    log: set[tuple[str, int]]

    def documents(self) -> Iterator[tuple[str, int]]:
        """Each once, in the order of their names."""
        return layout.each_once([layout.listed(one) for one in self.lists])


def _pools(found: dict[Path, Manifest]) -> dict[Path, _Pooled]:
    pools = dict[Path, _Pooled]()
    for folder, manifest in found.items():
        pool = folder.parent / manifest.pool
        pooled = pools.setdefault(pool, _Pooled(manifest.is_sealed, manifest.log_pool, [], set()))
        pooled.lists.append(folder / layout.LIST)
        pooled.log.update(block for file in manifest.log for block in file.sized())
    return pools


def _content(path: Path, sha256: str, size: int, identities: Identities) -> tuple[bool, str]:
    """Whether something's content was looked at, and what is wrong with it."""
    if not path.is_file():
        return False, "it is not there"
    if path.suffix == SEALED and not identities:
        return False, ""
    tally = Tally()
    try:
        identities.pour(path, tally.take)
    except Unusable as problem:
        return True, str(problem)
    return True, "" if (tally.sha256, tally.size_bytes) == (sha256, size) else "it is not what was written"
