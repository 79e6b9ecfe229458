"""Lanes: a peer's requests wait for its places and for nobody else's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from xds.wire.lanes import Lane
from xds.wire.places import Places


@dataclass
class Clock:
    now: float = 1000.0


def a_lane(threads: int, share: float, waiting: int = 100, **seconds: float) -> Lane[str]:
    return Lane[str]("test", threads, share, Places(waiting, share), **seconds)


def entered(lane: Lane[str], started: list[str], *requests: str) -> None:
    """Requests come: the first letter is the peer."""
    for request in requests:
        lane.enter(request[0], request, lambda request=request: started.append(request))  # type: ignore[misc]


def test_what_a_peer_may_not_have_yet_waits_while_others_start() -> None:
    lane, started = a_lane(2, 0.5), list[str]()
    entered(lane, started, "a1", "a2", "a3", "b1")
    assert started == ["a1", "a2", "b1"]
    lane.leave("b")
    assert started == ["a1", "a2", "b1"]  # two are all that it may have
    lane.leave("a")
    assert started[3:] == ["a3"]


def test_peers_that_wait_take_turns_however_many_requests_one_has() -> None:
    lane, started = a_lane(1, 1.0), list[str]()
    entered(lane, started, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
    for last in "aabcab":
        lane.leave(last)
    assert started == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_who_waits_too_long_is_told_and_waits_no_more() -> None:
    lane, started = a_lane(1, 1.0), list[str]()
    entered(lane, started, "a1", "a2", "b1")
    assert list(lane.overdue()) == []
    lane.wait_seconds = -1
    assert sorted(lane.overdue()) == ["a2", "b1"]
    lane.leave("a")
    entered(lane, started, "b2")
    assert started == ["a1", "b2"]


def test_those_who_wait_share_the_places_to_wait_too() -> None:
    lane, started = a_lane(1, 0.5, waiting=4, wait_seconds=-1), list[str]()
    assert [lane.enter("a", f"a{number}", lambda: started.append("a")) for number in range(5)] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert [lane.enter("b", f"b{number}", lambda: started.append("b")) for number in range(3)] == [True, True, False]
    assert len(list(lane.overdue())) == 3
    assert lane.enter("a", "a5", lambda: started.append("a"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("xds.wire.lanes.time.monotonic", lambda: clock.now)
    return clock


def flooded(lane: Lane[str], clock: Clock, started: list[str]) -> None:
    """For a second and more each who starts has waited: one is done in a tenth of it, and three wait."""
    entered(lane, started, "a1", "a2", "a3", "a4")
    for _ in range(14):
        clock.now += 0.1
        lane.leave("a")
        entered(lane, started, "a5")


def test_in_a_flood_nobody_waits_for_long(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0, queue_seconds=0.25), list[str]()
    flooded(lane, clock, started)
    assert lane.is_flooded
    entered(lane, started, "b1")
    clock.now += 0.2
    entered(lane, started, "b2")
    clock.now += 0.1
    assert "b1" in list(lane.overdue())
    assert lane.waiting == 1


def test_a_burst_is_waited_for(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0, queue_seconds=0.25), list[str]()
    entered(lane, started, *(f"a{number}" for number in range(10)))
    for _ in range(9):
        clock.now += 0.1
        assert list(lane.overdue()) == []
        lane.leave("a")
    assert len(started) == 10


def test_a_peer_that_asks_for_more_than_its_share_is_no_flood(clock: Clock) -> None:
    lane, started = a_lane(1, 0.5, queue_seconds=0.25), list[str]()  # of two places one is any peer's at most
    flooded(lane, clock, started)
    clock.now += 0.3
    assert not lane.is_flooded
    assert list(lane.overdue()) == []
    entered(lane, started, "b1")
    assert started[-1] == "b1"


def test_who_waits_while_nothing_is_done_at_all_is_waited_for(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0, queue_seconds=0.25), list[str]()
    entered(lane, started, "a1", "a2", "b1")
    clock.now += 5  # the disk stands still
    assert not lane.is_flooded
    assert list(lane.overdue()) == []
    lane.leave("a")
    clock.now += 0.2
    assert list(lane.overdue()) == []
    lane.leave("a" if started[-1][0] == "a" else "b")
    assert len(started) == 3


def test_with_somebody_who_waits_for_a_moment_now_and_then_it_is_no_flood(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0, queue_seconds=0.25), list[str]()
    for _ in range(20):
        entered(lane, started, "a1", "a2")
        clock.now += 0.01
        lane.leave("a")
        clock.now += 0.09
        lane.leave("a")
    entered(lane, started, "a1", "a2")
    clock.now += 0.5
    assert list(lane.overdue()) == []


def test_a_flood_is_over_when_everybody_starts_soon_for_a_while(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0, queue_seconds=0.25), list[str]()
    flooded(lane, clock, started)
    clock.now += 1
    assert len(list(lane.overdue())) == 3
    for _ in range(10):
        assert lane.is_flooded  # who was turned away will be back
        lane.leave("a")
        entered(lane, started, "a6")
        clock.now += 0.11
    lane.leave("a")
    entered(lane, started, "a7")
    assert not lane.is_flooded


def test_who_starts_soon_once_in_a_flood_does_not_end_it(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0, queue_seconds=0.25), list[str]()
    flooded(lane, clock, started)
    lane.leave("a")  # and the next one starts, who has waited
    clock.now += 1
    list(lane.overdue())
    lane.leave(started[-1][0])
    entered(lane, started, "b1", "b2", "b3", "b4", "b5")  # the first at once
    for _ in range(4):
        clock.now += 0.3
        lane.leave(started[-1][0])
    assert lane.is_flooded


def test_after_a_lull_nothing_is_left_of_a_flood(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0, queue_seconds=0.25), list[str]()
    flooded(lane, clock, started)
    clock.now += 1
    assert len(list(lane.overdue())) == 3
    lane.leave("a")
    clock.now += 60
    entered(lane, started, *(f"a{number}" for number in range(5)))
    clock.now += 0.3
    assert list(lane.overdue()) == []


def test_where_no_flood_is_told_of_everybody_is_waited_for(clock: Clock) -> None:
    lane, started = a_lane(1, 1.0), list[str]()
    flooded(lane, clock, started)
    clock.now += 20
    assert not lane.is_flooded
    assert list(lane.overdue()) == []
