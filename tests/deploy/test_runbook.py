"""Every command of the runbook is run, in its order: against a node on PostgreSQL, as an operator would type it.

What would change this machine (accounts, services, packages) and what is not here (systemd's journal, Patroni) stands
in for itself: small programs that do the same to the node of the test, or only take what they are given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.deploy import warm
from tests.extent import LONG
from tests.imaging.images import STUDY, an_instance, put
from tests.places import ROOT
from tests.postgres import Databases
from tests.store import object_stores as s3
from tests.store.object_stores import s3_server
from xds.demo.site import as_toml, free_port
from xds.store.deployment import log_id

__all__ = ["s3_server"]

PAGE = (ROOT / "deploy" / "OPERATIONS.md").read_text("utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line.strip() and not line.startswith("#")
]
NOTHING_FOUND = 1
"""grep's code where no line is."""

NOT_HERE = "XDS_TEST_DATABASE="
"""The store's tests against a coordinator of Citus: there is none."""

PASSWORD = b"correct horse battery staple\n"
"""What is typed where something is asked for."""

_NODE = """#!/bin/bash
# systemctl for the node of the test, and for whatever else runs here.
cd "$STAGE"
running() {{ [ -e pid ] && kill -0 "$(cat pid)" 2>/dev/null; }}
stop() {{ running || return 0; kill "$(cat pid)"; while running; do sleep 0.1; done; }}
start() {{
  running && return 0
  setsid "{python}" -m xds serve --config "$STAGE/etc/xds.toml" >> serve.log 2>&1 & echo $! > pid
  until curl -sf "$NODE/readyz" > /dev/null; do running || exit 1; sleep 0.1; done
}}
case "$*" in
  "start xds" | "enable --now xds") start ;;
  "stop xds") stop ;;
  "restart xds") stop; start ;;
  "status xds") running ;;
  "status postgresql") ;;
  *) echo "systemctl $*: not known here" >&2; exit 64 ;;
esac
"""

_TAKEN = """#!/bin/bash
# {name}: taken as it is typed, and noted.
case "$*" in {taken}) echo "{name} $*" >> "$STAGE/taken" ;; *) echo "{name} $*: not known here" >&2; exit 64 ;; esac
"""

_JOURNAL = """#!/bin/bash
# journalctl: the log of the node.
case "$*" in
  "-u xds"*) cat "$STAGE/serve.log" ;;
  "-k "* | "--vacuum-size="*) ;;
  *) echo "journalctl $*: not known here" >&2; exit 64 ;;
esac
"""

_ONLY_TAKEN = {
    "useradd": '"--system "*" xds"',
    "install": '"-d -m 07"[05]"0 "*',
    "pip": '"install xds" | "install --upgrade xds"',
    "tune2fs": '"-O encrypt "*',  # these are run for real in tests/system/test_at_rest.py
    "fscrypt": '"setup --quiet"* | "encrypt --quiet "*',
    "patronictl": '"-c /etc/patroni/config.yml list" | "-c /etc/patroni/config.yml failover"',
}


class Stage:
    """Where the runbook is followed: a node of its own, and the page's names for what is elsewhere here."""

    def __init__(self, folder: Path, database: str, store: s3.Server) -> None:
        self.folder, self.port, self.store = folder, free_port(), store
        self.backup = ""
        self.audit_store = f"s3://{store.bucket()}/north"
        identity = Identity.generate()
        (folder / "key.txt").write_text(str(identity))
        programs = folder / "programs"
        for one in (programs, folder / "etc", folder / "backups", folder / "services", folder / "data"):
            one.mkdir()
        (folder / "serve.log").touch()
        texts = {
            "xds": warm.program(),
            "systemctl": _NODE.format(python=sys.executable),
            "journalctl": _JOURNAL,
            **{name: _TAKEN.format(name=name, taken=taken) for name, taken in _ONLY_TAKEN.items()},
        }
        for name, text in texts.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.config = folder / "etc" / "xds.toml"
        self.database, self.copy = database, folder / "copy.toml"
        server = database.partition("@")[2]
        self.environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin", "PYTHONPATH": str(ROOT), "HOME": str(folder),
            "STAGE": str(folder), "NODE": f"http://127.0.0.1:{self.port}", "DATABASE": database, "no_proxy": "*",
            "PGHOST": "127.0.0.1", "PGPORT": server.partition(":")[2].partition("/")[0], "PGUSER": "xds",
        }  # fmt: skip
        self.words = {
            "/opt/xds/bin/": "", "/opt/xds": str(folder / "opt"), "/etc/xds/xds.toml": str(self.config),
            "/etc/xds/disk.key": str(folder / "disk.key"),
            "/etc/systemd/system/": str(folder / "services"), "/var/lib/xds": str(folder / "data"),
            "/srv/backups": str(folder / "backups"), "http://127.0.0.1:8080": self.environment["NODE"],
            "deploy/": f"{ROOT}/deploy/", "comm -u xds": "comm", " NAME ": " ada ",
            "STUDY_INSTANCE_UID": STUDY, "age1…": str(identity.to_public()),
            "/var/lib/postgresql/15/xds": str(folder / "postgresql"),
        }  # fmt: skip

    def settings(self, data: str = "data", database: str = "", **server: str) -> str:
        return as_toml({
            "server": {
                "listen": f"127.0.0.1:{self.port}", "data": str(self.folder / data),
                "database": database or self.database, **server,
            },
            "domain": {"assigning_authorities": [AUTHORITY], "patients": "open"},
            "s3": {"endpoint": self.store.url},
            "audit": {"object_store": self.audit_store, "object_store_seconds": 1.0},
            "imaging_source": {
                "folder": str(self.folder / "images"), "issuer": AUTHORITY, "publish_quiet_seconds": 0.1,
                "publish_to": f"http://127.0.0.1:{self.port}/repository", "refresh_seconds": 0.5,
            },
        })  # fmt: skip

    def newest(self) -> str:
        """The last backup, if there is one."""
        names = (one.name for one in (self.folder / "backups").iterdir() if re.match(r"\d{4}-", one.name))
        return max(names, default="")

    def another_second(self) -> None:
        """Wait until a backup has another name than the last one."""
        wait_for(lambda: f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}" > self.newest())

    def run(self, line: str) -> tuple[int, str]:
        """A line as it is typed; its code, and what it printed."""
        for old, new in self.words.items():
            line = line.replace(old, new)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=self.folder, env=self.environment, timeout=120,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, input=PASSWORD,
        )  # fmt: skip
        return done.returncode, done.stdout.decode("utf-8", "replace")


