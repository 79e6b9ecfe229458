"""How long the auditor's desk searches a log of many records: each kind of question, its list and its chart."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from tests.bench import rows
from tests.bench.auditing import message
from tests.bench.figures import Broken, Missing, Reach, Result, Skipped, judged
from tests.bench.run import POSTGRESQL, Run
from tests.builders import ANNA
from xds.endpoints.console.auditing import DRAWN, PAGE
from xds.endpoints.console.desk import PATIENCE_SECONDS
from xds.store.audit import search
from xds.store.audit.records import Recorded, record
from xds.store.audit.search import HOUR, Wanted, term
from xds.store.engine import make_engine, reading
from xds.store.tables import metadata

ANSWERED, AS_QUICK = Reach("≤", 1.0, "s"), Reach("≤", 1.3)
YEAR = 365 * 24
USERS, NODES = 3001, 241
BEGIN = 1_735_689_600_000_000  # 2025-01-01

# One record in so many is a security alert, and one in so many has failed.
ALERTS, FAILURES = 19_997, 53

_MESSAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><AuditMessage><EventIdentification EventActionCode="E" EventDateTime="'
    '2026-03-01T08:00:00.000Z" EventOutcomeIndicator="0"><EventID csd-code="110112" codeSystemName="DCM" originalText='
    '"Query"/></EventIdentification><ActiveParticipant UserID="user-%s" UserIsRequestor="true"/>' + "x" * 900 + "%s"
)


def run(bench: Run) -> Iterator[Result]:
    """Fill a log by the database itself, then ask it."""
    count = bench.records
    try:
        url = bench.new_database(POSTGRESQL)
    except Missing as missing:
        yield Skipped("audit search", str(missing))
        return
    engine = make_engine(url, connections=2)
    metadata.create_all(engine)
    _fill(engine, count)
    for name, make in _questions(count).items():
        seconds, found = _asked(engine, make, bench.of(30, 5, 2))
        if not found and not bench.quick:
            raise Broken(f"{name}: nothing was found")
        note = f"longest; p50 {statistics.median(seconds) * 1000:.0f} ms; list of {PAGE} and chart; {found} found"
        yield judged(f"audit search of {count:,}: {name}", "s", max(seconds), None, ANSWERED, note=note)
    empty = make_engine(bench.migrated(POSTGRESQL), connections=1)
    times = bench.of(2_000, 500, 50)
    into, floor = (min(_recorded(one, times) for _ in range(3)) for one in (engine, empty))
    yield judged(f"audit search of {count:,}: recording", "ms", into, floor, AS_QUICK, note="floor: into an empty log")
    empty.dispose()
    engine.dispose()


def _recorded(engine: sa.Engine, times: int) -> float:
    """Milliseconds until a record is durable: the median."""
    seconds = []
    for number in range(times):
        started = time.perf_counter()
        with engine.begin() as connection:
            record(connection, [Recorded(message(number), "110107", "ITI-42", 0, str(ANNA))])
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000


def _questions(count: int) -> dict[str, Callable[[], Wanted]]:
    """What is asked, anew each time, so that not only what is in memory is found."""

    def value(kind: str, most: int) -> tuple[str, str]:
        return kind, f"{kind}-{random.randrange(most)}"  # noqa: S311  not for secrecy

    patients, late = max(count // 5, 1), BEGIN + YEAR * HOUR
    return {
        "a patient": lambda: Wanted((value("patient", patients),)),
        "a user": lambda: Wanted((value("user", USERS),)),
        "a user's failures": lambda: Wanted((value("user", USERS),), failed=True),
        "a user at a node": lambda: Wanted((value("user", USERS), value("source", NODES))),
        "a node of all": lambda: Wanted((("site", "site-0"),)),
        "a node's alerts": lambda: Wanted((("site", "site-0"),), event="110113"),
        "failures": lambda: Wanted(failed=True),
        "alerts": lambda: Wanted(event="110113"),
        "everything": Wanted,
        "a week": lambda: Wanted(since=late - 20 * 7 * 24 * HOUR, until=late - 19 * 7 * 24 * HOUR),
        "any text": lambda: Wanted(text="needle"),
        "a user's text": lambda: Wanted((value("user", USERS),), text="needle"),
    }


def _asked(engine: sa.Engine, make: Callable[[], Wanted], times: int) -> tuple[list[float], int]:
    """Seconds of each search, and how many records all of them found."""
    seconds, found = list[float](), 0
    for _ in range(times):
        wanted, started = make(), time.perf_counter()
        with reading(engine) as connection:
            found += len(search.page(connection, wanted, PAGE, PATIENCE_SECONDS).records)
            if not wanted.text:
                search.by_time(connection, wanted, HOUR, DRAWN)
        seconds.append(time.perf_counter() - started)
    return seconds, found


def _fill(engine: sa.Engine, count: int) -> None:
    """Records of a year, evenly; each by one of the users, at one of the nodes, about one of the patients."""
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE audit_value DROP CONSTRAINT audit_value_pkey"))
        connection.execute(sa.text("CREATE TABLE term_of (kind text, n bigint, term bigint)"))
        kinds = {"patient": max(count // 5, 1), "user": USERS, "source": NODES, "site": 1}
        cursor: Any = connection.connection.cursor()
        for kind, most in kinds.items():
            listed = [(kind, n, term(kind, f"{kind}-{n}")) for n in range(most)]
            rows.put(cursor, "postgresql", 'term_of ("kind", "n", "term")', listed)
        connection.execute(sa.text("CREATE INDEX ON term_of (kind, n)"))
        connection.execute(sa.text("ANALYZE term_of"))
        connection.execute(sa.text(_RECORDS), {
            "count": count, "begin": BEGIN, "step": YEAR * HOUR // count, "message": _MESSAGE, "alerts": ALERTS,
            "failures": FAILURES, "users": USERS,
        })  # fmt: skip
        for kind, most in kinds.items():
            connection.execute(sa.text(_VALUES), {"kind": kind, "most": most})
        connection.execute(sa.text(_COUNTS), {"hour": HOUR})
        connection.execute(sa.text("SELECT setval(pg_get_serial_sequence('audit_record', 'id'), :n)"), {"n": count})
        move = "INSERT INTO audit_cursor (name, position) VALUES (:name, :count)"
        connection.execute(sa.text(move), {"name": search.INDEX, "count": count})
        connection.execute(sa.text("ALTER TABLE audit_value ADD PRIMARY KEY (term, recorded, record_id)"))
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text("VACUUM ANALYZE"))


# Who did what is scattered by multiplying, the same each time.
_RECORDS = """
INSERT INTO audit_record (id, leaf_number, recorded, event, transaction, outcome, patient_id, origin, message)
SELECT n, n - 1, :begin + n * :step, CASE WHEN n % :alerts = 0 THEN '110113' ELSE '110112' END,
       CASE WHEN n % :alerts = 0 THEN '' ELSE 'ITI-18' END, CASE WHEN n % :failures = 0 THEN 8 ELSE 0 END, '', '',
       convert_to(format(CAST(:message AS text), n * 7919 % :users, CASE WHEN n % 1000 = 0 THEN 'needle' ELSE '' END),
                  'UTF8')
FROM generate_series(1, CAST(:count AS bigint)) n
"""
_VALUES = """
INSERT INTO audit_value (term, recorded, record_id)
SELECT t.term, r.recorded, r.id FROM audit_record r
JOIN term_of t ON t.kind = :kind AND t.n = r.id * 7919 % :most
"""
_COUNTS = """
INSERT INTO audit_hour (hour, event, transaction, outcome, count)
SELECT recorded / :hour * :hour, event, transaction, outcome, count(*) FROM audit_record GROUP BY 1, 2, 3, 4
"""
