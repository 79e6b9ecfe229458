"""Append-only files of framed entries: a header line of ASCII, the entry's exact bytes, a line end.

An auditor can read them with any pager; a program reads them in flat memory.  Files roll over at a size and are
named by the number of their first entry.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from xds.system.durable import sync_folder

HEADER_BYTES = 1024
ENTRY_BYTES = 64 * 1024 * 1024
BUFFER_BYTES = 1024 * 1024


class BadFrame(ValueError):
    """A file is not what was written; ``entry`` is the number of the first entry that is not whole."""

    def __init__(self, entry: int, reason: str) -> None:
        super().__init__(reason)
        self.entry, self.reason = entry, reason


class FramedFiles:
    """A folder of such files.  ``word`` begins every header line: ``word number … length``."""

    def __init__(
        self, folder: Path, word: str, roll_bytes: int = 64 * 1024 * 1024,
        gaps: Callable[[], Sequence[tuple[int, int]]] = tuple,
    ) -> None:  # fmt: skip
        """``gaps`` are the entries that are kept elsewhere, in order: the first of each, and the one after its last."""
        self._folder, self._word, self._roll, self._gaps = folder, word.encode(), roll_bytes, gaps

    def files(self) -> list[tuple[int, Path]]:
        """Every file with the number of its first entry, in order."""
        found = (path for path in self._folder.glob("*.log") if path.stem.isascii() and path.stem.isdigit())
        return sorted((int(path.stem), path) for path in found)

    def append(self, first: int, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Add entries (what the header says, the bytes), numbered from ``first``; on disk when this returns.

        Raises:
            ValueError: one is longer than could be read back.
        """
        if any(len(data) > ENTRY_BYTES for _, data in entries):
            raise ValueError(f"an entry is longer than {ENTRY_BYTES} bytes")
        self._folder.mkdir(parents=True, exist_ok=True)
        files = self.files()
        if not files or files[-1][1].stat().st_size >= self._roll:
            path = self._folder / f"{first:020d}.log"
        else:
            path = files[-1][1]
        new = not path.exists()
        with path.open("ab") as file:
            for number, (said, data) in enumerate(entries, first):
                file.write(_framed(self._word, number, said, data))
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(self._folder)

    def read(self, begin: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """Entries from a number on: number, what the header says, the bytes.

        Raises:
            BadFrame: a number is out of its order, a length absurd, or an entry cut off.
        """
        files = self.files()
        if files and self._behind_gaps(0, files[0][0]) != files[0][0]:
            raise BadFrame(0, "the first file is missing")
        place = max(sum(first <= begin for first, _ in files) - 1, 0)
        while place < len(files):
            number, path = files[place]
            with path.open("rb", buffering=BUFFER_BYTES) as file:
                is_last = True
                while is_last:
                    is_last = place + 1 == len(files)
                    for number_, said, data in self._entries(file, number):
                        number = number_ + 1
                        if number_ >= begin:
                            yield number_, said, data
                    if not is_last or len(files := self.files()) == place + 1:
                        break  # else it has rolled over while it was read: what came before that, then the next file
            place += 1
            if place < len(files) and self._behind_gaps(number, files[place][0]) != files[place][0]:
                raise BadFrame(number, f"{path.name} ends where the next file does not begin")

    def read_of(self, data: bytes, first: int) -> Iterator[tuple[int, bytes, bytes]]:
        """The entries of bytes that such a file has, from its first on.

        Raises:
            BadFrame: as ``read``.
        """
        return self._entries(io.BytesIO(data), first)

    def _behind_gaps(self, number: int, until: int) -> int:
        """The first entry from ``number`` on that is in no gap; ``until`` is where one is known to be."""
        if number != until:
            for first, end in self._gaps():
                number = end if first == number else number
        return number

    def _entries(self, file: BinaryIO, number: int) -> Iterator[tuple[int, bytes, bytes]]:
        while header := file.readline(HEADER_BYTES):
            said, length = self._header(header, number)
            data = file.read(length + 1)
            if len(data) != length + 1 or data[-1:] != b"\n":
                raise BadFrame(number, "an entry is cut off or longer than its header says")
            yield number, said, data[:-1]
            number += 1

    def _header(self, header: bytes, number: int) -> tuple[bytes, int]:
        parts = header[:-1].split(b" ")
        if not header.endswith(b"\n") or len(parts) != 4 or parts[0] != self._word:
            raise BadFrame(number, "a header line is malformed")
        if parts[1] != b"%d" % number:
            raise BadFrame(number, "an entry's number is not the next")
        if (
            not parts[3].isdigit()
            or len(parts[3]) > 9
            or int(parts[3]) > ENTRY_BYTES
            or parts[3] != b"%d" % int(parts[3])
        ):
            raise BadFrame(number, "an entry's length is malformed")
        return parts[2], int(parts[3])

    def truncate(self, size: int) -> None:
        """Cut everything from entry ``size`` on, whatever state it is in.

        Raises:
            BadFrame: an entry before it is damaged or missing; then nothing is cut.
        """
        files = self.files()
        kept = [file for file in files if file[0] < size]
        if size and not kept and not any(end >= size for _, end in self._gaps()):
            raise BadFrame(0, "the first file is missing")
        end = self._end(*kept[-1], size) if kept else 0
        for _, path in reversed(files[len(kept) :]):
            path.unlink()
        if kept:
            _cut(kept[-1][1], end)
        if files:
            sync_folder(self._folder)

    def _end(self, number: int, path: Path, size: int) -> int:
        """Where entry ``size`` begins in the file whose first entry is ``number``, in bytes."""
        end = 0
        with path.open("rb", buffering=BUFFER_BYTES) as file:
            entries = self._entries(file, number)
            while number < size:
                if (entry := next(entries, None)) is None:
                    raise BadFrame(number, "the entry is missing")
                number, end = number + 1, end + self._length(*entry)
        return end

    def _length(self, number: int, said: bytes, data: bytes) -> int:
        return len(b"%b %d %b %d\n" % (self._word, number, said, len(data))) + len(data) + 1

    def mend(self) -> None:
        """Cut off the last entry if it is half-written, in a log that is written one entry at a time.

        Raises:
            BadFrame: others follow it, which no crash can bring about; then nothing is cut.
        """
        files = self.files()
        if not files:
            return
        end = 0
        with files[-1][1].open("rb", buffering=BUFFER_BYTES) as file:
            try:
                for entry in self._entries(file, files[-1][0]):
                    end += self._length(*entry)
                return
            except BadFrame:
                file.seek(end)
                if b"\n%b " % self._word in file.read():
                    raise
        _cut(files[-1][1], end)


def framed(word: str, number: int, said: bytes, data: bytes) -> bytes:
    """An entry as a file has it."""
    return _framed(word.encode(), number, said, data)


def _framed(word: bytes, number: int, said: bytes, data: bytes) -> bytes:
    return b"%b %d %b %d\n%b\n" % (word, number, said, len(data), data)


def _cut(path: Path, size_bytes: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size_bytes)
        os.fsync(file.fileno())
