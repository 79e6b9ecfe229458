"""A primary and its read replica: PostgreSQL's own streaming replication, made anew for the tests that ask for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.bench.processes import tree
from tests.conftest import wait_for
from tests.needs import missing
from tests.postgres import UNSAFE, Server, administration


@contextmanager
def replicated() -> Iterator[tuple[Server, Server]]:
    """A primary with an empty database «xds», and a replica that follows it."""
    try:
        primary = Server()
    except FileNotFoundError:
        missing("PostgreSQL", "postgresql")
    folder = Path(tempfile.mkdtemp(prefix="xds-replica-"))
    try:
        wait_for(primary.answers)
        do(primary, "CREATE DATABASE xds")
        replica = copied(primary, folder)
        try:
            wait_for(replica.answers)
            yield primary, replica
        finally:
            replica.stop()
    finally:
        primary.stop()
        shutil.rmtree(folder, ignore_errors=True)


def copied(primary: Server, folder: Path) -> Server:
    """A server that begins as a copy of the primary, and follows it."""
    if primary.user:
        shutil.chown(folder, primary.user)
    url = sa.make_url(primary.url)
    subprocess.run(
        [primary.bins / "pg_basebackup", "-h", "127.0.0.1", "-p", str(url.port), "-U", "xds", "-D", folder / "data",
         "-X", "stream", "-R", "--checkpoint=fast", "--no-sync"],
        check=True, user=primary.user, cwd="/", capture_output=True,
    )  # fmt: skip
    return Server(folder, (*UNSAFE, "hot_standby=on"), kept=True)


def paused(replica: Server) -> None:
    """Let it replay nothing any more, until ``resumed``."""
    do(replica, "SELECT pg_wal_replay_pause()")
    wait_for(lambda: _asked(replica, "SELECT pg_get_wal_replay_pause_state()") == "paused")


def promoted(replica: Server) -> None:
    """Let it be a copy no more, as a restore or a failed primary is none."""
    do(replica, "SELECT pg_promote()")
    wait_for(lambda: not _asked(replica, "SELECT pg_is_in_recovery()"))


@contextmanager
def hanging(server: Server) -> Iterator[None]:
    """It neither answers nor is gone."""
    stopped = tree(server.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def resumed(replica: Server) -> None:
    do(replica, "SELECT pg_wal_replay_resume()")


def caught_up(primary: Server, replica: Server) -> None:
    """Wait until it has replayed all that the primary has written by now."""
    written = _asked(primary, "SELECT pg_current_wal_lsn()::text")
    wait_for(lambda: _asked(replica, f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))


def do(server: Server, statement: str) -> None:
    """Have it do something, outside of a transaction."""
    engine = administration(server.url)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text(statement))
    engine.dispose()


def _asked(server: Server, statement: str) -> object:
    engine = administration(server.url)
    try:
        with engine.connect() as connection:
            return connection.scalar(sa.text(statement))
    finally:
        engine.dispose()
