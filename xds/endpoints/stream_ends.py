"""How streams have ended, on record as soon as that can be: a lost database and a full disk come back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import sqlalchemy as sa

from xds.store.audit.records import Recorded, close_stream

log = logging.getLogger("xds.endpoints.stream_ends")

AGAIN_SECONDS = 0.5
"""Between two tries."""

MOST = 10_000
"""Ends that wait; of more the process' own end makes failures, as of all that is under way then."""


def end_stream(engine: sa.Engine, stream_id: str, records: Sequence[Recorded]) -> None:
    """Put on record how a stream has ended, now or later: nobody waits for it."""
    try:
        _end(engine, stream_id, records)
    except sa.exc.SQLAlchemyError:
        log.warning("stream.closed_later", extra={"stream": stream_id})
        _waiting.add(engine, stream_id, records)


def _end(engine: sa.Engine, stream_id: str, records: Sequence[Recorded]) -> None:
    with engine.begin() as connection:
        close_stream(connection, stream_id, records)  # once, however often it is tried


class _Waiting:
    """What this process could not put on record yet.  Safe with threads."""

    def __init__(self) -> None:
        self._lock, self._ends = threading.Lock(), dict[str, tuple[sa.Engine, Sequence[Recorded]]]()
        self._thread: threading.Thread | None = None

    def add(self, engine: sa.Engine, stream_id: str, records: Sequence[Recorded]) -> None:
        with self._lock:
            if len(self._ends) >= MOST:
                log.error("stream.not_closed", extra={"stream": stream_id})
                return
            self._ends[stream_id] = engine, records
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._try, daemon=True)
                self._thread.start()

    def _try(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(AGAIN_SECONDS)
            with self._lock:
                stream_id, (engine, records) = next(iter(self._ends.items()))
            try:
                _end(engine, stream_id, records)
            except sa.exc.SQLAlchemyError:
                pause.clear()
                continue
            with self._lock:
                self._ends.pop(stream_id, None)
                if not self._ends:
                    self._thread = None
                    return
            pause.set()  # the others at once


_waiting = _Waiting()
