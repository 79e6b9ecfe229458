"""Verifies a log from its files and the public certificate alone.  A check anyone can follow by number."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import NONE_BEFORE, BadCheckpoint, Checkpoint, CheckpointLog
from xds.audit.log.erasure import erased_parts
from xds.audit.log.framing import BadFrame
from xds.audit.log.merkle import BadProof, Frontier, HashTree, leaf_hash, verify_inclusion
from xds.audit.log.segments import Record, SegmentLog
from xds.audit.log.statement import BadStatement


class Tampered(Exception):
    """The log is not what was written: the first step and leaf that do not hold."""

    def __init__(self, step: int, leaf: int | None, reason: str) -> None:
        at = "" if leaf is None else f", record {leaf}"
        super().__init__(f"step {step}{at}: {reason}")
        self.step, self.leaf, self.reason = step, leaf, reason


@dataclass(frozen=True, slots=True)
class Verified:
    """What held: sealed records, checkpoints, the last of them, records written after it, and how many were erased.

    ``signed`` is the last checkpoint as signed: what may be trusted the next time.
    """

    records: int
    checkpoints: int
    last: Checkpoint | None
    unsealed: int
    erased: int = 0
    signed: bytes = b""


def verify(
    folder: Path,
    certificates: Sequence[x509.Certificate],
    *,
    every_signature: bool = False,
    progress: Callable[[int], None] | None = None,
    trusted: bytes | None = None,
    witnessed: Sequence[bytes] = (),
) -> Verified:
    """Walk the log from its first record, or from a checkpoint that is ``trusted`` because it was verified before.

    (1) Frames are whole, and leaf numbers run 0, 1, 2 … without a gap.
    (2) The root over n records is the one that the checkpoint of size n names.
    (3) Checkpoints name the one before and one log; their sizes and times never shrink.
    (4) The last signature of each key holds (or every one), by a certificate that is trusted and valid at its time.
    (5) No record is missing that a checkpoint counts.  Records after the last checkpoint are counted, not judged:
        they wait for the next.  There is a checkpoint.
    (7) The log begins with what a witness has seen of it: the checkpoints ``witnessed``, as signed.
    (8) Each part that was erased has a statement of that by the log's key.

    A log cut off at one of its own checkpoints holds: only who has kept a later one knows (a witness, or ``compare``).

    Raises:
        Tampered: naming the first step and record that does not hold.
    """
    segments = SegmentLog(folder / "segments")
    chain = _Chain(CheckpointLog(folder / "checkpoints"), certificates, every_signature)
    marks = _Marks(witnessed, certificates)
    frontier = Frontier.empty() if trusted is None else _from(trusted, folder, chain)
    marks.begin(frontier)
    hashes = segments.hashes(frontier.size)
    while (checkpoint := chain.next()) is not None:
        try:
            _fill(frontier, hashes, checkpoint.size, progress, marks)
            if frontier.root() != checkpoint.root:
                raise Tampered(2, _suspect(folder, chain.before_size, checkpoint), "not what was sealed")
        except Tampered:
            chain.check_last()  # a checkpoint that was altered says nothing of the records
            raise
    chain.check_last()
    unsealed = _count_rest(hashes)
    if chain.last is None:
        raise Tampered(5, None, "there is no checkpoint")
    marks.end(frontier, chain.last)
    erased = _erased(folder, chain.last, certificates)
    return Verified(frontier.size, chain.count, chain.last, unsealed, erased, chain.signed)


def _from(trusted: bytes, folder: Path, chain: _Chain) -> Frontier:
    """The tree as it was at a checkpoint that is trusted, which is one of the log's own."""
    checkpoint = chain.skip_to(trusted)
    try:
        frontier = HashTree(folder / "tree").frontier(checkpoint.size)
    except BadProof as problem:
        raise Tampered(2, None, f"{problem}; verify from the first record") from None
    if frontier.root() != checkpoint.root:
        raise Tampered(2, None, "the tree's files do not lead to the trusted checkpoint; verify from the first record")
    return frontier


def _fill(
    frontier: Frontier,
    hashes: Iterator[tuple[int, bytes]],
    size: int,
    progress: Callable[[int], None] | None,
    marks: _Marks,
) -> None:
    while frontier.size < size:
        try:
            leaf, hash_ = next(hashes)
        except StopIteration:
            raise Tampered(5, frontier.size, "the record is missing, and a checkpoint counts it") from None
        except BadFrame as problem:
            raise Tampered(1, problem.entry, problem.reason) from None
        if leaf != frontier.size:
            raise Tampered(1, frontier.size, "the record is missing")
        frontier.append(hash_)
        if frontier.size == marks.next_size:
            marks.check(frontier)
        if progress is not None and frontier.size % 1000 == 0:
            progress(frontier.size)


