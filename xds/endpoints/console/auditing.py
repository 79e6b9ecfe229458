"""The auditor's desk: the log searched, drawn by time; a record in plain words with its proof.  Each look counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Response, abort, g, redirect, render_template, request

from xds.audit.messages.codes import EVENT_IDS, TRANSACTIONS
from xds.audit.messages.plain import indented, meaning, summary, words
from xds.audit.search import listing
from xds.audit.search.indexing import by_values
from xds.endpoints.console.desk import AuditDesk, Look
from xds.endpoints.console.sealing import Sealer, TooLong
from xds.endpoints.console.signing_in import from_our_form
from xds.endpoints.console.trouble import trouble
from xds.errors import CannotMatch
from xds.store.audit.records import Recorded, now_microseconds
from xds.store.audit.review import DAY
from xds.store.audit.search import HOUR, Page, Position, Wanted

PAGE = 50
"""Records on one page."""

DRAWN = 50_000
"""Records, the newest, that the chart counts where it is of a patient, user or other value."""

BARS = 60
WIDTHS = (HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY)
"""What one bar may stand for: the narrowest is taken that shows the whole time in so many bars."""

NAMED = ("patient", "user", "organisation", "study", "source", "address", "day")
"""What a form asks for by a record's values, beside kind, outcome, time and text."""

LATE_SECONDS, DAYS = 300, 31
"""By how much a record must have come late for its list to say so; and of how many days it is said how many did."""

# What a search may be taken away as: its type, and how many records at the most.
_EXPORTS = {
    "csv": ("text/csv; charset=utf-8", 10_000), "jsonl": ("application/x-ndjson", 10_000),
    "pdf": ("application/pdf", listing.MOST_ON_PAPER),
}  # fmt: skip
_OUTCOMES = {"0": "success", "4": "minor failure", "8": "serious failure", "12": "major failure"}


@dataclass(frozen=True, slots=True)
class Search:
    """What a form asks for: as it was given, as it is looked for, and what of it is wrong."""

    given: Mapping[str, str]
    wanted: Wanted
    wrong: str = ""

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Search:
        """Read a form; what cannot be read restricts nothing, and is said."""
        given = {key: text for key in (*NAMED, "event", "outcome", "text", "since", "until")
                 if (text := arguments.get(key, "").replace("\0", "").strip()[:300])}  # fmt: skip
        wanted = by_values({key: given[key] for key in NAMED if key in given})
        event, transaction = _kind(given.get("event", ""))
        wanted = replace(wanted, event=event, transaction=transaction, text=given.get("text", ""))
        if given.get("outcome") == "failed":
            wanted = replace(wanted, failed=True)
        elif given.get("outcome") in _OUTCOMES:
            wanted = replace(wanted, outcomes=(int(given["outcome"]),))
        try:
            since, (until, width) = time_of(given.get("since", ""))[0], time_of(given.get("until", ""))
            before = Position.parse(arguments["before"]) if "before" in arguments else None
        except ValueError as problem:
            return cls(given, wanted, str(problem))
        if until and until + width <= since:
            return cls(given, wanted, "From is after Until.")
        return cls(given, replace(wanted, since=since, until=until and until + width, before=before))

    @property
    def text(self) -> str:
        """What it asks for, in one line: as it is kept."""
        return urlencode(self.given)

    def with_(self, **more: str) -> dict[str, str]:
        """What the same search asks for with something else in it."""
        return {**self.given, **more}


def _kind(text: str) -> tuple[str, str]:
    """An event by its code, or a transaction by its number."""
    return (text, "") if text in EVENT_IDS else ("", text.upper()[:16])


