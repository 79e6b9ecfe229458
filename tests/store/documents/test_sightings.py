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


def test_what_is_seen_for_the_first_time_is_not_old(sightings: Sightings) -> None:
    assert sightings.old({"a": 0.0, "b": -1e9}) == {}


def test_what_was_seen_for_long_is(sightings: Sightings, now: list[float]) -> None:
    sightings.old({"a": 5.0})
    now[0] += SWEEP_SECONDS - 0.001
    assert sightings.old({"a": 5.0, "b": 5.0}) == {}
    now[0] += 0.002
    assert sightings.old({"a": 5.0, "b": 5.0}) == {"a": 5.0}


@pytest.mark.parametrize("put", [6.0, 4.0])
def test_what_was_put_again_is_seen_anew_whichever_way_the_clock_went(
    sightings: Sightings, now: list[float], put: float
) -> None:
    sightings.old({"a": 5.0})
    now[0] += SWEEP_SECONDS
    assert sightings.old({"a": put}) == {}
    now[0] += SWEEP_SECONDS
    assert sightings.old({"a": put}) == {"a": put}


def test_what_was_named_meanwhile_is_seen_anew(sightings: Sightings, now: list[float]) -> None:
    sightings.old({"a": 5.0})
    sightings.old({})
    now[0] += SWEEP_SECONDS
    assert sightings.old({"a": 5.0}) == {}
