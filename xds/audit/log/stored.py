"""A log in an object store: slices of its segments and checkpoints, byte for byte as its files have them.

``LOG/segments/FIRST-END.log`` holds records FIRST to END, not included, ``LOG/checkpoints/FIRST-END.log`` checkpoints
by their number, ``LOG/segments/FIRST-END.erased`` what stands in the place of erased records.  A slice never reaches
over the end of a segment, so that a segment is erased there by removing whole slices.  Records are there before the
checkpoints that count them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import BadCheckpoint, Checkpoint
from xds.audit.log.erasure import ErasedPart, erased_parts
from xds.audit.log.framing import BadFrame, FramedFiles, framed
from xds.audit.log.merkle import BadProof, HashTree
from xds.audit.log.segments import WORD as RECORD
from xds.audit.log.segments import SegmentLog
from xds.store.audit.objects import AuditObjects, NotStored

SLICE_BYTES = 8 * 1024 * 1024
"""Of a slice, but for its last entry."""

SEGMENTS, CHECKPOINTS = "segments", "checkpoints"
_ROLL = {SEGMENTS: 64 * 1024 * 1024, CHECKPOINTS: 16 * 1024 * 1024}
_NAME = re.compile(r"([0-9]{20})-([0-9]{20})\.(log|erased)")
_BATCH = 10_000

RUN = 10_000
"""Checkpoints that are read, and put with their records, at once: some 10 MB."""


class Disagrees(Exception):
    """What is in the object store is another history than the log here."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Entries ``first`` to ``end``, not included, of a file in the store."""

    first: int
    end: int
    is_erased: bool = False

    @property
    def name(self) -> str:
        return f"{self.first:020d}-{self.end:020d}.{'erased' if self.is_erased else 'log'}"


class Stored:
    """One log in the store."""

    def __init__(self, objects: AuditObjects, log_id: str) -> None:
        self._objects, self._log_id = objects, log_id

    def path(self, folder: str, slice_: Slice) -> str:
        return f"{self._log_id}/{folder}/{slice_.name}"

    def slices(self, folder: str) -> list[Slice]:
        """What is there, in order; what is called otherwise is not ours."""
        found = []
        for name, _ in self._objects.names(f"{self._log_id}/{folder}"):
            match = _NAME.fullmatch(name)
            if match and int(match[1]) < int(match[2]):
                found.append(Slice(int(match[1]), int(match[2]), match[3] == "erased"))
        return sorted(found, key=lambda one: (one.first, one.end))

    def chain(self, folder: str) -> list[Slice]:
        """From the first entry on, each where the one before ends, as far as they reach; what was erased is."""
        begins: dict[int, Slice] = {}
        for one in self.slices(folder):
            known = begins.get(one.first)
            if known is None or (one.is_erased, one.end) > (known.is_erased, known.end):
                begins[one.first] = one
        chain, at = list[Slice](), 0
        while (found := begins.get(at)) is not None:
            chain.append(found)
            at = found.end
        return chain

    def data(self, folder: str, slice_: Slice) -> bytes:
        return self._objects.get(self.path(folder, slice_))

    def last_checkpoint(self) -> tuple[int, Checkpoint] | None:
        """The last that is there, by its number.

        Raises:
            Disagrees: it is none.
        """
        chain = self.chain(CHECKPOINTS)
        if not chain:
            return None
        try:
            entries = list(entries_of(self.data(CHECKPOINTS, chain[-1]), signing.WORD, chain[-1].first))
            return entries[-1][0], signing.read(entries[-1][2])
        except (BadFrame, BadCheckpoint, IndexError) as problem:
            raise Disagrees(f"the last checkpoint in the object store: {problem}") from None

    def fetch(self, to: Path) -> None:
        """Write the whole log into an empty folder, as ``verify`` and the sequencer want it.

        Raises:
            NotStored: the store does not answer, or something is missing there.
        """
        for folder in (SEGMENTS, CHECKPOINTS):
            (to / folder).mkdir(parents=True)
            chain = self.chain(folder)
            if not chain:
                raise NotStored(f"there are no {folder} of log {self._log_id}")
            self._write(to / folder, folder, chain)
        self._plant(to)

    def _write(self, at: Path, folder: str, chain: Iterable[Slice]) -> None:
        path: Path | None = None
        for one in chain:
            data = self.data(folder, one)
            if one.is_erased:
                (at / f"{one.first:020d}.erased").write_bytes(data)
                path = None
                continue
            if path is None or path.stat().st_size >= _ROLL[folder]:
                path = at / f"{one.first:020d}.log"
            with path.open("ab") as file:
                file.write(data)

    def _plant(self, to: Path) -> None:
        """The tree, of the records."""
        tree, leaves = HashTree(to / "tree"), list[bytes]()
        try:
            for _, hash_ in SegmentLog(to / SEGMENTS).hashes():
                leaves.append(hash_)
                if len(leaves) == _BATCH:
                    tree.append(leaves)
                    leaves = []
        except BadFrame:
            pass  # verifying says what is wrong
        if leaves:
            tree.append(leaves)


def entries_of(data: bytes, word: str, first: int) -> Iterator[tuple[int, bytes, bytes]]:
    """The entries of a slice.

    Raises:
        BadFrame: it is not what was written.
    """
    return FramedFiles(Path(), word).read_of(data, first)


