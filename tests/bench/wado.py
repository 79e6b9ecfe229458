"""A study of many instances by WADO-RS, beside Debian's Orthanc giving the same files by the same client."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import requests

from tests.bench.downloading import instances
from tests.bench.figures import Broken, Missing, Result, judged
from tests.bench.processes import used
from tests.bench.run import Run
from tests.imaging.images import STUDY
from xds.demo.orthanc import Orthanc, program
from xds.server.archives import archive

ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_ZIPPED = 250
"""Instances in one upload to Orthanc."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One study fetched: seconds until its first byte and its last, and its bytes."""

    first_byte_seconds: float
    seconds: float
    body_bytes: int


def run(bench: Run) -> Iterator[Result]:
    """Speed against Orthanc's, first byte and memory beside its own."""
    if program() is None:
        raise Missing("orthanc and orthanc-dicomweb")
    rounds, folder = bench.of(3, 2, 1), bench.new_folder("images")
    paths = list(instances(folder, bench.of(5_000, 500, 50)))
    site = bench.new_server(imaging_source={"folder": str(folder)})
    images = archive(site.settings)
    assert images is not None
    images.refresh()
    images.close()
    orthanc = Orthanc(bench.new_folder("orthanc"))
    orthanc.start()
    try:
        _keep(orthanc, paths)
        assert orthanc.process is not None
        with bench.serving(site):
            ours, memory = _best(site.port, "/dicomweb", site.pid, rounds)
            theirs, their_memory = _best(orthanc.port, "/dicom-web", orthanc.process.pid, rounds)
    finally:
        orthanc.stop()
    size = sum(path.stat().st_size for path in paths)
    if min(ours.body_bytes, theirs.body_bytes) < size:
        raise Broken("not all of the study came")
    note = (
        f"best of {rounds}, {size / 1e6:,.0f} MB; first byte {ours.first_byte_seconds:.2f} s, Orthanc's"
        f" {theirs.first_byte_seconds:.2f} s; memory {memory:.0f} MB, Orthanc's {their_memory:.0f} MB"
    )
    yield judged(
        f"WADO-RS of {len(paths):,}: speed beside Orthanc's", "MB/s", size / 1e6 / ours.seconds,
        size / 1e6 / theirs.seconds, None, memory_mb=memory, note=note,
    )  # fmt: skip


def _keep(orthanc: Orthanc, paths: list[Path]) -> None:
    """Put the files in, many at once: Orthanc takes them as a ZIP file."""
    for start in range(0, len(paths), _ZIPPED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as zipped:
            for path in paths[start : start + _ZIPPED]:
                zipped.write(path, path.name)
        orthanc.keep(out.getvalue())
    count = requests.get(f"{orthanc.url}/statistics", timeout=30).json()["CountInstances"]
    if count != len(paths):
        raise Broken(f"Orthanc has taken {count} of {len(paths)} instances")


def _best(port: int, base: str, pid: int, rounds: int) -> tuple[Fetched, float]:
    """The quickest of some fetches, and the most memory above idle in MB."""
    fetched, memory = [], []
    for _ in range(rounds):
        with used(pid) as taken:
            fetched.append(_fetch(port, f"{base}/studies/{STUDY}"))
        memory.append(taken.growth_mb)
    return min(fetched, key=lambda one: one.seconds), max(memory)


def _fetch(port: int, path: str) -> Fetched:
    connection = HTTPConnection("127.0.0.1", port, timeout=300)
    buffer, count = memoryview(bytearray(1024 * 1024)), 0
    started = time.perf_counter()
    connection.request("GET", path, headers={"Accept": ACCEPT})
    response = connection.getresponse()
    if response.status != 200:
        raise Broken(f"{path}: HTTP {response.status}")
    got = response.readinto(buffer[:1])
    first = time.perf_counter() - started
    while got:
        count += got
        got = response.readinto(buffer)
    connection.close()
    return Fetched(first, time.perf_counter() - started, count)
