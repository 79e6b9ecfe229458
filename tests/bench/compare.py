"""``python -m tests.bench.compare OLD NEW``: what changed between two runs, figure by figure."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WORTH = 0.05
"""A change of less is what two runs of the same code differ by."""


def main(given: list[str]) -> int:
    """Print a table; exit code 2 where the files are not two runs."""
    try:
        old, new = (json.loads(Path(name).read_text("utf-8")) for name in given)
        before, after = ({one["name"]: one for one in told["figures"]} for told in (old, new))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        print(f"two files that a run has written are needed: {problem}", file=sys.stderr)
        return 2
    table = Table(title=f"{old['machine']['measured']} → {new['machine']['measured']}")
    for column in ("figure", "unit", "old", "new", "change", "old ratio", "new ratio", "reached", ""):
        table.add_column(column, justify="left" if column in ("figure", "unit", "reached", "") else "right")
    for name in dict.fromkeys([*before, *after]):
        table.add_row(name, *_compared(before.get(name), after.get(name)))
    console = Console()
    (console if console.is_terminal and console.width >= 140 else Console(width=170)).print(table)
    return 0


def _compared(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    """The cells behind a figure's name.

    How far it has gone is told by the ratios to the floors where both have one: machines differ, and change.
    """
    if old is None or new is None:
        there = old or new or {}
        cells = [_number(old and old["figure"]), _number(new and new["figure"])]
        return [there["unit"], *cells, "gone" if new is None else "new", "", "", "", ""]
    key = "ratio" if old["ratio"] and new["ratio"] else "figure"
    change = new[key] / old[key] - 1 if old[key] else 0.0
    said = "same" if abs(change) < WORTH else f"{change:+.0%}"
    reached = {True: "yes", False: "NO", None: ""}
    met = " → ".join(dict.fromkeys(reached[one["reached"]] for one in (old, new)))
    noisy = "noisy" if any(one.get("noisy") is not None for one in (old, new)) else ""
    return [
        new["unit"], _number(old["figure"]), _number(new["figure"]), said, _number(old["ratio"]),
        _number(new["ratio"]), met, noisy,
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
