"""Lanes: a peer's requests wait for its places and for nobody else's."""

from __future__ import annotations

from xds.wire.lanes import Lane


def entered(lane: Lane[str], started: list[str], *requests: str) -> None:
    """Requests come: the first letter is the peer."""
    for request in requests:
        lane.enter(request[0], request, lambda request=request: started.append(request))  # type: ignore[misc]


def test_what_a_peer_may_not_have_yet_waits_while_others_start() -> None:
    lane, started = Lane[str]("test", 2, 0.5), list[str]()
    entered(lane, started, "a1", "a2", "a3", "b1")
    assert started == ["a1", "a2", "b1"]
    lane.leave("b")
    assert started == ["a1", "a2", "b1"]  # two are all that it may have
    lane.leave("a")
    assert started[3:] == ["a3"]


def test_peers_that_wait_take_turns_however_many_requests_one_has() -> None:
    lane, started = Lane[str]("test", 1, 1.0), list[str]()
    entered(lane, started, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
    for last in "aabcab":
        lane.leave(last)
    assert started == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_who_waits_too_long_is_told_and_waits_no_more() -> None:
    lane, started = Lane[str]("test", 1, 1.0), list[str]()
    entered(lane, started, "a1", "a2", "b1")
    assert list(lane.overdue(60)) == []
    assert sorted(lane.overdue(-1)) == ["a2", "b1"]
    lane.leave("a")
    entered(lane, started, "b2")
    assert started == ["a1", "b2"]
