"""A patient's studies across all sources of the affinity domain, and a manifest as a tree; each look is recorded."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeAlias

from flask import Blueprint, Response, abort, render_template, request

from xds.access.overriding import Glass
from xds.audit.messages.people import asking
from xds.endpoints.console import pictures
from xds.endpoints.console.glass import looks_so
from xds.endpoints.console.trouble import trouble
from xds.endpoints.dicomweb import render
from xds.errors import ErrorCode, Finding
from xds.imaging.manifest import MANIFEST_TITLE, InstanceReference, Manifest, SeriesReference
from xds.imaging.text import alphabetic
from xds.initiating.imaging_document_consumer import Consuming, Unavailable
from xds.metadata import vocabulary as v
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.identifiers import PatientId
from xds.metadata.reading import display
from xds.store.registry.standing import Standing, said

KEPT_SECONDS = 300.0
"""How long a manifest that was fetched is shown without being fetched again."""

KEPT = 64
"""Manifests that are kept so."""

LISTED = 500
"""Instances of a series that are listed in the tree."""


@dataclass(frozen=True, slots=True)
class Places:
    """What repositories and sources are called, and which source is this one."""

    names: Mapping[str, str]
    own_source: str

    def name(self, uid: str) -> str:
        return self.names.get(uid, f"…{uid[-12:]}" if len(uid) > 16 else uid)

    def of(self, repository: str) -> str:
        """A repository as an address of a page has it."""
        home, uid = parted(repository)
        return f"{self.name(home)}, {self.name(uid)}" if home else self.name(uid)


def joined(home: str, repository: str) -> str:
    """A repository as addresses of pages have it; ``home``: of which other community it is."""
    return f"{home.removeprefix('urn:oid:')}@{repository}" if home else repository


def parted(repository: str) -> tuple[str, str]:
    """The homeCommunityId, empty of our own community, and the repositoryUniqueId of what ``joined`` made."""
    home, _, uid = repository.rpartition("@")
    return (f"urn:oid:{home}" if home else ""), uid


def _now() -> float:
    return time.monotonic()


class _Manifests:
    """Those that were fetched a little while ago."""

    def __init__(self, fetch: Callable[[str, str, PatientId | None, str], Manifest]) -> None:
        self._fetch, self._lock = fetch, Lock()
        self._kept: dict[tuple[str, str], tuple[float, Manifest]] = {}

    def of(self, repository: str, unique_id: str) -> Manifest:
        """For a picture of a page that is being looked at."""
        with self._lock:
            until, kept = self._kept.get((repository, unique_id), (0.0, None))
        return kept if kept is not None and _now() < until else self.fresh(repository, unique_id)

    def fresh(self, repository: str, unique_id: str) -> Manifest:
        """For a page: each look is a retrieval of its own, and so on record."""
        home, uid = parted(repository)
        now, found = _now(), self._fetch(uid, unique_id, _patient(), home)
        with self._lock:
            if len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[repository, unique_id] = (now + KEPT_SECONDS, found)
        return found


Knows: TypeAlias = Callable[[PatientId], tuple[Standing, str]]
"""How an id stands at the registry that is asked, as far as this node knows; and who goes on for a merged one."""


def pages(
    consumer: Consuming, places: Places, knows: Knows, authorities: Sequence[str], glass: Glass
) -> Blueprint:  # fmt: skip
    """The pages; ``authorities`` are those of the affinity domain, as far as this node knows them."""
    blueprint = Blueprint("region", __name__)

    looks_so(blueprint, glass)
    manifests = _Manifests(consumer.manifest)
    where = "/console/manifests/<repository>/<path:document>"

    @blueprint.get("/console/patients")
    def patients() -> str | tuple[str, int]:
        given = request.args.get("patient", "").strip()[:300]
        if not given:
            return render_template("patient.html", given="", studies=None)
        try:
            patient_id = PatientId.parse(given)
        except ValueError as problem:
            return render_template("patient.html", given=given, studies=None, wrong=str(problem)), 400
        nothing, others, missing = "", 0, list[str]()
        try:
            listed, others, findings = consumer.studies(patient_id)
            missing = [not_all(one, places) for one in findings]
        except Unavailable as problem:
            if problem.codes != {ErrorCode.UNKNOWN_PATIENT_ID}:
                raise
            listed, nothing = [], why_nothing(knows, authorities, patient_id, Standing.UNKNOWN)
        rows = (study_of(one, places, elsewhere=consumer.is_elsewhere(one)) for one in listed)
        found = sorted(rows, key=lambda one: one["day"], reverse=True)
        if not found and not nothing and not missing:
            nothing = why_nothing(knows, authorities, patient_id, Standing.KNOWN if others else Standing.UNSURE)
        person = asking()
        return render_template(
            "patient.html", given=given, studies=found, line=_line(found), nothing=nothing,
            opened=person is not None and bool(person.reason), missing=missing,
        )  # fmt: skip

    @blueprint.get(f"{where}/tree")
    def tree(repository: str, document: str) -> str:
        manifest = manifests.fresh(repository, document)
        return render_template(
            "manifest.html", series=[_series(one, places) for one in manifest.series], listed=LISTED,
            repository=places.of(repository), base=f"/console/manifests/{repository}/{document}", **_about(manifest),
        )  # fmt: skip

    @blueprint.get(f"{where}/series/<series>")
    def viewer(repository: str, document: str, series: str) -> str:
        manifest = manifests.fresh(repository, document)
        one = _only(manifest, series)
        base = f"/console/manifests/{repository}/{document}"
        return render_template(
            "remote_series.html", series=_series(one, places), images=_images(one, base), base=base, **_about(manifest)
        )  # fmt: skip

    @blueprint.get(f"{where}/series/<series>/thumbnail")
    def thumbnail(repository: str, document: str, series: str) -> Response:
        manifest = manifests.of(repository, document)
        listed = _only(manifest, series).instances
        return picture(manifest, listed[len(listed) // 2], render.View(width=256, height=256))

    @blueprint.get(f"{where}/instances/<instance>/frames/<int:frame>/rendered")
    def rendered(repository: str, document: str, instance: str, frame: int) -> Response:
        manifest = manifests.of(repository, document)
        one = next((one for _, one in manifest.instances() if one.sop_instance_uid == instance), None)
        if one is None:
            abort(404)
        return picture(manifest, one, render.View(frame=frame, window=_window()))

    def picture(manifest: Manifest, one: InstanceReference, view: render.View) -> Response:
        home, _ = parted(str((request.view_args or {}).get("repository", "")))
        with consumer.instance(manifest, one.sop_instance_uid, home) as path:
            try:
                return pictures.shown(path, view)
            except render.NotRendered as problem:
                return pictures.missing(pictures.no_picture(one.sop_class_uid, problem), 404)

    @blueprint.errorhandler(Unavailable)
    def not_answered(problem: Unavailable) -> Response:
        said = problem.of(places.name)
        if request.path.endswith(("/rendered", "/thumbnail")):
            return pictures.missing(said, 502)
        return trouble(f"{said[:1].upper()}{said[1:]}.", 502)

    return blueprint


def why_nothing(knows: Knows, authorities: Sequence[str], patient_id: PatientId, otherwise: Standing) -> str:
    """A patient without studies, nobody of the id, or nobody of its authority: each in its own words."""
    standing, survivor = knows(patient_id)
    if standing is Standing.UNSURE or otherwise is Standing.KNOWN:
        standing = otherwise
    return said(standing, authorities, survivor, "study" if standing is Standing.KNOWN else "document")


def _about(manifest: Manifest) -> dict[str, Any]:
    """What every page of a manifest is headed by."""
    return {
        "manifest": manifest, "name": alphabetic(manifest.patient.name).replace("^", " ").strip(),
        "day": _day(manifest.study_date), "patient": request.args.get("patient", ""),
    }  # fmt: skip


def _only(manifest: Manifest, series: str) -> SeriesReference:
    found = next((one for one in manifest.series if one.series_instance_uid == series), None)
    if found is None or not found.instances:
        abort(404)
    return found


def _patient() -> PatientId | None:
    """Whose page it is, where the address says so."""
    try:
        return PatientId.parse(request.args.get("patient", "")[:300])
    except ValueError:
        return None


def _window() -> tuple[float, float] | None:
    """Centre and width, as the viewer asks for them (PS3.18: 8.3.5.1.4)."""
    match = re.fullmatch(r"(-?[0-9.]{1,12}),([0-9.]{1,12}),LINEAR", request.args.get("window", ""))
    try:
        return (float(match[1]), float(match[2])) if match else None
    except ValueError:
        return None


def _images(series: SeriesReference, base: str) -> list[dict[str, Any]]:
    """What the viewer shows; a manifest seldom has the number of frames, which is told with the first picture."""
    return [{
        "address": f"{base}/instances/{one.sop_instance_uid}", "name": str(number),
        "frames": one.number_of_frames or None, "single": one.sop_class_uid in pictures.SINGLE,
    } for number, one in enumerate(series.instances, 1)]  # fmt: skip


def _series(one: SeriesReference, places: Places) -> dict[str, Any]:
    kinds = sorted({pictures.kind(instance.sop_class_uid) for instance in one.instances})
    return {
        "uid": one.series_instance_uid, "kinds": ", ".join(kinds), "count": len(one.instances),
        "instances": one.instances, "location": one.retrieve_location_uid, "url": one.retrieve_url,
        "source": places.name(one.retrieve_location_uid), "ae_title": one.retrieve_ae_title,
        "here": one.retrieve_location_uid == places.own_source,
    }  # fmt: skip


def not_all(finding: Finding, places: Places) -> str:
    """Why a list is not all that there is, for people to read."""
    if finding.code == ErrorCode.UNAVAILABLE_COMMUNITY:
        return f"{places.name(finding.location.split()[0] if finding.location else '')} does not answer"
    return f"{finding.code}: {finding.context}"


def study_of(entry: DocumentEntry, places: Places, *, elsewhere: bool) -> dict[str, Any]:
    """A row of a list of studies; ``elsewhere``: it is of another community."""
    home, repository = entry.home_community_id or "" if elsewhere else "", entry.repository_unique_id or ""
    references = {kind: _reference(entry, kind) for kind in (v.REFERENCE_STUDY, v.REFERENCE_ACCESSION)}
    begun = entry.service_start_time
    modalities = [code.code for code in entry.event_code_list if re.fullmatch("[A-Z]{2,5}", code.code)]
    anatomy = [code.display for code in entry.event_code_list if code.code not in modalities]
    return {
        "day": begun.padded[:8] if begun else "", "date": _day(begun.padded[:8]) if begun else "",
        "title": _title(entry, modalities), "modalities": ", ".join(modalities),
        "anatomy": ", ".join(dict.fromkeys(anatomy)), "accession": references[v.REFERENCE_ACCESSION],
        "study": references[v.REFERENCE_STUDY], "repository": joined(home, repository),
        "source": places.name(home or repository), "document": entry.unique_id,
    }  # fmt: skip


def _title(entry: DocumentEntry, modalities: Sequence[str]) -> str:
    """What the study is called; of one without a name its manifest has the name that all such have."""
    title = display(entry.title)
    unnamed = title in ("", MANIFEST_TITLE.meaning)
    return " ".join([*modalities[:1], "study without a name"]) if unnamed else title


def _reference(entry: DocumentEntry, kind: str) -> str:
    found = (one.key for one in entry.reference_id_list if one.key.endswith(kind))
    return next(found, "").split("^")[0]


def _day(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) >= 8 else text


def _line(studies: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Studies by their day: a row a source, where each stands in percent; those of one day are one mark."""
    dated = [(number, one) for number, one in enumerate(studies) if _is_day(one["day"])]
    if not dated:
        return None
    days = [_noon(one["day"]) for _, one in dated]
    first, span = min(days), max(max(days) - min(days), 86_400.0)
    marks: dict[str, dict[str, dict[str, Any]]] = {}
    for number, one in dated:
        at = round(100 * (_noon(one["day"]) - first) / span, 1)
        empty = {"at": at, "text": one["date"], "labels": [], "target": f"study-{number}"}
        mark = marks.setdefault(one["source"], {}).setdefault(one["day"], empty)
        mark["labels"].append(one["modalities"].split(", ")[0] or "•")
        mark["text"] += f", {one['title']}"
    rows = [{"name": source, "marks": list(found.values())} for source, found in sorted(marks.items())]
    dates = sorted(one["date"] for _, one in dated)
    return {"rows": rows, "first": dates[0], "last": dates[-1]}


def _noon(day: str) -> float:
    return datetime.strptime(day, "%Y%m%d").replace(hour=12, tzinfo=UTC).timestamp()


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return text >= "1900"
