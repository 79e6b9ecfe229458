"""What a patient wants, set and withdrawn by a privacy officer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, abort, g, redirect, render_template, request

from xds.access.consent import Directive
from xds.access.directives import in_words, set_directive, withdraw
from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.endpoints.console.auditing import minute
from xds.endpoints.console.sealing import Sealer
from xds.endpoints.console.signing_in import from_our_form
from xds.endpoints.console.trouble import trouble
from xds.errors import Unusable
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store import consent_documents, consents
from xds.store.audit.records import now_microseconds, record
from xds.store.engine import reading
from xds.store.registry import patients

WHERE = "/console/consents"
_CHANGED = "110135"  # Object Security Attributes Changed

# What a form may name, by the field of a directive; several are separated by line ends or commas.
_FIELDS = {
    "studies": "Study Instance UIDs", "documents": "uniqueIds of documents", "organisations": "organisations",
    "persons": "people", "roles": "roles",
}  # fmt: skip


def pages(engine: sa.Engine, node: AuditSource, sealer: Sealer, today: Callable[[], Any]) -> Blueprint:
    """The pages; each look at what a patient wants, and each change, is on record."""
    blueprint = Blueprint("consents", __name__)

    def done(connection: sa.Connection, cx: str, text: str) -> None:
        who = Party(g.visitor.name, request.remote_addr or "", requestor=True)
        event = AuditEvent.security_alert(node, _CHANGED, who, "urn:xds:consent", text)
        event.about_patient(cx)
        record(connection, event.records())

    def page(given: str, wrong: str = "", status: int = 200, said: dict[str, str] | None = None) -> Any:
        known: dict[str, Any] = {"given": given, "wrong": wrong, "said": said or {}, "fields": _FIELDS, "rows": None}
        if not given:
            with reading(engine) as connection:
                known["unread"] = [_unread(one) for one in consent_documents.all_of(connection, DEFAULT_DOMAIN)]
            return render_template("consents.html", **known), status
        try:
            patient_id = PatientId.parse(given)
        except ValueError as problem:
            return render_template("consents.html", **{**known, "wrong": f"This is no patient id: {problem}."}), 400
        with engine.begin() as connection:
            key = patients.key_of(connection, DEFAULT_DOMAIN, patient_id)
            if key is None:
                known["wrong"] = "There is no such patient in this affinity domain."
                return render_template("consents.html", **known), 404
            kept = consents.held(connection, [key], every_version=True)
            done(connection, given, "looked at what the patient wants")
        rows = [_row(one, today()) for one in reversed(kept)]
        return render_template("consents.html", **{**known, "rows": rows}), status

    @blueprint.get(WHERE)
    def shown() -> Any:
        return page(request.args.get("patient", "").strip()[:300])

    @blueprint.post(WHERE)
    def set_() -> Any:
        given = request.form.get("patient", "").strip()[:300]
        if not from_our_form() or request.form.get("permit") not in ("0", "1"):
            abort(400)
        names = (*_FIELDS, "from_", "until", "permit")
        said = {key: request.form.get(key, "").replace("\0", "")[:10_000] for key in names}
        try:
            directive = _read(said, overridable=request.form.get("overridable") == "1")
            with engine.begin() as connection:
                key = patients.key_of(connection, DEFAULT_DOMAIN, PatientId.parse(given))
                if key is None:
                    raise Unusable("there is no such patient in this affinity domain")
                kept = set_directive(connection, key, directive, g.visitor.name)
                done(connection, given, f"directive {kept.id}, version {kept.version}: {kept.text}")
        except (Unusable, ValueError) as problem:
            text = str(problem)
            return page(given, f"{text[:1].upper()}{text[1:]}.", 400, said)
        return redirect(sealer.address(WHERE, {"patient": given}), 303)

    @blueprint.post(f"{WHERE}/documents/again")
    def again() -> Any:
        if not from_our_form():
            abort(400)
        unique_id = request.form.get("document", "")[:256]
        with engine.begin() as connection:
            if not consent_documents.again(connection, DEFAULT_DOMAIN, unique_id, now_microseconds()):
                return trouble("No such consent document waits.", 404)
            done(connection, "", f"document {unique_id} tried again")
        return redirect(WHERE, 303)

    @blueprint.post(f"{WHERE}/<id_>/withdraw")
    def withdrawn(id_: str) -> Any:
        given = request.form.get("patient", "").strip()[:300]
        if not from_our_form():
            abort(400)
        try:
            with engine.begin() as connection:
                key = patients.key_of(connection, DEFAULT_DOMAIN, PatientId.parse(given))
                kept = withdraw(connection, key or 0, id_, g.visitor.name)
                done(connection, given, f"directive {id_[:36]} withdrawn, version {kept.version}")
        except (Unusable, ValueError):
            return trouble("There is no such directive of this patient.", 404)
        return redirect(sealer.address(WHERE, {"patient": given}), 303)

    return blueprint


def _read(said: dict[str, str], *, overridable: bool) -> Directive:
    lists: dict[str, Any] = {
        key: frozenset(one.strip() for one in said[key].replace(",", "\n").splitlines() if one.strip())
        for key in _FIELDS
    }
    return Directive(said["permit"] == "1", from_=said["from_"], until=said["until"], overridable=overridable, **lists)


def _unread(one: consent_documents.Waiting) -> dict[str, Any]:
    return {
        "document": one.unique_id, "repository": one.repository_unique_id, "since": minute(one.since),
        "trouble": one.trouble, "again": minute(one.next_try) if one.next_try is not None else "", "tries": one.tries,
    }  # fmt: skip


def _row(kept: consents.Kept, today: Any) -> dict[str, Any]:
    directive = Directive.of(kept.text)
    return {
        "id": kept.id, "version": kept.version, "says": in_words(directive), "by": kept.changed_by,
        "set": minute(kept.changed), "holds": kept.latest and directive.holds(today),
        "can_end": kept.latest and not directive.withdrawn,
    }  # fmt: skip
