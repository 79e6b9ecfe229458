"""A PostgreSQL of the benchmarks' own, with Debian's settings: every commit is synced."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from functools import partial
from pathlib import Path

import psycopg

from tests.bench.figures import Broken, Missing
from xds.demo.site import free_port
from xds.system.parent import ends_with_us


class Postgres:
    """A running server; its processes and its folder are gone after ``stop``."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Raises:
            Missing: PostgreSQL is not installed.
            Broken: it does not start.
        """
        bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not bins:
            raise Missing("PostgreSQL is not installed (apt-get install postgresql)")
        # A server refuses to run as root; the package made a user for it.
        self._user = "postgres" if os.getuid() == 0 else None
        self._folder, self._port = folder, free_port(0)
        folder.mkdir()
        if self._user:
            shutil.chown(folder, self._user)
        data, log = folder / "data", (folder / "log").open("wb")
        subprocess.run(
            [bins[-1] / "initdb", "-D", data, "-A", "trust", "-U", "xds", "-E", "UTF8", "--no-sync"],
            check=True, user=self._user, stdout=log, stderr=log, cwd="/",
        )  # fmt: skip
        command: list[str | Path] = [bins[-1] / "postgres", "-D", data, "-p", str(self._port), "-k", str(folder)]
        self._process = subprocess.Popen(
            [*command, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"],
            user=self._user, stdout=log, stderr=log, cwd="/", preexec_fn=partial(ends_with_us, signal.SIGQUIT),
        )  # fmt: skip
        log.close()
        self._wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def server(self) -> str:
        return f"postgresql://xds@127.0.0.1:{self._port}"

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                psycopg.connect(f"{self.server}/postgres").close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        self.stop()
        raise Broken("PostgreSQL does not start")

    def new(self) -> str:
        """The URL of a new, empty database."""
        database = f"b{uuid.uuid4().hex}"
        with psycopg.connect(f"{self.server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        return f"{self.server}/{database}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # fast: sessions are ended
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)
