"""The auditor's reports: who saw a patient, what somebody saw, what failed, emergency overrides; each line drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Blueprint, abort, render_template, request

from xds.audit.search.reports import REPORTS, Line, Report
from xds.endpoints.console.auditing import Search, look, minute
from xds.endpoints.console.desk import AuditDesk
from xds.errors import CannotMatch
from xds.store.audit.records import Recorded, now_microseconds
from xds.store.audit.review import DAY
from xds.store.audit.search import Wanted

READ = 5000
"""Records, the newest, that a report is made of."""

BUCKETS = 48
"""Parts of the time in which a line's records are drawn."""

LINES = 500
"""Lines that are shown."""


def pages(log: AuditDesk) -> Blueprint:
    """The pages; each look is recorded before it is answered."""
    blueprint = Blueprint("reporting", __name__)

    @blueprint.get("/console/audit/reports/<name>")
    def report(name: str) -> str | tuple[str, int]:
        about = REPORTS.get(name)
        if about is None:
            abort(404)
        asked = _asked(about)
        lines, cut, names, wrong, lost = list[Line](), "", list[str](), asked.wrong, 0
        wanted_is_there = not about.needs or about.needs in asked.given
        if wanted_is_there and about.needs == "patient" and not wrong:
            try:
                names = log.covered(asked.given["patient"])
            except CannotMatch as problem:
                wrong = str(problem)
                log.looked(look(), {"report": name, **asked.given}, asked.given["patient"])
        if wanted_is_there and not wrong:
            records, ends = dict[int, Recorded](), list[int]()
            for one in [asked, *(Search.of({**asked.given, "patient": name_}) for name_ in names[1:])]:
                wanted = replace(one.wanted, event=about.event, failed=about.failed or one.wanted.failed)
                found = log.page(wanted, READ)
                records |= {record.id: record for record in found.records}
                ends += [found.end.recorded] if found.end else []
            newest = sorted(records.values(), key=lambda record: -record.recorded)[:READ]
            lines = about.make(newest)
            lost = log.unjoined(newest, asked.wanted) if names else 0
            cut = minute(max(ends)) if ends else ""
            log.looked(look(), {"report": name, **asked.given}, asked.given.get("patient", ""))
        page = render_template(
            "report.html", about=about, name=name, given=asked.given, wrong=wrong, cut=cut, desk=name,
            lines=_drawn(lines[:LINES], asked.wanted), hidden=max(len(lines) - LINES, 0), search=asked,
            people=sum(line.is_person for line in lines), total=len(lines), names=names, lost=lost,
            now=minute(now_microseconds()),
        )  # fmt: skip
        return page, 400 if wrong else 200

    return blueprint


def _asked(about: Report) -> Search:
    """What the form says; a report that needs nothing is of the last thirty days, unless it says otherwise."""
    asked = Search.of(request.args)
    if not about.needs and not asked.given.get("since"):
        return Search.of({**request.args.to_dict(), "since": minute(now_microseconds() - 30 * DAY)[:10]})
    return asked


def _drawn(lines: Sequence[Line], wanted: Wanted) -> list[dict[str, Any]]:
    """Lines with their bars, and marks of when."""
    if not lines:
        return []
    first = wanted.since or min(line.first for line in lines)
    last = max(wanted.until or 0, max(line.last for line in lines) + 1)
    most = max(line.count for line in lines)
    return [{
        "line": line, "first": minute(line.first), "last": minute(line.last),
        "width": round(100 * line.count / most, 1), "marks": _marks(line, first, last),
        "kinds": sorted(line.kinds.items(), key=lambda kind: -kind[1]),
        "purposes": ", ".join(line.purposes),
    } for line in lines]  # fmt: skip


def _marks(line: Line, first: int, last: int) -> list[tuple[int, int]]:
    """Where in the time the records are, and how high their mark is, in percent of the highest."""
    counted: dict[int, int] = {}
    for at in line.times:
        bucket = min(max(at - first, 0) * BUCKETS // max(last - first, 1), BUCKETS - 1)
        counted[bucket] = counted.get(bucket, 0) + 1
    most = max(counted.values())
    return [(bucket, max(round(20 * count / most), 3)) for bucket, count in sorted(counted.items())]
