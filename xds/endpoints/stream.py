"""A reply that is streamed, and its audit records: open before the first byte, closed when it has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextvars import copy_context

from xds.archives.interface import Gone
from xds.store.documents.folder import Damaged
from xds.wire.passing import BrokenOff

log = logging.getLogger("xds.endpoints.stream")


class Stream:
    """A reply's chunks; however it ends, and even if it never began, ``ended`` is told once whether it was whole."""

    def __init__(self, chunks: Iterator[bytes], ended: Callable[[bool], None]) -> None:
        self._chunks, self._ended, self._told = chunks, ended, False
        self._context = copy_context()  # for whom it is: it ends when that request is no longer served

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self._tell(whole=True)
            raise
        except (Damaged, Gone, BrokenOff) as problem:
            # Nothing may follow: without its full length nobody takes the reply for whole.
            if isinstance(problem, BrokenOff):
                log.warning("answer.broken_off", extra={"reason": str(problem)})
            else:
                log.error("document.damaged", extra={"reason": str(problem)})
            self._tell(whole=False)
            raise ConnectionAbortedError from None

    def close(self) -> None:
        self._tell(whole=False)

    def _tell(self, *, whole: bool) -> None:
        if not self._told:
            self._told = True
            self._context.run(self._ended, whole)
