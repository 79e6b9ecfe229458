"""Whether a backup is whole and unchanged, without bringing it back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from xds.backup import layout
from xds.backup.layout import SEALED, Manifest
from xds.backup.sealing import Identities
from xds.backup.taking import Tell
from xds.errors import Unusable


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at a backup has found: ``read``, of how many documents the content was looked at."""

    manifest: Manifest
    documents: int
    read: int
    wrong: tuple[str, ...]


def verify(
    folder: Path, tell: Tell, *, certificates: Sequence[x509.Certificate] = (), identities: Identities | None = None
) -> Verified:  # fmt: skip
    """Look at every file and every document of a backup.

    ``certificates``: of the audit log's key, kept elsewhere; without them it is not looked at who has made the backup,
    which finds damage and no forger.  ``identities``: without them encrypted documents are only seen to be there.

    Raises:
        Unusable: it is no backup, or its manifest was changed.
    """
    manifest = layout.read(folder)
    identities = identities or Identities()
    with tempfile.TemporaryDirectory(prefix="xds-backup-") as name:
        workspace = Path(name)
        wrong = list(_files(folder, manifest))
        if certificates:
            layout.believed(folder, certificates)
        elif not layout.agrees(folder):
            wrong.append(f"{layout.MANIFEST}: it is not the one that {layout.STATEMENT} is about")
        count = read = 0
        for sha256, size in layout.listed(folder / layout.LIST):
            count += 1
            path = layout.pooled(folder.parent / manifest.pool, sha256, sealed=manifest.is_sealed)
            looked, problem = _document(path, sha256, size, identities, workspace)
            read += looked
            if problem:
                wrong.append(f"document {sha256}: {problem}")
            if count % 100 == 0:
                tell("documents", count, manifest.documents)
        tell("documents", count, manifest.documents)
        if count != manifest.documents:
            wrong.append(f"{layout.LIST}: {count} documents, and the manifest says {manifest.documents}")
    return Verified(manifest, count, read, tuple(wrong))


def _files(folder: Path, manifest: Manifest) -> Iterator[str]:
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


def _document(path: Path, sha256: str, size: int, identities: Identities, workspace: Path) -> tuple[bool, str]:
    """Whether a document's content was looked at, and what is wrong with it."""
    if not path.is_file():
        return False, "it is not there"
    if path.suffix == SEALED and not identities:
        return False, ""
    try:
        with identities.opened(path, workspace) as file:
            found = layout.digest_of(file)
    except Unusable as problem:
        return True, str(problem)
    return True, "" if (found.sha256, found.size_bytes) == (sha256, size) else "it is not what was written"
