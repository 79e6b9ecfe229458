"""Bulk load: documents made into the registry's rows and written, against COPY of the same rows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench import loading, rows
from tests.bench.documents import of_a_province
from tests.bench.figures import Broken, Missing, Reach, Result, Skipped, judged
from tests.bench.run import POSTGRESQL, Run
from xds.store.deployment import migrate
from xds.store.engine import make_engine

LOADED = Reach("≥", 0.3)
_SIZE = "SELECT pg_database_size(current_database())"
_COUNT = "SELECT count(*) FROM document_entry"


def run(bench: Run) -> Iterator[Result]:
    """Documents a second, indexes and all, either way."""
    count = bench.of(bench.documents, 10_000, 1_000)
    documents = of_a_province(0, count, first_patient=0)
    try:
        url, floor_url = (_empty(bench) for _ in range(2))
    except Missing as missing:
        yield Skipped("bulk load", str(missing))
        return
    started = time.perf_counter()
    loading.load(url, documents)
    seconds = time.perf_counter() - started
    keys = rows.add_patients(floor_url, 1 + max(one.patient for one in documents))
    prebuilt = loading.built(documents, keys)
    started = time.perf_counter()
    loading.write(floor_url, iter(prebuilt))
    floor = time.perf_counter() - started
    with rows.raw(url) as (connection, _):
        size = connection.execute(_SIZE).fetchone()[0]
        held = connection.execute(_COUNT).fetchone()[0]
    if held != len(documents):
        raise Broken(f"{held} of {len(documents)} documents are there")
    note = f"floor: COPY of prebuilt rows, then vacuum; {size / held:,.0f} bytes a document, indexes and all"
    name = f"bulk load of {len(documents):,}"
    yield judged(name, "documents/s", held / seconds, held / floor, LOADED, note=note)


def _empty(bench: Run) -> str:
    """A new database with the tables."""
    url = bench.new_database(POSTGRESQL)
    engine = make_engine(url)
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    return url
