"""What several want at once is fetched once: within a process, and across the processes of a node."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import struct
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

log = logging.getLogger("xds.archives.flights")

T = TypeVar("T")

# struct flock of Linux with 64 bits: type, whence, start, length, process.
_FLOCK = struct.Struct("hhxxxxqqixxxx")


class Flights(Generic[T]):
    """One at a time of each kind; who comes meanwhile gets the same.  Safe with threads; a child begins anew."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process, self._lock = os.getpid(), Lock()
        self._under_way: dict[Hashable, Future[T]] = {}

    def once(self, key: Hashable, do: Callable[[], T]) -> T:
        """What ``do`` returns, here or of who is doing the same just now; what it raises is raised to all of them."""
        if self._process != os.getpid():
            self._begin()
        flight: Future[T] = Future()
        with self._lock:
            found = self._under_way.setdefault(key, flight)
        if found is not flight:
            return found.result()
        try:
            flight.set_result(do())
        except BaseException as problem:
            flight.set_exception(problem)
        finally:
            with self._lock:
                del self._under_way[key]
        return flight.result()


class Turns:
    """Whose turn it is among processes: one lock file, in which each key is a byte that is locked.

    A lock of an open file (OFD), so that threads exclude each other as well, and a process that is killed lets go.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: int | None = None

    @contextmanager
    def alone(self, *key: str) -> Iterator[None]:
        """While nobody else is; waits.  Where no lock can be had, whoever comes is let in: things are done twice."""
        descriptor = self._locked(int.from_bytes(hashlib.sha256("\n".join(key).encode()).digest()[:7], "big"))
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _locked(self, place: int) -> int | None:
        """The descriptor that holds the lock of a byte; None where it cannot be had."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            self._tell(problem)
            return None
        try:
            lock: Any = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, lock)
        except OSError as problem:
            os.close(descriptor)
            self._tell(problem)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _tell(self, problem: OSError) -> None:
        if problem.errno != self._told:  # once: it is so for each that is fetched
            self._told = problem.errno
            log.error("fetching.no_lock", extra={"path": str(self._path), "problem": problem.strerror})
