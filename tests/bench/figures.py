"""A figure with its floor, and how all of them are printed and written."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


class Missing(Exception):
    """Something that a benchmark needs is not installed; the message says what, in one line."""


class Broken(Exception):
    """A benchmark did not do what it measures: its figure would be worth nothing."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What is to be reached, by the ratio to the floor or, where there is no floor, by the figure itself."""

    sign: str  # ≥ or ≤
    limit: float
    unit: str = ""

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.sign == "≥" else value <= self.limit

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g} {self.unit}".strip()


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.  ``server_cpu_ms`` is a request's, ``memory_mb`` the server's peak above idle."""

    name: str
    unit: str
    figure: float | None
    floor: float | None
    ratio: float | None
    reach: str
    reached: bool | None
    server_cpu_ms: float | None = None
    memory_mb: float | None = None
    note: str = ""
    row: str = ""
    noisy: float | None = None  # the share of the machine that others used, where that was too much


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart; curves of one title share the chart."""

    title: str
    x: str
    y: str
    name: str
    points: tuple[tuple[float, float], ...]
    logarithmic: bool = False  # the x axis


@dataclass(frozen=True, slots=True)
class Skipped:
    """A figure that could not be measured here, and why."""

    name: str
    reason: str
    row: str = ""


Result = Figure | Curve | Skipped


def judged(
    name: str,
    unit: str,
    figure: float,
    floor: float | None,
    reach: Reach | None,
    *,
    server_cpu_ms: float | None = None,
    memory_mb: float | None = None,
    note: str = "",
) -> Figure:
    """A figure held against its floor."""
    ratio = figure / floor if floor else None
    value = figure if ratio is None else ratio
    reached = None if reach is None else reach.holds(value)
    return Figure(name, unit, figure, floor, ratio, str(reach or ""), reached, server_cpu_ms, memory_mb, note)


def medians(rounds: Sequence[Sequence[Result]]) -> list[Result]:
    """Of each figure the one in the middle of all rounds, with the least and the most; the rest as it was at last."""
    if len(rounds) == 1:
        return list(rounds[0])
    return [_median(one, rounds) if isinstance(one, Figure) else one for one in rounds[-1]]


def _median(last: Figure, rounds: Sequence[Sequence[Result]]) -> Figure:
    def judged_by(one: Figure) -> float:
        return (one.figure if one.ratio is None else one.ratio) or 0.0

    of_all = [one for results in rounds for one in results if isinstance(one, Figure) and one.name == last.name]
    listed = sorted(of_all, key=judged_by)
    middle, least, most = listed[len(listed) // 2], judged_by(listed[0]), judged_by(listed[-1])
    note = f"median of {len(listed)}, {_number(least)} to {_number(most)}; {middle.note}"
    return dataclasses.replace(middle, note=note)


def _number(value: float | None) -> str:
    """With as many digits as mean something."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def noted(figure: Figure) -> str:
    """Its note, with what makes it doubtful first."""
    if figure.noisy is None:
        return figure.note
    return f"NOISY: others used {figure.noisy:.0%} of the machine; {figure.note}"


def table(results: Sequence[Result]) -> None:
    """Print figures as a table, then what was skipped, a line each."""
    drawn = Table(title="xds against its floors", show_lines=False)
    for column in ("figure", "unit", "xds", "floor", "ratio", "to reach", "", "CPU ms/req", "MB above idle", "note"):
        numeric = column in ("xds", "floor", "ratio", "CPU ms/req", "MB above idle")
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for result in results:
        if isinstance(result, Figure):
            met = {True: "yes", False: "NO", None: ""}[result.reached]
            drawn.add_row(
                result.name, result.unit, _number(result.figure), _number(result.floor), _number(result.ratio),
                result.reach, met, _number(result.server_cpu_ms), _number(result.memory_mb), noted(result),
            )  # fmt: skip
    console = Console()
    # Where nobody looks at it line by line, lines may be as long as they are.
    console = console if console.is_terminal and console.width >= 150 else Console(width=190)
    if drawn.row_count:
        console.print(drawn)
    for result in results:
        if isinstance(result, Skipped):
            console.print(f"skipped: {result.name}: {result.reason}", highlight=False, markup=False)


def lines(results: Sequence[Result]) -> None:
    """Print a line a benchmark: what it gave, without judging it."""
    rows = dict.fromkeys(result.row for result in results if not isinstance(result, Curve))
    for row in rows:
        of_row = [result for result in results if not isinstance(result, Curve) and result.row == row]
        given = [f"{one.name} {_number(one.figure)} {one.unit}".rstrip() for one in of_row if isinstance(one, Figure)]
        lacking = [f"{one.name}: {one.reason}" for one in of_row if isinstance(one, Skipped)]
        print(f"{row}: {len(given)} figures" + (f"; {'; '.join(lacking)}" if lacking else f", such as {given[0]}"))


def machine(load_average: float) -> dict[str, Any]:
    """Where the figures are from; ``load_average`` tells what else was running when they were begun."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average_before": round(load_average, 2),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def as_json(results: Iterable[Result], load_average: float, **facts: Any) -> dict[str, Any]:
    """Everything as JSON has it."""
    listed = list(results)
    return {
        "machine": machine(load_average),
        **facts,
        "figures": [dataclasses.asdict(r) for r in listed if isinstance(r, Figure)],
        "curves": [dataclasses.asdict(r) for r in listed if isinstance(r, Curve)],
        "skipped": [dataclasses.asdict(r) for r in listed if isinstance(r, Skipped)],
    }


def write(path: Path, told: dict[str, Any]) -> None:
    """Write it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(path)
