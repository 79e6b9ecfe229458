"""A PostgreSQL of the benchmarks' own, with Debian's settings: every commit is synced."""

from __future__ import annotations

from pathlib import Path

from tests.bench.figures import Broken, Missing
from tests.conftest import wait_for
from tests.postgres import Databases, Server


class Postgres:
    """A running server; its processes are gone after ``stop``, and its folder where it is not kept."""

    def __init__(self, folder: Path, *, kept: bool = False) -> None:
        """Start it; one that is kept goes on with what is there.

        Raises:
            Missing: PostgreSQL is not installed.
            Broken: it does not start.
        """
        try:
            self._server = Server(folder, (), kept=kept)
        except FileNotFoundError:
            raise Missing("PostgreSQL is not installed (apt-get install postgresql)") from None
        try:
            wait_for(self._server.answers)
        except AssertionError:
            self.stop()
            raise Broken("PostgreSQL does not start") from None
        self._databases = Databases(self._server.url)

    @property
    def pid(self) -> int:
        return self._server.pid

    def new(self) -> str:
        """The URL of a new, empty database."""
        return self._databases.new()

    def url(self, database: str) -> str:
        """Of one that was made before."""
        return f"{self._databases.server}/{database}"

    def stop(self) -> None:
        self._server.stop()
