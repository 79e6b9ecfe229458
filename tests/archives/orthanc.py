"""Debian's Orthanc with its DICOMweb plugin: a PACS for tests, started when one is first asked for."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.conftest import CI, wait_for

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ORTHANC"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """A running PACS in a folder that goes away."""

    def __init__(self) -> None:
        program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
        if program is None or not PLUGIN.exists():
            raise FileNotFoundError("orthanc and orthanc-dicomweb are not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="xds-orthanc-"))
        self.port, self.dicom_port, self.move_port = free_port(), free_port(), free_port()
        settings = {
            "Name": TITLE, "DicomAet": TITLE, "HttpPort": self.port, "DicomPort": self.dicom_port,
            "StorageDirectory": str(self.folder / "store"), "IndexDirectory": str(self.folder / "store"),
            "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "DicomModalities": {"xds": ["XDS", "127.0.0.1", self.move_port]},
            "DicomCheckCalledAet": False, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True,
            "DicomAlwaysAllowGet": True, "StableAge": 1,
            "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        config = self.folder / "orthanc.json"
        config.write_text(json.dumps(settings))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, str(config)], stdout=log, stderr=log)
        wait_for(self._answers, 30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            with urlopen(f"{self.url}/system", timeout=2) as reply:  # noqa: S310
                return bool(reply.status == 200)
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def keep(self, *files: bytes) -> None:
        """Put files in."""
        for data in files:
            with urlopen(Request(f"{self.url}/instances", data, method="POST")):  # noqa: S310
                pass

    def empty(self) -> None:
        """Take everything out."""
        with urlopen(f"{self.url}/patients") as reply:  # noqa: S310
            patients = json.loads(reply.read())
        for patient in patients:
            with urlopen(Request(f"{self.url}/patients/{patient}", method="DELETE")):  # noqa: S310
                pass

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def orthanc_server() -> Iterator[Orthanc]:
    """Of the session; in CI it must be there."""
    try:
        server = Orthanc()
    except FileNotFoundError as problem:
        if CI:
            pytest.fail(f"no Orthanc: {problem}")
        pytest.skip(f"no Orthanc: {problem}; .ci/run installs it")
    yield server
    server.stop()


@pytest.fixture
def orthanc(orthanc_server: Orthanc) -> Orthanc:
    """Empty."""
    orthanc_server.empty()
    return orthanc_server
