"""Bytes on their way to the document store: kept in a file as they come, hashed on the way."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from xds.system.disk import LOW, Reserve
from xds.system.whose import mark
from xds.wire.hashing import Hashes

if TYPE_CHECKING:
    from xds.wire.sealed import Sealer

CHUNK_BYTES = 256 * 1024

SHORT_BYTES, LOOK_BYTES = 1024 * 1024, 16 * 1024 * 1024
"""Of a message: what is written without a look at how much of the disk is free, and then between two looks."""

PREFIX = "part-"
"""Of the files' names: a start of the server sweeps what it finds of them in its own folders."""

HEADER_BYTES = 80
"""What an encrypted file leaves free at its beginning, for whoever keeps it to say by what key it is read."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """What is in a file, whole: its size in bytes and its hashes in lower-case hex.

    With ``key`` the file has it encrypted (``sealed.py``), behind ``HEADER_BYTES``: only this process can read it.
    """

    path: Path
    size_bytes: int
    sha1: str
    sha256: str
    key: bytes = field(default=b"", repr=False)

    def chunks(self) -> Iterator[bytes]:
        """The bytes.

        Raises:
            sealed.Altered: somebody has changed them in an encrypted file.
        """
        if self.key:
            from xds.wire.sealed import opened

            return opened(self._kept(HEADER_BYTES), self.key)
        return self._kept(0)

    def read(self) -> bytes:
        """All of the bytes, of what is short."""
        return b"".join(self.chunks())

    def _kept(self, start: int) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(start)
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

    def __init__(
        self, folder: Path, prefix: str = PREFIX, filling: Filling | None = None, *, sealed: bool = False
    ) -> None:
        """``sealed``: encrypted, by a key that is nowhere else than in what ``finish`` returns."""
        self._filling = filling
        descriptor, path = tempfile.mkstemp(prefix=f"{prefix}{mark()}-", dir=folder)
        self._file, self._path = os.fdopen(descriptor, "wb", buffering=0), Path(path)
        self._hashes, self._size, self._key = Hashes(), 0, b""
        self._sealer: Sealer | None = None
        if sealed:
            from xds.wire.sealed import Sealer, new_key

            self._key = new_key()
            self._sealer = Sealer(self._key)
            self._file.seek(HEADER_BYTES)

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
        self._put(data if self._sealer is None else self._sealer.update(data))

    def _put(self, data: bytes | memoryview) -> None:
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
        if self._sealer is not None:
            self._put(self._sealer.end())
        try:
            self._file.close()
        except OSError as problem:
            raise NotKept(problem.strerror) from None
        return Spooled(self._path, self._size, *self._hashes.digests(), self._key)

    def discard(self) -> None:
        self._hashes.end()
        self._file.close()
        self._path.unlink(missing_ok=True)


class Spool:
    """The files of one message; all that nobody took are gone when it is left."""

    def __init__(
        self, folder: Path, prefix: str = PREFIX, disk: Reserve | None = None, *, sealed: bool = False
    ) -> None:
        """``prefix``: of who is no server, and may be at work when one starts; ``disk``: of which some is kept free.

        ``sealed``: the files are encrypted, as a store that encrypts takes them (``Blobs.seals``).
        """
        self._folder, self._prefix, self._stack, self._sealed = folder, prefix, ExitStack(), sealed
        self._filling = None if disk is None else Filling(disk)

    def new(self) -> Writing:
        """A new file, in the folder that the document store takes from by renaming."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writing = Writing(self._folder, self._prefix, self._filling, sealed=self._sealed)
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
