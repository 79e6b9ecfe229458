"""The auditor's reports: who saw a patient, what somebody saw, what failed, emergency overrides; each line drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import Blueprint, abort, render_template, request

from xds.audit import reports
from xds.audit.reports import Line
from xds.console.auditing import DAY, Search, look
from xds.desk import AuditDesk
from xds.store.audit import Recorded, now_microseconds
from xds.store.audit_search import Wanted

READ = 5000
"""Records, the newest, that a report is made of."""

BUCKETS = 48
"""Parts of the time in which a line's records are drawn."""

LINES = 500
"""Lines that are shown."""


class Report(NamedTuple):
    """A report: what it is called, what it needs to be told, and how it is made of records."""

    title: str
    lead: str
    needs: str  # a field of the search; empty: none
    heads: tuple[str, str]
    make: Callable[[Iterable[Recorded]], list[Line]]
    event: str = ""
    failed: bool = False


REPORTS = {
    "patient": Report(
        "Who saw this patient", "Everybody who asked for, fetched or changed something of a patient.", "patient",
        ("Who", "Where"), reports.who_saw,
    ),
    "person": Report(
        "What did this person see", "Every patient whose data a person or system had to do with.", "user",
        ("Patient", ""), reports.what_was_seen,
    ),
    "failures": Report(
        "What went wrong", "Everything that failed or was refused, by its reason.", "", ("What", "By"),
        reports.failures, failed=True,
    ),
    "overrides": Report(
        "Emergency overrides", "Who went past what a patient has consented to, in an emergency.", "", ("Who", "Where"),
        reports.overrides, event="110113",
    ),
}  # fmt: skip


def pages(log: AuditDesk) -> Blueprint:
    """The pages; each look is recorded before it is answered."""
    blueprint = Blueprint("reporting", __name__)

    @blueprint.get("/console/audit/reports/<name>")
    def report(name: str) -> str:
        about = REPORTS.get(name)
        if about is None:
            abort(404)
        asked = _asked(about)
        lines, cut = [], ""
        if not about.needs or about.needs in asked.given:
            wanted = replace(asked.wanted, event=about.event, failed=about.failed or asked.wanted.failed)
            found = log.page(wanted, READ)
            lines = about.make(found.records)
            cut = f"{datetime.fromtimestamp(found.end.recorded / 1e6, UTC):%Y-%m-%d %H:%M}" if found.end else ""
            log.looked(look(), {"report": name, **asked.given}, asked.given.get("patient", ""))
        return render_template(
            "report.html", about=about, name=name, given=asked.given, wrong=asked.wrong, cut=cut, desk=name,
            lines=_drawn(lines[:LINES], asked.wanted), hidden=max(len(lines) - LINES, 0), search=asked,
            people=sum(line.is_person for line in lines), total=len(lines),
        )  # fmt: skip

    return blueprint


def _asked(about: Report) -> Search:
    """What the form says; a report that needs nothing is of the last thirty days, unless it says otherwise."""
    asked = Search.of(request.args)
    if not about.needs and not asked.wanted.since:
        asked = replace(asked, wanted=replace(asked.wanted, since=now_microseconds() - 30 * DAY))
    return asked


def _drawn(lines: Sequence[Line], wanted: Wanted) -> list[dict[str, Any]]:
    """Lines with their bars, and marks of when."""
    if not lines:
        return []
    first = wanted.since or min(line.first for line in lines)
    last = max(wanted.until or 0, max(line.last for line in lines) + 1)
    most = max(line.count for line in lines)
    return [{
        "line": line, "first": _time(line.first), "last": _time(line.last), "width": round(100 * line.count / most, 1),
        "marks": _marks(line, first, last), "kinds": sorted(line.kinds.items(), key=lambda kind: -kind[1]),
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


def _time(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M}"