@pytest.mark.large
@pytest.mark.skipif(not LONG, reason="a minute of commands: make test-long")
@pytest.mark.timeout(600)
def test_every_command_of_the_runbook_does_what_it_says(
    tmp_path: Path, postgres_databases: Databases, s3_server: s3.Server
) -> None:
    stage = Stage(tmp_path, postgres_databases.new(), s3_server)
    put(tmp_path / "images", "1.dcm", an_instance(1))
    failed = []
    try:
        for line in COMMANDS:
            if line.startswith(NOT_HERE):
                continue
            _before(stage, line, postgres_databases)
            code, printed = stage.run(line)
            nothing = code == NOTHING_FOUND and "| grep" in line and not printed
            advises = line.startswith("xds doctor") and re.search(r"^\d+ of \d+ are wrong$", printed, re.MULTILINE)
            refused = "xds db distribute" in line and "citus" in printed.lower()  # which is not here
            if code and not (nothing or advises or refused):
                failed.append(f"{line}\n  → {code}: {printed[-800:]}")
            _after(stage, line, printed)
    finally:
        stage.run("systemctl stop xds")
    assert not failed, "\n".join(failed)


def _before(stage: Stage, line: str, databases: Databases) -> None:
    """What the page says in words between its commands."""
    if line.startswith("xds config check") and stage.settings() not in stage.config.read_text("utf-8"):
        stage.config.write_text(stage.settings(), "utf-8")  # «Write what the site needs»
    elif line.startswith("xds doctor deployment"):
        stage.run("systemctl enable --now xds")
    elif line.startswith("xds backup make"):
        stage.another_second()
    elif line.startswith("xds db back"):
        stage.run("systemctl stop xds")  # «stop the nodes of the new version»
    elif line.startswith("xds documents move"):  # where the operator has named another store
        also = {"documents_also": f"file:{stage.folder / 'more'}"}
        stage.config.write_text(stage.settings(**also), "utf-8")
    elif line.startswith("xds audit fetch --config"):  # «A node that has lost its audit folder»
        stage.run("systemctl stop xds")
        shutil.rmtree(stage.folder / "data" / "audit")
    elif line.startswith("xds audit verify --stored --log-id"):  # another node's; here its own
        stage.words["2.25.1"] = log_id(stage.folder / "data")
        shutil.copy(stage.folder / "data" / "keys" / "audit-signing.crt", stage.folder / "other-node.crt")
    elif "--postgresql" in line:
        stage.another_second()
        made = stage.run("xds backup make /srv/backups --whole-server --recipient age1… --config /etc/xds/xds.toml")
        assert made[0] == 0, made[1]
        stage.words["2026-11-30T020000Z"] = stage.newest()
    elif line.startswith("xds restore"):
        stage.copy.write_text(stage.settings("restored", databases.new()), "utf-8")


def _after(stage: Stage, line: str, printed: str) -> None:
    if line.startswith("xds db back"):
        stage.run("systemctl start xds")  # of this version again, which brings the tables back to it
    elif line.startswith("xds audit fetch --config"):
        stage.run("systemctl start xds")
    elif line.startswith("xds backup make"):
        stage.backup = stage.words["2026-11-30T020000Z"] = stage.newest()
        for certificate in ("elsewhere.crt", "node.crt"):
            shutil.copy(stage.folder / "data" / "keys" / "audit-signing.crt", stage.folder / certificate)
    elif "--postgresql" in line:
        stage.words["2026-11-30T020000Z"] = stage.backup


def test_the_runbook_has_commands() -> None:
    assert len(COMMANDS) > 50
