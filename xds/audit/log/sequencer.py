"""Puts recorded audit messages in order and under signed checkpoints; a process of its own.

Order lives in the database: one transaction numbers what has no number.  Then the files are made from it:
segments, tree, checkpoint.  A crash at any point is mended at the next start, from the numbered rows.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import sqlalchemy as sa

from xds.audit.log import checkpoint as signing
from xds.audit.log.checkpoint import BadCheckpoint
from xds.audit.log.keys import SigningKey, load_or_make
from xds.audit.log.segments import as_leaf
from xds.audit.log.writer import LogWriter
from xds.audit.messages.events import AuditEvent, source_of
from xds.audit.search.indexing import Indexed, indexed
from xds.audit.search.watching import Watcher
from xds.errors import Unusable
from xds.settings.sections import Loaded
from xds.store import acknowledged
from xds.store.audit import records as store
from xds.store.audit.records import Recorded
from xds.store.audit.search import INDEX
from xds.store.deployment import log_id
from xds.store.engine import make_engine, reading
from xds.system.clock import Jumps

log = logging.getLogger("xds.audit.log.sequencer")

BATCH = 2000
"""Records that are sealed at once."""

SHORT = 100
"""Records of one transaction that writes: those who record others wait for it."""


GONE_SECONDS, SAID_SECONDS = 300.0, 20.0
"""After which a host is taken to be gone, with all that was under way there; and how often a node says that it is."""


def folder(loaded: Loaded) -> Path:
    """Where the log's files are."""
    return loaded.settings.data / "audit"


def signing_key(loaded: Loaded) -> SigningKey:
    """The key that checkpoints are signed with, made at first start."""
    audit = loaded.settings.audit
    return load_or_make(loaded.settings.data / "keys", key=audit.key, certificate=audit.certificate)


