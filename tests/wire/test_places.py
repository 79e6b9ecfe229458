"""Places that peers share: one alone has its part, and whoever comes next finds something left."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extent import examples
from xds.wire.places import Places


def filled(places: Places, peer: str) -> int:
    """Take all that a peer may have; how many it has then."""
    while places.enter(peer):
        pass
    return places.held(peer)


@pytest.mark.parametrize(("count", "share"), [(8, 0.5), (1, 0.5), (4, 2 / 3), (5, 1.0), (1, 1.0)])
def test_a_peer_alone_has_as_many_as_are_told(count: int, share: float) -> None:
    assert filled(Places.alone(count, share), "a") == count


def test_a_greedy_peer_leaves_places_to_those_who_come_later() -> None:
    places = Places.alone(8, 0.5)
    assert [filled(places, peer) for peer in "abcdef"] == [8, 4, 2, 1, 1, 0]


def test_peers_that_all_want_more_come_to_hold_the_same_number() -> None:
    places = Places.alone(8, 0.5)
    filled(places, "a")
    for _ in range(20):  # somebody leaves, and all would like the place
        places.leave(max("abc", key=places.held))
        for peer in "cba":
            places.enter(peer)
    held = [places.held(peer) for peer in "abc"]
    assert max(held) - min(held) <= 1
    assert max(held) <= places.total // 2


def test_with_a_share_of_all_nobody_is_told_apart() -> None:
    places = Places.alone(8, 1.0)
    assert filled(places, "the proxy") == 8
    assert not places.enter("another")


@settings(deadline=None, max_examples=examples(100))
@given(
    st.integers(1, 40),
    st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]),
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(1, 5)), max_size=60),
)
def test_places_are_never_lost_nor_given_twice(count: int, share: float, steps: list[tuple[str, bool, int]]) -> None:
    places, held = Places.alone(count, share), Counter[str]()
    for peer, enters, number in steps:
        if enters and places.enter(peer, number):
            held[peer] += number
        elif not enters and held[peer] >= number:
            places.leave(peer, number)
            held[peer] -= number
        assert places.free == places.total - held.total() >= 0
        assert all(places.held(one) == held[one] for one in "abcd")
        assert held["a"] <= max(count, share * places.total + 1, 5)
