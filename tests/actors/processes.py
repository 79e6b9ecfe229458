"""A history shared between processes, each of them with threads."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from dataclasses import fields
from itertools import count
from typing import Any

import sqlalchemy as sa

from tests import builders
from tests.actors.histories import History, Model
from tests.builders import a_submission
from tests.store.databases import Domain, at_once
from xds.metadata.identifiers import PatientId
from xds.store.engine import make_engine

PROCESSES, THREADS = 3, 2
SECONDS = 60.0
"""How long anybody waits for another."""

STOPS_AT = 3
"""Submissions that a process writes before the one that it is killed in."""

UNMERGED = PatientId("emma", builders.AUTHORITY)
"""A patient whom no history merges."""


def in_processes(site: Domain, seed: int, *, kill: bool = False) -> Model:
    """Run the operations of a seed; return what was acknowledged.

    ``kill``: the first process gets SIGKILL while it is writing a submission.

    Raises:
        AssertionError: an operation raised, or a process died that should not; it names the seed.
    """
    url = site.engine.url.render_as_string(hide_password=False)
    site.engine.dispose()  # no connection goes into a fork
    fork = multiprocessing.get_context("fork")
    with fork.Manager() as manager:
        model = Model(*(manager.list() for _ in fields(Model)))
        together, inside = fork.Barrier(PROCESSES), fork.Event()
        held = [inside if kill else None, *[None] * (PROCESSES - 1)]
        processes = [
            fork.Process(target=_part, args=(url, site.name, seed, model, n, together, held[n]))
            for n in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        try:
            if kill:
                assert inside.wait(SECONDS), f"seed {seed}: the first process writes too little to be killed"
                processes[0].kill()
            for process in processes:
                process.join(SECONDS)
            ended = [process.exitcode for process in processes]
        finally:
            for process in processes:
                process.kill()
        acknowledged = model.copy()
    assert acknowledged.faults == [], f"seed {seed}: " + "".join(acknowledged.faults)
    assert ended == [-signal.SIGKILL if kill else 0, *[0] * (PROCESSES - 1)], f"seed {seed}: processes end with {ended}"
    return acknowledged


def _part(url: str, name: str, seed: int, model: Model, nth: int, together: Any, inside: Any) -> None:
    """One process: its share of the operations; when it is to be stopped, so many more that it will be."""
    builders.count_from((nth + 1) * 1_000_000)
    engine = make_engine(url, connections=THREADS)
    if inside is not None:
        _stop_while_writing(engine, inside)
    history = History(Domain(engine, name=name), seed, model)
    operations = history.operations()[nth::PROCESSES]
    if inside is not None:
        operations += [lambda: history.submit(a_submission(patient=UNMERGED))] * (STOPS_AT + 1)
    together.wait(SECONDS)
    done = at_once(operations, THREADS)
    model.faults.extend(["".join(traceback.format_exception(one)) for one in done if isinstance(one, Exception)])
    engine.dispose()


def _stop_while_writing(engine: sa.Engine, inside: Any) -> None:
    """Say so and wait when a submission is written in part."""
    submissions = count()

    @sa.event.listens_for(engine, "before_cursor_execute")
    def stop(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "INSERT INTO locator" in statement and next(submissions) == STOPS_AT:
            inside.set()
            time.sleep(SECONDS)
