"""What happens often is told at once, and then now and then with how often it was."""

from __future__ import annotations

from xds.wire.now_and_then import NowAndThen


def test_each_thing_is_told_at_once_and_then_by_its_count() -> None:
    now = [0.0]
    told = NowAndThen(10.0, clock=lambda: now[0])
    assert [told.due("a") for _ in range(5)] == [0, None, None, None, None]
    assert told.due("b") == 0
    now[0] = 10.0
    assert (told.due("a"), told.due("a"), told.due("b")) == (4, None, 0)


def test_not_more_things_are_remembered_than_a_number() -> None:
    told = NowAndThen(10.0, most=3)
    assert [told.due(thing) for thing in "abcdeabcde"] == [0] * 10
    assert len(told) == 3
