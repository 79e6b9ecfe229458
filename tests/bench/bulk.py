"""Bulk load: documents made into the registry's rows and written, against COPY of the same rows; and what is held then.

A large load is that of the registry which the queries are asked of, held against COPY of the first of its rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from tests.bench import loading, rows
from tests.bench.documents import Document, of_a_province
from tests.bench.figures import Broken, Missing, Reach, Result, Skipped, judged
from tests.bench.loading import Loaded
from tests.bench.querying import province_of
from tests.bench.run import POSTGRESQL, Run

LOADED = Reach("≥", 0.3)
SLICE = 100_000
"""Documents of the floor: prebuilt rows of all would not be held in memory."""

_COUNT = "SELECT count(*) FROM document_entry"
_SIZES = """
SELECT parent.relname, sum(pg_table_size(part.relid)), sum(pg_indexes_size(part.relid))
FROM pg_class parent CROSS JOIN LATERAL pg_partition_tree(parent.oid) part
WHERE parent.relkind IN ('p', 'r') AND parent.relnamespace = 'public'::regnamespace AND NOT parent.relispartition
GROUP BY 1 ORDER BY sum(pg_total_relation_size(part.relid)) DESC
"""
LISTED = 6
"""Tables that are told of: the others are small."""

CHANGED = 100
"""One document in so many is written anew, to see what vacuum makes of it."""

_WRITE_ANEW = f"""
UPDATE document_entry SET status = status
WHERE mod(hashtext(entry_uuid), {CHANGED}) = 0
"""  # noqa: S608


def run(bench: Run) -> Iterator[Result]:
    """Documents a second, indexes and all, either way; bytes of each table; vacuum."""
    count = bench.of(bench.documents, 10_000, 1_000)
    try:
        bench.postgres()
    except Missing as missing:
        yield Skipped("bulk load", str(missing))
        return
    if count > SLICE:
        registry = province_of(bench, POSTGRESQL)
        assert registry.loaded is not None
        url, loaded, reckoned = registry.site.settings.database_url, registry.loaded, registry.reckoned
        documents = of_a_province(0, SLICE, first_patient=0)
        held = loaded.documents + registry.small_size
    else:
        documents, reckoned = of_a_province(0, count, first_patient=0), ""
        url, held = bench.migrated(POSTGRESQL), count
        loaded = loading.load(url, documents)
    floor = _copied(bench, documents)
    with rows.raw(url) as (connection, _):
        found = connection.execute(_COUNT).fetchone()[0]
    if found != held:
        raise Broken(f"{found} of {held} documents are there")
    size = loading.size_bytes(url) / held
    note = f"floor: COPY of prebuilt rows of {len(documents):,}, vacuumed; {size:,.0f} bytes a document in all"
    name, rate = f"bulk load of {held:,}", loaded.documents / loaded.seconds
    note = "; ".join(filter(None, (note, reckoned)))
    yield judged(name, "documents/s", rate, len(documents) / floor.seconds, LOADED, note=note)
    yield from _held(url, held, loaded)


def _copied(bench: Run, documents: Sequence[Document]) -> Loaded:
    url = bench.migrated(POSTGRESQL)
    keys = rows.add_patients(url, 1 + max(one.patient for one in documents))
    prebuilt = loading.built(documents, keys)
    return loading.write(url, iter(prebuilt))


def _held(url: str, documents: int, loaded: Loaded) -> Iterator[Result]:
    """What the tables take, and how long it takes to vacuum and analyse: all, and when one in a hundred was changed."""
    with rows.raw(url) as (connection, _):
        tables = connection.execute(_SIZES).fetchall()
        before = loading.size_bytes(url)
        changed = connection.execute(_WRITE_ANEW).rowcount
        connection.commit()
        connection.autocommit = True
        started = time.perf_counter()
        connection.execute("VACUUM ANALYZE")
        again = time.perf_counter() - started
    for table, heap, indexes in tables[:LISTED]:
        note = f"{heap / documents:,.0f} of rows, {indexes / documents:,.0f} of indexes"
        yield judged(f"size: {table}", "bytes a document", float(heap + indexes) / documents, None, None, note=note)
    first = loaded.seconds - loaded.writing_seconds
    grown = loading.size_bytes(url) / before - 1
    note = f"when all was new, with a checkpoint: {first:.1f} s; {changed:,} changed, {grown:.1%} larger"
    yield judged("vacuum and analyse, 1 % changed", "s", again, None, None, note=note)
