"""What the audit log costs: ITI-42 and ITI-18 with its store and with a no-op; verifying against SHA-256."""

from __future__ import annotations

import hashlib
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import load, loading, registering, rows
from tests.bench.documents import asked_for
from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.processes import forget_peak, resident, used
from tests.bench.province import A_PATIENT
from tests.bench.registering import Registered
from tests.bench.run import SQLITE, Run, Server, need
from tests.builders import ANNA
from xds.audit.log.keys import load_certificates, load_or_make
from xds.audit.log.segments import Record
from xds.audit.log.verify import verify
from xds.audit.log.writer import LogWriter
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.store.audit.records import Recorded, row_of
from xds.store.tables import audit_record
from xds.system.parent import ends_with_us
from xds.transactions.iti42_register_document_set_b import TRANSACTION as ITI_42

PATIENTS = 100
"""Patients who are asked for, each with the documents of ``A_PATIENT``."""

KEPT, QUERY = Reach("≥", 0.85), Reach("≤", 1.0)
VERIFY, FLAT = Reach("≤", 5.0), Reach("≤", 16, "MB")
A_CHECKPOINT = 1_000
"""Records that one checkpoint of the log to be verified seals: a second of a busy deployment."""


def cost(bench: Run) -> Iterator[Result]:
    """What recording and signing cost ITI-42 and ITI-18, on either database."""
    need("wrk", "wrk")
    if bench.smoke:
        yield from _cost(bench, SQLITE)
        return
    yield from bench.each_database("audit", lambda kind: _cost(bench, kind))


@dataclass(frozen=True, slots=True)
class _Seen:
    """One round of both loads."""

    registered: Registered
    find_p50_ms: float
    find_cpu_ms: float


def _cost(bench: Run, kind: str) -> Iterator[Result]:
    site = bench.new_server(kind)
    url = site.settings.database_url
    # In turns, so that what else the machine does hits both alike.
    rounds = [(_round(bench, site, audited=True), _round(bench, site, audited=False)) for _ in range(bench.of(2, 1, 1))]
    insert = _insert_ms(url)
    audited, noop = ([pair[side] for pair in rounds] for side in (0, 1))
    rate, noop_rate = (max(one.registered.rate for one in seen) for seen in (audited, noop))
    cpu, noop_cpu = (min(one.registered.cpu_ms for one in seen) for seen in (audited, noop))
    yield judged(
        f"audit {kind}: ITI-42 kept", "1/s", rate, noop_rate, KEPT,
        server_cpu_ms=cpu, note=f"floor: audit store a no-op, {noop_cpu:.2f} ms CPU; best of {len(rounds)}",
    )  # fmt: skip
    p50, noop_p50 = (min(one.find_p50_ms for one in seen) for seen in (audited, noop))
    yield judged(
        f"audit {kind}: ITI-18 p50", "ms", p50, noop_p50 + 2 * insert, QUERY,
        server_cpu_ms=min(one.find_cpu_ms for one in audited),
        note=f"floor: no-op {noop_p50:.2f} + 2 durable inserts of {insert:.2f} ms",
    )  # fmt: skip


def _round(bench: Run, site: Server, *, audited: bool) -> _Seen:
    site.audited, folder, patients = audited, bench.new_folder("load"), bench.of(PATIENTS, PATIENTS, 5)
    with bench.serving(site):
        url = site.settings.database_url
        if not rows.has_patients(url):
            rows.add_patients(url, PATIENTS + registering.PATIENTS)
            loading.load(url, list(asked_for(patients, A_PATIENT)))
        if not bench.smoke:
            load.find(site.url, folder, patients=patients, clients=1, seconds=1)
        with used(site.pid, *site.beside) as taken:
            found = load.find(site.url, folder, patients=patients, clients=1, seconds=bench.of(3, 1, 1))
        registered = registering.measure(bench, site, bench.of(4, 2, 1), first=PATIENTS)
    return _Seen(registered, found.p50_ms, taken.cpu_seconds / found.requests * 1000)


