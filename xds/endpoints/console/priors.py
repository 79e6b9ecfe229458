"""Before an examination is scheduled: what was made before and matters to it, and what may make it needless."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from flask import Blueprint, render_template, request

from xds.access.overriding import Glass
from xds.endpoints.console.glass import looks_so
from xds.endpoints.console.region import Knows, Places, not_all, study_of, why_nothing
from xds.endpoints.console.trouble import trouble
from xds.errors import ErrorCode, Finding, Unusable
from xds.initiating.imaging_document_consumer import Consuming, Unavailable
from xds.metadata.identifiers import PatientId
from xds.rules.relevant_priors import Prior, Rules, made_at
from xds.store.registry.standing import Standing

WHERE = "/console/priors"

MODALITIES = {
    "CT": "CT", "MR": "MR", "DX": "radiograph", "US": "ultrasound", "MG": "mammography", "NM": "nuclear medicine",
    "PT": "PET", "XA": "angiography",
}  # fmt: skip

BODY_PARTS = (
    "HEAD", "BRAIN", "NECK", "CHEST", "BREAST", "HEART", "ABDOMEN", "PELVIS", "SPINE", "CSPINE", "TSPINE", "LSPINE",
    "SHOULDER", "ARM", "ELBOW", "HAND", "HIP", "LEG", "KNEE", "ANKLE", "FOOT", "WHOLEBODY",
)  # fmt: skip
"""Offered to choose from; any other defined term of PS3.16: Annex L is understood."""


def pages(
    consumer: Consuming, places: Places, knows: Knows, authorities: Sequence[str], glass: Glass, rules: Rules
) -> Blueprint:
    """The page; ``authorities`` are those of the affinity domain, as far as this node knows them."""
    blueprint = Blueprint("priors", __name__)
    looks_so(blueprint, glass)

    @blueprint.get(WHERE)
    def ordered() -> Any:
        asked = {key: request.args.get(key, "").strip()[:300] for key in ("patient", "modality", "part", "day")}
        shown: dict[str, Any] = {
            **asked, "modalities": MODALITIES, "parts": BODY_PARTS, "found": None, "wrong": "", "nothing": "",
        }  # fmt: skip
        if not asked["patient"] or not (asked["modality"] or asked["part"]):
            return render_template("priors.html", **shown)
        try:
            patient_id, day = _patient(asked["patient"]), _day(asked["day"])
            kinds = [asked["modality"].upper()] if asked["modality"] else []
            wanted = rules.ordered(kinds, asked["part"], (), day)
        except Unusable as problem:
            wrong = f"{str(problem)[:1].upper()}{str(problem)[1:]}."
            return render_template("priors.html", **{**shown, "wrong": wrong}), 400
        others = 0
        findings: Sequence[Finding] = ()
        try:
            entries, others, findings = consumer.studies(patient_id)
        except Unavailable as problem:
            if problem.codes != {ErrorCode.UNKNOWN_PATIENT_ID}:
                raise
            entries, shown["nothing"] = [], why_nothing(knows, authorities, patient_id, Standing.UNKNOWN)
        found = rules.priors(wanted, entries)
        shown["found"] = [_row(one, places, elsewhere=consumer.is_elsewhere(one.entry)) for one in found.found]
        shown["unjudged"], shown["missing"] = found.unjudged, [not_all(one, places) for one in findings]
        shown["all"] = len(entries)
        if not entries and not shown["nothing"] and not findings:
            standing = Standing.KNOWN if others else Standing.UNSURE
            shown["nothing"] = why_nothing(knows, authorities, patient_id, standing)
        return render_template("priors.html", **shown)

    @blueprint.errorhandler(Unavailable)
    def not_answered(problem: Unavailable) -> Any:
        said = problem.of(places.name)
        return trouble(f"{said[:1].upper()}{said[1:]}.", 502)

    return blueprint


def _patient(text: str) -> PatientId:
    try:
        return PatientId.parse(text)
    except ValueError as problem:
        raise Unusable(f"this is no patient id: {problem}") from None


def _day(text: str) -> date:
    """For when it is ordered; today where nobody says.

    Raises:
        Unusable: it is no date.
    """
    if not text:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unusable("a day is written 2026-11-30") from None


def _row(one: Prior, places: Places, *, elsewhere: bool) -> dict[str, Any]:
    shown = study_of(one.entry, places, elsewhere=elsewhere)
    place = shown["source"]
    return {
        **shown, "source": made_at(one.entry) or place, "said": one.said(place), "needless": one.needless,
        "same_region": one.same_region, "age": one.age,
    }  # fmt: skip
