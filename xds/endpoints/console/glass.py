"""Breaking the glass, for who looks at a patient's studies; and the list of who has, for the privacy officer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, abort, g, redirect, render_template, request

from xds.access.overriding import Glass
from xds.audit.messages.parties import Party
from xds.audit.messages.people import Person, asked_by, asking
from xds.endpoints.console.auditing import minute
from xds.endpoints.console.sealing import Sealer
from xds.endpoints.console.signing_in import from_our_form
from xds.errors import Unusable
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store import consents
from xds.store.consents import Broken
from xds.store.engine import reading
from xds.store.registry import patients
from xds.wire.assertion import Code

PAGE = 50


def breaking(person: Person | None, glass: Glass, cx: str) -> Person | None:
    """Who looks at a patient's studies, as one who has broken the glass for them, where they have."""
    if person is None:
        return None
    held = glass.holding(person, DEFAULT_DOMAIN, cx)
    if held is None:
        return person
    return replace(person, purposes=(Code(held.purpose),), overrides=True, patient=cx, reason=held.reason)


def looks_so(blueprint: Blueprint, glass: Glass) -> None:
    """Let who has broken the glass for a patient look at these pages of theirs as one who has, also at other nodes."""

    @blueprint.before_request
    def opened() -> None:
        given = request.args.get("patient", "").strip()[:300]
        person = breaking(asking(), glass, given) if given else asking()
        g.opened = asked_by(person)
        g.opened.__enter__()

    @blueprint.teardown_request
    def closed(_problem: BaseException | None) -> None:
        if "opened" in g:
            g.pop("opened").__exit__(None, None, None)


def pages(glass: Glass, engine: sa.Engine, sealer: Sealer) -> Blueprint:
    """The pages; what is done on them is recorded in the commit that does it."""
    blueprint = Blueprint("glass", __name__)

    @blueprint.get("/console/patients/glass")
    def ask() -> str:
        given = request.args.get("patient", "").strip()[:300]
        return render_template("glass.html", given=given, purposes=glass.purposes, wrong="", reason="")

    @blueprint.post("/console/patients/glass")
    def break_it() -> Any:
        given, reason = request.form.get("patient", "").strip()[:300], request.form.get("reason", "").replace("\0", "")
        purpose, person = request.form.get("purpose", "")[:64], asking()
        if not from_our_form() or person is None:
            abort(400)
        here = Party(person.id, request.remote_addr or "", requestor=True)
        try:
            asked = replace(person, purposes=(Code(purpose),))
            glass.break_it(asked, DEFAULT_DOMAIN, PatientId.parse(given), reason, here)
        except (Unusable, ValueError) as problem:
            wrong = f"{str(problem)[:1].upper()}{str(problem)[1:]}."
            page = render_template("glass.html", given=given, purposes=glass.purposes, wrong=wrong, reason=reason)
            return page, 400
        return redirect(sealer.address("/console/patients", {"patient": given}), 303)

    @blueprint.get("/console/overrides")
    def overrides() -> str:
        every, before = request.args.get("all") == "1", request.args.get("before", 0, int)
        with reading(engine) as connection:
            found = consents.all_broken(
                connection, most=PAGE + 1, before=before if 0 < before < 2**63 else 0, unreviewed=not every
            )
            named = {
                key: next((str(one) for one in patients.named(connection, [key])), "")
                for key in {one.patient_key for one in found}
            }
        rows = [_row(one, named[one.patient_key]) for one in found[:PAGE]]
        following = found[PAGE - 1].id if len(found) > PAGE else 0
        return render_template("overrides.html", rows=rows, every=every, following=following)

    @blueprint.post("/console/overrides/<int:number>")
    def review(number: int) -> Any:
        if not from_our_form() or number >= 2**63:
            abort(400)
        with engine.begin() as connection:
            if not consents.review(connection, number, g.visitor.name):
                abort(404)
            glass.reviewed(connection, number, Party(g.visitor.name, request.remote_addr or "", requestor=True))
        return redirect("/console/overrides", 303)

    return blueprint


def _row(one: Broken, patient: str) -> dict[str, Any]:
    return {
        "one": one, "patient": patient, "begun": minute(one.begun), "ends": minute(one.ends),
        "reviewed": minute(one.reviewed) if one.reviewed else "",
    }  # fmt: skip
