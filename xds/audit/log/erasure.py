"""Parts of the log whose time is over: the records are gone, their hashes stay, so that the tree still verifies.

A file ``FIRST.erased`` stands in the place of a segment: a header line, a signed statement of what was erased, when and
why, and the hash of each record.  Without a statement signed by the log's key it is no erasure, but tampering.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from xds.audit.log import statement
from xds.audit.log.framing import BadFrame
from xds.audit.log.keys import SigningKey
from xds.audit.log.merkle import HASH_BYTES, root_of
from xds.audit.log.statement import BadStatement, Kind
from xds.system.durable import sync_folder

WORD = b"XDS-ERASED-1"
KIND = Kind(
    "urn:xds:audit:erasure:1", "Erasure", ("LogId", "First", "End", "Root", "Time", "Sha256", "Reason"), "erasure"
)
STATEMENT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Erasure:
    """Records ``first`` to ``end``, not included; ``root`` is over their hashes; ``sha256`` of the file that was."""

    log_id: str
    first: int
    end: int
    root: bytes
    time: datetime
    sha256: bytes
    reason: str


def sign(erasure: Erasure, signing: SigningKey) -> bytes:
    values = (
        erasure.log_id, str(erasure.first), str(erasure.end), erasure.root.hex(),
        erasure.time.astimezone(UTC).isoformat(timespec="microseconds"), erasure.sha256.hex(), erasure.reason,
    )  # fmt: skip
    return statement.sign(KIND, values, signing)


def read(signed: bytes) -> Erasure:
    """What an erasure says.

    Raises:
        BadStatement: it is none.
    """
    log_id, first, end, root, time, sha256, reason = statement.values_of(KIND, signed)
    try:
        found = Erasure(
            log_id, int(first), int(end), bytes.fromhex(root), datetime.fromisoformat(time), bytes.fromhex(sha256),
            reason,
        )  # fmt: skip
    except ValueError as problem:
        raise BadStatement(f"not an erasure: {problem}") from None
    if not 0 <= found.first < found.end or found.time.tzinfo is None:
        raise BadStatement("not an erasure: its values are not those of an erasure")
    return found


def write(path: Path, signed: bytes, hashes: Sequence[bytes]) -> None:
    """Put an erased part in its place; on disk when this returns."""
    said = read(signed)
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(b"%b %d %d %d\n%b\n" % (WORD, said.first, said.end, len(signed), signed))
        file.write(b"".join(hashes))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class ErasedPart:
    """The file of an erased part."""

    first: int
    end: int
    path: Path
    signed: bytes
    _begin: int  # of the hashes in the file

    @classmethod
    def of(cls, path: Path) -> ErasedPart:
        """Read its head.

        Raises:
            BadFrame: it is not what was written.
        """
        first = int(path.stem)
        with path.open("rb") as file:
            header = file.readline(128)
            parts = header.rstrip(b"\n").split(b" ")
            if len(parts) != 4 or parts[0] != WORD or not all(part.isdigit() and len(part) < 19 for part in parts[1:]):
                raise BadFrame(first, "the header line of an erased part is malformed")
            begin, end, length = map(int, parts[1:])
            signed = file.read(min(length, STATEMENT_BYTES))
            at = file.tell() + 1
            size = at + (end - begin) * HASH_BYTES
            if begin != first or end <= begin or file.read(1) != b"\n" or path.stat().st_size != size:
                raise BadFrame(first, "an erased part is not whole")
        return cls(first, end, path, signed, at)

    def hashes(self, begin: int = 0) -> Iterator[tuple[int, bytes]]:
        """Leaf number and hash of each of its records from ``begin`` on."""
        leaf = max(begin, self.first)
        with self.path.open("rb") as file:
            file.seek(self._begin + (leaf - self.first) * HASH_BYTES)
            while leaf < self.end:
                yield leaf, file.read(HASH_BYTES)
                leaf += 1

    def verify(self, certificates: Sequence[x509.Certificate], log_id: str) -> Erasure:
        """That it was erased by the log's own key, and that these are the hashes.

        Raises:
            BadStatement: it was not.
        """
        said = read(self.signed)
        statement.verify(KIND, self.signed, said.time, certificates)
        if (said.log_id, said.first, said.end) != (log_id, self.first, self.end):
            raise BadStatement("the erasure is of other records")
        if root_of(hash_ for _, hash_ in self.hashes()) != said.root:
            raise BadStatement("the hashes are not those of the erasure")
        return said


def erased_parts(folder: Path) -> list[ErasedPart]:
    """Those of a folder of segments, in order.  One whose segment is there still is not done, and counts for nothing.

    Raises:
        BadFrame: see ``ErasedPart.of``.
    """
    paths = (path for path in folder.glob("*.erased") if path.stem.isascii() and path.stem.isdigit())
    return [ErasedPart.of(path) for path in sorted(paths) if not path.with_suffix(".log").exists()]
