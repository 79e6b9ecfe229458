"""Debian's Orthanc with its DICOMweb plugin, started in a folder of its own: a PACS behind a hospital."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from xds.demo.waiting import waited
from xds.errors import Unusable
from xds.system.parent import ends_with_us

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ORTHANC"

_PORTS = range(12_000, 32_000)
"""Of which no connection is given one (Linux begins with 32,768)."""


def program() -> str | None:
    """Where Orthanc is, if it and its plugin are installed."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
    return found if PLUGIN.exists() else None


def _port_everywhere() -> int:
    """A port that is free on every address of this machine: Orthanc listens on all of them.

    Raises:
        Unusable: there is none.
    """
    for port in random.sample(_PORTS, 100):  # no secret  # nosec B311
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise Unusable("there is no free port for Orthanc")


@dataclass(slots=True)
class Orthanc:
    """A running PACS; its store goes with its folder."""

    folder: Path
    port: int = field(default_factory=_port_everywhere)
    dicom_port: int = field(default_factory=_port_everywhere)
    move_port: int = field(default_factory=_port_everywhere)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def start(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Start it and wait until it answers.

        Raises:
            Unusable: it is not installed, or does not start.
        """
        executable = program()
        if executable is None:
            raise Unusable("orthanc and orthanc-dicomweb are not installed")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "orthanc.json"
        config.write_text(json.dumps(self._settings()), "utf-8")
        with (self.folder / "log").open("ab") as log:
            command = [executable, str(config)]  # of this machine, and a file of ours
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=ends_with_us)  # nosec B603
        if not waited(self._answers, "Orthanc", tell, lambda: self.process is not None and self.process.poll() is None):
            raise Unusable(f"Orthanc does not start; see {self.folder / 'log'}")

    def _settings(self) -> dict[str, Any]:
        store = str(self.folder / "store")
        return {
            "Name": TITLE, "DicomAet": TITLE, "HttpPort": self.port, "DicomPort": self.dicom_port,
            "StorageDirectory": store, "IndexDirectory": store, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomModalities": {"xds": ["XDS", "127.0.0.1", self.move_port]},
            "DicomCheckCalledAet": False, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True,
            "DicomAlwaysAllowGet": True, "StableAge": 1, "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/system", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def keep(self, *files: bytes) -> None:
        """Put files in."""
        for data in files:
            requests.post(f"{self.url}/instances", data, timeout=30).raise_for_status()

    def empty(self) -> None:
        """Take everything out."""
        for patient in requests.get(f"{self.url}/patients", timeout=30).json():
            requests.delete(f"{self.url}/patients/{patient}", timeout=30).raise_for_status()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
