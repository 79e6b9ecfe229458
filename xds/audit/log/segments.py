"""The log's records in segment files: the evidence.

What is hashed into the tree is a record's number, time, origin and message together, so that none can be changed alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from xds.audit.log.erasure import erased_parts
from xds.audit.log.framing import BadFrame, FramedFiles
from xds.audit.log.merkle import leaf_hash
from xds.store.audit.records import Recorded

WORD = "XDS-AUDIT-1"

ORIGIN_BYTES = 600
"""Of where a record came from, as a header line has it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log: its leaf number, when it was recorded (aware UTC, microseconds), its exact bytes.

    ``origin`` is where it came from, empty of a record of our own.
    """

    leaf: int
    recorded: datetime
    message: bytes
    origin: str = ""

    @property
    def said(self) -> bytes:
        """Time and origin as its header line has them: ``TIME``, or ``TIME;ORIGIN``, percent-encoded (RFC 3986)."""
        time = self.recorded.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if not self.origin:
            return time.encode()
        return f"{time};{_quoted(self.origin)[:ORIGIN_BYTES]}".encode()

    def leaf_data(self) -> bytes:
        """What is hashed: the header line, with number, time, origin and length, and the message."""
        return leaf_data(self.leaf, self.said, self.message)


def _quoted(origin: str) -> str:
    return quote(origin.encode("utf-8", "replace"), safe="/:=,@+()")


def origin_of(where: str, *flags: str) -> str:
    """Where a record came from, and what is remarkable of it: as much of the former as a header line has room for."""
    ending = "".join(f", {flag}" for flag in flags if flag)
    where = "".join(c if c.isprintable() else "?" for c in where)[:400]
    while len(_quoted(where + ending)) > ORIGIN_BYTES and where:
        where = where[:-1]
    return where + ending


def leaf_data(leaf: int, said: bytes, message: bytes) -> bytes:
    return b"%b %d %b %d\n%b" % (WORD.encode(), leaf, said, len(message), message)


class SegmentLog:
    """The segments in a folder."""

    def __init__(self, folder: Path, segment_bytes: int = 64 * 1024 * 1024) -> None:
        self._folder = folder
        self._files = FramedFiles(folder, WORD, segment_bytes, self._gaps)

    def _gaps(self) -> list[tuple[int, int]]:
        return [(part.first, part.end) for part in erased_parts(self._folder)]

    def files(self) -> list[tuple[int, Path]]:
        """Every segment that is there, with its first leaf number."""
        return self._files.files()

    def hashes(self, begin: int = 0) -> Iterator[tuple[int, bytes]]:
        """Leaf number and hash of each record from a leaf on, those of erased parts too.

        Raises:
            BadFrame: see ``FramedFiles.read`` and ``ErasedPart.of``.
        """
        parts = [part for part in erased_parts(self._folder) if part.end > begin]
        next_ = begin
        for leaf, said, message in self.raw(begin):
            while parts and parts[0].first <= next_ < leaf:
                part = parts.pop(0)
                yield from part.hashes(next_)
                next_ = part.end
            yield leaf, leaf_hash(leaf_data(leaf, said, message))
            next_ = leaf + 1
        for part in parts:
            yield from part.hashes(next_)

    def append(self, records: Sequence[Record]) -> None:
        """Add records, which follow the last without a gap; on disk when this returns."""
        self._files.append(records[0].leaf, [(record.said, record.message) for record in records])

    def raw(self, begin: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """Leaf number, time and origin as written, message; from a leaf on.  Erased parts are left out.

        Raises:
            BadFrame: see ``FramedFiles.read``.
        """
        return self._files.read(begin)

    def records(self, begin: int = 0) -> Iterator[Record]:
        """Records from a leaf on.

        Raises:
            BadFrame: see ``FramedFiles.read``; also a time that is none.
        """
        for leaf, said, message in self._files.read(begin):
            time, _, origin = said.partition(b";")
            yield Record(leaf, read_time(leaf, time), message, unquote(origin.decode("ascii", "replace")))

    def truncate(self, size: int) -> None:
        """Cut everything from leaf ``size`` on."""
        self._files.truncate(size)


def read_time(leaf: int, said: bytes) -> datetime:
    """A record's time.

    Raises:
        BadFrame: it is none.
    """
    try:
        return datetime.strptime(said.decode("ascii"), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise BadFrame(leaf, "a record's time is malformed") from None


def as_leaf(row: Recorded) -> Record:
    """A numbered row of the database as the log has it."""
    assert row.leaf_number is not None  # noqa: S101  the caller has seen that it is numbered
    return Record(row.leaf_number, row.time, row.message, row.origin)
