"""SHA-1 and SHA-256 of bytes as they come; of many, on a thread beside the one that reads and writes them."""

from __future__ import annotations

import hashlib
from queue import SimpleQueue
from threading import Semaphore, Thread

SHORT_BYTES = 4 * 1024 * 1024
"""What is hashed where it comes: a thread would cost more than it brings."""

AHEAD = 4
"""Pieces that may wait to be hashed; then who brings the next waits too."""


class Hashes:
    """Both hashes of one text of bytes.  One thread brings its pieces."""

    def __init__(self) -> None:
        self._sha1, self._sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        self._count = 0
        self._beside: Thread | None = None
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._room = Semaphore(AHEAD)
        self._failed: Exception | None = None

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._count += len(data)
        if self._beside is None:
            if self._count <= SHORT_BYTES:
                self._take(data)
                return
            beside = Thread(target=self._take_all, name="hashing", daemon=True)
            beside.start()
            self._beside = beside
        self._room.acquire()
        self._waiting.put(data)

    def digests(self) -> tuple[str, str]:
        """SHA-1 and SHA-256 of all, in lower-case hex; nothing is taken in any more.

        Raises:
            MemoryError: there was none for it.
        """
        self.end()
        if self._failed is not None:
            raise self._failed
        return self._sha1.hexdigest(), self._sha256.hexdigest()

    def end(self) -> None:
        """Let the thread beside end, when it has done what it was given."""
        if self._beside is not None:
            self._waiting.put(None)
            self._beside.join()
            self._beside = None

    def _take(self, data: bytes) -> None:
        self._sha1.update(data)
        self._sha256.update(data)

    def _take_all(self) -> None:
        while (data := self._waiting.get()) is not None:
            try:
                self._take(data)
            except Exception as problem:  # told by ``digests``; who brings more is not left waiting
                self._failed = problem
            finally:
                self._room.release()
