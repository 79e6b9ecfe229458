"""One ``xds serve`` for the tests of a file; after each of them it serves on, and nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.hostile.server import Served


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("serve"), {"server": {"parts": 2000}}).start()
    yield served
    assert served.stop() == 0


@pytest.fixture
def served(running: Served, tmp_path: Path) -> Iterator[Served]:
    """The server, and its promise: bounded memory, nothing left on disk, and it serves on."""
    with running.memory_within():
        yield running
        wait_for(lambda: not running.staged(), 15)
    request = running.provide(b"good", tmp_path / "good")
    assert running.retrieved(request) == b"good"
    assert running.found() >= {request.document_unique_id}
