"""Appends numbered records to the log's files and seals them under a signed checkpoint.

Order of writes: segment synced, tree synced, checkpoint signed and synced.  What a crash leaves past the last
checkpoint is cut at the next start and written again from the numbered rows.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import NONE_BEFORE, BadCheckpoint, Checkpoint, CheckpointLog
from xds.audit.log.framing import BadFrame
from xds.audit.log.keys import SigningKey
from xds.audit.log.merkle import BadProof, Frontier, HashTree, leaf_hash
from xds.audit.log.segments import Record, SegmentLog
from xds.errors import Unusable

_DAMAGED = "the audit log's files do not agree with their last checkpoint; run xds audit verify"


_OPEN: weakref.WeakSet[LogWriter] = weakref.WeakSet()


def _let_go() -> None:
    """A child that is forked does not hold the lock on when its parent is gone."""
    for writer in _OPEN:
        writer.close()


os.register_at_fork(after_in_child=_let_go)


class LogWriter:
    """The one writer of a log's folder; a second one waits in ``open`` until the first is gone."""

    def __init__(self, folder: Path, key: SigningKey, log_id: str, segment_bytes: int = 64 * 1024 * 1024) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key, self._log_id = key, log_id
        # Opened by us and closed on exec: a child does not inherit the lock.
        self._lock = (folder / "lock").open("w")
        _OPEN.add(self)
        self._segments = SegmentLog(folder / "segments", segment_bytes)
        self._tree = HashTree(folder / "tree")
        self._checkpoints = CheckpointLog(folder / "checkpoints")
        self._frontier = Frontier.empty()
        self._failed = False
        self._number, self._last, self._last_time = 0, NONE_BEFORE, datetime.min.replace(tzinfo=UTC)

    def open(self) -> int:
        """Take the lock and mend what a crash left; return how many records are sealed.

        Raises:
            Unusable: the files do not agree with the last checkpoint, which no crash can bring about; they are
                left as they are, because they are the evidence.
        """
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            return self._mend()
        except (BadFrame, BadCheckpoint, BadProof) as problem:
            raise Unusable(f"{_DAMAGED}: {problem}") from None

    def _mend(self) -> int:
        newest = self._checkpoints.last()
        size = 0
        if newest is not None:
            number, signed = newest
            last = signing.read(signed)
            self._believe(signed)
            if last.log_id != self._log_id:
                raise BadCheckpoint(f"it is of log {last.log_id}, not {self._log_id}")
            if self._tree.size < last.size or self._tree.hash_of(0, last.size) != last.root:
                raise BadProof("the tree does not lead to the sealed root")
            size, self._number, self._last, self._last_time = last.size, number + 1, signing.digest(signed), last.time
        self._segments.truncate(size)
        self._tree.truncate(size)
        self._frontier = self._tree.frontier()
        return size

    def _believe(self, signed: bytes) -> None:
        """Our next checkpoint vouches for this one and all before it: no stranger's is built upon."""
        certificates = {signing.fingerprint(c): c for c in (self._key.certificate, *self._key.earlier)}
        certificate = certificates.get(signing.signer(signed))
        if certificate is None:
            raise BadCheckpoint(
                "the last checkpoint is signed by a key that is not known; "
                "the certificates of keys before belong after the key's own in its file"
            )
        signing.verify_signature(signed, certificate)

    @property
    def size(self) -> int:
        return self._frontier.size

    def append(self, records: Sequence[Record], now: datetime) -> bytes:
        """Add records, which follow the last without a gap, and seal them; return the signed checkpoint.

        Raises:
            ValueError: a leaf number is not the next; the message names the record that is missing.
            Unusable: a write has failed before; what is on disk is known only when the log is opened anew.
        """
        if self._failed:
            raise Unusable("a write to the audit log has failed; it must be opened anew")
        for number, record in enumerate(records, self.size):
            if record.leaf != number:
                raise ValueError(f"record {number} is missing: leaf numbers must go on without a gap")
        self._failed = True
        if records:
            self._segments.append(records)
            leaves = [leaf_hash(record.leaf_data()) for record in records]
            self._tree.append(leaves)
            for leaf in leaves:
                self._frontier.append(leaf)
        signed = self._seal(now)
        self._failed = False
        return signed

    def root_at(self, size: int, rest: Iterable[Record] = ()) -> bytes:
        """The root over the first ``size`` records, of which ``rest`` are those still to be appended.

        Raises:
            ValueError: the rest has a gap, or is not enough.
        """
        if size <= self.size:
            return self._tree.hash_of(0, size)
        frontier = Frontier(self.size, list(self._frontier.peaks))
        for record in rest:
            if record.leaf != frontier.size:
                break
            frontier.append(leaf_hash(record.leaf_data()))
            if frontier.size == size:
                return frontier.root()
        raise ValueError(f"record {frontier.size} is missing")

    def _seal(self, now: datetime) -> bytes:
        """A clock that runs back does not make the log do so."""
        time = max(now.astimezone(UTC), self._last_time)
        certificate = self._key.certificate
        if not certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc:
            raise Unusable("the audit log's certificate is not valid now: what it signs would not be believed")
        checkpoint = Checkpoint(self._log_id, self.size, self._frontier.root(), time, self._last)
        signed = signing.sign(checkpoint, self._key)
        self._checkpoints.append(self._number, checkpoint, signed)
        self._number, self._last, self._last_time = self._number + 1, signing.digest(signed), time
        return signed

    def close(self) -> None:
        self._lock.close()