class _Marks:
    """What witnesses have seen: the sizes at which the root is known from elsewhere."""

    def __init__(self, witnessed: Sequence[bytes], certificates: Sequence[x509.Certificate]) -> None:
        try:
            self._left = sorted((signing.verify(one, certificates) for one in witnessed), key=lambda one: one.size)
        except BadCheckpoint as problem:
            raise Tampered(7, None, f"what a witness keeps: {problem}") from None
        self._log_ids = {one.log_id for one in self._left}

    @property
    def next_size(self) -> int:
        return self._left[0].size if self._left else -1

    def begin(self, frontier: Frontier) -> None:
        """What is older than where the walk begins was held against when that was verified."""
        self._left = [one for one in self._left if one.size >= frontier.size]
        self.check(frontier)

    def check(self, frontier: Frontier) -> None:
        while self._left and self._left[0].size == frontier.size:
            if self._left.pop(0).root != frontier.root():
                raise Tampered(
                    7, max(frontier.size - 1, 0), "the records up to this one are not those that a witness has seen"
                )

    def end(self, frontier: Frontier, last: Checkpoint | None) -> None:
        """What is left is longer than the log, or older than where it was begun."""
        if self._left and self._left[-1].size > frontier.size:
            raise Tampered(7, frontier.size, "the record is missing, and a witness has seen it")
        if last is not None and self._log_ids - {last.log_id}:
            raise Tampered(7, None, "the witness has seen another log")


def _erased(folder: Path, last: Checkpoint | None, certificates: Sequence[x509.Certificate]) -> int:
    """How many records were erased, each part rightly."""
    count = 0
    for part in erased_parts(folder / "segments"):
        try:
            if last is None or part.end > last.size:
                raise BadStatement("it is erased and was never sealed")
            part.verify(certificates, last.log_id)
        except BadStatement as problem:
            raise Tampered(8, part.first, str(problem)) from None
        count += part.end - part.first
    return count


def _suspect(folder: Path, begin: int, checkpoint: Checkpoint) -> int:
    """The first record that is not what was sealed.

    The tree's files say which, if they lead to the sealed root themselves; else it is known only that it is one
    of those since the checkpoint before, and the first of them is named.
    """
    tree = HashTree(folder / "tree")
    try:
        if tree.hash_of(0, checkpoint.size) == checkpoint.root:
            for leaf, hash_ in SegmentLog(folder / "segments").hashes(begin):
                if tree.node(0, leaf) != hash_:
                    return leaf
    except (BadProof, BadFrame):
        pass
    return begin


def _count_rest(hashes: Iterator[tuple[int, bytes]]) -> int:
    """How many whole records follow; one that is being written may be cut off."""
    count = 0
    try:
        for _ in hashes:
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

    @property
    def signed(self) -> bytes:
        """The last one, as signed."""
        return self._signed

    def skip_to(self, trusted: bytes) -> Checkpoint:
        """Go on behind a checkpoint of the log that was verified before."""
        try:
            checkpoint = signing.verify(trusted, self._certificates)
        except BadCheckpoint as problem:
            raise Tampered(4, None, f"the trusted checkpoint: {problem}") from None
        try:
            for _, signed in self._entries:
                self.count += 1
                if signed == trusted:
                    break
            else:
                raise Tampered(3, None, "the trusted checkpoint is none of the log's")
        except BadFrame as problem:
            raise Tampered(3, None, f"checkpoint {problem.entry}: {problem.reason}") from None
        self.last, self._signed, self._previous = checkpoint, trusted, signing.digest(trusted)
        self._signer, self.before_size = signing.signer(trusted), checkpoint.size
        return checkpoint

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


def compare(folder: Path, rows: Iterable[Record], kept: Checkpoint | None = None) -> int:
    """That the database's rows are the files' records: time, origin and message; return how many.

    (6) Each record of the files is a row, and the same.  ``kept`` is a checkpoint kept elsewhere, such as the
    database's last, read before the rows: the files begin with what it counted.  Rows after the files' last record
    are not judged: they wait to be written.

    Raises:
        Tampered: naming the first record that differs or is missing on either side.
    """
    count, table, segments = 0, iter(rows), SegmentLog(folder / "segments")
    try:
        for leaf, said, message in segments.raw():
            row = next(table, None)
            if row is None or row.leaf > leaf:
                raise Tampered(6, leaf, "the record is in the files and not in the database")
            if row.leaf < leaf:
                raise Tampered(6, row.leaf, "the record was erased and is in the database")
            if (row.said, row.message) != (said, message):
                raise Tampered(6, leaf, "the record in the database is not the one in the files")
            count += 1
        if kept is not None:
            _holds(segments, kept)
    except BadFrame as problem:
        raise Tampered(1, problem.entry, problem.reason) from None
    return count


def _holds(segments: SegmentLog, kept: Checkpoint) -> None:
    frontier = Frontier.empty()
    for _, hash_ in itertools.islice(segments.hashes(), kept.size):
        frontier.append(hash_)
    if frontier.size < kept.size:
        raise Tampered(6, frontier.size, "the record is missing in the files, and a kept checkpoint counts it")
    if frontier.root() != kept.root:
        raise Tampered(6, kept.size - 1, "the records up to this one are not those of a kept checkpoint")
