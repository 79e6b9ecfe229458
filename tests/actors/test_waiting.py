"""Requests that wait for other communities: no more than half of what serves short requests."""

from __future__ import annotations

from xds.actors.waiting import Waits


def test_half_of_the_threads_may_wait_and_of_these_half_for_documents() -> None:
    waits = Waits(16)
    assert [waits.retrievals.enter(thread) for thread in range(5)] == [True] * 4 + [False]
    assert [waits.queries.enter(thread) for thread in range(10, 15)] == [True] * 4 + [False]
    waits.retrievals.leave(0)
    assert waits.queries.enter(14)
    assert not waits.retrievals.enter(0)  # one could be for documents, but half of the threads wait


def test_images_leave_some_to_documents_and_these_to_queries() -> None:
    waits = Waits(16)
    assert [waits.images.enter(thread) for thread in range(3)] == [True] * 2 + [False]
    assert [waits.retrievals.enter(thread) for thread in range(10, 13)] == [True] * 2 + [False]
    assert [waits.queries.enter(thread) for thread in range(20, 25)] == [True] * 4 + [False]


def test_a_request_is_counted_once_however_many_communities_it_asks() -> None:
    waits = Waits(2)
    assert [waits.queries.enter(1), waits.queries.enter(1), waits.queries.enter(2)] == [True, True, False]
    waits.queries.leave(1)
    assert not waits.queries.enter(2)
    waits.queries.leave(1)
    assert waits.queries.enter(2)
