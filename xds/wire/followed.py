"""Files that are read again when they change; what cannot be used leaves the last good reading in force."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from xds.system import private

log = logging.getLogger("xds.wire.followed")

MOST_BYTES = 64 * 1024 * 1024
"""Of one file; the CRL of a national authority has a few megabytes."""

T = TypeVar("T")


class NotTaken(Exception):
    """A file that is not good, or not better than what is held; why."""


def stamp(path: str | Path) -> tuple[int, int, int]:
    """What changes with a file; zeros of one that is not there."""
    try:
        found = Path(path).stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class Followed(Generic[T]):
    """One file.  ``read`` is given its bytes and what is held; ``copy`` is where its last good bytes outlive us."""

    def __init__(self, path: Path, read: Callable[[bytes, T | None], T], copy: Path | None = None) -> None:
        self.path, self._read, self._copy = path, read, copy
        self.value: T | None = None
        self.trouble = ""
        """Why the file as it is now is not in force."""
        self._stamp = (-1, -1, -1)

    def look(self, *, anew: bool = False) -> bool:
        """See whether it has changed, and read it then, or ``anew``; whether something else is in force now."""
        seen = stamp(self.path)
        if seen == self._stamp and not anew:
            return False
        self._stamp = seen
        if self.value is None and self._copy is not None:  # what was good for the process before us
            with contextlib.suppress(OSError, NotTaken):
                self.value = self._read(self._copy.read_bytes(), None)
        try:
            data = self._bytes()
            self.value = self._read(data, self.value)
        except NotTaken as problem:
            if str(problem) != self.trouble:
                log.warning("file.not_taken", extra={"file": str(self.path), "reason": str(problem)})
            self.trouble = str(problem)
            return self.value is not None
        self.trouble = ""
        self._keep(data)
        return True

    def _bytes(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as problem:
            raise NotTaken(f"cannot be read: {problem.strerror}") from None
        if len(data) > MOST_BYTES:
            raise NotTaken(f"is over {MOST_BYTES} bytes")
        return data

    def _keep(self, data: bytes) -> None:
        if self._copy is None:
            return
        with contextlib.suppress(OSError):  # another account's folder, or a full disk: it holds in this process
            if not self._copy.exists() or self._copy.read_bytes() != data:
                private.write(self._copy, data, replaces=True)
