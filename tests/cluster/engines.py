"""What a node of xds stands on when no machine may be missed: each a real process, on loopback, in a folder of its own.

The two PostgreSQL are kept by Patroni, one the other's synchronous standby; HAProxy knows by Patroni which of them
writes; PgBouncer pools connections to that one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import sqlalchemy as sa

from tests.conftest import wait_for
from tests.needs import missing, needed
from tests.pgbouncer import USER, configured
from tests.postgres import administration
from xds.demo.site import free_port
from xds.system.parent import ends_with_us

PROGRAMS = {"etcd": "etcd-server", "patroni": "patroni", "haproxy": "haproxy", "pgbouncer": "pgbouncer"}
"""What each is in Debian's packages."""

TTL_SECONDS = 20
"""After which a primary that says nothing is taken to be gone; Patroni allows no less."""

_PATRONI = """
scope: xds
name: {name}
restapi: {{listen: "127.0.0.1:{api}", connect_address: "127.0.0.1:{api}"}}
etcd3: {{hosts: ["127.0.0.1:{etcd}"]}}
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: 2
    retry_timeout: 5
    maximum_lag_on_failover: 1048576
    primary_start_timeout: 0
    synchronous_mode: true
    postgresql: {{use_pg_rewind: true, parameters: {{max_connections: 100, wal_log_hints: "on"}}}}
  initdb: [{{encoding: UTF8}}, data-checksums]
  pg_hba: ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
postgresql:
  listen: "127.0.0.1:{port}"
  connect_address: "127.0.0.1:{port}"
  data_dir: {folder}/data
  bin_dir: {bins}
  pgpass: {folder}/pgpass
  parameters: {{unix_socket_directories: "{folder}"}}
  authentication:
    superuser: {{username: xds}}
    replication: {{username: xds}}
    rewind: {{username: xds}}
"""

