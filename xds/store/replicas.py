"""Queries that a read replica answers, where it has what the peer that asks was last acknowledged.

The primary is asked what that is, and the replica is held to it in the very state of the database that the query then
sees.  One that is behind is waited for a little, and else the primary answers.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.store.acknowledged import Counts, as_counts, counted, has_all
from xds.store.deployment import note, noted
from xds.store.engine import away, make_engine, reading
from xds.store.statements import Statement, at_once
from xds.store.watch import Watch

log = logging.getLogger("xds.store.replicas")

AWAY_SECONDS = 5.0
"""How long one that did not answer, or is none of ours, is left alone."""

AGAIN_SECONDS = 0.005
"""Between two looks at one that is behind."""

CONNECTIONS = 16
"""To each replica, of one process."""

HANG_SECONDS, QUERY_SECONDS = 1.0, 30.0
"""How long one may take to say how far it is, beside being waited for, and then to answer: its connection is cut."""

_CONNECTING = {"connect_timeout": "1", "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3",
               "tcp_user_timeout": "10000"}  # fmt: skip
"""Unless a URL says otherwise: one that is gone is not waited for as the primary is."""

_NO_URL = "server.replicas: each must be a postgresql:// URL"

_USED = "replicas"
"""What is noted of a deployment that has any."""


def _identity() -> tuple[Any, ...]:
    """What a database and all its copies share, as long as they live: its cluster's number, and its own in it."""
    control = sa.func.pg_control_system().table_valued("system_identifier")
    database = sa.table("pg_database", sa.column("oid"), sa.column("datname"))
    own = sa.select(database.c.oid).where(database.c.datname == sa.func.current_database())
    cluster = sa.select(control.c.system_identifier)
    both = {"cluster": cluster, "own": own}
    return tuple(sa.cast(one.scalar_subquery(), sa.Text).label(name) for name, one in both.items())


def _at(place: Any) -> Any:
    return sa.cast(place - sa.text("CAST('0/0' AS pg_lsn)"), sa.BigInteger)


def _lag() -> Statement:
    """Whose copy a server is, whether it replays, how old the last replayed transaction is, and up to where."""
    behind = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.pg_last_xact_replay_timestamp())
    return Statement(
        sa.select(
            *_identity(),
            sa.cast(sa.func.pg_is_in_recovery(), sa.Integer).label("replays"),
            sa.cast(behind * 1000, sa.BigInteger).label("milliseconds"),
            _at(sa.func.pg_last_wal_replay_lsn()).label("replayed"),
        )
    )


def _written() -> Statement:
    """Whose primary a server is, and up to where it has written; NULL of one that writes nothing just now."""
    place = sa.case((sa.func.pg_is_in_recovery(), sa.null()), else_=_at(sa.func.pg_current_wal_lsn()))
    return Statement(sa.select(*_identity(), sa.cast(place, sa.BigInteger).label("written")))


_LAG, _WRITTEN = _lag(), _written()


@dataclass(slots=True)
class _Replica:
    name: str
    engine: sa.Engine
    was_told: bool = False  # in the log, that it is left alone
    again: float = field(default=float("-inf"))  # when it may be asked again


PRIMARY = "primary"
"""What it is called where databases are counted."""


class Stranger(Exception):
    """A replica is of another database than ours, or a copy no more."""


