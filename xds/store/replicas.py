"""Queries that a read replica answers, where it has what the peer that asks was last acknowledged.

The primary is asked what that is, and the replica is held to it in the very state of the database that the query then
sees.  One that is behind is waited for a little, and else the primary answers.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import sqlalchemy as sa

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.store.acknowledged import Counts, as_counts, counted, has_all
from xds.store.deployment import note, noted
from xds.store.engine import away, make_engine, reading
from xds.store.statements import Statement, at_once

log = logging.getLogger("xds.store.replicas")

AWAY_SECONDS = 5.0
"""How long one that did not answer, or is none of ours, is left alone."""

AGAIN_SECONDS = 0.005
"""Between two looks at one that is behind."""

CONNECTIONS = 16
"""To each replica, of one process."""

_WHO = sa.text("SELECT system_identifier FROM pg_control_system()")
"""Of a cluster and all its copies: the same as long as it lives."""


_USED = "replicas"
"""What is noted of a deployment that has any."""


def _lag() -> Statement:
    """How old the last replayed transaction is, and up to where; NULL of a server that replays nothing."""
    behind = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.pg_last_xact_replay_timestamp())
    return Statement(
        sa.select(
            sa.cast(behind * 1000, sa.BigInteger).label("milliseconds"),
            sa.cast(sa.func.pg_last_wal_replay_lsn() - sa.text("pg_lsn '0/0'"), sa.BigInteger).label("replayed"),
        )
    )


_LAG = _lag()
_WRITTEN = Statement(
    sa.select(sa.cast(sa.func.pg_current_wal_lsn() - sa.text("pg_lsn '0/0'"), sa.BigInteger).label("written"))
)


@dataclass(slots=True)
class _Replica:
    name: str
    engine: sa.Engine
    is_ours: bool = False
    again: float = field(default=float("-inf"))  # when it may be asked again


class Stranger(Exception):
    """A replica is of another database than ours."""


class Replicas:
    """The read replicas of a deployment, as one process uses them.  Safe with threads."""

    def __init__(self, primary: sa.Engine, urls: Sequence[str], *, wait_seconds: float, most_seconds: float) -> None:
        """``wait_seconds``: for one that is behind; ``most_seconds``: no answer is of a state older than that."""
        self._primary, self._wait, self._most = primary, wait_seconds, most_seconds
        self._replicas = [_Replica(named(url), make_engine(url, connections=CONNECTIONS)) for url in urls]
        self._turn = itertools.count()
        self._ours = ""
        self.asked: dict[str, int] = {one.name: 0 for one in self._replicas}
        self.passed_over = 0

    def close(self) -> None:
        for one in self._replicas:
            one.engine.dispose()

    @contextmanager
    def reading(self, peer: str) -> Iterator[sa.Connection]:
        """A transaction that only reads, in which everything is that ``peer`` was acknowledged."""
        with ExitStack() as stack:
            connection = self._caught_up(stack, peer)
            if connection is None:
                self.passed_over += 1
                connection = stack.enter_context(reading(self._primary))
            yield connection

    def _caught_up(self, stack: ExitStack, peer: str) -> sa.Connection | None:
        """A replica's transaction that has what the peer was acknowledged; None where none has it in time."""
        wanted, written = self._acknowledged(peer)
        deadline = time.monotonic() + self._wait
        for one in self._in_turn():
            while True:
                attempt = ExitStack()
                try:
                    connection = attempt.enter_context(reading(one.engine))
                    self._hold_to_ours(one, connection)
                    has_it = self._has(connection, peer, wanted, written)
                except (sa.exc.SQLAlchemyError, Stranger) as problem:
                    with suppress(sa.exc.SQLAlchemyError):
                        attempt.close()
                    self._leave_alone(one, problem)
                    break
                if has_it:
                    stack.enter_context(attempt)
                    self.asked[one.name] += 1
                    return connection
                attempt.close()
                if time.monotonic() > deadline:
                    break
                time.sleep(AGAIN_SECONDS)
        return None

    def _acknowledged(self, peer: str) -> tuple[Counts, int]:
        """What the peer is to see, and how far the primary has written: asked of the primary, in one round trip."""
        with self._primary.connect() as connection:
            rows, ((written,),) = at_once(connection, counted(peer), (_WRITTEN, {}))
            if not self._ours:
                self._ours = str(connection.scalar(_WHO))
        return as_counts(rows), written

    def _has(self, connection: sa.Connection, peer: str, wanted: Counts, written: int) -> bool:
        rows, ((milliseconds, replayed),) = at_once(connection, counted(peer), (_LAG, {}))
        if not has_all(as_counts(rows), wanted):
            return False
        # A server that replays nothing writes itself; one that has replayed everything is behind nobody.
        return (
            replayed is None or replayed >= written or (milliseconds is not None and milliseconds <= self._most * 1000)
        )

    def _in_turn(self) -> list[_Replica]:
        """All that may be asked now, another one first each time."""
        now, first = time.monotonic(), next(self._turn)
        known = [one for one in self._replicas if one.again <= now]
        return [known[(first + place) % len(known)] for place in range(len(known))]

    def _hold_to_ours(self, one: _Replica, connection: sa.Connection) -> None:
        """Hold it, the first time, to being a copy of the primary.

        Raises:
            Stranger: it is not.
        """
        if not one.is_ours:
            if str(connection.scalar(_WHO)) != self._ours:
                raise Stranger
            one.is_ours = True

    def _leave_alone(self, one: _Replica, problem: Exception) -> None:
        if not isinstance(problem, Stranger) and not away(problem):
            log.exception("replica.not_read", extra={"replica": one.name, "reason": type(problem).__name__})
        elif one.is_ours or one.again == float("-inf"):
            reason = "of another database" if isinstance(problem, Stranger) else "does not answer"
            log.warning("replica.left_alone", extra={"replica": one.name, "reason": reason})
        one.is_ours, one.again = False, time.monotonic() + AWAY_SECONDS  # another server may come back in its place


