"""ITI-18 against the SQL alone, against itself on a smaller registry, and about a patient with many documents."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
import sqlalchemy as sa
from psycopg import RawCursor

from tests.bench import load, rows
from tests.bench.asking import Question, ask, ask_all, of_one_with_many
from tests.bench.figures import Broken, Curve, Reach, Result, Skipped, judged
from tests.bench.load import Load, latencies
from tests.bench.processes import Used, used
from tests.bench.province import A_PATIENT, Filled, Small, filled
from tests.bench.run import POSTGRESQL, SQLITE, Run, Server, need
from tests.builders import AUTHORITY
from xds.actors.document_registry import DocumentRegistry
from xds.settings.sections import Settings
from xds.store.engine import make_engine, reading
from xds.store.registry.sql_registry import SqlRegistry

P50 = {SQLITE: Reach("≤", 8.0), POSTGRESQL: Reach("≤", 4.0)}
"""What is within reach; the aim is 3 and 2 (design, section 5)."""

TAIL = Reach("≤", 3.0)
"""The 99th percentile, of the median."""

CLIENTS, RATE = 8, {SQLITE: None, POSTGRESQL: Reach("≥", 400, "/s")}
"""At once; the rate is of this class of machine, twenty times that of a registry in memory in Java."""

GROWTH, QUICK = Reach("≤", 1.3), Reach("≤", 200, "ms")
MOST = Settings().registry.most_results

Statement = tuple[str, Any]
"""What a driver is given: the SQL and its parameters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a load of ITI-18 gave, and what the SQL alone took."""

    load: Load
    used: Used
    sql_p50_ms: float
    sql_p99_ms: float
    pages: float | None

    @property
    def cpu_ms(self) -> float:
        return self.used.cpu_seconds / self.load.requests * 1000


def run(bench: Run) -> Iterator[Result]:
    """p50 and p99 on either database."""
    need("wrk", "wrk")
    yield from bench.each_database("ITI-18", lambda kind: _found(bench, kind))


def growth(bench: Run) -> Iterator[Result]:
    """The same in a registry of 10 thousand documents, and every other kind of query; pages on PostgreSQL."""
    need("wrk", "wrk")
    yield from bench.each_database("growth", lambda kind: _growth(bench, kind))


def big_patient(bench: Run) -> Iterator[Result]:
    """What is asked about the patient who has more documents than any other."""
    need("wrk", "wrk")
    yield from bench.each_database("big patient", lambda kind: _of_one_with_many(bench, kind))


def province_of(bench: Run, kind: str) -> Filled:
    """The registry that the rows of a run share."""
    return filled(bench, kind, partial(_small, bench))


def _small(bench: Run, site: Server, questions: Sequence[Question]) -> Small:
    asked = _ask(bench, site, bench.of(10_000, 10_000, 1_000) // A_PATIENT)
    return Small(asked.load.p50_ms, asked.pages, ask_all(site, questions, bench.of(0.7, 0.3, 0.02)))


def _found(bench: Run, kind: str) -> Iterator[Result]:
    registry = province_of(bench, kind)
    asked = _ask(bench, registry.site, registry.patients)
    mb = asked.load.bytes / asked.load.requests / 1e6
    note = f"{registry.size:,} documents, 1 client, {mb:.2f} MB an answer, {asked.load.rate:.0f}/s"
    yield judged(
        f"ITI-18 {kind}: p50", "ms", asked.load.p50_ms, asked.sql_p50_ms, P50[kind],
        server_cpu_ms=asked.cpu_ms, memory_mb=asked.used.growth_mb, note=note,
    )  # fmt: skip
    note = f"floor: its own p50; the SQL's p99 {asked.sql_p99_ms:.2f} ms"
    yield judged(f"ITI-18 {kind}: p99", "ms", asked.load.p99_ms, asked.load.p50_ms, TAIL, note=note)
    packed = _loaded(bench, registry.site, registry.patients, clients=1, encoding="gzip")
    note = f"Accept-Encoding: gzip, {packed.bytes / packed.requests / 1e6:.2f} MB an answer; floor: as it is"
    yield judged(f"ITI-18 {kind}: p50, gzip", "ms", packed.p50_ms, asked.load.p50_ms, None, note=note)
    many = _loaded(bench, registry.site, registry.patients, clients=CLIENTS)
    note = f"{CLIENTS} clients; p50 {many.p50_ms:.1f}, p99 {many.p99_ms:.1f} ms"
    yield judged(f"ITI-18 {kind}: throughput", "1/s", many.rate, None, RATE[kind], note=note)
    yield latencies(f"ITI-18 {kind}", asked.load)


def _growth(bench: Run, kind: str) -> Iterator[Result]:
    registry = province_of(bench, kind)
    small, size, small_size = registry.small, registry.size, registry.small_size
    if size == small_size:
        yield Skipped(f"growth {kind}", f"there are {size:,} documents only (--documents N)")
        return
    asked = _ask(bench, registry.site, registry.patients)
    times = ask_all(registry.site, registry.questions, bench.of(0.7, 0.3, 0.02))
    note = f"{small_size:,} to {size:,} documents, warm, the same {registry.patients} patients"
    p50s = (small.p50_ms, asked.load.p50_ms)
    yield judged(f"growth {kind}: ITI-18 p50", "ms", p50s[1], p50s[0], GROWTH, note=note)
    curves = {"FindDocuments of 100": [(small_size, p50s[0]), (size, p50s[1])]}
    if asked.pages and small.pages:
        pages = "EXPLAIN (ANALYZE, BUFFERS), mean"
        yield judged(f"growth {kind}: pages of ITI-18", "pages", asked.pages, small.pages, GROWTH, note=pages)
    for question in registry.questions:
        before, after = small.times[question.name], times[question.name]
        note = f"an answer of {question.objects}; floor: at {small_size:,} documents"
        yield judged(f"growth {kind}: {question.name}", "ms", after, before, GROWTH, note=note)
        curves[question.name] = [(small_size, before), (size, after)]
    for name, points in curves.items():
        yield Curve(f"growth {kind}", "documents", "ms", name, tuple(points), logarithmic=True)


def _of_one_with_many(bench: Run, kind: str) -> Iterator[Result]:
    registry = province_of(bench, kind)
    if not registry.many:
        yield Skipped(f"big patient {kind}", f"there are {registry.size:,} documents only (--documents N)")
        return
    questions = list(of_one_with_many(registry.many, registry.size, MOST))
    for question in questions:
        milliseconds = ask(registry.site, question, bench.of(2.0, 0.5, 0.02))
        note = f"a patient with {len(registry.many):,} documents"
        note += "" if question.objects is None else f", an answer of {question.objects}"
        yield judged(f"big patient {kind}: {question.name}", "ms", milliseconds, None, QUICK, note=note)
    if all(question.objects is not None for question in questions) and not bench.smoke:
        reason = f"{len(registry.many):,} documents of one patient are not too many (--documents N)"
        yield Skipped(f"big patient {kind}: too many results", reason)


def _ask(bench: Run, site: Server, patients: int) -> Asked:
    _answer_of_100(site, patients)
    folder = bench.new_folder("load")
    if not bench.smoke:
        load.find(site.url, folder, patients=patients, clients=1, seconds=1)
    with used(site.pid, *site.beside) as taken:
        seen = _loaded(bench, site, patients, clients=1)
    statements = _statements(site.settings.database_url, patients)
    times = _sql_alone(site.settings.database_url, statements, bench.of(3.0, 1.0, 0.2))
    pages = _pages(site.settings.database_url, statements) if site.beside else None
    return Asked(seen, taken, statistics.median(times), statistics.quantiles(times, n=100)[98], pages)


def _loaded(bench: Run, site: Server, patients: int, *, clients: int, encoding: str = "identity") -> Load:
    folder, seconds = bench.new_folder("load"), bench.of(5, 2, 1)
    return load.find(site.url, folder, patients=patients, clients=clients, seconds=seconds, encoding=encoding)


def _answer_of_100(site: Server, patients: int) -> None:
    """What will be measured is the answer that it should be.

    Raises:
        Broken: it is another.
    """
    body = load.find_body(f"{site.url}/registry", load.patient(patients - 1))
    reply = requests.post(
        f"{site.url}/registry", body.encode(), headers={"Content-Type": "application/soap+xml"}, timeout=60
    )
    found = reply.content.count(b"<rim:ExtrinsicObject ")
    if reply.status_code != 200 or found != A_PATIENT:
        raise Broken(f"FindDocuments gave HTTP {reply.status_code} and {found} entries")


def _statements(url: str, patients: int) -> list[list[Statement]]:
    """For each patient, what xds itself sends to the driver for the query."""
    engine, heard = make_engine(url, connections=1), list[Statement]()
    registry = DocumentRegistry([AUTHORITY], open_patients=True, most_results=MOST)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        heard.append((statement, parameters))

    found = []
    for number in range(patients):
        with reading(engine) as connection:
            heard.clear()
            registry.query(load.find_query(load.patient(number)), SqlRegistry(connection, rows.DOMAIN))
            found.append([one for one in heard if one[0].startswith("SELECT")])
    engine.dispose()
    return found


def _sql_alone(url: str, statements: Sequence[Sequence[Statement]], seconds: float) -> list[float]:
    """The same statements by the raw driver, all rows fetched: milliseconds a query."""
    times, chosen = list[float](), random.Random(1)  # noqa: S311
    with rows.raw(url) as (connection, dialect):
        if dialect != "sqlite":
            connection.autocommit = True
        cursor = connection.cursor() if dialect == "sqlite" else RawCursor(connection)  # as xds asks: by $1, $2
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            of_one = chosen.choice(statements)
            started = time.perf_counter()
            for statement, parameters in of_one:
                cursor.execute(statement, parameters)
                cursor.fetchall()
            times.append((time.perf_counter() - started) * 1000)
    return times[len(times) // 10 :]  # the first tenth warms up


def _pages(url: str, statements: Sequence[Sequence[Statement]]) -> float:
    """Pages that PostgreSQL touches for one query, on average."""
    touched = []
    with rows.raw(url) as (connection, _):
        for of_one in statements:
            total = 0
            for statement, parameters in of_one:
                explained = RawCursor(connection).execute(
                    f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters
                )
                plan = explained.fetchone()[0][0]["Plan"]
                total += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            touched.append(total)
    return statistics.mean(touched)
