"""Lanes: a peer's requests wait for its places and for nobody else's."""

from __future__ import annotations

from xds.wire.lanes import Lane
from xds.wire.places import Places


def a_lane(threads: int, share: float, waiting: int = 100) -> Lane[str]:
    return Lane[str]("test", threads, share, Places(waiting, share))


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
    assert list(lane.overdue(60)) == []
    assert sorted(lane.overdue(-1)) == ["a2", "b1"]
    lane.leave("a")
    entered(lane, started, "b2")
    assert started == ["a1", "b2"]


def test_those_who_wait_share_the_places_to_wait_too() -> None:
    lane, started = a_lane(1, 0.5, waiting=4), list[str]()
    assert [lane.enter("a", f"a{number}", lambda: started.append("a")) for number in range(5)] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert [lane.enter("b", f"b{number}", lambda: started.append("b")) for number in range(3)] == [True, True, False]
    assert len(list(lane.overdue(-1))) == 3
    assert lane.enter("a", "a5", lambda: started.append("a"))
