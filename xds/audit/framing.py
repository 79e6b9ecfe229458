"""Append-only files of framed entries: a header line of ASCII, the entry's exact bytes, a line end.

An auditor can read them with any pager; a program reads them in flat memory.  Files roll over at a size and are
named by the number of their first entry.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

HEADER_BYTES = 128
ENTRY_BYTES = 64 * 1024 * 1024
BUFFER_BYTES = 1024 * 1024


class BadFrame(ValueError):
    """A file is not what was written; ``entry`` is the number of the first entry that is not whole."""

    def __init__(self, entry: int, reason: str) -> None:
        super().__init__(reason)
        self.entry, self.reason = entry, reason


class FramedFiles:
    """A folder of such files.  ``word`` begins every header line: ``word number … length``."""

    def __init__(self, folder: Path, word: str, roll_bytes: int = 64 * 1024 * 1024) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._word, self._roll = folder, word.encode(), roll_bytes

    def files(self) -> list[tuple[int, Path]]:
        """Every file with the number of its first entry, in order."""
        return sorted((int(path.stem), path) for path in self._folder.glob("*.log") if path.stem.isdigit())

    def append(self, first: int, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Add entries (what the header says, the bytes), numbered from ``first``; on disk when this returns."""
        files = self.files()
        if not files or files[-1][1].stat().st_size >= self._roll:
            path = self._folder / f"{first:020d}.log"
        else:
            path = files[-1][1]
        new = not path.exists()
        with path.open("ab") as file:
            for number, (said, data) in enumerate(entries, first):
                file.write(b"%b %d %b %d\n%b\n" % (self._word, number, said, len(data), data))
            file.flush()
            os.fsync(file.fileno())
        if new:
            self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, begin: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """Entries from a number on: number, what the header says, the bytes.

        Raises:
            BadFrame: a number is out of its order, a length absurd, or an entry cut off.
        """
        files = self.files()
        if files and files[0][0] != 0:
            raise BadFrame(0, "the first file is missing")
        for place, (first, path) in enumerate(files):
            after = files[place + 1][0] if place + 1 < len(files) else None
            if after is not None and after <= begin:
                continue
            number = first
            with path.open("rb", buffering=BUFFER_BYTES) as file:
                for number_, said, data in self._entries(file, first):
                    number = number_ + 1
                    if number_ >= begin:
                        yield number_, said, data
            if after is not None and number != after:
                raise BadFrame(number, f"{path.name} ends where the next file does not begin")

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
        """Cut everything from entry ``size`` on, whatever state it is in."""
        for first, path in reversed(self.files()):
            if first >= size:
                path.unlink()
                continue
            with path.open("r+b") as file:
                end = 0
                try:
                    for number, said, data in self._entries(file, first):
                        if number >= size:
                            break
                        end += len(b"%b %d %b %d\n" % (self._word, number, said, len(data))) + len(data) + 1
                except BadFrame:
                    pass
                file.truncate(end)
                file.flush()
                os.fsync(file.fileno())
            break
        self._sync()
