"""Documents on their way from one store to another, while servers read from both (``both.py``).

First they are copied, and nothing is removed: the old store stays whole, and there is a way back.  Then, at the end,
each is removed from the old store once the new one has given its bytes back, unless it was put within the last hour: a
node that still has the old settings may have done so.  Either may be broken off anywhere, and be begun again: what is
there is not copied again.
"""

from __future__ import annotations

import os
import pwd
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from shutil import disk_usage

import sqlalchemy as sa

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.store.alone import alone
from xds.store.documents.checking import are_one, keeps_versions, look, opens, owned
from xds.store.documents.folder import Damaged, NotReachable, Unread, batches, named, sizes
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.documents.stores import ALSO, DOCUMENTS, Place, places
from xds.store.documents.wrapping import SETTING
from xds.system.disk import Reserve
from xds.wire.spool import NotKept, Spool

PREFIX = "move-"
"""Of files that are staged on the way: a start of the server leaves them alone, the sweep does not."""

_PARALLEL = 4
"""Documents under way at once."""

_TRIES = 3
"""Of a copy that is read back otherwise than it was sent."""

Tell = Callable[[int, int], None]
"""Told after each document how many have been looked at, and how many bytes were copied."""


class _Outcome(Enum):
    COPIED = "copied"
    THERE = "there already"
    DAMAGED = "damaged"
    GONE = "removed meanwhile"


@dataclass(slots=True)
class Moved:
    """What was done, or would be: documents of the old store, and what became of them."""

    documents: int = 0
    copied: int = 0
    copied_bytes: int = 0
    removed: int = 0  # from the old store
    left: int = 0  # in the old store, at the end
    damaged: tuple[str, ...] = ()  # the SHA-256 of each that neither store gives back
    seconds: float = 0.0


