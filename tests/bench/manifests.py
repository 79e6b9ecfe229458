"""A manifest of 10,000 instances, written and read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from tests.bench.figures import Reach, Result, judged
from tests.bench.run import Run
from tests.imaging.images import CT, a_manifest
from xds.imaging import kos
from xds.imaging.manifest import InstanceReference, Manifest, SeriesReference

INSTANCES, SERIES = 10_000, 20
ROOT = "1.2.840.113619.2.55.3.2831868886.123.1600000000"
"""UIDs as long as those of scanners."""

LIMIT = Reach("≤", 100, "ms")


def manifest() -> Manifest:
    """All instances in a few series."""
    each = INSTANCES // SERIES
    series = (
        SeriesReference(
            f"{ROOT}.{number}", "CT", "ARCHIVE", "1.2.3.4.5", "https://images.example.org/wado",
            tuple(InstanceReference(CT, f"{ROOT}.{number}.{1000 + index}") for index in range(each)),
        )
        for number in range(SERIES)
    )  # fmt: skip
    return a_manifest(series=tuple(series))


def run(bench: Run) -> Iterator[Result]:
    """Milliseconds of each; there is no floor."""
    whole, rounds = manifest(), bench.of(9, 3, 1)
    data = kos.write(whole)
    assert kos.read(data).count == INSTANCES
    note = f"median of {rounds}; {len(data) / 1e6:.1f} MB, {SERIES} series"
    yield judged("manifest of 10,000: write", "ms", _median(lambda: kos.write(whole), rounds), None, LIMIT, note=note)
    yield judged("manifest of 10,000: read", "ms", _median(lambda: kos.read(data), rounds), None, LIMIT, note=note)


def _median(do: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        do()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)
