"""ITI-42 over HTTP: one document, durable commit and durable audit, against the same rows by the raw driver."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Barrier, Thread
from typing import Any

import sqlalchemy as sa

from tests.bench import load, rows
from tests.bench.documents import Document
from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.load import Load, latencies
from tests.bench.processes import cpu_seconds, used
from tests.bench.run import POSTGRESQL, SQLITE, Run, Server, need
from tests.bench.templates import plain_template
from xds.store.audit.records import Recorded
from xds.store.audit.search import Wanted, found
from xds.store.deployment import migrate
from xds.store.engine import make_engine
from xds.store.tables import submission_set
from xds.system.parent import ends_with_us

CLIENTS = 8
PATIENTS = 1_000
MOST = 8_000
"""Submissions a second that one process of the floor is ready for."""

THROUGHPUT = {SQLITE: Reach("≥", 0.2), POSTGRESQL: Reach("≥", 0.25)}
CPU = {SQLITE: Reach("≤", 7.0), POSTGRESQL: Reach("≤", 4.0)}
"""What is within reach; the aim is 0.4 and 2.5 (design, section 5)."""

TAIL = Reach("≤", 4.0)
"""The 99th percentile, of the median."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What a load of ITI-42 gave and took."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    growth_mb: float
    load: Load


def run(bench: Run) -> Iterator[Result]:
    """Throughput and CPU time on either database."""
    need("wrk", "wrk")
    yield from bench.each_database("ITI-42", lambda kind: _one(bench, kind))


def _one(bench: Run, kind: str) -> Iterator[Result]:
    site = bench.new_server(kind)
    with bench.serving(site):
        rows.add_patients(site.settings.database_url, PATIENTS)
        got = measure(bench, site, bench.of(8, 2, 1))
        audit = _an_audit_record(site)
    beside = site.beside
    floor_rate, floor_cpu = _floor(bench, kind, audit, beside, bench.of(6.0, 1.5, 0.5))
    note = f"{CLIENTS} clients"
    yield judged(
        f"ITI-42 {kind}: throughput", "1/s", got.rate, floor_rate, THROUGHPUT[kind],
        server_cpu_ms=got.cpu_ms, memory_mb=got.growth_mb, note=note,
    )  # fmt: skip
    whose = "xds + PostgreSQL; driver + PostgreSQL" if beside else "xds; driver"
    yield judged(f"ITI-42 {kind}: CPU", "ms", got.cpu_ms, floor_cpu, CPU[kind], server_cpu_ms=got.cpu_ms, note=whose)
    yield judged(f"ITI-42 {kind}: p99", "ms", got.p99_ms, got.p50_ms, TAIL, note="floor: its own p50")
    yield latencies(f"ITI-42 {kind}", got.load)


def measure(bench: Run, site: Server, seconds: float, *, first: int = 0) -> Registered:
    """Load a server that knows the patients, from ``first`` on; every answer must have registered something.

    Raises:
        Broken: fewer submissions are in the database than were answered.
    """
    folder = bench.new_folder("load")
    if not bench.smoke:
        load.register(site.url, folder, first=first, patients=PATIENTS, clients=CLIENTS, seconds=1)
        _analyse(site)
    before = submissions(site)
    with used(site.pid, *site.beside) as taken:
        seen = load.register(site.url, folder, first=first, patients=PATIENTS, clients=CLIENTS, seconds=seconds)
    registered = submissions(site) - before
    if registered < seen.requests:
        raise Broken(f"{seen.requests} submissions were answered, {registered} are registered; {site.last_words()}")
    cpu_ms = taken.cpu_seconds / registered * 1000
    return Registered(seen.rate, seen.p50_ms, seen.p99_ms, cpu_ms, taken.growth_mb, seen)


def _analyse(site: Server) -> None:
    """Autovacuum does so within a minute; before, what was planned for empty tables reads them from end to end."""
    if site.beside:
        _asked(site, lambda c: (c.execute(sa.text("ANALYZE")), c.commit()))


