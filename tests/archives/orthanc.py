"""Debian's Orthanc with its DICOMweb plugin: a PACS for tests, started when one is first asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import missing
from xds.demo.orthanc import TITLE, Orthanc, program

__all__ = ["TITLE", "Orthanc", "orthanc", "orthanc_server"]


@pytest.fixture(scope="session")
def orthanc_server() -> Iterator[Orthanc]:
    """Of the session; in CI it must be there."""
    if program() is None:
        missing("Orthanc", "orthanc orthanc-dicomweb")
    server = Orthanc(Path(tempfile.mkdtemp(prefix="xds-orthanc-")))
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def orthanc(orthanc_server: Orthanc) -> Orthanc:
    """Empty."""
    orthanc_server.empty()
    return orthanc_server
