"""Whatever fails: what was acknowledged is there and on record, what was refused is not, and the log holds."""

from __future__ import annotations

import pytest

from tests.conftest import wait_for
from tests.extent import LONG
from tests.faults.deployment import lacking
from tests.faults.running import run
from tests.needs import missing
from tests.postgres import Databases, Server

SEEDS = range(1, 201) if LONG else range(1, 21)


@pytest.fixture(scope="module")
def server() -> Server:
    """A PostgreSQL of these tests' own: it is stopped and cut off."""
    try:
        server = Server()
    except FileNotFoundError:
        missing("PostgreSQL", "postgresql")
    wait_for(server.answers)
    return server


@pytest.mark.large
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_peer_was_told_is_true_after_a_history_of_faults(seed: int, server: Server) -> None:
    for package in lacking():
        missing(package, package)
    done = run(seed, server, Databases(server.url))
    assert done.told.counted["RAD-68"] > 0
