"""The auditor's list of unusual accesses, each to be decided on; a decision is kept, with who made it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request

from xds.audit.search.watching import REASONS
from xds.endpoints.console.auditing import look, minute
from xds.endpoints.console.desk import AuditDesk
from xds.endpoints.console.signing_in import from_our_form
from xds.endpoints.console.trouble import trouble
from xds.store.audit.review import DAY, DECISIONS, Decided, Unusual

PAGE = 50


def pages(log: AuditDesk) -> Blueprint:
    """The pages; each look, and each decision, is recorded before it is answered."""
    blueprint = Blueprint("reviewing", __name__)

    @blueprint.get("/console/audit/unusual")
    def unusual() -> str:
        decided, before = request.args.get("decided") == "1", request.args.get("before", 0, int)
        found = log.unusual(decided=decided, before=before if 0 < before < 2**63 else 0, most=PAGE + 1)
        log.looked(look(), {"report": "unusual"})
        return render_template(
            "unusual.html", rows=list(map(_row, found[:PAGE])), decided=decided, desk="unusual", decisions=DECISIONS,
            following=found[PAGE - 1].id if len(found) > PAGE else 0, reasons=REASONS,
        )  # fmt: skip

    @blueprint.post("/console/audit/unusual/<int:id_>")
    def decide(id_: int) -> Any:
        decision, note = request.form.get("decision", ""), request.form.get("note", "").replace("\0", "")[:2000]
        if not from_our_form() or decision not in DECISIONS or id_ >= 2**63:
            abort(400)
        try:
            if not log.decide(look(), id_, decision, note):
                abort(404)
        except Decided:
            return trouble("Somebody has decided on this before you; see what was decided.", 409)
        return redirect("/console/audit/unusual", 303)

    return blueprint


def _row(one: Unusual) -> dict[str, Any]:
    return {
        "one": one, "day": minute(one.day * DAY)[:10], "decided": minute(one.decided) if one.decided else "",
    }  # fmt: skip
