"""Regions for the tests of gateways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.regions import NORTH, SOUTH, WEST, World, a_gateway, community, kept, objects, region


@pytest.fixture(scope="module")
def regions(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("regions")
    with ExitStack() as stack:
        south, west = (stack.enter_context(a_gateway(folder / "stub")) for _ in range(2))
        limits = "[registry]\nmost_results = 50\n[gateway]\nanswer_bytes = 1000000\ncalls = 2\n"
        south_, west_ = community("south", SOUTH, south.url, folder), community("west", WEST, west.url, folder)
        text_ = limits + south_ + west_
        north = stack.enter_context(region(folder / "north", sqlite_template, NORTH, text_))
        yield World(north, south, west, kept(north, b"of the north"))


@pytest.fixture
def world(regions: World) -> World:
    """The regions, both others of which know nothing of Anna."""
    for stub in (regions.south, regions.west):
        stub.answer, stub.status, stub.raw = lambda _: objects(), 200, None
        stub.go_on.set()
        stub.asked.clear()
        stub.envelopes.clear()
    for one in regions.domain.actors.gateways.initiating.communities.all:
        for calls in (one.calls, one.retrievals):
            calls._silent, calls._rests_until = 0, 0.0
        regions.within(one, 60.0)
    return regions
