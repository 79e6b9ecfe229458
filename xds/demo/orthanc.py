"""Debian's Orthanc with its DICOMweb plugin, started in a folder of its own: a PACS behind a hospital."""

from __future__ import annotations

import json
import shutil
import subprocess
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
