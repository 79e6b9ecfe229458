"""A cluster whose primary is killed under load: nothing acknowledged is lost, and nothing is there twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.engines import Engines
from tests.cluster.failover import fail_over, hold
from tests.cluster.region import Region, region
from tests.extent import LONG

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(not LONG, reason="two failovers take a minute and a half: make test-long"),
]


@pytest.fixture
def running() -> Iterator[tuple[Engines, Region]]:
    # The path must be short (socket names) and the folder open to PostgreSQL's user.
    with tempfile.TemporaryDirectory(prefix="xds-") as folder, region(Path(folder)) as made:
        yield made


def test_nothing_acknowledged_is_lost_when_the_primary_is_killed(running: tuple[Engines, Region]) -> None:
    """By seeds that kill PostgreSQL alone, and all of its machine."""
    engines, nodes = running
    for seed in (1, 2):
        fail_over(engines, nodes, seed)
    hold(nodes)
    assert nodes.replies["acknowledged"] > 50
