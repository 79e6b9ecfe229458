"""The folder of a site's images where instances lie that are set apart: of the same file system, and not the archive's.

A file is there on disk for good before its row is; a process that is killed in between leaves a file that no row
names, which the next start removes.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xds.imaging.study import APART
from xds.system.durable import sync_file, sync_folder
from xds.system.whose import is_gone, mark

_NAME = re.compile(r"apart-([^-/]*)-[0-9a-f]+")


@dataclass(slots=True)
class Held:
    """A file that lies there; it stays only where ``kept`` is set before it is left."""

    name: str
    size_bytes: int
    sha256: str
    kept: bool = False


class Quarantine:
    """The files that are set apart from one archive."""

    def __init__(self, root: Path) -> None:
        self._folder = root / APART

    def path(self, name: str) -> Path | None:
        """Where a file is, if it is there."""
        path = self._folder / name
        return path if _NAME.fullmatch(name) and path.is_file() else None

    @contextmanager
    def holding(self, path: Path) -> Iterator[Held]:
        """A file of the same file system, on disk for good, to be kept or not.

        Raises:
            OSError: it cannot be written.
        """
        self._folder.mkdir(exist_ok=True, mode=0o700)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path.chmod(0o600)
        sync_file(path)
        held = Held(f"apart-{mark()}-{secrets.token_hex(16)}", path.stat().st_size, digest)
        os.link(path, self._folder / held.name)
        try:
            sync_folder(self._folder)
            sync_folder(self._folder.parent)
            yield held
        finally:
            if not held.kept:
                self.remove(held.name)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if _NAME.fullmatch(name):
            (self._folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The files that lie there."""
        return sorted(one.name for one in self._folder.iterdir()) if self._folder.is_dir() else []

    def is_left(self, name: str) -> bool:
        """Whether the process that has put a file there is gone, so that a row for it never comes."""
        found, path = _NAME.fullmatch(name), self._folder / name
        try:
            return found is not None and is_gone(found[1], time.time() - path.stat().st_mtime)
        except FileNotFoundError:
            return False
