"""ITI-18 against the SQL alone, against itself on a smaller registry, and about a patient with many documents."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import requests
import sqlalchemy as sa

from tests.bench import load, loading, rows
from tests.bench.asking import ask, ask_all, of_one_with_many, of_the_asked_for
from tests.bench.documents import Document, asked_for, of_a_province
from tests.bench.figures import Broken, Reach, Result, Skipped, judged
from tests.bench.load import Load
from tests.bench.processes import Used, used
from tests.bench.run import POSTGRESQL, SQLITE, Run, Server, need
from tests.builders import AUTHORITY
from xds.actors.document_registry import DocumentRegistry
from xds.settings.sections import Settings
from xds.store.engine import make_engine, reading
from xds.store.registry.sql_registry import SqlRegistry

A_PATIENT = 100
"""Documents of one patient, all of them in an answer."""

SMALL = 10_000
"""Documents of the registry that growth is measured from; its patients are the ones asked for afterwards, too."""

PATIENTS = SMALL // A_PATIENT
P50 = {SQLITE: Reach("≤", 3.0), POSTGRESQL: Reach("≤", 2.0)}
P99 = {SQLITE: None, POSTGRESQL: Reach("≤", 4.0)}
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
    """p50 and p99 on either database, and their growth."""
    need("wrk", "wrk")
    yield from bench.each_database("ITI-18", lambda kind: _one(bench, kind))


def _one(bench: Run, kind: str) -> Iterator[Result]:
    site, size = bench.new_server(kind), max(SMALL, bench.documents)
    fixed = list(asked_for(PATIENTS, A_PATIENT))
    with bench.serving(site):
        url, questions = site.settings.database_url, list(of_the_asked_for(fixed, A_PATIENT))
        loading.load(url, fixed)
        small = asked = _ask(bench, site)
        small_times = times = ask_all(site, questions, bench.of(0.7, 0.3))
        of_many: list[Result] = []
        if size > SMALL:
            more = of_a_province(SMALL, size, first_patient=PATIENTS)
            loading.load(url, more)
            asked = _ask(bench, site)
            times = ask_all(site, questions, bench.of(0.7, 0.3))
            of_many += _of_one_with_many(bench, site, kind, [one for one in more if one.patient == PATIENTS])
    yield from _found(kind, size, asked)
    if size == SMALL:
        yield Skipped(f"ITI-18 {kind}: growth", f"there are {size:,} documents only (--documents N)")
        return
    yield from _growth(kind, size, small, asked)
    for question in questions:
        yield judged(
            f"ITI-18 {kind}: {question.name}", "ms", times[question.name], small_times[question.name], GROWTH,
            note=f"an answer of {question.objects}; floor: at {SMALL:,} documents",
        )  # fmt: skip
    yield from of_many


def _found(kind: str, size: int, asked: Asked) -> Iterator[Result]:
    mb = asked.load.bytes / asked.load.requests / 1e6
    note = f"{size:,} documents, 1 client, {mb:.2f} MB an answer, {asked.load.rate:.0f}/s"
    yield judged(
        f"ITI-18 {kind}: p50", "ms", asked.load.p50_ms, asked.sql_p50_ms, P50[kind],
        server_cpu_ms=asked.cpu_ms, memory_mb=asked.used.growth_mb, note=note,
    )  # fmt: skip
    yield judged(f"ITI-18 {kind}: p99", "ms", asked.load.p99_ms, asked.sql_p99_ms, P99[kind])


def _growth(kind: str, size: int, small: Asked, asked: Asked) -> Iterator[Result]:
    note = f"{SMALL:,} to {size:,} documents, warm, the same {PATIENTS} patients"
    yield judged(f"ITI-18 {kind}: growth of p50", "ms", asked.load.p50_ms, small.load.p50_ms, GROWTH, note=note)
    if asked.pages and small.pages:
        note = "EXPLAIN (ANALYZE, BUFFERS), mean"
        yield judged(f"ITI-18 {kind}: growth of pages", "pages", asked.pages, small.pages, GROWTH, note=note)


def _of_one_with_many(bench: Run, site: Server, kind: str, documents: Sequence[Document]) -> Iterator[Result]:
    """What is asked about the patient who has more documents than any other."""
    questions = list(of_one_with_many(documents, bench.documents, MOST))
    for question in questions:
        milliseconds = ask(site, question, bench.of(2.0, 0.5))
        note = f"a patient with {len(documents):,} documents"
        note += "" if question.objects is None else f", an answer of {question.objects}"
        yield judged(f"ITI-18 {kind}: big patient: {question.name}", "ms", milliseconds, None, QUICK, note=note)
    if all(question.objects is not None for question in questions):
        reason = f"{len(documents):,} documents of one patient are not too many (--documents N)"
        yield Skipped(f"ITI-18 {kind}: too many results", reason)


def _ask(bench: Run, site: Server) -> Asked:
    _answer_of_100(site)
    folder = bench.new_folder("load")
    load.find(site.url, folder, patients=PATIENTS, clients=1, seconds=1)
    with used(site.pid, *site.beside) as taken:
        seen = load.find(site.url, folder, patients=PATIENTS, clients=1, seconds=bench.of(5, 2))
    statements = _statements(site.settings.database_url)
    times = _sql_alone(site.settings.database_url, statements, bench.of(3.0, 1.0))
    pages = _pages(site.settings.database_url, statements) if site.beside else None
    return Asked(seen, taken, statistics.median(times), statistics.quantiles(times, n=100)[98], pages)


def _answer_of_100(site: Server) -> None:
    """What will be measured is the answer that it should be.

    Raises:
        Broken: it is another.
    """
    body = load.find_body(f"{site.url}/registry", load.patient(PATIENTS - 1))
    reply = requests.post(
        f"{site.url}/registry", body.encode(), headers={"Content-Type": "application/soap+xml"}, timeout=60
    )
    found = reply.content.count(b"<rim:ExtrinsicObject ")
    if reply.status_code != 200 or found != A_PATIENT:
        raise Broken(f"FindDocuments gave HTTP {reply.status_code} and {found} entries")


def _statements(url: str) -> list[list[Statement]]:
    """For each patient, what xds itself sends to the driver for the query."""
    engine, heard = make_engine(url, connections=1), list[Statement]()
    registry = DocumentRegistry([AUTHORITY], open_patients=True, most_results=MOST)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        heard.append((statement, parameters))

    found = []
    for number in range(PATIENTS):
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
        cursor = connection.cursor()
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
                explained = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
                plan = explained.fetchone()[0][0]["Plan"]
                total += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            touched.append(total)
    return statistics.mean(touched)
