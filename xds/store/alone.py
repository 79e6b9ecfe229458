"""What one process of a deployment alone may do at a time, on whatever node it runs."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import sqlalchemy as sa

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.store.engine import make_engine


@contextmanager
def alone(settings: Settings, name: str, taken: str) -> Iterator[Callable[[], None]]:
    """Nobody else does what has this name meanwhile, on this machine or at the same PostgreSQL.

    ``taken`` says what somebody else is doing.  What it gives sees that nobody has begun meanwhile.

    Raises:
        Unusable: somebody does.
    """
    path = settings.data / "run" / (quote(name.replace(" ", "-"), safe="") + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = make_engine(settings.database_url, connections=1)  # the lock needs a connection for as long as it lasts
    try:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Unusable(f"{taken} by another process") from None
            if engine.dialect.name == "sqlite":
                yield lambda: None
            else:
                with engine.connect() as connection:
                    _take(connection, name, taken)
                    yield lambda: _see(connection)
    finally:
        engine.dispose()


def _take(connection: sa.Connection, name: str, taken: str) -> None:
    """A lock that every node of a deployment sees: of a transaction, so that a pooler may stand between."""
    number = sa.func.hashtextextended(name, 0)
    _see(connection)
    connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    if not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(number))):
        raise Unusable(f"{taken} by another process, maybe on another node")


def _see(connection: sa.Connection) -> None:
    """
    Raises:
        Unusable: the connection is gone, and the lock with it.
    """
    try:
        connection.execute(sa.select(1))
    except sa.exc.DatabaseError:
        raise Unusable("the database does not answer: run this again") from None
