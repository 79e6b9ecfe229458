"""One site of the demo: an ``xds serve`` of its own, with its own data, OIDs and port."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from xds.demo.waiting import waited
from xds.errors import Unusable
from xds.settings.configuration import load
from xds.settings.sections import Settings
from xds.store.deployment import with_identity
from xds.system.parent import ends_with_us

# Bound, and never listened at: nobody else is given these ports before the server takes them that they were found for.
_held: list[socket.socket] = []


def free_port(wanted: int = 0) -> int:
    """The wanted port if it is free, else any; only a server that sets SO_REUSEADDR, as all do, can take it.

    Raises:
        Unusable: there is none.
    """
    for port in (wanted, 0):
        probe = socket.socket()
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        _held.append(probe)
        return int(probe.getsockname()[1])
    raise Unusable("there is no free port on 127.0.0.1")


def as_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """A settings file: a string, number or list of JSON is one of TOML too."""

    def written(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(one)}" for key, one in value.items()) + "}"
        return json.dumps(value)

    return "\n".join(
        f"[{section}]\n" + "".join(f"{json.dumps(key)} = {written(value)}\n" for key, value in values.items())
        for section, values in sections.items()
    )


@dataclass(slots=True)
class Site:
    """A site's name, folder and port; ``sections`` is what its settings file will say."""

    name: str
    folder: Path
    port: int
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def title(self) -> str:
        """What people call the hospital."""
        return f"{self.name.title()} Hospital"

    def named(self, path: str) -> dict[str, str]:
        """It as a peer in somebody's settings."""
        return {"url": self.url + path, "name": self.title}

    @property
    def config(self) -> Path:
        return self.folder / "xds.toml"

    @property
    def settings(self) -> Settings:
        """As the site itself reads them, with the OIDs that it has made."""
        return with_identity(load(self.config, {})).settings

    def write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        server = {"data": str(self.folder / "data"), "listen": f"127.0.0.1:{self.port}"}
        sections = {**self.sections, "server": server | self.sections.get("server", {})}
        self.config.write_text(as_toml(sections), "utf-8")

    def start(self) -> None:
        """Start it; ``wait`` waits until it serves."""
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(  # our own program  # nosec B603
                [sys.executable, "-m", "xds", "serve", "--config", str(self.config)], stdout=log, stderr=log,
                preexec_fn=ends_with_us,
            )  # fmt: skip

    def wait(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Until it is ready, however long that takes on a busy machine; ``tell`` hears now and then what lacks.

        Raises:
            Unusable: its process has ended; the message names its log.
        """
        if not waited(
            lambda: not self._lacking(), self.name, lambda said: tell(f"{said}: {self._lacking()}"), self.lives
        ):
            raise Unusable(f"{self.name} does not start; see {self.folder / 'serve.log'}")

    def lives(self) -> bool:
        """Whether its process does."""
        return self.process is not None and self.process.poll() is None

    def _lacking(self) -> str:
        """What keeps it from being ready, in its own words where it answers."""
        try:
            reply = requests.get(f"{self.url}/readyz", timeout=30)
        except requests.RequestException:
            return "it does not answer yet"
        return "" if reply.status_code == 200 else reply.text.strip().replace("\n", "; ") or "it is not ready"

    def stop(self) -> None:
        """Stop it, its requests in flight finished."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