class Sequencer:
    """One deployment's; a second one waits for the first.

    Raises:
        Unusable: files and database do not tell one story; neither is changed.
    """

    def __init__(self, engine: sa.Engine, loaded: Loaded) -> None:
        self._engine, self._watcher = engine, Watcher(loaded.settings.review)
        self._node, self._said = source_of(loaded.settings), float("-inf")
        self._writer = LogWriter(folder(loaded), signing_key(loaded), log_id(loaded.settings.data))
        try:
            self._size = self._writer.open()
            self._agree()
        except BaseException:
            self._writer.close()
            raise

    def _agree(self) -> None:
        """What files lack is made from the numbered rows, and must meet the root that was signed when they had it."""
        with reading(self._engine) as connection:
            numbered, kept = store.head(connection), store.last_checkpoint(connection)
            if numbered < self._size:
                # New records would get numbers that the files have already, and never be written.
                raise Unusable(f"the audit log holds {self._size} records and the database has numbered {numbered}")
            if kept is None:
                return
            try:
                sealed = signing.read(kept[1])
                rows = map(as_leaf, store.all_numbered(connection, BATCH, self._size))
                same = self._writer.root_at(sealed.size, rows) == sealed.root
            except (BadCheckpoint, ValueError) as problem:
                raise Unusable(f"the audit log's last checkpoint in the database: {problem}") from None
            if not same:
                raise Unusable("the audit log, or the rows it is made from, does not lead to its last checkpoint")

    @property
    def size(self) -> int:
        """How many records are sealed."""
        return self._size

    def step(self) -> int:
        """End what dead processes left, number what has no number, and seal it; return how many records."""
        self._end_the_dead()
        while self._number() == SHORT:
            pass
        sealed = 0
        while rows := self._next():
            try:
                signed = self._writer.append([as_leaf(row) for row in rows], datetime.now(UTC))
            except ValueError as problem:
                raise Unusable(f"the database and the audit log: {problem}; run xds audit verify --database") from None
            self._size += len(rows)
            sealed += len(rows)
            with self._engine.begin() as connection:
                store.keep_checkpoint(connection, self._size, signed)
        self._index()
        return sealed

    def _end_the_dead(self) -> None:
        """Streams of processes that are no more become the failure records that were kept for this."""
        self._say_that_we_are_here()
        with reading(self._engine) as connection:
            streams = list(store.streams(connection))
            gone = store.hosts_gone(connection, GONE_SECONDS) if streams else ()  # at most steps nothing is under way
            dead = [(id_, records) for id_, owner, records in streams if not alive(owner, gone)]
        for id_, records in dead:
            log.warning("stream.interrupted", extra={"stream": id_})
            with self._engine.begin() as connection:
                store.close_stream(connection, id_, records)

    def _say_that_we_are_here(self) -> None:
        if time.monotonic() - self._said < SAID_SECONDS:
            return
        with self._engine.begin() as connection:
            store.here(connection, socket.gethostname())
            acknowledged.forget(connection)
        self._said = time.monotonic()

    def say_goodbye(self) -> None:
        """Note that nothing is under way here any more."""
        with self._engine.begin() as connection:
            store.not_here(connection, socket.gethostname())

    def _number(self) -> int:
        with self._engine.begin() as connection:
            return store.number(connection, SHORT)

    def _index(self) -> None:
        """Note what sealed records are searched by; one that cannot be is found by its time and kind alone."""
        one_by_one = 0
        while True:
            most = 1 if one_by_one else SHORT
            try:
                if not self._indexed(most):
                    break
                one_by_one = max(one_by_one - 1, 0)
            except sa.exc.OperationalError:
                raise
            except Exception:
                if not one_by_one:
                    one_by_one = SHORT  # to find out which it is
                    continue
                log.exception("audit.not_indexed")
                self._indexed(1, skip=True)
        try:
            self._compare()
        except sa.exc.OperationalError:
            raise
        except Exception:  # the log is sealed all the same; it is tried again at the next step
            log.exception("audit.not_compared")

    def _compare(self) -> None:
        now = store.now_microseconds()
        with reading(self._engine) as connection:
            over = self._watcher.compared(connection, now)
        if not over:
            with self._engine.begin() as connection:
                self._watcher.compare(connection, now)

    def _indexed(self, most: int, *, skip: bool = False) -> int:
        """Index so many records more, or leave them out; return how many there were.

        What they are searched by is found out before anything is written, so that nobody who records waits for it.
        """
        with reading(self._engine) as connection:
            begin = store.position(connection, INDEX) or 0
            rows = store.numbered_from(connection, begin, most)
            found = Indexed(rows, (), (), ()) if skip or not rows else indexed(connection, rows, self._watcher)
        if not rows:
            return 0
        if skip:
            log.error("audit.record_left_out", extra={"record": rows[0].id})
        with self._engine.begin() as connection:
            if store.goes_on_from(connection, INDEX, begin):  # or the sequencer of another node has been here
                found.keep(connection)
                store.move(connection, INDEX, rows[-1].leaf_number + 1)  # type: ignore[operator]
        return len(rows)

    def _next(self) -> list[Recorded]:
        with self._engine.connect() as connection:
            return store.numbered_from(connection, self._size, BATCH)

    def alert(self, text: str) -> None:
        """Record that the clock is not what it was."""
        log.warning("clock.set", extra={"what": text})
        with self._engine.begin() as connection:
            store.record(connection, AuditEvent.clock_wrong(self._node, text).records())

    def close(self) -> None:
        self._writer.close()


def alive(owner: str, gone: Collection[str] = ()) -> bool:
    """Whether the process that wrote ``owner`` (host, pid, start) lives; of other hosts those do that are not gone."""
    host, pid, started = owner.split(" ")
    if host != socket.gethostname():
        return host not in gone
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[19] == started


def run(loaded: Loaded) -> None:
    """Work until SIGTERM, then seal what is there."""
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    engine = make_engine(loaded.settings.database_url, connections=2)
    sequencer = Sequencer(engine, loaded)
    parent, jumps = os.getppid(), Jumps()
    while not stopping and os.getppid() == parent:
        try:
            if jump := jumps.since_last():
                sequencer.alert(f"the clock was set by {jump:+.1f} s")
            sequencer.step()
        except sa.exc.OperationalError:
            log.exception("database.unreachable")
        for _ in range(max(1, int(loaded.settings.audit.checkpoint_seconds * 20))):
            if not stopping:
                time.sleep(0.05)
    sequencer.step()
    sequencer.say_goodbye()
    sequencer.close()
    engine.dispose()