_HAPROXY = """
global
    maxconn 400
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen primary
    bind 127.0.0.1:{primary}
    option httpchk OPTIONS /primary
    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
listen replicas
    bind 127.0.0.1:{replicas}
    option httpchk OPTIONS /replica
    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


def program(name: str) -> str:
    """Where it is."""
    return needed(name, PROGRAMS[name])


@dataclass(slots=True)
class Engine:
    """A process, and how it is started again."""

    name: str
    command: Sequence[str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd="/", user=USER, start_new_session=True,
                preexec_fn=partial(ends_with_us, signal.SIGKILL), env={**os.environ, "LC_ALL": "C.UTF-8"},
            )  # fmt: skip

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()

    def last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]


@dataclass(slots=True)
class Member:
    """One PostgreSQL with its Patroni."""

    name: str
    port: int
    api: int
    patroni: Engine

    @property
    def url(self) -> str:
        return f"postgresql://xds@127.0.0.1:{self.port}"

    @property
    def postmaster(self) -> int:
        """Its process id; 0 where it does not run."""
        try:
            return int((self.patroni.folder / "data" / "postmaster.pid").read_text().split()[0])
        except (OSError, IndexError, ValueError):
            return 0

    def role(self) -> str:
        """What Patroni says that it is: primary, replica; empty where it says nothing, or it does not run."""
        told = _told(f"http://127.0.0.1:{self.api}/patroni")
        if told is None or told.get("state") != "running":
            return ""
        return {"master": "primary"}.get(told["role"], told["role"])

    def crash(self, *, machine: bool) -> None:
        """Kill PostgreSQL; with all of its ``machine`` Patroni too, which then does not start it again."""
        if machine:
            self.patroni.kill()
        pid = self.postmaster
        if pid:
            for one in (*_children(pid), pid):
                try:
                    os.kill(one, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def come_back(self) -> None:
        if self.patroni.process is None or self.patroni.process.poll() is not None:
            self.patroni.start()


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []  # it has ended


@dataclass(slots=True)
class Engines:
    """All of them; ``primary`` and ``replicas`` are what nodes are told."""

    folder: Path
    members: list[Member] = field(default_factory=list)
    pooled: int = 0
    direct: int = 0
    read: int = 0

    @property
    def database(self) -> str:
        """The database, by the pooler, on whichever writes."""
        return f"postgresql://xds@127.0.0.1:{self.pooled}/xds?prepare_threshold=none"

    @property
    def replica(self) -> str:
        """The database on whichever does not."""
        return f"postgresql://xds@127.0.0.1:{self.read}/xds"

    def primary(self) -> Member | None:
        return next((one for one in self.members if one.role() == "primary"), None)

    def is_whole(self) -> bool:
        """Whether one writes, and Patroni lets the other take its place: it has been synchronous for long enough."""
        primary = self.primary()
        if primary is None:
            return False
        told = _told(f"http://127.0.0.1:{primary.api}/cluster") or {}
        return sorted(one["role"] for one in told.get("members", ())) == ["leader", "sync_standby"]


@contextmanager
def running(folder: Path) -> Iterator[Engines]:
    """All of them while they run, in this folder, which is theirs then; the path must be short (sockets)."""
    bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not bins:
        missing("PostgreSQL", "postgresql")
    paths = {name: program(name) for name in PROGRAMS}
    folder.chmod(0o711)
    with ExitStack() as stack:
        engines = Engines(folder)
        etcd, peers = free_port(), free_port()
        _started(stack, folder, "etcd", [
            paths["etcd"], "--data-dir", "{folder}/data", "--name", "etcd",
            "--listen-client-urls", f"http://127.0.0.1:{etcd}", "--advertise-client-urls", f"http://127.0.0.1:{etcd}",
            "--listen-peer-urls", f"http://127.0.0.1:{peers}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers}",
            "--initial-cluster", f"etcd=http://127.0.0.1:{peers}", "--log-level", "warn",
        ])  # fmt: skip
        wait_for(lambda: _answers(f"http://127.0.0.1:{etcd}/health"))
        for name in ("north", "south"):
            port, api = free_port(), free_port()
            settings = {"name": name, "api": api, "port": port, "etcd": etcd, "bins": bins[-1], "ttl": TTL_SECONDS}
            made = _made(folder, name, "patroni.yml", _PATRONI, settings)
            patroni = _started(stack, folder, name, [paths["patroni"], str(made)])
            member = Member(name, port, api, patroni)
            stack.callback(member.crash, machine=True)
            engines.members.append(member)
            wait_for(lambda: engines.primary() is not None, 120)
        engines.direct, engines.read, engines.pooled = free_port(), free_port(), free_port()
        servers = "\n".join(
            f"    server {one.name} 127.0.0.1:{one.port} check port {one.api}" for one in engines.members
        )
        made = _made(
            folder, "haproxy", "haproxy.cfg", _HAPROXY,
            {"primary": engines.direct, "replicas": engines.read, "servers": servers},
        )  # fmt: skip
        _started(stack, folder, "haproxy", [paths["haproxy"], "-db", "-f", str(made)])
        made = configured(
            folder / "pgbouncer", server=engines.direct, port=engines.pooled, default_pool_size=20,
            max_client_conn=200, server_connect_timeout=3, server_login_retry=1, query_wait_timeout=5,
            server_check_delay=5,
        )  # fmt: skip
        _started(stack, folder, "pgbouncer", [paths["pgbouncer"], str(made)])
        wait_for(engines.is_whole, 120)
        primary = engines.primary()
        assert primary is not None
        engine = administration(primary.url)
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text("CREATE DATABASE xds"))
        engine.dispose()
        yield engines


def _made(folder: Path, name: str, file: str, text: str, settings: dict[str, object]) -> Path:
    own = folder / name
    own.mkdir(exist_ok=True)
    path = own / file
    path.write_text(text.format(folder=own, **settings), "utf-8")
    path.chmod(0o644)
    return path


def _started(stack: ExitStack, folder: Path, name: str, command: list[str]) -> Engine:
    own = folder / name
    own.mkdir(exist_ok=True)
    if os.getuid() == 0:
        shutil.chown(own, USER)
    engine = Engine(name, [part.replace("{folder}", str(own)) for part in command], own)
    engine.start()
    stack.callback(engine.kill)
    return engine


def _told(url: str) -> dict[str, Any] | None:
    """What Patroni says there; None where it says nothing."""
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310  Patroni of our own
            told: dict[str, Any] = json.load(answer)
    except HTTPError as refused:  # a replica's /patroni, of a member that is starting
        try:
            told = json.load(refused)
        except ValueError:
            return None
    except (URLError, OSError, ValueError):
        return None
    return told


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):  # noqa: S310
            return True
    except (URLError, OSError):
        return False
