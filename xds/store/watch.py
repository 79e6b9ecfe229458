"""Cuts connections whose other end says nothing for too long: the driver itself would wait for as long as TCP does."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

EVERY_SECONDS = 0.2
"""How often it is looked which are over their time."""


class Watch:
    """Of the connections of one process.  Safe with threads."""

    def __init__(self) -> None:
        self._lock, self._due = threading.Condition(), dict[object, tuple[float, int]]()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def cut_after(self, connection: sa.Connection, seconds: float) -> Iterator[None]:
        """Cut it, so that whoever waits for it has an error, when what is done inside takes longer."""
        driver = connection.connection.driver_connection
        key, entry = object(), (time.monotonic() + seconds, driver.fileno())  # type: ignore[union-attr]
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()
            self._due[key] = entry
            if len(self._due) == 1:
                self._lock.notify()
        try:
            yield
        finally:
            with self._lock:  # from here on the number may be another connection's
                self._due.pop(key, None)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._lock.notify()

    def _look(self) -> None:
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                for key, (due, number) in list(self._due.items()):
                    if due < now:
                        del self._due[key]
                        _cut(number)
                self._lock.wait(EVERY_SECONDS if self._due else None)


def _cut(number: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as same:
        same.shutdown(socket.SHUT_RDWR)
