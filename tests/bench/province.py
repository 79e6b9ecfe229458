"""The registry that large rows share: measured while it is small, then filled with a province's documents.

With ``--keep FOLDER`` its PostgreSQL stays there, and a run that was stopped while it loaded goes on at its next.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench import loading
from tests.bench.asking import Question, of_the_asked_for
from tests.bench.documents import Document, asked_for, of_a_province
from tests.bench.loading import Loaded
from tests.bench.run import POSTGRESQL, SQLITE, Run, Server

A_PATIENT = 100
"""Documents of one patient who is asked for."""

TRIED, WITHOUT_ASKING, INSTEAD = 20_000, 1_000_000, 3_000_000
"""Documents that a large load is reckoned from; up to how many none is; and how many are loaded instead of too many."""

MOST_ON_SQLITE = 1_000_000
"""Documents: a province has PostgreSQL."""

HOUR, OF_THE_DISK = 3600.0, 0.8
"""What a load may take."""


@dataclass(frozen=True, slots=True)
class Small:
    """What was measured when the registry was small: milliseconds, and pages of ITI-18 on PostgreSQL."""

    p50_ms: float
    pages: float | None
    times: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Filled:
    """A registry that is filled for all rows of a run.

    ``many``: the documents of the patient who has most; empty where the registry has stayed small.
    """

    site: Server
    size: int
    small_size: int
    questions: Sequence[Question]
    small: Small
    many: Sequence[Document]
    loaded: Loaded | None
    reckoned: str

    @property
    def patients(self) -> int:
        """Those who are asked for."""
        return self.small_size // A_PATIENT


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What a load of so many documents would take: seconds and bytes, by a trial; ``free`` on the disk."""

    documents: int
    seconds: float
    size_bytes: float
    free_bytes: int

    @property
    def fits(self) -> bool:
        return self.seconds <= HOUR and self.size_bytes <= self.free_bytes * OF_THE_DISK

    def __str__(self) -> str:
        return (
            f"{self.documents:,} documents reckoned at {self.seconds / 60:.0f} min and {self.size_bytes / 1e9:.0f} GB "
            f"of {self.free_bytes / 1e9:.0f}"
        )


def filled(bench: Run, kind: str, measure: Callable[[Server, Sequence[Question]], Small]) -> Filled:
    """The run's registry on a database, filled when it is first asked for; its server runs on for the other rows."""
    return bench.once(f"registry on {kind}", lambda: _fill(bench, kind, measure))


def _fill(bench: Run, kind: str, measure: Callable[[Server, Sequence[Question]], Small]) -> Filled:
    small_size, reckoned = bench.of(10_000, 10_000, 1_000), ""
    site, kept = _site(bench, kind)
    size = kept.get("size") or max(small_size, bench.documents)
    size = min(size, MOST_ON_SQLITE) if kind == SQLITE else size
    if kind == POSTGRESQL and size > WITHOUT_ASKING and not kept:
        size, reckoned = _as_many_as_fit(bench, size)
    fixed = list(asked_for(small_size // A_PATIENT, A_PATIENT))
    questions, many, loaded = list(of_the_asked_for(fixed, A_PATIENT)), list[Document](), None
    bench.stack.enter_context(bench.serving(site))
    url = site.settings.database_url
    if kept:
        small = Small(**kept["small"])
    else:
        loading.load(url, fixed)
        small = measure(site, questions)
        if kind == POSTGRESQL and bench.kept is not None:
            database = url.rpartition("/")[2]  # its port is another each time
            noted = {"size": size, "small": asdict(small), "database": database}
            (bench.kept / "noted.json").write_text(json.dumps(noted))
    if size > small_size:
        first = small_size // A_PATIENT
        more = of_a_province(small_size, size, first_patient=first)
        loaded = loading.load(url, more)
        many = [one for one in more if one.patient == first]
    return Filled(site, size, small_size, questions, small, many, loaded, reckoned)


def _site(bench: Run, kind: str) -> tuple[Server, dict[str, Any]]:
    """A new server, or the one that is kept, with what was noted of it."""
    if kind != POSTGRESQL or bench.kept is None:
        return bench.new_server(kind), {}
    folder = bench.kept / "site"
    noted = bench.kept / "noted.json"
    if noted.is_file():
        told = json.loads(noted.read_text())
        return bench.new_server(kind, folder=folder, database=told["database"]), told
    shutil.rmtree(folder, ignore_errors=True)
    return bench.new_server(kind, folder=folder), {}


def _as_many_as_fit(bench: Run, wanted: int) -> tuple[int, str]:
    """So many documents, or fewer where these would take more than an hour or most of the disk; and why."""
    reckoned = reckon(bench, wanted)
    size = wanted if reckoned.fits else min(wanted, INSTEAD)
    said = str(reckoned) + ("" if size == wanted else f": {size:,} instead")
    print(said, file=sys.stderr, end=" … ", flush=True)
    return size, said


def reckon(bench: Run, documents: int) -> Reckoned:
    """What a load would take, by one that is small."""
    tried = of_a_province(0, TRIED, first_patient=0)
    url = bench.migrated(POSTGRESQL)
    empty = loading.size_bytes(url)
    loaded, free = loading.load(url, tried), shutil.disk_usage(bench.kept or bench.folder).free
    share = documents / TRIED
    return Reckoned(documents, loaded.seconds * share, (loading.size_bytes(url) - empty) * share, free)
