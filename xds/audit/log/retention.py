"""Erases segments of the log whose time is over, so that the tree still verifies; what is held is kept.

Order of writes, for each segment: copied to the archive, if there is one, and synced; the erased part with its signed
statement, beside the segment; the rows, with the record of the erasure, in one transaction; the segment's file.  While
that file is there the part is not erased; what a crash leaves is ended, or undone, by the next run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from xds.audit.log import erasure
from xds.audit.log.erasure import ErasedPart, Erasure, erased_parts
from xds.audit.log.framing import BadFrame
from xds.audit.log.keys import SigningKey
from xds.audit.log.merkle import BadProof, HashTree, root_of
from xds.audit.log.segments import Record, SegmentLog
from xds.audit.log.statement import BadStatement
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.audit.search.indexing import terms
from xds.errors import Unusable
from xds.store.audit import holds
from xds.store.audit import records as store
from xds.store.audit.search import INDEX
from xds.store.engine import reading
from xds.system.durable import sync_folder


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment whose time is over; ``kept_for`` says why it is kept all the same, empty if nothing does."""

    first: int
    end: int
    path: Path
    newest: datetime
    kept_for: str


class Retention:
    """One deployment's log.  The sequencer may run meanwhile: it writes to the newest segment alone."""

    def __init__(
        self, engine: sa.Engine, folder: Path, log_id: str, key: SigningKey, node: AuditSource,
        forward_to: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._engine, self._folder, self._log_id, self._key = engine, folder / "segments", log_id, key
        self._node, self._readers = node, (INDEX, *forward_to)
        self._log = SegmentLog(self._folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process erases.

        Raises:
            Unusable: one does.
        """
        with (self._folder.parent / "retention.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unusable("another process erases records just now") from None
            yield

    def over(self, before: datetime) -> Iterator[Segment]:
        """Segments of which every record is older than ``before``; the newest segment of all is never among them.

        Raises:
            Unusable: a segment is damaged.
        """
        files = self._log.files()
        begins = sorted([*(first for first, _ in files), *(part.first for part in erased_parts(self._folder))])
        for first, path in files[:-1]:
            end = begins[begins.index(first) + 1]
            newest = max((record.recorded for record in self._records(first, end)), default=None)
            if newest is None or newest >= before:
                continue
            with reading(self._engine) as connection:
                yield Segment(first, end, path, newest, self._kept_for(connection, first, end))

    def _records(self, first: int, end: int) -> Iterator[Record]:
        try:
            for record in self._log.records(first):
                if record.leaf >= end:
                    return
                yield record
        except BadFrame as problem:
            raise Unusable(f"the audit log is damaged; run xds audit verify: {problem}") from None

    def _kept_for(self, connection: sa.Connection, first: int, end: int, *, to_erase: bool = False) -> str:
        hold = holds.holding(connection, first, end, to_erase=to_erase)
        if hold is not None:
            return f"hold {hold.id}"
        if holds.least_position(connection, self._readers) < end:
            return "not all of it was indexed and sent on"
        return ""

    def erase(self, segment: Segment, reason: str, archive: Path | None = None) -> None:
        """Erase one, which nothing keeps.

        Raises:
            Unusable: the archive cannot be written, something keeps it now, or another process erases.
        """
        with self._alone():
            if not segment.path.exists():
                raise Unusable(f"records {segment.first} to {segment.end - 1} were erased meanwhile")
            self._erase(segment, reason, archive)

    def _erase(self, segment: Segment, reason: str, archive: Path | None) -> None:
        data = hashlib.sha256()
        with segment.path.open("rb") as file:
            while chunk := file.read(1024 * 1024):
                data.update(chunk)
        if archive is not None:
            self._archive(segment.path, archive)
        hashes = [hash_ for _, hash_ in self._hashes(segment)]
        self._agree(segment, hashes)
        said = Erasure(
            self._log_id, segment.first, segment.end, root_of(hashes), datetime.now(UTC), data.digest(), reason
        )
        erased = segment.path.with_suffix(".erased")
        erasure.write(erased, erasure.sign(said, self._key), hashes)
        try:
            ErasedPart.of(erased).verify([self._key.certificate], self._log_id)
        except BadStatement as problem:  # such as by a certificate that has ended: nobody would believe it
            erased.unlink()
            raise Unusable(f"the erasure would not be believed: {problem}") from None
        with self._engine.begin() as connection:
            kept_for = self._kept_for(connection, segment.first, segment.end, to_erase=True)
            if not kept_for:
                self._erase_rows(connection, segment, reason, archived=archive is not None)
        if kept_for:
            segment.path.with_suffix(".erased").unlink()
            raise Unusable(f"records {segment.first} to {segment.end - 1} are kept: {kept_for}")
        self._drop(segment.path)

    def _agree(self, segment: Segment, hashes: Sequence[bytes]) -> None:
        """That the records are still those that were sealed: what was tampered with is evidence, and not erased."""
        tree = HashTree(self._folder.parent / "tree")
        try:
            same = all(tree.node(0, leaf) == hash_ for leaf, hash_ in enumerate(hashes, segment.first))
        except BadProof:
            same = False
        if not same or len(hashes) != segment.end - segment.first:
            raise Unusable(f"records {segment.first} to {segment.end - 1} are damaged; run xds audit verify")

    def _hashes(self, segment: Segment) -> Iterator[tuple[int, bytes]]:
        for leaf, hash_ in self._log.hashes(segment.first):
            if leaf >= segment.end:
                return
            yield leaf, hash_

    def _archive(self, path: Path, archive: Path) -> None:
        try:
            archive.mkdir(parents=True, exist_ok=True)
            copy = archive / path.name
            shutil.copyfile(path, copy)
            with copy.open("rb") as file:
                os.fsync(file.fileno())
            sync_folder(archive)
        except OSError as problem:
            raise Unusable(f"{archive}: {problem.strerror}") from None

    def _erase_rows(self, connection: sa.Connection, segment: Segment, reason: str, *, archived: bool) -> None:
        rows = holds.rows(connection, segment.first, segment.end)
        found = [(term_, row.recorded, row.id) for row in rows for term_ in terms(connection, row)]
        holds.erase_rows(connection, rows, found)
        who = Party("xds audit", "localhost", ours=True, requestor=True)
        said = f"records {segment.first} to {segment.end - 1}: {reason}"
        store.record(connection, AuditEvent.log_erased(self._node, who, said, archived=archived).records())

    def _drop(self, path: Path) -> None:
        path.unlink()
        sync_folder(path.parent)

    def finish(self) -> None:
        """End what a crash has left half done: with its rows the part is erased, and else it is not.

        Raises:
            Unusable: another process erases.
        """
        with self._alone():
            self._finish()

    def _finish(self) -> None:
        for path in sorted(self._folder.glob("*.erased")):
            segment = path.with_suffix(".log")
            if segment.exists():
                part = ErasedPart.of(path)
                with reading(self._engine) as connection:
                    erased = not holds.rows(connection, part.first, part.first + 1)
                self._drop(segment if erased else path)
