"""Bytes on their way to the document store: kept in a file as they come, hashed on the way."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

CHUNK_BYTES = 256 * 1024

PREFIX = "part-"
"""Of the files' names: a start of the server sweeps what it finds of them in its own folders."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A whole file with its size in bytes and its hashes in lower-case hex."""

    path: Path
    size_bytes: int
    sha1: str
    sha256: str

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


class NotKept(Exception):
    """A part could not be written: the disk is full, or broken."""


class Writing:
    """A file being written."""

    def __init__(self, folder: Path, prefix: str = PREFIX) -> None:
        descriptor, path = tempfile.mkstemp(prefix=prefix, dir=folder)
        self._file, self._path = os.fdopen(descriptor, "wb", buffering=0), Path(path)
        self._sha1, self._sha256, self._size = hashlib.sha1(usedforsecurity=False), hashlib.sha256(), 0

    @property
    def size_bytes(self) -> int:
        return self._size

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            NotKept: they could not be written.
        """
        view = memoryview(data)
        self._sha1.update(view)
        self._sha256.update(view)
        self._size += len(view)
        try:
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as problem:
            raise NotKept(problem.strerror) from None

    def finish(self) -> Spooled:
        """The whole file.

        Raises:
            NotKept: it could not be written to its end.
        """
        try:
            self._file.close()
        except OSError as problem:
            raise NotKept(problem.strerror) from None
        return Spooled(self._path, self._size, self._sha1.hexdigest(), self._sha256.hexdigest())

    def discard(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class Spool:
    """The files of one message; all that nobody took are gone when it is left."""

    def __init__(self, folder: Path, prefix: str = PREFIX) -> None:
        """``prefix``: of who is no server, and may be at work when one starts."""
        self._folder, self._prefix, self._stack = folder, prefix, ExitStack()

    def new(self) -> Writing:
        """A new file, in the folder that the document store takes from by renaming."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writing = Writing(self._folder, self._prefix)
        self._stack.callback(writing.discard)
        return writing

    def at_end(self, give_back: Callable[[], None]) -> None:
        """Have something given back when the message is done with."""
        self._stack.callback(give_back)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
