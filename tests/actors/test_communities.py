"""Calls to a community: bounded, and none for a while after several that waited for nothing."""

from __future__ import annotations

import threading

import pytest

from tests.conftest import wait_for
from xds.actors import communities
from xds.actors.communities import SILENT, Calls, Unavailable


def silence() -> None:
    raise Unavailable("no answer in time")


def ended(calls: Calls) -> None:
    wait_for(lambda: calls._free._value == 2)


def test_no_more_are_under_way_than_there_may_be() -> None:
    calls, held = Calls(2), threading.Event()
    begun = [calls.start(lambda: held.wait(60)) for _ in range(3)]
    assert [one is None for one in begun] == [False, False, True]
    held.set()
    ended(calls)
    again = calls.start(lambda: "answer")
    assert again is not None
    assert again.result(60) == "answer"


@pytest.mark.parametrize("between", [False, True])
def test_after_several_long_waits_for_nothing_in_a_row_it_rests(between: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(communities, "LONG_SECONDS", 0.0)
    calls = Calls(2)
    for number in range(SILENT):
        if between and number == SILENT - 1:
            answered = calls.start(lambda: "answer")
            assert answered is not None
            assert answered.result(60) == "answer"
            ended(calls)
        future = calls.start(silence)
        assert future is not None
        assert isinstance(future.exception(60), Unavailable)
        ended(calls)
    assert (calls.start(lambda: "answer") is None) is not between
    calls._rests_until = 0.0
    assert calls.start(lambda: "answer") is not None


def test_one_that_refuses_at_once_keeps_nobody_waiting_and_does_not_rest() -> None:
    calls = Calls(2)
    for _ in range(SILENT + 1):
        future = calls.start(silence)
        assert future is not None
        future.exception(60)
        ended(calls)
