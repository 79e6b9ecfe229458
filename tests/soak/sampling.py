"""What a node uses, looked at again and again; and whether that has grown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.figures import Curve, Figure, Reach, judged
from tests.bench.idling import shares

OWN = ("Pss_Anon", "Pss_Shmem", "SwapPss")
"""What can leak; what files back changes with who else on the machine has them open."""

WARM, LAST = (0.25, 0.5), (0.75, 1.0)
"""Parts of the time that are compared: once all is warm, and at the end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """At one moment: seconds since the beginning, bytes, numbers."""

    seconds: float
    memory_bytes: int  # of all processes together that no file backs
    descriptors: int
    threads: int
    temporary: int  # files
    database_bytes: int
    records: int  # of the audit log
    done: int  # requests carried out so far
    each: Mapping[str, int] = field(default_factory=dict)  # the memory of each process by its name and number


def seen(root: int) -> tuple[dict[str, int], int, int]:
    """Memory of each process by its name and number, descriptors and threads of a process and all below it."""
    memory, descriptors, threads = dict[str, int](), 0, 0
    for pid, used in shares(root, OWN).items():
        with suppress(OSError):  # it has ended meanwhile
            memory[f"{Path(f'/proc/{pid}/comm').read_text().strip()} {pid}"] = used
            descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
            threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
    return memory, descriptors, threads


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that must stay as it is: what it is of a sample, and how much more it may be at the end."""

    name: str
    unit: str
    of: Callable[[Sample], float]
    most: Reach
    ratio: bool = True  # by the ratio to what it was; or by the difference


MEASURES = (
    Measure("memory", "MB", lambda one: one.memory_bytes / 1e6, Reach("≤", 1.05)),
    Measure("descriptors", "", lambda one: float(one.descriptors), Reach("≤", 8, "more"), ratio=False),
    Measure("threads", "", lambda one: float(one.threads), Reach("≤", 4, "more"), ratio=False),
    Measure("temporary files", "", lambda one: float(one.temporary), Reach("≤", 4, "more"), ratio=False),
)

A_RECORD = Reach("≤", 1.3)
"""Bytes of the database for each record of the audit log, late against early."""

RATE = Reach("≥", 0.7)
"""Requests a second, late against early."""


def part(samples: Sequence[Sample], of: tuple[float, float]) -> list[Sample]:
    """Those of a part of the time, the first and the last at least."""
    whole = samples[-1].seconds
    found = [one for one in samples if of[0] * whole <= one.seconds <= of[1] * whole]
    return found if len(found) > 1 else [samples[0], samples[-1]]


def judge(samples: Sequence[Sample]) -> Iterator[Figure | Curve]:
    """Each measure late against early, and its curve."""
    early, late = part(samples, WARM), part(samples, LAST)
    for measure in MEASURES:
        before = statistics.median(map(measure.of, early))
        after = statistics.median(map(measure.of, late))
        name = f"soak: {measure.name}"
        if measure.ratio:
            yield judged(name, measure.unit, after, before, measure.most, note="floor: early")
        else:
            yield judged(
                f"{name}, growth", measure.unit, after - before, None, measure.most, note=f"{before:.0f} early"
            )
        yield _curve(name, measure.unit, samples, measure.of)
    for process in sorted({name for one in samples for name in one.each}):
        points = tuple((one.seconds / 60, one.each.get(process, 0) / 1e6) for one in samples)
        yield Curve("soak: memory of each process", "min", "MB", process, points)
    yield judged("soak: database, a record", "bytes", _a_record(late), _a_record(early), A_RECORD, note="floor: early")
    yield _curve("soak: database", "MB", samples, lambda one: one.database_bytes / 1e6)
    yield judged("soak: requests", "1/s", _rate(late), _rate(early), RATE, note=f"{samples[-1].done:,} in all")


def _a_record(samples: Sequence[Sample]) -> float:
    grown = samples[-1].database_bytes - samples[0].database_bytes
    return grown / max(1, samples[-1].records - samples[0].records)


def _rate(samples: Sequence[Sample]) -> float:
    return (samples[-1].done - samples[0].done) / max(0.001, samples[-1].seconds - samples[0].seconds)


def _curve(name: str, unit: str, samples: Sequence[Sample], of: Callable[[Sample], float]) -> Curve:
    return Curve(name, "min", unit or "number", name, tuple((one.seconds / 60, of(one)) for one in samples))
