"""The figures as a page to look at: how each stands to what is to be reached, the raw figures, and curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 520, 260, 56, 38, 12
COLOURS = ("#0b5fa5", "#b3541e", "#2e7d32", "#7b3fa0", "#9a7d0a", "#c2185b", "#00838f", "#5d4037", "#455a64")

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding: .8rem 0 .3rem; }
th, td { border-bottom: 1px solid #8885; padding: .3rem .6rem; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.yes { color: #2e7d32; } .no { color: #c62828; font-weight: 600; } .noisy { background: #ffb30030; }
figure { display: inline-block; margin: 1rem 1.5rem 0 0; vertical-align: top; } figcaption { font-weight: 600; }
svg text { font-size: 11px; fill: currentColor; } svg .axis { stroke: currentColor; stroke-opacity: .4; fill: none; }
.key { font-size: .85em; max-width: 33rem; } .key span { margin-right: 1em; white-space: nowrap; }
"""


def write(path: Path, told: Mapping[str, Any]) -> None:
    """Write the page of what ``figures.as_json`` gives."""
    machine = told["machine"]
    facts = (
        f"{machine['measured']}: {machine['cores']} cores, {machine['memory_gb']} GB, Linux {machine['kernel']}, Python"
        f" {machine['python']}; size {told['size']}, {told['documents']:,} documents, {told['seconds']:.0f} s in all."
    )
    skipped = "".join(f"<li>{escape(one['name'])}: {escape(one['reason'])}</li>" for one in told["skipped"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>xds against its floors</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>xds against its floors</h1><p>{escape(facts)}</p>{_table(told['figures'])}{_charts(told['curves'])}"
        + (f"<h2>Not measured</h2><ul>{skipped}</ul>" if skipped else "")
        + "</body></html>\n",
        "utf-8",
    )


def _table(listed: Sequence[Mapping[str, Any]]) -> str:
    heads = ("figure", "unit", "xds", "floor", "ratio", "to reach", "reached", "CPU ms a request", "MB above idle", "")
    rows = []
    for one in listed:
        met = {True: '<span class="yes">yes</span>', False: '<span class="no">no</span>', None: ""}[one["reached"]]
        note = escape(one["note"])
        if one["noisy"] is not None:
            note = f"others used {one['noisy']:.0%} of the machine; {note}"
        numbers = [f'<td class="n">{_short(one[key])}</td>' for key in ("figure", "floor", "ratio")]
        more = [f'<td class="n">{_short(one[key])}</td>' for key in ("server_cpu_ms", "memory_mb")]
        mark = "" if one["noisy"] is None else ' class="noisy"'
        rows.append(
            f"<tr{mark}><th scope=row>{escape(one['name'])}</th><td>{escape(one['unit'])}</td>{''.join(numbers)}"
            f"<td>{escape(one['reach'])}</td><td>{met}</td>{''.join(more)}<td>{note}</td></tr>"
        )
    head = "".join(f"<th scope=col>{name}</th>" for name in heads)
    return f"<table><caption>Figures</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _charts(curves: Sequence[Mapping[str, Any]]) -> str:
    titles = dict.fromkeys(one["title"] for one in curves)
    return "".join(_chart(title, [one for one in curves if one["title"] == title]) for title in titles)


def _chart(title: str, curves: Sequence[Mapping[str, Any]]) -> str:
    points = [point for one in curves for point in one["points"]]
    bend = math.log10 if curves[0]["logarithmic"] else float
    xs = [bend(x) for x, _ in points]
    low, high, top = min(xs), max(xs), max(y for _, y in points) * 1.08 or 1.0

    def at(x: float, y: float) -> str:
        across = (bend(x) - low) / ((high - low) or 1)
        return f"{LEFT + across * (WIDTH - LEFT - 12):.1f},{TOP + (1 - y / top) * (HEIGHT - BOTTOM - TOP):.1f}"

    lines, key = [], []
    for number, one in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        drawn = " ".join(at(x, y) for x, y in one["points"])
        lines.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        last = ", ".join(f"{_short(x)}: {_short(y)}" for x, y in one["points"])
        key.append(f'<span style="color:{colour}" title="{escape(last)}">● {escape(one["name"])}</span>')
    floor = HEIGHT - BOTTOM
    axes = f'<path class="axis" d="M{LEFT} {TOP}V{floor}H{WIDTH - 12}"/>'
    ticks = "".join(
        f'<text x="{LEFT - 6}" y="{TOP + (1 - share) * (floor - TOP) + 4:.0f}" text-anchor="end">'
        f"{_short(top * share)}</text>"
        for share in (0, 0.5, 1)
    )
    ends = [min(x for x, _ in points), max(x for x, _ in points)]
    for end, anchor, x in zip(ends, ("start", "end"), (LEFT, WIDTH - 12), strict=True):
        ticks += f'<text x="{x}" y="{floor + 14}" text-anchor="{anchor}">{_short(end)}</text>'
    x_name, y_name = escape(curves[0]["x"]), escape(curves[0]["y"])
    ticks += f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{x_name}</text>'
    ticks += f'<text x="{LEFT + 6}" y="{TOP + 10}">{y_name}</text>'
    label = f"{escape(title)}: {y_name} by {x_name}"
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg role="img" aria-label="{label}" width="{WIDTH}"'
        f' height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">{axes}{"".join(lines)}{ticks}</svg>'
        f'<div class="key">{" ".join(key)}</div></figure>'
    )


def _short(value: float | None) -> str:
    """With as many digits as mean something."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
