"""Appends numbered records to the log's files and seals them under a signed checkpoint.

Order of writes: segment synced, tree synced, checkpoint signed and synced.  What a crash leaves past the last
checkpoint is cut at the next start and written again from the numbered rows.
"""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from xds.audit import checkpoint as signing
from xds.audit.checkpoint import NONE_BEFORE, Checkpoint, CheckpointLog
from xds.audit.keys import SigningKey
from xds.audit.merkle import Frontier, HashTree, leaf_hash
from xds.audit.segments import Record, SegmentLog
from xds.errors import Unusable


class LogWriter:
    """The one writer of a log's folder; a second one waits in ``open`` until the first is gone."""

    def __init__(self, folder: Path, key: SigningKey, log_id: str, segment_bytes: int = 64 * 1024 * 1024) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key, self._log_id = key, log_id
        # Opened by us and closed on exec: a child does not inherit the lock.
        self._lock = (folder / "lock").open("w")
        self._segments = SegmentLog(folder / "segments", segment_bytes)
        self._tree = HashTree(folder / "tree")
        self._checkpoints = CheckpointLog(folder / "checkpoints")
        self._frontier = Frontier.empty()
        self._number, self._last, self._last_time = 0, NONE_BEFORE, datetime.min.replace(tzinfo=UTC)

    def open(self) -> int:
        """Take the lock and mend what a crash left; return how many records are sealed.

        Raises:
            Unusable: the files do not agree with the last checkpoint, which no crash can bring about.
        """
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        newest = self._checkpoints.last()
        size = 0
        if newest is not None:
            number, signed = newest
            last = signing.read(signed)
            size, self._number, self._last, self._last_time = last.size, number + 1, signing.digest(signed), last.time
        self._segments.truncate(size)
        self._tree.truncate(size)
        self._frontier = self._tree.frontier()
        if newest is not None and (self._frontier.size != size or self._frontier.root() != last.root):
            raise Unusable("the audit log's files do not agree with their last checkpoint; run xds audit verify")
        return size

    @property
    def size(self) -> int:
        return self._frontier.size

    def append(self, records: Sequence[Record], now: datetime) -> bytes:
        """Add records, which follow the last without a gap, and seal them; return the signed checkpoint.

        Raises:
            ValueError: a leaf number is not the next.
        """
        if [r.leaf for r in records] != list(range(self.size, self.size + len(records))):
            raise ValueError("leaf numbers must go on without a gap")
        if records:
            self._segments.append(records)
            leaves = [leaf_hash(record.leaf_data()) for record in records]
            self._tree.append(leaves)
            for leaf in leaves:
                self._frontier.append(leaf)
        return self._seal(now)

    def _seal(self, now: datetime) -> bytes:
        """A clock that runs back does not make the log do so."""
        time = max(now.astimezone(UTC), self._last_time)
        checkpoint = Checkpoint(self._log_id, self.size, self._frontier.root(), time, self._last)
        signed = signing.sign(checkpoint, self._key)
        self._checkpoints.append(self._number, checkpoint, signed)
        self._number, self._last, self._last_time = self._number + 1, signing.digest(signed), time
        return signed

    def close(self) -> None:
        self._lock.close()