def submissions(site: Server) -> int:
    """How many are registered."""
    return int(_asked(site, lambda c: c.scalar(sa.select(sa.func.count()).select_from(submission_set))))


def _an_audit_record(site: Server) -> Recorded:
    record: Recorded = _asked(site, lambda c: found(c, Wanted(transaction="ITI-42"), 1))[0]
    return record


def _asked(site: Server, ask: Any) -> Any:
    engine = make_engine(site.settings.database_url, connections=1)
    try:
        with engine.connect() as connection:
            return ask(connection)
    finally:
        engine.dispose()


# The floor: as many connections, spread over as many processes as xds has there, one commit a submission.


def _floor(bench: Run, kind: str, audit: Recorded, beside: tuple[int, ...], seconds: float) -> tuple[float, float]:
    """Submissions a second, and CPU milliseconds of one, driver and database together.

    SQLite has one writer, and writers that wait for it sleep: there the better of all connections and of one counts.
    """
    if kind == POSTGRESQL:
        return _inserted(bench, kind, audit, beside, seconds, (os.cpu_count() or 1, CLIENTS))
    shapes = [(1, threads) for threads in bench.of((1, CLIENTS), (1, CLIENTS), (CLIENTS,))]
    return max(_inserted(bench, kind, audit, beside, seconds / 2, shape) for shape in shapes)


def _inserted(
    bench: Run, kind: str, audit: Recorded, beside: tuple[int, ...], seconds: float, shape: tuple[int, int]
) -> tuple[float, float]:
    """The floor with so many processes and connections."""
    url, (processes, clients) = bench.new_database(kind), shape
    engine = make_engine(url)
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    keys = rows.add_patients(url, PATIENTS)
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes + 1), context.Queue()
    workers = [
        context.Process(
            target=_insert,
            args=(url, keys, audit, number, max(1, clients // processes), seconds, ready, results),
            daemon=True,
        )
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    try:
        ready.wait(120)
        before = cpu_seconds(*beside)
        done = [results.get(timeout=seconds + 60) for _ in workers]
        database = cpu_seconds(*beside) - before
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    count = sum(number for number, _, _ in done)
    return sum(number / took for number, took, _ in done), (sum(cpu for *_, cpu in done) + database) / count * 1000


def _insert(
    url: str, keys: list[int], audit: Recorded, process: int, threads: int, seconds: float, ready: Any, results: Any
) -> None:
    """One process: submissions made beforehand, inserted until the time is over."""
    ends_with_us()
    template, first = plain_template(audit), process * 10_000_000
    filled = (template.fill(Document(first + n, n % PATIENTS), keys[n % PATIENTS]) for n in range(int(seconds * MOST)))
    # Threads take from one list: on SQLite some get far more turns than others.
    work = iter([_grouped(submission) for submission in filled])
    together, counts = Barrier(threads + 1), [0] * threads

    def inserting(thread: int) -> None:
        with rows.raw(url) as (connection, dialect):
            cursor = connection.cursor()
            together.wait()
            end = time.perf_counter() + seconds
            for submission in work:
                cursor.execute(rows.begin(dialect))
                for where, values in submission:
                    if len(values) == 1:
                        cursor.execute(rows.insert(where, dialect), values[0])
                    else:
                        cursor.executemany(rows.insert(where, dialect), values)
                cursor.execute("COMMIT")
                if time.perf_counter() > end:
                    return
                counts[thread] += 1
            raise Broken("the floor ran out of submissions")

    running = [Thread(target=inserting, args=(thread,), daemon=True) for thread in range(threads)]
    for thread in running:
        thread.start()
    ready.wait(120)
    together.wait()
    cpu = time.process_time()
    # A thread may wait long after the end: SQLite's writers take no turns.
    time.sleep(seconds)
    results.put((sum(counts), seconds, time.process_time() - cpu))


def _grouped(submission: list[rows.Row]) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Rows of one table together."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for where, values in submission:
        found.setdefault(where, []).append(values)
    return list(found.items())
