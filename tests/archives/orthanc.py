"""Debian's Orthanc with its DICOMweb plugin: a PACS for tests, started when one is first asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import missing
from xds.demo.orthanc import TITLE, Orthanc, program
from xds.errors import Unusable

__all__ = ["TITLE", "Orthanc", "orthanc", "orthanc_server"]


@pytest.fixture(scope="session")
def orthanc_server() -> Iterator[Orthanc]:
    """Of the session; in CI it must be there."""
    if program() is None:
        missing("Orthanc", "orthanc orthanc-dicomweb")
    server = _started()
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


def _started(tries: int = 3) -> Orthanc:
    """On other ports where something else has taken one: Orthanc looks for itself whether they are free."""
    for left in reversed(range(tries)):
        server = Orthanc(Path(tempfile.mkdtemp(prefix="xds-orthanc-")))
        try:
            server.start()
        except Unusable:
            if not left or "already in use" not in (server.folder / "log").read_text("utf-8", "replace"):
                raise
        else:
            return server
    raise AssertionError


@pytest.fixture
def orthanc(orthanc_server: Orthanc) -> Orthanc:
    """Empty."""
    orthanc_server.empty()
    return orthanc_server