class Pace:
    """So many bytes a second at most, however many threads move them; 0: as fast as it goes."""

    def __init__(
        self, bytes_per_second: int, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._rate, self._clock, self._sleep = bytes_per_second, clock, sleep
        self._lock, self._free_at = threading.Lock(), clock()

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, each when its turn has come."""
        for chunk in chunks:
            self.wait(len(chunk))
            yield chunk

    def wait(self, size_bytes: int) -> None:
        """Until it is so many bytes' turn."""
        if self._rate:
            with self._lock:
                begins = max(self._free_at, self._clock())
                self._free_at = begins + size_bytes / self._rate
            self._sleep(max(0.0, begins - self._clock()))


class Move:
    """From ``server.documents_also`` to ``server.documents``; or to where they are encrypted in the same store."""

    def __init__(
        self, settings: Settings, engine: sa.Engine, pace: Pace, tell: Tell = lambda *_: None, *, encrypts: bool = False
    ) -> None:
        """``encrypts``: what ``server.documents`` has in clear is encrypted there.

        Raises:
            Unusable: the settings do not name two stores, or no file of keys.
        """
        self._settings, self._engine, self._pace, self._tell = settings, engine, pace, tell
        self.target, self.source = _within(settings) if encrypts else _between(settings)
        self._encrypts = encrypts
        # What is moved is read back here, whatever the settings say: not twice.
        self._new, self._old = self.target.open(engine, read_back=False), self.source.open(engine)
        folder = self.target.folder if not self.target.is_bucket else settings.data
        self._disk = Reserve(settings.server.least_free_bytes, folder)

    def check(self) -> None:
        """See, before anything is touched, that both stores can be used, and that there is room.

        Raises:
            Unusable: they cannot, or there is none.
        """
        as_the_service(self._settings.data)
        with _answering(self.source):
            look(self.source)
            opens(self.source, self._engine)
        with _answering(self.target):
            look(self.target)
            opens(self.target, self._engine)
            if self._encrypts:
                return
            if are_one(self.target, self.source):
                raise Unusable(f"{ALSO} is where {DOCUMENTS} is already, under another name: {self.source}")
            owned(self.target, self._engine)
        if not self.target.is_bucket:
            needed = self.would(finish=False).copied_bytes + self._settings.server.least_free_bytes
            free = disk_usage(self.target.folder).free
            if needed > free:
                raise Unusable(f"{self.target}: {needed} bytes are needed, and {free} are free")

    def keeps_versions(self) -> bool:
        """Whether what is removed from the old store stays there as an older version.

        Raises:
            Unusable: it does not answer.
        """
        with _answering(self.source):
            return keeps_versions(self.source)

    def would(self, *, finish: bool) -> Moved:
        """What would be done: nothing is.

        Raises:
            Unusable: a store does not answer.
        """
        moved = Moved()
        for some in self._found(moved):
            for _, size, there in some:
                moved.documents += 1
                if not there:
                    moved.copied, moved.copied_bytes = moved.copied + 1, moved.copied_bytes + size
        moved.removed = moved.documents if finish else 0
        return moved

    def run(self, *, finish: bool) -> Moved:
        """Copy what the new store has not; with ``finish`` see that it has each, and remove that from the old one.

        Raises:
            Unusable: another process is at it, a store does not answer, or there is no room: what was done stays
                done.
        """
        moved, damaged, began = Moved(), list[str](), time.monotonic()
        with (
            alone(self._settings, "documents move", "documents are being moved") as still,
            ThreadPoolExecutor(_PARALLEL) as pool,
        ):
            for some in self._found(moved):
                still()
                for sha256, size, outcome, is_removed in pool.map(lambda one: self._one(*one, finish=finish), some):
                    moved.documents += outcome is not _Outcome.GONE
                    moved.removed += is_removed
                    if outcome is _Outcome.COPIED:
                        moved.copied, moved.copied_bytes = moved.copied + 1, moved.copied_bytes + size
                    elif outcome is _Outcome.DAMAGED:
                        damaged.append(sha256)
                    self._tell(moved.documents, moved.copied_bytes)
        if finish:
            with _answering(self.source):
                self._old.sweep(self._engine, now=time.time())
                moved.left = sum(1 for _ in self._old.names())
        moved.damaged, moved.seconds = tuple(sorted(damaged)), time.monotonic() - began
        return moved

    def _found(self, moved: Moved) -> Iterator[list[tuple[str, int, bool]]]:
        """Each document of the old store that a row names, its size, and whether the new one seems to have it.

        Some at once, so that millions need no memory.  What no row names is counted, and left to the sweep.
        """
        with _answering(self.source):
            for some in batches(self._old.names()):
                known = sizes(self._engine, some)
                moved.left += len(some) - len(known)
                wanted = sorted(known.items())
                with _answering(self.target):
                    there = self._new.holding(wanted)
                yield [(*one, is_there) for one, is_there in zip(wanted, there, strict=True)]

    def _one(self, sha256: str, size: int, is_there: bool, *, finish: bool) -> tuple[str, int, _Outcome, bool]:
        """Copy a document if need be, and at the end remove it; what became of it, and whether it was removed."""
        outcome, is_removed = _Outcome.THERE, False
        if not is_there or (finish and not self._is_whole(sha256, size)):
            outcome = self._copied(sha256, size)
        if finish and outcome in (_Outcome.COPIED, _Outcome.THERE):
            with _answering(self.source):  # what is younger stays: its row, and the new store's copy, may be others
                is_removed = self._old.remove(sha256, before=time.time() - SWEEP_SECONDS)
        return sha256, size, outcome, is_removed

    def _copied(self, sha256: str, size: int) -> _Outcome:
        """Copy a document, and read it back; or say why it cannot be.

        Raises:
            Unusable: a store does not answer, does not take it, or gives back something else.
        """
        for _ in range(_TRIES):
            outcome = self._tried(sha256, size)
            if outcome is not None:
                return outcome
        if self._is_whole(sha256, size, in_old=True):  # who reads goes on finding it there
            with _answering(self.target):
                self._new.remove(sha256)
        raise Unusable(f"{self.target} gives back something else than was sent: document {sha256}")

    def _tried(self, sha256: str, size: int) -> _Outcome | None:
        """The same once; None: it was read back otherwise than it was sent."""
        spooling = Spool(self._new.staging, PREFIX, self._disk, sealed=self._new.seals)
        with spooling as spool, _answering(self.target):
            writing = spool.new()
            try:
                for chunk in self._pace.through(self._old.chunks(sha256, size)):
                    writing.write(chunk)
            except Unread:
                raise Unusable(f"{self.source} does not answer: run this again") from None
            except Damaged:
                if self._is_whole(sha256, size):
                    return _Outcome.THERE
                return _Outcome.DAMAGED if named(self._engine, sha256) else _Outcome.GONE
            if self._new.holding([(sha256, size)]) == [True] and not self._is_whole(sha256, size):
                self._new.remove(
                    sha256
                )  # a folder would take it for what it seems to be; the old one has just given it
            self._new.put(writing.finish())
        return _Outcome.COPIED if self._is_whole(sha256, size) else None

    def _is_whole(self, sha256: str, size: int, *, in_old: bool = False) -> bool:
        """Whether the new store, or the old one, gives the bytes back: all of them are read.

        Raises:
            Unusable: it does not answer.
        """
        place, store = (self.source, self._old) if in_old else (self.target, self._new)
        try:
            for _ in self._pace.through(store.chunks(sha256, size)):
                pass
        except Unread:
            raise Unusable(f"{place} does not answer: run this again") from None
        except Damaged:
            return False
        return True


def _between(settings: Settings) -> tuple[Place, Place]:
    found = places(settings)
    if len(found) == 1:
        raise Unusable(f"{ALSO} is not set: it names the store that documents are moved from")
    return found[0], found[1]


def _within(settings: Settings) -> tuple[Place, Place]:
    found = places(settings)[0]
    if not found.key_file:
        raise Unusable(f"{SETTING} is not set: it names the file of the keys that documents are encrypted by")
    return found.part("sealed"), found.part("clear")


@contextmanager
def _answering(place: Place) -> Iterator[None]:
    """
    Raises:
        Unusable: the store does not answer, or does not take what it is given.
    """
    try:
        yield
    except NotReachable:
        raise Unusable(f"{place} does not answer: run this again") from None
    except NotKept as problem:
        raise Unusable(f"{place} does not take a document: {problem}") from None


def as_the_service(data: Path) -> None:
    """See that what is made here can be read by the service, which has made what shows whose it is at its first start.

    Raises:
        Unusable: this is another user.
    """
    identity = data / "identity.json"  # where a group may write in a volume, the folder itself is another's
    owner = (identity if identity.exists() else data).stat().st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise Unusable(f"{data} is of the user {name}, who could not read what is made here: sudo -u '{name}' xds …")


def _alone(settings: Settings) -> AbstractContextManager[Callable[[], None]]:
    """Nobody else moves them meanwhile: they would do it twice."""
    return alone(settings, "documents move", "documents are being moved")
