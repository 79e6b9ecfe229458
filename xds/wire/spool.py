"""Bytes on their way to the document store: kept in a file as they come, hashed on the way."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from xds.system.disk import LOW, Reserve
from xds.system.whose import mark
from xds.wire.hashing import Hashes

CHUNK_BYTES = 256 * 1024

SHORT_BYTES, LOOK_BYTES = 1024 * 1024, 16 * 1024 * 1024
"""Of a message: what is written without a look at how much of the disk is free, and then between two looks."""

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


class Filling:
    """A disk that one message's files fill, of which some is kept free."""

    def __init__(self, disk: Reserve) -> None:
        self._disk, self._written, self._look_at = disk, 0, SHORT_BYTES

    def more(self, count: int) -> None:
        """So many bytes are about to be written.

        Raises:
            NotKept: less is free than is kept.
        """
        self._written += count
        if self._written > self._look_at:
            self._look_at = self._written + LOOK_BYTES
            if self._disk.is_low(anew=True):
                raise NotKept(LOW)


class Writing:
    """A file being written."""

    def __init__(self, folder: Path, prefix: str = PREFIX, filling: Filling | None = None) -> None:
        self._filling = filling
        descriptor, path = tempfile.mkstemp(prefix=f"{prefix}{mark()}-", dir=folder)
        self._file, self._path = os.fdopen(descriptor, "wb", buffering=0), Path(path)
        self._hashes, self._size = Hashes(), 0

    @property
    def size_bytes(self) -> int:
        return self._size

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            NotKept: they could not be written.
        """
        if self._filling is not None:
            self._filling.more(len(data))
        self._hashes.update(bytes(data))
        self._size += len(data)
        view = memoryview(data)
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
        return Spooled(self._path, self._size, *self._hashes.digests())

    def discard(self) -> None:
        self._hashes.end()
        self._file.close()
        self._path.unlink(missing_ok=True)


class Spool:
    """The files of one message; all that nobody took are gone when it is left."""

    def __init__(self, folder: Path, prefix: str = PREFIX, disk: Reserve | None = None) -> None:
        """``prefix``: of who is no server, and may be at work when one starts; ``disk``: of which some is kept free."""
        self._folder, self._prefix, self._stack = folder, prefix, ExitStack()
        self._filling = None if disk is None else Filling(disk)

    def new(self) -> Writing:
        """A new file, in the folder that the document store takes from by renaming."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writing = Writing(self._folder, self._prefix, self._filling)
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
