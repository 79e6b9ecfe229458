"""``python -m tests.soak``: a node under peers of all kinds for hours, and whether anything of it grows."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from tests.bench import page
from tests.bench.figures import Figure, Result, as_json, table
from tests.bench.figures import write as write_json
from tests.bench.noise import Noise
from tests.bench.run import POSTGRESQL, SQLITE, Run, Server, Size
from tests.builders import AUTHORITY
from tests.soak.peers import SoakPeers, archive
from tests.soak.sampling import Sample, judge, seen
from xds.metadata.identifiers import PatientId
from xds.store.engine import make_engine, reading
from xds.store.tables import audit_head

PEERS, PAUSE_SECONDS, PATIENTS = 6, 0.3, 2_000
SAMPLES = 240
"""In all the time, and not more often than each second."""


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="how long (1)")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite; else on PostgreSQL")
    parser.add_argument("--page", type=Path, default=Path(".bench/soak.html"), help="where the curves are written to")
    options = parser.parse_args(given)
    began, kind = time.monotonic(), SQLITE if options.sqlite else POSTGRESQL
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xds-")))
        folder.chmod(0o711)  # PostgreSQL has another user
        results, wrong = soak(Run(folder, Size.FULL, 0, stack), kind, options.hours * 3600)
    told = as_json(
        results, 0.0, size=f"{options.hours:g} hours on {kind}", documents=0, seconds=time.monotonic() - began
    )  # fmt: skip
    write_json(options.page.with_suffix(".json"), told)
    page.write(options.page, told)
    table(results)
    for one in wrong[:20]:
        print(f"wrong: {one}")
    grown = [one.name for one in results if isinstance(one, Figure) and one.reached is False]
    print(f"soak: {'nothing has grown' if not grown else ', '.join(grown)}; {len(wrong)} answers were wrong")
    return 1 if grown or wrong else 0


def soak(bench: Run, kind: str, seconds: float) -> tuple[list[Result], list[str]]:
    """What a node of all actors used in so much time, and what of its answers was wrong."""
    images = bench.new_folder("images")
    archive(images)
    site = bench.new_server(
        kind, imaging_source={"folder": str(images), "stow_rs": True, "refresh_seconds": 1.0},
        audit={"checkpoint_seconds": 1.0},
    )  # fmt: skip
    patients = [PatientId(f"soak{number}", AUTHORITY) for number in range(PATIENTS)]
    with bench.serving(site):
        settings = site.settings
        peers = SoakPeers(
            site.url, settings.repository.unique_id, bench.new_folder("peers"), 1, pause_seconds=PAUSE_SECONDS,
            patients=patients, source=settings.imaging_source.retrieve_location_uid,
        )  # fmt: skip
        stopping = threading.Event()
        threads = [threading.Thread(target=peers.work, args=(number, stopping)) for number in range(PEERS)]
        for thread in threads:
            thread.start()
        try:
            noise = Noise()
            samples = list(_samples(site, images, peers, seconds))
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
    results: list[Result] = list(judge(samples))
    print(f"others used {noise.others():.1%} of the machine", file=sys.stderr)
    return results, peers.told.wrong


def _samples(site: Server, images: Path, peers: SoakPeers, seconds: float) -> Iterator[Sample]:
    """Until the time is over."""
    engine = make_engine(site.settings.database_url, connections=1)
    every, began = max(1.0, seconds / SAMPLES), time.monotonic()
    try:
        while (since := time.monotonic() - began) <= seconds:
            database, records = _database(engine)
            each, descriptors, threads = seen(site.pid)
            yield Sample(
                since, sum(each.values()), descriptors, threads, _temporary(site, images), database, records,
                peers.told.counted.total(), each,
            )  # fmt: skip
            if not site.lives():
                peers.told.wrong.append(f"the node has ended: {site.last_words()}")
                return
            time.sleep(max(0.0, every - (time.monotonic() - began - since)))
    finally:
        engine.dispose()


def _temporary(site: Server, images: Path) -> int:
    """Files of what is under way."""
    data = site.settings.data
    folders = (images / ".incoming", data / "spool", data / "documents" / "staging", data / "run" / "tmp")
    return sum(1 for folder in folders if folder.is_dir() for _ in folder.iterdir())


def _database(engine: sa.Engine) -> tuple[int, int]:
    """Its bytes, and how many records the audit log has."""
    with reading(engine) as connection:
        size = (
            sa.text("SELECT pg_database_size(current_database())")
            if engine.dialect.name == "postgresql"
            else sa.text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        )
        return int(connection.scalar(size) or 0), int(connection.scalar(sa.select(audit_head.c.size)) or 0)


if __name__ == "__main__":
    random.seed(1)
    sys.exit(main())
