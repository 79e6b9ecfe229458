"""What is made of files, and made anew when one of them has changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger("xds.wire.fresh")

T = TypeVar("T")


class Fresh(Generic[T]):
    """The thing as its files are now; as they were, while they cannot be used."""

    def __init__(self, make: Callable[[], T], files: Iterable[str | None]) -> None:
        self._make, self._files = make, [Path(file) for file in files if file]
        self._seen: list[object] | None = None
        self._made: T | None = None

    def get(self) -> T:
        """The thing.

        Raises:
            OSError: it could never be made.
        """
        seen = [_looks(file) for file in self._files]
        if self._made is None or seen != self._seen:
            try:
                self._made = self._make()
            except OSError as problem:  # an error of TLS is one too
                if self._made is None:
                    raise
                log.error("files.not_usable", extra={"reason": problem.strerror or type(problem).__name__})
            self._seen = seen
        return self._made


def _looks(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
