"""One run of the benchmarks: its folder, how much is measured, and the servers that it starts and always stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from tests.bench.figures import Missing, Result, Skipped
from tests.bench.postgres import Postgres
from tests.builders import AUTHORITY, REPOSITORY
from tests.needs import path_of
from xds.demo.site import Site, free_port
from xds.store.deployment import migrate
from xds.store.engine import make_engine
from xds.system.parent import ends_with_us

ROOT = Path(__file__).parents[2]
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
_numbers = count(1)
T = TypeVar("T")


class Size(Enum):
    """How much is measured: what the design asks for, in a minute a row, or so little that it is only seen to run."""

    FULL = "full"
    QUICK = "quick"
    SMOKE = "smoke"


@dataclass(slots=True)
class Server(Site):
    """An ``xds serve``; ``audited`` false: with the audit store a no-op."""

    audited: bool = True
    beside: tuple[int, ...] = ()  # processes whose CPU time is the server's too

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, to end with us even if we are killed."""
        program = "xds" if self.audited else "tests.bench.unaudited"
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, "serve", "--config", str(self.config)],
                stdout=log, stderr=log, cwd=ROOT, preexec_fn=ends_with_us,
            )  # fmt: skip

    def last_words(self) -> str:
        """The end of its log, which goes with its folder."""
        return (self.folder / "serve.log").read_text(errors="replace").strip().rpartition("\n")[2][:200]


@dataclass(slots=True)
class Run:
    """What every benchmark is given."""

    folder: Path
    size: Size
    documents: int
    stack: ExitStack
    records: int = 0
    kept: Path | None = None  # where the PostgreSQL of large rows stays from run to run
    _postgres: Postgres | None = field(default=None, init=False)
    _kept: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def quick(self) -> bool:
        """Whether less is measured than the design asks for."""
        return self.size is not Size.FULL

    @property
    def smoke(self) -> bool:
        """Whether it is only to be seen that everything runs."""
        return self.size is Size.SMOKE

    def of(self, full: Any, quick: Any, smoke: Any) -> Any:
        """How much to do."""
        return {Size.FULL: full, Size.QUICK: quick, Size.SMOKE: smoke}[self.size]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What is made when a row first asks for it, and kept for the other rows of the run."""
        if name not in self._kept:
            self._kept[name] = make()
        found: T = self._kept[name]
        return found

    def new_folder(self, name: str) -> Path:
        folder = self.folder / f"{name}-{next(_numbers)}"
        folder.mkdir(parents=True)
        return folder

    def postgres(self) -> Postgres:
        """The run's PostgreSQL, started when it is first asked for.

        Raises:
            Missing: it is not installed.
        """
        if self._postgres is None:
            self._postgres = Postgres((self.kept or self.folder) / "postgres", kept=self.kept is not None)
            self.stack.callback(self._postgres.stop)
        return self._postgres

    def new_database(self, kind: str) -> str:
        """The URL of a new, empty database."""
        if kind == POSTGRESQL:
            return self.postgres().new()
        return f"sqlite:///{self.new_folder('floor')}/floor.sqlite"

    def migrated(self, kind: str) -> str:
        """The URL of a new database with our tables."""
        url = self.new_database(kind)
        engine = make_engine(url)
        with engine.begin() as connection:
            migrate(connection)
        engine.dispose()
        return url

    def new_server(
        self, kind: str = SQLITE, *, folder: Path | None = None, database: str = "", **sections: dict[str, Any]
    ) -> Server:
        """A server on a new database, not started yet: a web process a core on PostgreSQL, one on SQLite.

        ``folder`` and ``database``: of one that was here before.
        """
        site = Server("bench", folder or self.new_folder("site"), free_port())
        site.sections = {
            "domain": {"assigning_authorities": [AUTHORITY], "patients": "open"},
            "repository": {"unique_id": REPOSITORY},
            **sections,
        }
        if kind == POSTGRESQL:
            url = self.postgres().url(database) if database else self.postgres().new()
            site.sections["server"] = {"database": url, "workers": os.cpu_count() or 1}
            site.beside = (self.postgres().pid,)
        site.write_config()
        return site

    @contextmanager
    def serving(self, site: Server) -> Iterator[Server]:
        """While it serves."""
        site.start()
        try:
            site.wait()
            yield site
        finally:
            site.stop()

    def each_database(self, name: str, measure: Callable[[str], Iterator[Result]]) -> Iterator[Result]:
        """The same on either database; one that is not installed is skipped."""
        for kind in (SQLITE, POSTGRESQL):
            try:
                yield from measure(kind)
            except Missing as missing:
                yield Skipped(f"{name}, {kind}", str(missing))


def need(program: str, package: str) -> str:
    """The path of a program.

    Raises:
        Missing: it is not installed.
    """
    found = path_of(program)
    if found is None:
        raise Missing(f"{program} is not installed (apt-get install {package})")
    return found


@contextmanager
def child(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program of ours while it runs."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT, preexec_fn=ends_with_us)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 10.0) -> bool:
    """Until something listens there; whether it does."""
    import socket

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False
