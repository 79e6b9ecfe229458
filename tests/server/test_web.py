"""The processes that answer HTTP, and what keeps them in step with who started them."""

from __future__ import annotations

import signal
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from xds.server import web


@pytest.mark.parametrize(("heard", "goes_on"), [
    ([], True), ([signal.SIGTERM], False), ([signal.SIGCHLD], True), ([signal.SIGCHLD, signal.SIGTERM], False),
])  # fmt: skip
def test_a_worker_that_was_told_to_stop_before_it_listened_stops(heard: list[int], *, goes_on: bool) -> None:
    """Between the fork and its own handlers a signal goes to those of its arbiter, in its copy of them."""
    queue = SimpleQueue[int]()
    for one in heard:
        queue.put(one)
    worker = SimpleNamespace(alive=True)
    web._forked(SimpleNamespace(SIG_QUEUE=queue), worker)
    web._heard(worker)
    assert worker.alive is goes_on