def named(url: str) -> str:
    """What a replica is called: where it is, without who asks there."""
    where = sa.make_url(url)
    return f"{where.host or 'local'}:{where.port or 5432}"


def replicas_of(settings: Settings, primary: sa.Engine) -> Replicas | None:
    """Those that the settings name; none where they name none."""
    server = settings.server
    if not server.replicas:
        return None
    return Replicas(
        primary, server.replicas, wait_seconds=server.replica_wait_seconds, most_seconds=server.replica_seconds
    )


def are_used(engine: sa.Engine) -> bool:
    """Whether any node of the deployment has replicas, and so every node counts what peers are acknowledged."""
    with reading(engine) as connection:
        return bool(noted(connection, _USED))


def check(primary: sa.Engine, urls: Sequence[str]) -> None:
    """Hold the replicas that answer to being copies of the primary; one that does not is tried again later.

    Raises:
        Unusable: one is of another database, or its URL is of none of PostgreSQL's.
    """
    if not urls:
        return
    if primary.dialect.name == "sqlite":
        raise Unusable("server.replicas: SQLite has none; they are of a database of PostgreSQL (server.database)")
    with primary.connect() as connection:
        ours = str(connection.scalar(_WHO))
    for url in urls:
        engine = make_engine(url, connections=1)
        if engine.dialect.name == "sqlite":
            raise Unusable("server.replicas: each must be a postgresql:// URL")
        try:
            with engine.connect() as connection:
                theirs = str(connection.scalar(_WHO))
        except sa.exc.SQLAlchemyError:
            log.warning("replica.left_alone", extra={"replica": named(url), "reason": "does not answer"})
            continue
        finally:
            engine.dispose()
        if theirs != ours:
            raise Unusable(
                f"server.replicas: {named(url)} is no copy of server.database: its system identifier is {theirs}, "
                f"not {ours}; take it out, or make it anew by pg_basebackup"
            )
    with primary.begin() as connection:
        note(connection, _USED, "yes")
