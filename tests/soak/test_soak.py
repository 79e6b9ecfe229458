"""What grows is found by its curve; and a node under peers of all kinds does not grow."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bench.figures import Curve, Figure
from tests.bench.run import SQLITE, Run, Size
from tests.extent import size
from tests.soak.__main__ import soak
from tests.soak.sampling import Sample, judge

FLAT = [Sample(float(at), 300_000_000, 200, 60, 2, 10_000_000 + 5_000 * at, 10 * at, 20 * at) for at in range(101)]


def _grown(samples: list[Sample]) -> set[str]:
    return {one.name for one in judge(samples) if isinstance(one, Figure) and one.reached is False}


def test_what_stays_as_it_is_has_not_grown() -> None:
    assert _grown(FLAT) == set()


@pytest.mark.parametrize(
    ("field", "step", "name"),
    [
        ("memory_bytes", 500_000, "soak: memory"),
        ("descriptors", 1, "soak: descriptors, growth"),
        ("threads", 1, "soak: threads, growth"),
        ("temporary", 1, "soak: temporary files, growth"),
    ],
)
def test_what_grows_all_the_time_is_told(field: str, step: int, name: str) -> None:
    growing = [
        dataclasses.replace(one, **{field: getattr(one, field) + step * number}) for number, one in enumerate(FLAT)
    ]
    assert _grown(growing) == {name}


def test_each_process_has_a_curve_of_its_own() -> None:
    named = [dataclasses.replace(one, each={"xds:web 7": 1_000_000}) for one in FLAT]
    curves = {one.name: one.points for one in judge(named) if isinstance(one, Curve)}
    assert curves["xds:web 7"][-1] == (FLAT[-1].seconds / 60, 1.0)


def test_a_peak_in_the_middle_is_no_growth() -> None:
    samples = [*FLAT]
    samples[50] = dataclasses.replace(samples[50], memory_bytes=900_000_000)
    assert _grown(samples) == set()


def test_a_database_that_takes_more_for_each_record_is_told() -> None:
    growing = [
        dataclasses.replace(one, database_bytes=one.database_bytes + 100 * at * at) for at, one in enumerate(FLAT)
    ]
    assert _grown(growing) == {"soak: database, a record"}


def test_a_node_that_becomes_slow_is_told() -> None:
    slower = [dataclasses.replace(one, done=int(200 * at**0.5)) for at, one in enumerate(FLAT)]
    assert _grown(slower) == {"soak: requests"}


@pytest.mark.large
@pytest.mark.timeout(400)
def test_a_node_answers_all_kinds_of_peers_and_leaves_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        results, wrong = soak(Run(tmp_path, Size.FULL, 0, stack), SQLITE, size(4, 120))
    assert not wrong
    figures = {one.name: one for one in results if isinstance(one, Figure)}
    assert figures["soak: temporary files, growth"].reached
    assert figures["soak: requests"].figure
