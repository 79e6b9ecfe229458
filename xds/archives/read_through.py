"""An instance of a PACS from the cache, or else fetched: once, however many want it at that time.

Nobody is given a byte of an instance before all of it has come, and was found to be the one that was asked for: what
comes half is not kept, and those who wait for it are told what the one who fetched was told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from xds.archives.cache import Cache, Kept, Key
from xds.archives.flights import Flights, Turns
from xds.imaging.dicom import Form, NotDicom, form
from xds.imaging.reading import is_uid


@dataclass(frozen=True, slots=True)
class Copy:
    """An instance's Part 10 file on this machine, until it is freed, which is done once.

    ``tag`` is what the PACS calls this state of it, empty where it does not say.  ``forget``: of one in the cache,
    that it is not what came.
    """

    path: Path
    size_bytes: int
    sha256: str
    encoding: Form
    free: Callable[[], None]
    tag: str = ""
    forget: Callable[[], None] | None = None

    def is_whole(self) -> bool:
        """Whether the bytes are those that came; of what has just come that is known."""
        if self.forget is None:
            return True
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()


class ReadThrough:
    """Safe with threads, processes and forks."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._flights, self._turns = Flights[None](), Turns(cache.lock_file)

    def copy(self, key: Key, stamp: str | None, fetch: Callable[[], Copy], is_still: Callable[[str], bool]) -> Copy:
        """An instance in the state that ``stamp`` tells from others; ``None``: that is not known, so it is fetched.

        ``fetch`` brings it, whole and the right one.  ``is_still``: whether the PACS has it in the state that it calls
        so.

        Raises:
            What these do.
        """
        if stamp is None or not all(map(is_uid, key)):
            return fetch()
        found = self._taken(key, stamp)
        if found is not None:
            return found
        ours = list[Copy]()
        self._flights.once(key, lambda: ours.append(self._fetched(key, stamp, fetch, is_still)))
        if ours:
            return ours[0]
        return self._taken(key, stamp) or fetch()  # there was no room for it: each fetches, and waits for nobody

    def _taken(self, key: Key, stamp: str, is_still: Callable[[str], bool] | None = None) -> Copy | None:
        """From the cache; one that is due only where the PACS can be asked."""
        kept = self.cache.taken(key, stamp, due=is_still is not None)
        if kept is None:
            return None
        try:
            if not kept.is_due or (is_still is not None and bool(kept.tag) and is_still(kept.tag)):
                copy = self._copy(kept, form(kept.path))
                if kept.is_due:
                    self.cache.confirmed(kept)
                return copy
        except (NotDicom, OSError):  # damaged
            pass
        except BaseException:
            self.cache.done(kept)
            raise
        self.cache.forget(kept)
        self.cache.done(kept)
        return None

    def _fetched(self, key: Key, stamp: str, fetch: Callable[[], Copy], is_still: Callable[[str], bool]) -> Copy:
        with self._turns.alone(*key):
            found = self._taken(key, stamp, is_still)
            if found is not None:
                return found
            copy = fetch()
            kept = self.cache.keep(key, stamp, copy.tag, copy.path, copy.size_bytes, copy.sha256)
            if kept is None:
                return copy
            copy.free()
            return self._copy(kept, copy.encoding)

    def _copy(self, kept: Kept, encoding: Form) -> Copy:
        free, forget = partial(self.cache.done, kept), partial(self.cache.forget, kept)
        return Copy(kept.path, kept.size_bytes, kept.sha256, encoding, free, kept.tag, forget)