class Replicas:
    """The read replicas of a deployment, as one process uses them.  Safe with threads."""

    def __init__(
        self, primary: sa.Engine, urls: Sequence[str], *, wait_seconds: float, most_seconds: float,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """``wait_seconds``: for one that is behind; ``most_seconds``: no answer is of a state older than that.

        ``count`` is told which database answers each query.
        """
        self._count = count
        self._primary, self._wait, self._most = primary, wait_seconds, most_seconds
        self._replicas = [_Replica(named(url), _engine(url, CONNECTIONS)) for url in urls]
        self._turn, self._watch = itertools.count(), Watch()

    def close(self) -> None:
        self._watch.close()
        for one in self._replicas:
            one.engine.dispose()

    @contextmanager
    def reading(self, peer: str) -> Iterator[sa.Connection]:
        """A transaction that only reads, in which everything is that ``peer`` was acknowledged."""
        wanted, primary = self._acknowledged(peer)
        deadline = time.monotonic() + self._wait
        for one in self._in_turn():
            with ExitStack() as stack:
                connection = self._caught_up(one, stack, peer, wanted, primary, deadline)
                if connection is None:
                    continue
                self._count(one.name)
                try:
                    with self._watch.cut_after(connection, QUERY_SECONDS):
                        yield connection
                except sa.exc.SQLAlchemyError as problem:
                    self._leave_alone(one, problem)
                    raise
                return
        self._count(PRIMARY)
        with reading(self._primary) as connection:
            yield connection

    def _acknowledged(self, peer: str) -> tuple[Counts, Any]:
        """What the peer is to see, and whose primary it is: asked of the primary, in one round trip."""
        with self._primary.connect() as connection:
            rows, (primary,) = at_once(connection, counted(peer), (_WRITTEN, {}))
        return as_counts(rows), primary

    def _caught_up(
        self, one: _Replica, stack: ExitStack, peer: str, wanted: Counts, primary: Any, deadline: float
    ) -> sa.Connection | None:
        """Its transaction that has what the peer was acknowledged; None where it does not have it in time."""
        while True:
            try:
                with ExitStack() as attempt:
                    connection = attempt.enter_context(reading(one.engine))
                    left = max(0.0, deadline - time.monotonic())
                    with self._watch.cut_after(connection, left + HANG_SECONDS):
                        has_it = self._has(connection, peer, wanted, primary)
                    if has_it:
                        stack.enter_context(attempt.pop_all())
                        one.was_told = False
                        return connection
            except (sa.exc.SQLAlchemyError, Stranger) as problem:
                self._leave_alone(one, problem)
                return None
            if time.monotonic() > deadline:
                return None
            time.sleep(AGAIN_SECONDS)

    def _has(self, connection: sa.Connection, peer: str, wanted: Counts, primary: Any) -> bool:
        """Whether it has what is wanted, and is not too far behind.

        Raises:
            Stranger: it is no copy of the primary, or follows nobody.
        """
        rows, (its,) = at_once(connection, counted(peer), (_LAG, {}))
        if (its.cluster, its.own) != (primary.cluster, primary.own) or not its.replays:
            raise Stranger
        if not has_all(as_counts(rows), wanted):
            return False
        if primary.written is not None and its.replayed >= primary.written:
            return True  # however long ago that was
        return its.milliseconds is not None and its.milliseconds <= self._most * 1000

    def _in_turn(self) -> list[_Replica]:
        """All that may be asked now, another one first each time."""
        now, first = time.monotonic(), next(self._turn)
        known = [one for one in self._replicas if one.again <= now]
        return [known[(first + place) % len(known)] for place in range(len(known))]

    def _leave_alone(self, one: _Replica, problem: Exception) -> None:
        if not isinstance(problem, Stranger) and not away(problem):
            log.exception("replica.not_read", extra={"replica": one.name, "reason": type(problem).__name__})
        elif not one.was_told:
            reason = "no copy of our database" if isinstance(problem, Stranger) else "does not answer"
            log.warning("replica.left_alone", extra={"replica": one.name, "reason": reason})
        one.was_told, one.again = True, time.monotonic() + AWAY_SECONDS


def _engine(url: str, connections: int) -> sa.Engine:
    """An engine for one of them.

    Raises:
        Unusable: the URL is of none of PostgreSQL's.
    """
    if not url.startswith(("postgresql:", "postgresql+psycopg:", "postgres:")):
        raise Unusable(_NO_URL)
    try:
        where = sa.make_url(url)
        given = {name: value for name, value in _CONNECTING.items() if name not in where.query}
        engine = make_engine(
            where.update_query_dict(given).render_as_string(hide_password=False), connections=connections
        )
    except (ValueError, sa.exc.ArgumentError, Unusable):
        raise Unusable(_NO_URL) from None
    return engine


def named(url: str) -> str:
    """What a replica is called: where it is, without who asks there."""
    where = sa.make_url(url)
    return f"{where.host or 'local'}:{where.port or 5432}"


def replicas_of(
    settings: Settings, primary: sa.Engine, count: Callable[[str], None] = lambda _: None
) -> Replicas | None:  # fmt: skip
    """Those that the settings name; none where they name none.  ``count``: see ``Replicas``."""
    server = settings.server
    if not server.replicas:
        return None
    return Replicas(
        primary, server.replicas, wait_seconds=server.replica_wait_seconds, most_seconds=server.replica_seconds,
        count=count,
    )  # fmt: skip


def are_used(engine: sa.Engine) -> bool:
    """Whether any node of the deployment has replicas, and so every node counts what peers are acknowledged."""
    if engine.dialect.name == "sqlite":
        return False
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
        ours = _WRITTEN.first(connection)
    for url in urls:
        engine = _engine(url, 1)
        try:
            with engine.connect() as connection:
                theirs = _LAG.first(connection)
        except sa.exc.SQLAlchemyError:
            log.warning("replica.left_alone", extra={"replica": named(url), "reason": "does not answer"})
            continue
        finally:
            engine.dispose()
        if (theirs.cluster, theirs.own) != (ours.cluster, ours.own):
            raise Unusable(
                f"server.replicas: {named(url)} is no copy of server.database: it is of cluster {theirs.cluster}, "
                f"database {theirs.own}, not {ours.cluster}, {ours.own}; take it out, or make it anew by pg_basebackup"
            )
    with primary.begin() as connection:
        note(connection, _USED, "yes")
