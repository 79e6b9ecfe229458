"""Calls to a community: bounded, and none for a while after several that waited for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import wait_for
from xds.actors import communities
from xds.actors.communities import SILENT, Calls, Community, Tries, Turn, Unavailable
from xds.actors.waiting import Waiting
from xds.archives.patients import PatientTable
from xds.wire.client import Client, NoReply
from xds.wire.memory import Overfull
from xds.wire.spool import NotKept

A_LOT = Waiting(100)


def silence() -> None:
    raise Unavailable("no answer in time")


def ended(calls: Calls) -> None:
    wait_for(lambda: calls._free._value == 2)


def test_no_more_are_under_way_than_there_may_be() -> None:
    calls, held = Calls(2, A_LOT), threading.Event()
    for _ in range(2):
        calls.start(lambda: held.wait(60))
    with pytest.raises(Unavailable, match="under way"):
        calls.start(lambda: held.wait(60))
    held.set()
    ended(calls)
    assert calls.start(lambda: "answer").result(60) == "answer"


def test_who_has_an_answer_may_ask_on_at_once() -> None:
    calls = Calls(1, Waiting(1))
    for _ in range(200):
        assert calls.start(lambda: "answer").result(60) == "answer"


def test_no_more_requests_wait_for_all_communities_together_than_may() -> None:
    waiting, held = Waiting(1), threading.Event()
    one, other = Calls(2, waiting), Calls(2, waiting)

    def in_another_request() -> str:
        with ThreadPoolExecutor(1) as pool:
            return str(pool.submit(lambda: other.start(lambda: "answer").result(60)).result(60))

    one.start(lambda: held.wait(60))
    assert other.start(lambda: "answer").result(60) == "answer"  # for the same request
    with pytest.raises(Unavailable, match="wait for other communities"):
        in_another_request()
    held.set()
    ended(one)
    ended(other)
    assert in_another_request() == "answer"


@pytest.mark.parametrize("between", [False, True])
def test_after_several_long_waits_for_nothing_in_a_row_it_rests(between: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(communities, "LONG_SECONDS", 0.0)
    calls = Calls(2, A_LOT)
    for number in range(SILENT):
        if between and number == SILENT - 1:
            answered = calls.start(lambda: "answer")
            assert answered.result(60) == "answer"
            ended(calls)
        future = calls.start(silence)
        assert isinstance(future.exception(60), Unavailable)
        ended(calls)
    if between:
        assert calls.start(lambda: "answer").result(60) == "answer"
        return
    with pytest.raises(Unavailable, match="last calls"):
        calls.start(lambda: "answer")
    calls._rests_until = 0.0
    assert calls.start(lambda: "answer").result(60) == "answer"


@pytest.mark.parametrize("problem", [Overfull(), NotKept()])
def test_our_own_want_of_memory_or_disk_does_not_have_it_rest(
    problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(communities, "LONG_SECONDS", 0.0)
    calls = Calls(2, A_LOT)

    def full() -> None:
        raise problem

    for _ in range(SILENT):
        future = calls.start(full)
        future.exception(60)
        ended(calls)
    assert calls.start(lambda: "answer").result(60) == "answer"


def test_one_that_refuses_at_once_keeps_nobody_waiting_and_does_not_rest() -> None:
    calls = Calls(2, A_LOT)
    for _ in range(SILENT + 1):
        future = calls.start(silence)
        future.exception(60)
        ended(calls)


# Its gateways, one after the other.

FIRST, SECOND, THIRD = (Client(f"http://{name}.example/rg") for name in ("first", "second", "third"))


def a_community(*clients: Client) -> Community:
    nobody = PatientTable(None, (), "")
    return Community(
        "south", ("urn:oid:1.2",), clients, clients, nobody, nobody, True, 60, 60, Calls(2, A_LOT), Calls(2, A_LOT),
        lambda *_: (), clients, Calls(2, A_LOT),
    )  # fmt: skip


def called(until: float, tries: Tries, clients: Sequence[Client], silent: Sequence[Client]) -> list[Turn]:
    """The turns that there were; ``silent`` give no answer."""
    turns = list[Turn]()

    def send(turn: Turn) -> Any:
        turns.append(turn)
        if turn.client in silent:
            raise NoReply(f"{turn.client.url}: no answer in time")

    a_community(*clients).called(clients, tries, until, send)
    return turns


def test_each_gateway_of_a_community_may_be_silent_for_its_share_of_the_time_that_is_left() -> None:
    until = time.monotonic() + 3000
    turns = called(until, Tries(), [FIRST, SECOND, THIRD], [FIRST, SECOND])
    assert [turn.client for turn in turns] == [FIRST, SECOND, THIRD]
    # Nobody has waited here: what the first has left is shared by those after it.
    assert [round(turn.silent_seconds, -2) for turn in turns] == [1000, 1500, 3000]
    assert {turn.until for turn in turns} == {until}


def test_nothing_is_sent_when_the_time_is_over() -> None:
    tries = Tries()
    with pytest.raises(Unavailable, match="no answer in time"):
        called(time.monotonic() - 1, tries, [FIRST, SECOND], [])
    assert list(tries.all()) == []
