"""A folder for files that live while they are sent, and no longer; bounded."""

from __future__ import annotations

import os
import re
import threading
import uuid
from pathlib import Path

from xds.archives.interface import SpoolFull

_NAME = re.compile(r"xds-([0-9]+)-[0-9a-f]{32}\.dcm")


class Spool:
    """Room for ``limit_bytes`` of one process's files.  Safe with threads."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Make the folder if it is not there; delete what processes that are gone left in it.

        Raises:
            OSError: it cannot be made.
        """
        self._folder, self._limit_bytes = folder, limit_bytes
        self._lock = threading.Lock()
        self._taken: dict[Path, int] = {}
        self._process = os.getpid()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and not _is_running(int(match[1])):
                path.unlink(missing_ok=True)

    def take(self, size_bytes: int) -> Path:
        """The path of a new file, with room kept for its bytes.

        Raises:
            SpoolFull: there is no room for as many.
        """
        with self._lock:
            if self._process != os.getpid():
                self._process, self._taken = os.getpid(), {}
            if sum(self._taken.values()) + size_bytes > self._limit_bytes:
                raise SpoolFull
            path = self._folder / f"xds-{os.getpid()}-{uuid.uuid4().hex}.dcm"
            path.touch(mode=0o600)
            self._taken[path] = size_bytes
            return path

    def settle(self, path: Path, size_bytes: int) -> None:
        """Keep room for what a file turned out to have."""
        with self._lock:
            self._taken[path] = size_bytes

    def grow(self, path: Path, size_bytes: int) -> None:
        """Keep more room for a file whose size is not known beforehand.

        Raises:
            SpoolFull: there is none.
        """
        with self._lock:
            others = sum(size for other, size in self._taken.items() if other != path)
            if others + size_bytes > self._limit_bytes:
                raise SpoolFull
            self._taken[path] = size_bytes

    def free(self, path: Path) -> None:
        """Delete a file."""
        path.unlink(missing_ok=True)
        with self._lock:
            self._taken.pop(path, None)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