def time_of(text: str) -> tuple[int, int]:
    """Microseconds since 1970 of a day, a minute or a second in UTC, and how long it is; 0 of none.

    Raises:
        ValueError: it is none; the message is for people.
    """
    plain = text.removesuffix("Z").removesuffix("UTC").strip().replace(" ", "T")
    for form, width in (("%Y-%m-%d", DAY), ("%Y-%m-%dT%H:%M", 60_000_000), ("%Y-%m-%dT%H:%M:%S", 1_000_000)):
        try:
            moment = datetime.strptime(plain, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return max(int(moment.timestamp()) * 1_000_000, 1), width
    if text:
        raise ValueError("A time is written as 2026-03-01, 2026-03-01 08:00 or 2026-03-01 08:00:30, in UTC.")
    return 0, 0


def look() -> Look:
    """Who is looking."""
    visitor = g.get("visitor")
    return Look(visitor.name if visitor else "somebody", request.remote_addr or "")


def pages(log: AuditDesk, sealer: Sealer) -> Blueprint:
    """The pages; each look is recorded before it is answered."""
    blueprint = Blueprint("auditing", __name__)

    @blueprint.app_context_processor
    def waiting() -> dict[str, Any]:
        return {"unusual_count": log.open_count}

    def rows(found: Sequence[Recorded]) -> list[dict[str, Any]]:
        about = log.patients(found)
        return [row(one, about[one.id]) for one in found]

    @blueprint.get("/console/audit")
    def search() -> str | tuple[str, int]:
        asked = Search.of(request.args)
        if asked.wrong:
            return shown(asked, Page([], None), None, []), 400
        others = list[str]()
        try:
            if "patient" in asked.given:
                others = log.covered(asked.given["patient"])[1:]
        except CannotMatch as problem:
            log.looked(look(), asked.given)
            return shown(replace(asked, wrong=str(problem)), Page([], None), None, []), 400
        found = log.page(asked.wanted, PAGE)
        chart = _chart(asked, log)
        log.looked(look(), asked.given)
        return shown(asked, found, chart, others)

    def shown(asked: Search, found: Page, chart: dict[str, Any] | None, others: Sequence[str]) -> str:
        return render_template(
            "audit.html", rows=rows(found.records), search=asked, given=asked.given, chart=chart,
            following=asked.with_(before=str(found.end)) if found.end else {}, searched=_searched(found),
            others=others, late=_late(asked.wanted, log), kinds=_kinds(), outcomes=_OUTCOMES, desk="search",
            now=minute(now_microseconds()),
            saved=[
                {"id": one.id, "name": one.name, "given": dict(parse_qsl(one.query))}
                for one in log.searches(look().name)
            ],
        )  # fmt: skip

    @blueprint.get("/console/audit/export.<form>")
    def export(form: str) -> Response:
        """What a search finds, to take away."""
        if form not in _EXPORTS:
            abort(404)
        asked = Search.of(request.args)
        if asked.wrong:
            return trouble(asked.wrong, 400)
        content_type, most = _EXPORTS[form]
        found = log.taken(asked.wanted, most)
        if found.end and len(found.records) < most:
            return trouble("This search takes too long. Please choose a shorter time, or a patient or person.", 503)
        log.looked(look(), {"export": form, **asked.given})
        newest = f"-newest-{most}" if found.end else ""  # nobody takes a part for all
        disposition = f'attachment; filename="audit{newest}.{form}"'
        said = ", ".join([*(f"{key}: {text}" for key, text in asked.given.items()), *(["the newest"] * bool(newest))])
        data = _taken(form, found.records, said)
        return Response(data, content_type=content_type, headers={"Content-Disposition": disposition})

    @blueprint.post("/console/audit/searches")
    def save() -> Any:
        name, query = request.form.get("name", "").replace("\0", "").strip(), request.form.get("query", "")
        if not from_our_form() or not name:
            abort(400)
        asked = Search.of(dict(parse_qsl(query)))
        if asked.wrong:
            return trouble(asked.wrong, 400)
        try:
            address = sealer.address("/console/audit", asked.given)
        except TooLong:
            return trouble("This search is too long to be kept.", 400)
        if not log.save_search(look().name, name, asked.text):
            return trouble("You keep as many searches as can be kept.", 409)
        return redirect(address, 303)

    @blueprint.post("/console/audit/searches/<int:id_>/forget")
    def forget(id_: int) -> Any:
        if not from_our_form() or id_ >= 2**63:
            abort(400)
        log.forget_search(look().name, id_)
        return redirect("/console/audit", 303)

    @blueprint.get("/console/audit/<int:id_>")
    def record(id_: int) -> str:
        found = log.one(id_)
        if found is None:
            abort(404)
        (shown,) = rows([found])
        log.looked(look(), {"record": str(id_)}, shown["patient"])
        return render_template(
            "audit_record.html", row=shown, words=words(found.message, found.origin), xml=indented(found.message),
            proof=log.proof(found), desk="search",
        )  # fmt: skip

    @blueprint.get("/console/audit/<int:id_>/message")
    def message(id_: int) -> Response:
        """A record byte for byte."""
        found = log.one(id_)
        if found is None:
            abort(404)
        log.looked(look(), {"message": str(id_)}, found.patient_id)
        disposition = f'attachment; filename="record-{id_}.xml"'
        return Response(
            found.message, content_type="application/octet-stream", headers={"Content-Disposition": disposition}
        )

    return blueprint


def _taken(form: str, found: Sequence[Recorded], asked: str) -> Iterable[bytes]:
    """Records as one of the forms that they may be taken away in."""
    if form == "csv":
        return listing.as_csv(found)
    if form == "jsonl":
        return listing.as_json_lines(found)
    from xds.audit.search.printing import as_pdf  # no process that prints nothing waits for what it needs

    return [as_pdf(found, "Audit records", asked)]


def _searched(found: Page) -> str:
    """Until when was looked back, where a search was ended by its time and not by its page."""
    if found.end is None or len(found.records) >= PAGE:
        return ""
    return minute(found.end.recorded)


def minute(microseconds: int) -> str:
    """A time for people, UTC."""
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M}"