def _insert_ms(url: str, rounds: int = 5, count: int = 50) -> float:
    """One audit row by the raw driver, committed: milliseconds, the lowest of a few medians."""
    record = message(0)
    values = row_of(Recorded(record, "110107", "ITI-42", 0, str(ANNA), 1))
    where = rows.into(audit_record, values)
    with rows.raw(url) as (connection, dialect):
        cursor, statement = connection.cursor(), rows.insert(where, dialect)

        def once() -> float:
            started = time.perf_counter()
            cursor.execute(rows.begin(dialect))
            cursor.execute(statement, tuple(values.values()))
            cursor.execute("COMMIT")
            return (time.perf_counter() - started) * 1000

        return min(statistics.median(once() for _ in range(count)) for _ in range(rounds))


def message(number: int) -> bytes:
    """A record as the registry writes it for an ITI-42."""
    here = Party("http://127.0.0.1:8080/registry", "127.0.0.1", ours=True)
    there = Party("http://www.w3.org/2005/08/addressing/anonymous", "127.0.0.1", requestor=True)
    event = AuditEvent(AuditSource("xds", ""), "110107", "C", (ITI_42.number, ITI_42.title), there, here)
    event.about_patient(str(ANNA))
    event.about_submission_set(f"2.25.{10**15 + number}")
    event.end(failed=False)
    return event.records()[0].message


def verifying(bench: Run) -> Iterator[Result]:
    """Seconds, and memory that does not grow with the log."""
    count = bench.records
    folder = bench.new_folder("log")
    checkpoints = _write_log(folder, count)
    files = sorted((folder / "audit" / "segments").glob("*.log"))
    size = sum(path.stat().st_size for path in files)
    started = time.perf_counter()
    for path in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    floor = time.perf_counter() - started
    # In a process of its own, so that its memory can be told.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seconds, growth, later = pool.submit(_verify, folder, count).result()
    name = f"audit: verify {count:,} records"
    note = f"{size / 1e6:,.0f} MB, {checkpoints:,} checkpoints; tree, links, last signature"
    yield judged(name, "s", seconds, floor, VERIFY, memory_mb=growth, note=note)
    note = "peak, from the first tenth of the records to the last"
    yield judged(f"{name}: memory", "MB", later, None, FLAT, memory_mb=growth, note=note)


def _write_log(folder: Path, count: int) -> int:
    """A log of so many records by its own writer; return how many checkpoints it has."""
    writer = LogWriter(folder / "audit", load_or_make(folder / "keys"), "2.25.1")
    writer.open()
    pattern, mark = message(0), str(10**15).encode()
    before, _, behind = pattern.partition(mark)
    for begin in range(0, count, A_CHECKPOINT):
        now = datetime.now(UTC)
        numbers = range(begin, min(begin + A_CHECKPOINT, count))
        writer.append([Record(n, now, b"%b%d%b" % (before, 10**15 + n, behind)) for n in numbers], now)
    writer.close()
    return -(-count // A_CHECKPOINT)


def _verify(folder: Path, count: int) -> tuple[float, float, float]:
    """Seconds; peak memory above the start; and above what it was at the first tenth of the records."""
    ends_with_us()
    certificates = load_certificates(folder / "keys" / "audit-signing.crt")
    at_tenth, start = 0, resident()
    forget_peak()

    def progress(done: int) -> None:
        nonlocal at_tenth
        if not at_tenth and done >= count // 10:
            at_tenth = resident("self", "VmHWM")

    started = time.perf_counter()
    verified = verify(folder / "audit", certificates, progress=progress)
    seconds = time.perf_counter() - started
    if verified.records != count:
        raise Broken(f"{verified.records} of {count} records were verified")
    peak = resident("self", "VmHWM")
    return seconds, (peak - start) / 1e6, (peak - at_tenth) / 1e6
