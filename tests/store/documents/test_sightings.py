"""What sweeps have seen is old by a clock that nobody sets, and young again when it was put again."""

from __future__ import annotations

import pytest

from xds.store.documents import sightings as module
from xds.store.documents.sightings import SWEEP_SECONDS, Sightings


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def sightings(now: list[float], monkeypatch: pytest.MonkeyPatch) -> Sightings:
    monkeypatch.setattr(module, "elapsed", lambda: now[0])
    return Sightings()


def old(sightings: Sightings, found: dict[str, float]) -> set[str]:
    look = sightings.look()
    seen = {name for name, put in found.items() if look.is_old(name, put)}
    look.end()
    return seen


def test_what_is_seen_for_the_first_time_is_not_old(sightings: Sightings) -> None:
    assert old(sightings, {"a": 0.0, "b": -1e9}) == set()


def test_what_was_seen_for_long_is(sightings: Sightings, now: list[float]) -> None:
    old(sightings, {"a": 5.0})
    now[0] += SWEEP_SECONDS - 0.001
    assert old(sightings, {"a": 5.0, "b": 5.0}) == set()
    now[0] += 0.002
    assert old(sightings, {"a": 5.0, "b": 5.0}) == {"a"}
    now[0] += SWEEP_SECONDS
    assert old(sightings, {"b": 5.0}) == {"b"}


@pytest.mark.parametrize("put", [6.0, 4.0])
def test_what_was_put_again_is_seen_anew_whichever_way_the_clock_went(
    sightings: Sightings, now: list[float], put: float
) -> None:
    old(sightings, {"a": 5.0})
    now[0] += SWEEP_SECONDS
    assert old(sightings, {"a": put}) == set()
    now[0] += SWEEP_SECONDS
    assert old(sightings, {"a": put}) == {"a"}


def test_a_look_that_was_broken_off_does_not_count(sightings: Sightings, now: list[float]) -> None:
    look = sightings.look()
    look.is_old("a", 5.0)
    now[0] += SWEEP_SECONDS
    assert old(sightings, {"a": 5.0}) == set()
