"""Files of a backup as they are, or encrypted for somebody by age (age-encryption.org/v1)."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyrage

from xds.backup.layout import BLOCK_BYTES, CHUNK_BYTES, LOG_POOL, POOL, SEALED
from xds.errors import Unusable
from xds.system.durable import sync_folder


class Recipients:
    """For whom a backup is encrypted: by nobody else, not even by this node, can it be read again."""

    def __init__(self, given: Sequence[str] = ()) -> None:
        """``given``: age recipients; none: as it is.

        Raises:
            Unusable: one is none.
        """
        try:
            self._recipients: list[Any] = [pyrage.x25519.Recipient.from_str(one) for one in given]
        except pyrage.RecipientError as problem:
            raise Unusable(f"not an age recipient (age1…): {problem}") from None
        self.pool = f"{POOL}-{hashlib.sha256(' '.join(sorted(given)).encode()).hexdigest()[:16]}" if given else POOL
        """The folder of documents that are encrypted for these: nobody else can read it."""
        self.log_pool = self.pool.replace(POOL, LOG_POOL, 1)

    def __bool__(self) -> bool:
        return bool(self._recipients)

    def name(self, name: str) -> str:
        """What a file of a name is called."""
        return f"{name}{SEALED}" if self else name

    def write(self, chunks: Iterable[bytes], target: Path) -> None:
        """Write a file, whole and on disk under its name, or not at all.

        Raises:
            OSError: it cannot be written; and what the chunks raise.
        """
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = target.parent / f".{target.name}.part"
        try:
            with part.open("wb") as file:
                if self:
                    self._encrypt(_Reader(iter(chunks)), file)
                else:
                    for chunk in chunks:
                        file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def _encrypt(self, reader: _Reader, file: IO[bytes]) -> None:
        try:
            pyrage.encrypt_io(reader, file, self._recipients)
        except pyrage.EncryptError as problem:
            raise reader.problem or OSError(str(problem)) from None


class Identities:
    """Who can read what was encrypted."""

    def __init__(self, file: Path | None = None) -> None:
        """``file``: of age identities, one a line, as age-keygen writes it; None where nothing is encrypted.

        Raises:
            Unusable: it cannot be read, or has none.
        """
        self._identities: list[Any] = []
        if file is None:
            return
        try:
            lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
            self._identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line and line[0] != "#"]
        except (OSError, ValueError, pyrage.IdentityError):
            raise Unusable(f"{file} holds no age identities (AGE-SECRET-KEY-1…)") from None
        if not self._identities:
            raise Unusable(f"{file} holds no age identity (AGE-SECRET-KEY-1…)")

    def __bool__(self) -> bool:
        return bool(self._identities)

    @contextmanager
    def opened(self, path: Path, workspace: Path) -> Iterator[IO[bytes]]:
        """A file's content, what is encrypted by way of a file in ``workspace`` that is gone afterwards.

        Raises:
            Unusable: it cannot be read, or by none of these.
        """
        if path.suffix != SEALED:
            try:
                file = path.open("rb")
            except OSError as problem:
                raise Unusable(f"{path}: {problem.strerror}") from None
            with file:
                yield file
            return
        if not self:
            raise Unusable("the backup is encrypted: --identity FILE says who can read it")
        plain = workspace / f".opened-{os.getpid()}"
        try:
            try:
                pyrage.decrypt_file(str(path), str(plain), self._identities)
            except (pyrage.DecryptError, OSError) as problem:
                raise Unusable(f"{path} cannot be read with this identity, or was changed: {problem}") from None
            with plain.open("rb") as file:
                yield file
        finally:
            plain.unlink(missing_ok=True)

    def pour(self, path: Path, take: Callable[[bytes], object]) -> None:
        """Give a file's content to somebody, piece by piece; what is encrypted is in clear nowhere else.

        Raises:
            Unusable: it cannot be read, or by none of these; and what ``take`` raises.
        """
        if path.suffix == SEALED and not self:
            raise Unusable("the backup is encrypted: --identity FILE says who can read it")
        writer = _Writer(take)
        try:
            with path.open("rb") as file:
                if path.suffix == SEALED:
                    pyrage.decrypt_io(file, writer, self._identities)
                else:
                    shutil.copyfileobj(file, writer, CHUNK_BYTES)
        except (pyrage.DecryptError, OSError) as problem:
            if writer.problem is not None:
                raise writer.problem from None
            said = f"{path} cannot be read with this identity, or was changed: {problem}"
            raise Unusable(said if path.suffix == SEALED else f"{path}: {problem}") from None


class Tally:
    """Takes chunks, and says what they were together."""

    def __init__(self) -> None:
        self._digest, self.size_bytes = hashlib.sha256(), 0

    def take(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class _Writer(io.RawIOBase):
    """Somebody who takes chunks, as a file to write."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self.problem: Exception | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            self._take(bytes(data))
        except Exception as problem:  # who writes would tell it as another
            self.problem = problem
            raise
        return len(data)


class _Reader(io.RawIOBase):
    """Chunks as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""
        self.problem: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                chunk = next(self._chunks, None)
            except Exception as problem:  # who reads would tell it as another
                self.problem = problem
                raise
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def chunks_of(path: Path) -> Iterator[bytes]:
    """A file's bytes as they are now, to its end at the beginning of the reading."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk


def blocks_of(path: Path) -> Iterator[bytes]:
    """The same, in blocks."""
    block = bytearray()
    for chunk in chunks_of(path):
        block += chunk
        while len(block) >= BLOCK_BYTES:
            yield bytes(block[:BLOCK_BYTES])
            del block[:BLOCK_BYTES]
    if block:
        yield bytes(block)
