"""What each peer may bring about in a day: audit records, and bytes that are kept.

Counted in each process, and in the database once a second: a request costs an addition in memory, and the total of all
processes is a second old.  What a process that is killed has counted in its last second is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock, Timer

import sqlalchemy as sa

from xds.store import peer_use
from xds.store.engine import reading
from xds.store.peer_use import Use
from xds.wire.now_and_then import NowAndThen

log = logging.getLogger("xds.access.quotas")

WRITE_SECONDS = 1.0
"""Between two writings of what was counted, which are also when it is seen what others have."""

APART_SECONDS = 600.0
"""Between two alerts about the same peer."""

MOST = 10_000
"""Peers that one process tells apart in a day; those beyond, of whom no entry is known, are counted as one."""

OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one peer and day; 0: none."""

    records: int = 0
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.size_bytes)

    def over(self, used: Use, *, keeps: bool) -> str:
        """Which is used up, for a request that ``keeps`` more than a record; empty: none."""
        if self.records and used.records >= self.records:
            return f"this peer has brought about the {self.records} audit records that it may in a day"
        if keeps and self.size_bytes and used.size_bytes >= self.size_bytes:
            return f"this peer has sent the {self.size_bytes} bytes that it may in a day"
        return ""


class Quotas:
    """Those of a deployment, as one process counts.  To be made after the fork; safe with threads."""

    def __init__(
        self,
        engine: sa.Engine,
        quota: Quota,
        tell: Callable[[str, str], None] = lambda _peer, _said: None,
        count: Callable[[], None] = lambda: None,
        day: Callable[[], int] = peer_use.today,
    ) -> None:
        """``tell`` puts on record that a peer is over, given its name or key; ``count`` counts what is refused."""
        self._engine, self._quota, self._tell, self._day = engine, quota, tell, day
        self._told, self._count, self._lock, self._writing = NowAndThen(APART_SECONDS), count, Lock(), Lock()
        self._of_day, self._is_due, self._is_closed = day(), False, False
        self._names = dict[str, str]()
        self._seen, self._pending = dict[str, Use](), dict[str, Use]()  # in the database, and counted since
        self._asked = set[str]()  # about whom, since the database was looked at

    def spend(self, key: str, records: int, size_bytes: int) -> None:
        """Count what a peer has brought about."""
        with self._lock:
            key = self._counted_as(key)
            more = Use(records, size_bytes, self._names.get(key, ""))
            self._pending[key] = self._pending.get(key, Use()).and_(more)
            self._soon()

    def over(self, key: str, name: str = "", *, keeps: bool) -> str:
        """Why a peer's request is refused; empty: it is not.  ``name``: of its entry; ``keeps``: more than a record."""
        with self._lock:
            if name and (key in self._names or len(self._names) < MOST):
                self._names[key] = name
            if not self._quota:
                return ""
            if self._of_day != self._day():
                self._of_day, self._seen = self._day(), {}
            key = self._counted_as(key)
            is_new = key not in self._seen
            self._asked.add(key)
            self._soon()
        if is_new:
            self._look({key})
        with self._lock:
            used = self._seen.get(key, Use()).and_(self._pending.get(key, Use()))
        said = self._quota.over(used, keeps=keeps)
        if said:
            self._count()
            self._alert(name or key, said)
        return said

    def _alert(self, peer: str, said: str) -> None:
        more = self._told.due((peer, said))
        if more is None:
            return
        said = f"{said}: no more is taken until midnight, UTC"
        said += f"; {more} more requests were refused" if more else ""
        log.warning("quota.used_up", extra={"peer": peer, "said": said})
        try:
            self._tell(peer, said)
        except Exception:  # the request is refused all the same, and the log line says why
            log.exception("audit.not_recorded")

    def _counted_as(self, key: str) -> str:
        """Its own name, unless there are too many of whom nothing is known."""
        known = key in self._names or key in self._pending or key in self._seen
        return key[:64] if known or max(len(self._pending), len(self._seen)) < MOST else OTHERS

    def _soon(self) -> None:
        """Write in a while what is counted until then; in a thread of its own, for which nobody waits."""
        if not self._is_due and not self._is_closed:
            self._is_due = True
            timer = Timer(WRITE_SECONDS, self._due)
            timer.daemon = True
            timer.start()

    def _due(self) -> None:
        if not self._is_closed:
            self.write()

    def close(self) -> None:
        """Write what was counted, and count no more: the process ends."""
        self._is_closed = True
        self.write()

    def write(self) -> None:
        """Write what was counted, and see what all processes have."""
        with self._writing:
            with self._lock:
                self._is_due, day, counted, self._pending = False, self._day(), self._pending, {}
                asked, self._asked = self._asked | set(counted), set()
                if self._quota:  # it counts on until it is seen in the database
                    self._seen |= {key: self._seen.get(key, Use()).and_(one) for key, one in counted.items()}
            try:
                if counted:
                    with self._engine.begin() as connection:
                        peer_use.add(connection, day, counted)
            except Exception:  # whatever it is: what was counted is kept, and written the next time
                log.exception("quota.not_written")
                with self._lock:
                    for key, one in counted.items():
                        self._pending[key] = one.and_(self._pending.get(key, Use()))
                        self._seen.pop(key, None)  # to be looked up again
                return
            if self._quota:
                self._look(asked)

    def _look(self, keys: Collection[str]) -> None:
        """See what these have used today, in all processes."""
        day = self._of_day
        try:
            with reading(self._engine) as connection:
                found = peer_use.of_peers(connection, day, keys)
        except Exception:  # care does not stop because nobody can be counted; whoever needs the database says so
            log.warning("quota.not_seen")
            return
        with self._lock:
            if self._of_day == day:
                self._seen |= {key: found.get(key, Use()) for key in keys}
