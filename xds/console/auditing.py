"""The auditor's desk: the log searched, drawn by time; a record in plain words with its proof.  Each look counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, abort, g, render_template, request

from xds.audit.codes import EVENT_TYPES
from xds.audit.indexing import folded
from xds.audit.plain import indented, summary, words
from xds.desk import AuditDesk
from xds.store.audit import Recorded, Wanted

PAGE = 50
"""Records on one page."""

DRAWN = 100_000
"""Records, the newest, that the chart counts."""

BARS = 60

_NAMED = ("patient", "user", "study", "source", "address")
_OUTCOMES = {"0": "success", "4": "minor failure", "8": "serious failure", "12": "major failure"}


def pages(log: AuditDesk, looked: Callable[[str, str], None]) -> Blueprint:
    """The pages; ``looked`` records that a user has read the log."""
    blueprint = Blueprint("auditing", __name__)

    @blueprint.get("/console/audit")
    def search() -> str:
        given = {key: text for key in (*_NAMED, "transaction", "since", "until", "failed")
                 if (text := request.args.get(key, "").strip()[:300])}  # fmt: skip
        wanted, wrong = _wanted(given)
        found = log.found(wanted, PAGE + 1)
        chart = _chart(wanted, log)
        looked(_name(), request.remote_addr or "")
        last = found[PAGE - 1].id if len(found) > PAGE else 0
        return render_template(
            "audit.html", rows=[_row(one) for one in found[:PAGE]], given=given, wrong=wrong, chart=chart,
            following=urlencode([*given.items(), ("before", last)]) if last else "",
        )  # fmt: skip

    @blueprint.get("/console/audit/<int:id_>")
    def record(id_: int) -> str:
        found = log.one(id_)
        if found is None:
            abort(404)
        looked(_name(), request.remote_addr or "")
        return render_template(
            "audit_record.html", row=_row(found), words=words(found.message), xml=indented(found.message),
            proof=log.proof(found), origin=found.origin,
        )  # fmt: skip

    return blueprint


def _name() -> str:
    visitor = g.get("visitor")
    return visitor.name if visitor else "somebody"


def _wanted(given: dict[str, str]) -> tuple[Wanted, str]:
    """What a form asks for, and what of it is wrong."""
    values = tuple((key, folded(key, given[key])) for key in _NAMED if key in given)
    try:
        since, until = (_day(given.get(key, "")) for key in ("since", "until"))
    except ValueError:
        return Wanted(values), "A day is written as 2026-03-01."
    before = request.args.get("before", "0")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else 0
    return Wanted(
        values, since, until and until + 86_400_000_000, transaction=given.get("transaction", "").upper(),
        failed="failed" in given, before=number,
    ), ""  # fmt: skip


def _day(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1_000_000 if text else 0


def _chart(wanted: Wanted, log: AuditDesk) -> dict[str, Any] | None:
    """Bars by time, of those found: each leads to its day."""
    width = 86_400_000_000
    counted = log.by_time(wanted, width, DRAWN)
    if not counted:
        return None
    last = max(counted)
    days = [last - width * n for n in reversed(range(BARS))]
    most = max(counted.get(day, (0, 0))[0] for day in days)
    return {"bars": [_bar(day, *counted.get(day, (0, 0)), most) for day in days], "most": most}


def _bar(day: int, count: int, failed: int, most: int) -> dict[str, Any]:
    date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=day)).date().isoformat()
    return {
        "date": date, "count": count, "failed": failed, "height": round(100 * count / most, 1) if most else 0,
        "bad": round(100 * failed / most, 1) if most else 0,
    }  # fmt: skip


def _row(one: Recorded) -> dict[str, Any]:
    said = summary(one.message)
    return {
        "id": one.id, "leaf": one.leaf_number, "event": said["event"],
        "transaction": _kind(said.get("transaction", "")),
        "outcome": _OUTCOMES.get(said.get("outcome", ""), ""), "failed": said.get("outcome", "0") != "0",
        "source": said.get("source", ""), "destination": said.get("destination", ""),
        "patient": said.get("patient", ""), "why": said.get("why", ""),
        "time": f"{one.time:%Y-%m-%d %H:%M:%S}",
    }  # fmt: skip


def _kind(code: str) -> str:
    """A transaction's number, or what the code of another kind of event means."""
    return EVENT_TYPES[code].text if code in EVENT_TYPES else code