class Storing:
    """Puts what is sealed of a log's files into the store.  The sequencer writes them meanwhile; here they are read."""

    def __init__(self, folder: Path, log_id: str, objects: AuditObjects) -> None:
        self._folder, self.stored = folder, Stored(objects, log_id)
        self._objects = objects
        self._segments, self._tree = SegmentLog(folder / SEGMENTS), HashTree(folder / "tree")
        self._at: tuple[int, int] | None = None
        self.newest = ""
        """The name of what was put last."""

    def step(self) -> int:
        """Put what is new; return how many records are there.

        Raises:
            Disagrees: what is there is another history than the one here.
            NotStored: the store does not answer, or does not take it.
        """
        at, self._at = self._at, None  # what fails is looked at anew
        last = None if at else self._same_history()
        parts, there = self._stand_in()
        records, number = at or self._begun(last)
        while found := self._sealed(number):
            size = found[-1][2]
            for slice_, data in self._slices(records, size):
                self._put(SEGMENTS, slice_, data)
            records = max(records, size)
            for slice_, data in _cut(((n, framed(signing.WORD, n, said, signed)) for n, said, _, signed in found)):
                self._put(CHECKPOINTS, slice_, data)
                number = slice_.end
            if len(found) < RUN:
                break
        self._erase(parts, there)
        self._at = records, number
        return records

    def _put(self, folder: str, slice_: Slice, data: bytes) -> None:
        name = self.stored.path(folder, slice_)
        self._objects.put(name, data)
        self.newest = name

    def _same_history(self) -> Checkpoint | None:
        """The store's last checkpoint, which must be of this history."""
        checkpoints = self.stored.chain(CHECKPOINTS)
        last = self.stored.last_checkpoint()
        if last is None:
            return None
        number, checkpoint = last
        if checkpoint.size > self._tree.size:
            raise Disagrees(f"the object store has {checkpoint.size} records of this log, and here are fewer")
        try:
            if self._tree.hash_of(0, checkpoint.size) != checkpoint.root:
                raise Disagrees("the records here are not those that the object store's last checkpoint counts")
        except BadProof as problem:
            raise Disagrees(str(problem)) from None
        if number + 1 != checkpoints[-1].end:
            raise Disagrees("the last checkpoints in the object store are not whole")
        return checkpoint

    def _begun(self, last: Checkpoint | None) -> tuple[int, int]:
        """How far the store has come: records, and checkpoints."""
        segments, checkpoints = self.stored.chain(SEGMENTS), self.stored.chain(CHECKPOINTS)
        records = segments[-1].end if segments else 0
        if last is not None and records < last.size:
            raise Disagrees("the object store lacks records that its checkpoints count")
        return min(records, self._tree.size), checkpoints[-1].end if checkpoints else 0

    def _sealed(self, number: int) -> list[tuple[int, bytes, int, bytes]]:
        """The next checkpoints from a number on, as far as they are whole: number, header, size, as signed."""
        found = []
        try:
            files = FramedFiles(self._folder / CHECKPOINTS, signing.WORD)
            for one, said, signed in islice(files.read(number), RUN):
                found.append((one, said, signing.read(signed).size, signed))
        except BadFrame:
            pass  # the one that is being written
        except BadCheckpoint as problem:
            raise Disagrees(f"a checkpoint here: {problem}") from None
        return found

    def _slices(self, begin: int, size: int) -> Iterator[tuple[Slice, bytes]]:
        """The records from one on, up to a size."""
        try:
            yield from _cut(self._frames(begin, size), {first for first, _ in self._segments.files()})
        except BadFrame as problem:
            raise Disagrees(f"record {problem.entry} here: {problem.reason}") from None

    def _frames(self, begin: int, size: int) -> Iterator[tuple[int, bytes]]:
        if begin >= size:
            return
        for leaf, said, message in self._segments.raw(begin):
            if leaf >= size:  # what came before it is erased
                return
            yield leaf, framed(RECORD, leaf, said, message)
            if leaf + 1 >= size:  # what follows may be half written
                return

    def _stand_in(self) -> tuple[list[ErasedPart], list[Slice]]:
        """Put what stands in the place of what was erased here: without it what comes after it does not follow.

        Returns the parts that were erased, and the slices that were there.
        """
        parts = erased_parts(self._folder / SEGMENTS)
        there = self.stored.slices(SEGMENTS) if parts else []
        for part in parts:
            slice_ = Slice(part.first, part.end, is_erased=True)
            if slice_ not in there:
                self._put(SEGMENTS, slice_, part.path.read_bytes())
        return parts, there

    def _erase(self, parts: Iterable[ErasedPart], there: Iterable[Slice]) -> None:
        """What was erased here is erased there, now that something stands in its place."""
        for part in parts:
            for one in there:
                if not one.is_erased and part.first <= one.first and one.end <= part.end:
                    self._objects.remove(self.stored.path(SEGMENTS, one))


def _cut(
    entries: Iterable[tuple[int, bytes]], starts: Iterable[int] = (), slice_bytes: int = SLICE_BYTES
) -> Iterator[tuple[Slice, bytes]]:
    """Slices of entries, by number and bytes, each beginning at a start or where the one before ends."""
    begins, kept, first, end, size = frozenset(starts), list[bytes](), 0, 0, 0
    for number, data in entries:
        if kept and (number != end or number in begins or size >= slice_bytes):
            yield Slice(first, end), b"".join(kept)
            kept, size = [], 0
        if not kept:
            first = number
        kept.append(data)
        size, end = size + len(data), number + 1
    if kept:
        yield Slice(first, end), b"".join(kept)
