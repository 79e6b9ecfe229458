"""A patient by name and birth date: everybody who may be meant, for a person to choose from; nobody is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, g, render_template, request

from xds.audit.messages.events import AuditEvent
from xds.audit.messages.message import AuditSource
from xds.audit.messages.parties import Party
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.audit.records import record
from xds.store.engine import reading
from xds.store.registry import demographics
from xds.store.registry.demographics import Candidate, TooLittle

WHERE = "/console/patients/find"
_SEXES = {"F": "female", "M": "male", "O": "other", "A": "ambiguous", "N": "not applicable"}
"""HL7's table 0001 in words; unknown is not said."""

Told = Callable[[sa.Connection, PatientId], bool]
"""Whether whoever asks may know that there is such a patient."""


def pages(engine: sa.Engine, node: AuditSource, told: Told) -> Blueprint:
    """The page; everybody who is shown on it is on record as looked at, before it is."""
    blueprint = Blueprint("finding", __name__)

    @blueprint.get(WHERE)
    def find() -> Any:
        name, born = (request.args.get(key, "").strip()[:200] for key in ("name", "born"))
        known: dict[str, Any] = {"name": name, "born": born, "found": None, "more": False, "wrong": ""}
        if not name and not born:
            return render_template("find.html", **known)
        date = re.fullmatch(r"(\d{4})(?:-?(\d{2})(?:-?(\d{2}))?)?", born) if born else None
        if born and date is None:
            known["wrong"] = "A birth date is written 1956-11-27; the year, or year and month, will do."
            return render_template("find.html", **known), 400
        try:
            digits = "".join(filter(None, date.groups())) if date else ""
            with reading(engine) as connection:
                listed, known["more"] = demographics.find(connection, DEFAULT_DOMAIN, name, digits)
                shown = [one for one in listed if told(connection, one.patient_id)]
            with engine.begin() as connection:
                who = Party(g.visitor.name, request.remote_addr or "", requestor=True)
                for one in shown:
                    record(connection, AuditEvent.patient_record(node, "R", who, str(one.patient_id)).records())
        except TooLittle as problem:
            known["wrong"] = f"{str(problem)[:1].upper()}{str(problem)[1:]}."
            return render_template("find.html", **known), 400
        return render_template("find.html", **{**known, "found": [_row(one) for one in shown]})

    return blueprint


def _row(one: Candidate) -> dict[str, str]:
    said = one.demographics
    first, *others = map(str, said.names or ("",))
    where = ", ".join(filter(None, (said.address.city, said.address.country)))
    return {
        "patient": str(one.patient_id), "id": one.patient_id.id, "name": first, "others": "; ".join(others),
        "born": "-".join(filter(None, (said.born[:4], said.born[4:6], said.born[6:]))),
        "sex": _SEXES.get(said.sex, ""), "where": where,
    }  # fmt: skip
