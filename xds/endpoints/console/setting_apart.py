"""What was sent against somebody's study: an operator sees both patients, takes it in, or throws it away."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, g, redirect, render_template, request

from xds.archives.intake import as_cx
from xds.audit.messages.parties import Party
from xds.endpoints.apart import REASON, Apart, CannotBeDone, Decided, Facts, NoSuchCase
from xds.endpoints.console.auditing import minute
from xds.endpoints.console.signing_in import from_our_form
from xds.endpoints.console.trouble import trouble
from xds.imaging.codes import KEY_OBJECT_SELECTION
from xds.imaging.manifest import Patient
from xds.store.apart import DISCARDED, TAKEN, UNDECIDED, Case

WHERE = "/console/apart"
PAGE = 50

_SAID = {TAKEN: "Taken in", DISCARDED: "Thrown away"}


def pages(apart: Apart) -> Blueprint:
    """The pages; each look, and each decision, is on record before it is answered."""
    blueprint = Blueprint("setting_apart", __name__)

    def page(every: bool, before: int = 0, wrong: str = "", status: int = 200, said: tuple[int, str] = (0, "")) -> Any:
        state = "" if every else UNDECIDED
        found = apart.cases(_who(), most=PAGE + 1, before=before if 0 < before < 2**63 else 0, state=state)
        rows = [_row(apart, case) for case in found[:PAGE]]
        following = found[PAGE - 1].first.case_id if len(found) > PAGE else 0
        known = {"rows": rows, "every": every, "following": following, "wrong": wrong, "said": said, "most": REASON}
        return render_template("apart.html", **known), status

    @blueprint.get(WHERE)
    def listed() -> Any:
        return page(request.args.get("all") == "1", request.args.get("before", 0, int))

    @blueprint.post(f"{WHERE}/<int:number>")
    def decide(number: int) -> Any:
        decision, reason = request.form.get("decision"), request.form.get("reason", "")[:REASON]
        last = request.form.get("last", 0, int)
        if not from_our_form() or decision not in ("take", "discard") or not 0 < last < 2**63:
            abort(400)
        try:
            (apart.take if decision == "take" else apart.discard)(number, _who(), reason, last)
        except NoSuchCase:
            abort(404)
        except Decided:
            return trouble("Somebody has decided on this before you; see what was decided.", 409)
        except CannotBeDone as problem:
            text = f"Case {number} {problem}." if str(problem).startswith("cannot") else f"Case {number}: {problem}."
            return page(False, wrong=text, status=400, said=(number, reason))
        return redirect(WHERE, 303)

    return blueprint


def _who() -> Party:
    return Party(g.visitor.name, request.remote_addr or "", requestor=True)


def _row(apart: Apart, case: Case) -> dict[str, Any]:
    one, facts = case.first, Facts.of(case.first)
    hindrance = apart.hindrance(one) if one.state == UNDECIDED else ""
    held = facts.held[0] if facts.held else Patient()
    return {
        "one": one, "last": case.last, "count": case.count, "came": minute(one.came), "hindrance": hindrance,
        "is_note": one.sop_class_uid == KEY_OBJECT_SELECTION, "more_held": len(facts.held) - 1,
        "sent": _shown(facts.patient, facts.description, held), "said": _SAID.get(one.state, ""),
        "held": _shown(held, facts.held_description, facts.patient),
        "decided": minute(one.decided) if one.decided else "",
    }  # fmt: skip


def _shown(patient: Patient, description: str, other: Patient) -> dict[str, Any]:
    """What a person tells a patient by, each with whether it is otherwise for the other one."""
    issuers = {patient.issuer_oid, other.issuer_oid} - {""}
    fields = [
        ("Name", _name(patient.name), _differs(_name(patient.name), _name(other.name))),
        ("Id", as_cx(patient), patient.id != other.id or len(issuers) > 1),
        ("Born", _day(patient.birth_date), _differs(patient.birth_date, other.birth_date)),
        ("Sex", patient.sex, _differs(patient.sex, other.sex)),
    ]
    return {"fields": fields, "description": description}


def _differs(one: str, other: str) -> bool:
    return one.upper() != other.upper()


def _name(text: str) -> str:
    return " ".join(text.replace("^", " ").split())


def _day(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text