def _late(wanted: Wanted, log: AuditDesk) -> dict[str, int]:
    """How many records are of a day that is looked at, and came on another, by the day."""
    first, end = wanted.since // DAY, -(-wanted.until // DAY)
    if not 0 < end - first <= DAYS or not first:
        return {}
    days = (f"{datetime.fromtimestamp(day * DAY / 1e6, UTC):%Y-%m-%d}" for day in range(first, end))
    return {day: count for day in days if (count := log.valued("day", day))}


def _kinds() -> dict[str, dict[str, str]]:
    """What the form offers: transactions by number, other events by code."""
    return {
        "Transactions": {number: f"{number}, {one.title}" for number, one in TRANSACTIONS.items()},
        "Events": {code: one.text for code, one in EVENT_IDS.items()},
    }


def _chart(asked: Search, log: AuditDesk) -> dict[str, Any] | None:
    """Bars by time, of those found: each leads to its span, and two of them to what lies between."""
    counted = log.by_time(asked.wanted, HOUR, DRAWN)
    if not counted:
        return None
    first, last = max(min(counted), asked.wanted.since), max(counted)
    width = next((one for one in WIDTHS if (last - first) // one < BARS), WIDTHS[-1])
    spans: dict[int, tuple[int, int]] = {}
    for hour, (count, failed) in counted.items():
        before = spans.get(hour // width, (0, 0))
        spans[hour // width] = before[0] + count, before[1] + failed
    begins = range(max(first // width, last // width - BARS + 1), last // width + 1)
    most = max(spans.get(span, (0, 0))[0] for span in begins)
    bars = [_bar(asked, span * width, width, *spans.get(span, (0, 0)), most) for span in begins]
    return {"bars": bars, "most": most, "unit": _UNITS[width]}


_UNITS = dict(zip(WIDTHS, ("an hour", "six hours", "a day", "a week", "thirty days"), strict=True))


def _bar(asked: Search, begin: int, width: int, count: int, failed: int, most: int) -> dict[str, Any]:
    since, until = (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).strftime(
            "%Y-%m-%d" if width >= DAY else "%Y-%m-%dT%H:%M"
        )
        for at in (begin, begin + width - (DAY if width >= DAY else 60_000_000))
    )
    return {
        "since": since, "until": until, "count": count, "failed": failed,
        "asked": asked.with_(since=since, until=until),
        "height": round(100 * count / most, 1) if most else 0, "bad": round(100 * failed / count, 1) if count else 0,
    }  # fmt: skip


def row(one: Recorded, patients: Sequence[str]) -> dict[str, Any]:
    """What a list shows of a record, and whom it is about."""
    said = summary(one.message)
    return {
        "id": one.id, "leaf": one.leaf_number, "event": said["event"],
        "transaction": meaning(said.get("transaction", "")),
        "outcome": _OUTCOMES.get(said.get("outcome", ""), ""), "failed": said.get("outcome", "0") != "0",
        "source": said.get("source", ""), "destination": said.get("destination", ""), "person": said.get("person", ""),
        "origin": one.origin, "patient": patients[0] if patients else one.patient_id, "why": said.get("why", ""),
        "time": f"{one.time:%Y-%m-%d %H:%M:%S}", "happened": _happened(one, said.get("time", "")),
    }  # fmt: skip


def _happened(one: Recorded, said: str) -> str:
    """When it happened, as the record says, where it came much later or was said to be still to come."""
    if not said:
        return ""
    moment = datetime.fromisoformat(said)
    late = abs((one.time - moment).total_seconds()) > LATE_SECONDS
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if late else ""
