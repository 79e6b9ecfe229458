"""Files ready to be sent: as they lie in a tree, or from the spool; checked while they are sent."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from xds.archives.interface import CHUNK_BYTES, Gone, Mislaid
from xds.imaging.part10 import PREAMBLE


class ReadyFile:
    """``interface.Ready`` over one file.

    ``head`` is sent first and the file from ``skip_bytes`` on after it; ``without_preamble``, with zeros in its
    place.  Nothing is open until the chunks are asked for.  ``mislaid``: of a copy, told that it is damaged.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        transfer_syntax_uid: str,
        file_bytes: int,
        file_sha256: str | None,
        modified_ns: int | None = None,
        head: bytes = b"",
        skip_bytes: int = 0,
        without_preamble: bool = False,
        freed: Callable[[], None] | None = None,
        mislaid: Callable[[], None] | None = None,
    ) -> None:
        self._path, self._head, self._skip_bytes = path, head, skip_bytes
        self._file_bytes, self._file_sha256, self._modified_ns = file_bytes, file_sha256, modified_ns
        self._freed, self._mislaid = freed, mislaid
        self._zeros = bytes(PREAMBLE if without_preamble and not skip_bytes else 0)
        self.transfer_syntax_uid = transfer_syntax_uid
        self.size_bytes = len(head) + file_bytes - skip_bytes
        self.sha256 = None if head or skip_bytes or self._zeros else file_sha256

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        return self._chunks(chunk_bytes) if self._mislaid is None else self._of_copy(chunk_bytes, self._mislaid)

    def _of_copy(self, chunk_bytes: int, mislaid: Callable[[], None]) -> Iterator[bytes]:
        try:
            yield from self._chunks(chunk_bytes)
        except Gone as problem:
            mislaid()
            raise Mislaid(str(problem)) from None

    def _chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        digest = hashlib.sha256()
        left, skip, kept, zeros = self._file_bytes, self._skip_bytes, self._head, self._zeros
        try:
            with contextlib.closing(_Opened(self._path, self._file_bytes, self._modified_ns)) as file:
                while left:
                    data = file.read(min(chunk_bytes, left))
                    if not data:
                        raise Gone("the file is shorter than it was")
                    left -= len(data)
                    digest.update(data)
                    if zeros:
                        data, zeros = zeros[: len(data)] + data[len(zeros) :], zeros[len(data) :]
                    dropped = min(skip, len(data))
                    skip -= dropped
                    # One chunk is held back until all is known to be right.
                    if kept:
                        yield kept
                    kept = data[dropped:]
                if file.read(1):
                    raise Gone("the file is longer than it was")
        except OSError:
            raise Gone("the file cannot be read any more") from None
        if self._file_sha256 is not None and digest.hexdigest() != self._file_sha256:
            raise Gone("the file's bytes are not what they were")
        if kept:
            yield kept

    def close(self) -> None:
        if self._freed:
            freed, self._freed = self._freed, None
            freed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Opened:
    """A file opened without following a link, and found to be as it was."""

    def __init__(self, path: str | Path, size_bytes: int, modified_ns: int | None) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        if status.st_size != size_bytes or modified_ns not in (None, status.st_mtime_ns):
            self.close()
            raise Gone("the file has changed")

    def read(self, count: int) -> bytes:
        return os.read(self._descriptor, count)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
