"""Verifies a log from its files and the public certificate alone.  A check anyone can follow by number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from xds.audit import checkpoint as signing
from xds.audit.checkpoint import NONE_BEFORE, BadCheckpoint, Checkpoint, CheckpointLog
from xds.audit.framing import BadFrame
from xds.audit.merkle import BadProof, Frontier, HashTree, leaf_hash, verify_inclusion
from xds.audit.segments import Record, SegmentLog, leaf_data


class Tampered(Exception):
    """The log is not what was written: the first step and leaf that do not hold."""

    def __init__(self, step: int, leaf: int | None, reason: str) -> None:
        at = "" if leaf is None else f", record {leaf}"
        super().__init__(f"step {step}{at}: {reason}")
        self.step, self.leaf, self.reason = step, leaf, reason


@dataclass(frozen=True, slots=True)
class Verified:
    """What held: sealed records, checkpoints, the last of them, and records written after it."""

    records: int
    checkpoints: int
    last: Checkpoint | None
    unsealed: int


def verify(
    folder: Path,
    certificates: Sequence[x509.Certificate],
    *,
    every_signature: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Verified:
    """Walk the log from its first record.

    (1) Frames are whole, and leaf numbers run 0, 1, 2 … without a gap.
    (2) The root over n records is the one that the checkpoint of size n names.
    (3) Checkpoints name the one before and one log; their sizes and times never shrink.
    (4) The last signature of each key holds (or every one), by a certificate that is trusted and valid at its time.
    (5) No record is missing that a checkpoint counts.  Records after the last checkpoint are counted, not judged:
        they wait for the next.  Where there are records there is a checkpoint.

    A log cut off at one of its own checkpoints holds: only who has kept a later one knows (see ``compare``).

    Raises:
        Tampered: naming the first step and record that does not hold.
    """
    chain = _Chain(CheckpointLog(folder / "checkpoints"), certificates, every_signature)
    frontier, records = Frontier.empty(), SegmentLog(folder / "segments").raw()
    while (checkpoint := chain.next()) is not None:
        try:
            _fill(frontier, records, checkpoint.size, progress)
            if frontier.root() != checkpoint.root:
                raise Tampered(2, _suspect(folder, chain.before_size, checkpoint), "not what was sealed")
        except Tampered:
            chain.check_last()  # a checkpoint that was altered says nothing of the records
            raise
    chain.check_last()
    unsealed = _count_rest(records)
    if unsealed and chain.last is None:
        raise Tampered(5, None, "there are records and no checkpoint")
    return Verified(frontier.size, chain.count, chain.last, unsealed)


def _fill(
    frontier: Frontier, records: Iterator[tuple[int, bytes, bytes]], size: int, progress: Callable[[int], None] | None
) -> None:
    while frontier.size < size:
        try:
            leaf, said, message = next(records)
        except StopIteration:
            raise Tampered(5, frontier.size, "the record is missing, and a checkpoint counts it") from None
        except BadFrame as problem:
            raise Tampered(1, problem.entry, problem.reason) from None
        frontier.append(leaf_hash(leaf_data(leaf, said, message)))
        if progress is not None and frontier.size % 1000 == 0:
            progress(frontier.size)


def _suspect(folder: Path, begin: int, checkpoint: Checkpoint) -> int:
    """The first record that is not what was sealed.

    The tree's files say which, if they lead to the sealed root themselves; else it is known only that it is one
    of those since the checkpoint before, and the first of them is named.
    """
    tree = HashTree(folder / "tree")
    try:
        if tree.hash_of(0, checkpoint.size) == checkpoint.root:
            for leaf, said, message in SegmentLog(folder / "segments").raw(begin):
                if tree.node(0, leaf) != leaf_hash(leaf_data(leaf, said, message)):
                    return leaf
    except (BadProof, BadFrame):
        pass
    return begin


def _count_rest(records: Iterator[tuple[int, bytes, bytes]]) -> int:
    """How many whole records follow; one that is being written may be cut off."""
    count = 0
    try:
        for _ in records:
            count += 1
    except BadFrame:
        pass
    return count


class _Chain:
    """The checkpoints in order, each held against the one before."""

    def __init__(self, log: CheckpointLog, certificates: Sequence[x509.Certificate], every: bool) -> None:
        self._entries, self._certificates, self._every = log.all(), certificates, every
        self._signed, self._previous, self._signer = b"", NONE_BEFORE, ""
        self.last: Checkpoint | None = None
        self.count = self.before_size = 0

    def next(self) -> Checkpoint | None:
        try:
            _, signed = next(self._entries)
            checkpoint = signing.read(signed)
        except StopIteration:
            return None
        except BadFrame as problem:
            raise Tampered(3, None, f"checkpoint {problem.entry}: {problem.reason}") from None
        except BadCheckpoint as problem:
            raise Tampered(3, None, f"checkpoint {self.count}: {problem}") from None
        self._follows(checkpoint)
        self._same_key(signed)
        if self._every:
            self._believe(signed)
        self.before_size = self.last.size if self.last else 0
        self.last, self._signed, self._previous = checkpoint, signed, signing.digest(signed)
        self.count += 1
        return checkpoint

    def _follows(self, checkpoint: Checkpoint) -> None:
        if checkpoint.previous != self._previous:
            raise Tampered(3, None, f"checkpoint {self.count} does not name the one before")
        if self.last is None:
            return
        if checkpoint.log_id != self.last.log_id:
            raise Tampered(3, None, f"checkpoint {self.count} is of another log")
        if checkpoint.size < self.last.size:
            raise Tampered(3, None, f"checkpoint {self.count} counts fewer records than the one before")
        if checkpoint.time < self.last.time:
            raise Tampered(3, None, f"checkpoint {self.count} is older than the one before")

    def _same_key(self, signed: bytes) -> None:
        """Where another key goes on, the last signature of the one before is not vouched for by its own."""
        signer = signing.signer(signed)
        if signer != self._signer:
            self.check_last()
        self._signer = signer

    def _believe(self, signed: bytes) -> None:
        try:
            signing.verify(signed, self._certificates)
        except BadCheckpoint as problem:
            raise Tampered(4, None, f"checkpoint {self.count}: {problem}") from None

    def check_last(self) -> None:
        """The last signature vouches for all before it, by the links."""
        if self._signed:
            self.count -= 1
            self._believe(self._signed)
            self.count += 1


def verify_record(
    record: Record, proof: Sequence[bytes], signed: bytes, certificates: Sequence[x509.Certificate]
) -> datetime:
    """That one record is under a signed checkpoint; return the checkpoint's time.

    Raises:
        Tampered: it is not, or the signature does not hold.
    """
    try:
        checkpoint = signing.verify(signed, certificates)
        verify_inclusion(leaf_hash(record.leaf_data()), record.leaf, checkpoint.size, proof, checkpoint.root)
    except BadCheckpoint as problem:
        raise Tampered(4, record.leaf, str(problem)) from None
    except BadProof as problem:
        raise Tampered(2, record.leaf, str(problem)) from None
    return checkpoint.time


def compare(folder: Path, rows: Iterable[tuple[int, bytes]], kept: Checkpoint | None = None) -> int:
    """That the database's rows (leaf number, message) are the files' records; return how many.

    (6) Each record of the files is a row, and the same.  ``kept`` is a checkpoint kept elsewhere, such as the
    database's last, read before the rows: the files begin with what it counted.  Rows after the files' last record
    are not judged: they wait to be written.

    Raises:
        Tampered: naming the first record that differs or is missing on either side.
    """
    count, table, frontier = 0, iter(rows), Frontier.empty()
    try:
        for leaf, said, message in SegmentLog(folder / "segments").raw():
            if kept is not None and leaf < kept.size:
                frontier.append(leaf_hash(leaf_data(leaf, said, message)))
            row = next(table, None)
            if row is None or row[0] != leaf:
                raise Tampered(6, leaf, "the record is in the files and not in the database")
            if hashlib.sha256(row[1]).digest() != hashlib.sha256(message).digest():
                raise Tampered(6, leaf, "the record in the database is not the one in the files")
            count += 1
    except BadFrame as problem:
        raise Tampered(1, problem.entry, problem.reason) from None
    if kept is not None and count < kept.size:
        raise Tampered(6, count, "the record is missing in the files, and a kept checkpoint counts it")
    if kept is not None and frontier.root() != kept.root:
        raise Tampered(6, kept.size - 1, "the records up to this one are not those of a kept checkpoint")
    return count
