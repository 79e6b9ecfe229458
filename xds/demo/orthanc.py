"""Debian's Orthanc with its DICOMweb plugin, started in a folder of its own: a PACS behind a hospital."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from xds.demo.site import free_port
from xds.demo.waiting import waited
from xds.errors import Unusable
from xds.system.parent import ends_with_us

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ORTHANC"

IN_USE, TRIES, PAUSE_SECONDS = b"already in use", 5, 1.0
"""What it says of a port that somebody has for a moment, as an outgoing connection may; and how often it is started."""


def program() -> str | None:
    """Where Orthanc is, if it and its plugin are installed."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
    return found if PLUGIN.exists() else None


@dataclass(slots=True)
class Orthanc:
    """A running PACS; its store goes with its folder."""

    folder: Path
    port: int = field(default_factory=lambda: free_port(0))
    dicom_port: int = field(default_factory=lambda: free_port(0))
    move_port: int = field(default_factory=lambda: free_port(0))
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
        command = [executable, str(config)]  # of this machine, and a file of ours
        for left in reversed(range(TRIES)):
            with (self.folder / "log").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=ends_with_us)  # nosec B603
            self.process = process
            if waited(self._answers, "Orthanc", tell, lambda process=process: process.poll() is None):  # type: ignore[misc]
                return
            if not left or IN_USE not in (self.folder / "log").read_bytes():
                raise Unusable(f"Orthanc does not start; see {self.folder / 'log'}")
            time.sleep(PAUSE_SECONDS)

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
