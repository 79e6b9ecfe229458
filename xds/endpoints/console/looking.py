"""The images of this source, to look at: studies, a study's series, a viewer.  Each look is recorded, as DICOMweb."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlencode

from flask import Blueprint, Response, abort, render_template, request
from pydicom.datadict import tag_for_keyword
from pydicom.uid import UID

from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.archives.interface import Gone, Held, NotAnswering, NotEncodable, SpoolFull
from xds.endpoints.console import pictures
from xds.endpoints.console.trouble import trouble
from xds.endpoints.dicomweb import render
from xds.wire.http import HttpReply, HttpRequest

PAGE = 50
"""Studies on one page."""

INSTANCES = 5000
"""Of one series in the viewer."""

_SEARCHES = ("PatientID", "PatientName", "StudyDate", "ModalitiesInStudy", "AccessionNumber")

Ask: TypeAlias = Callable[[HttpRequest], HttpReply]
Found: TypeAlias = Mapping[str, Any]


class NotAnswered(Exception):
    """The source does not answer a search now."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def pages(ask: Ask, source: ImagingDocumentSource | None) -> Blueprint:
    """The pages; ``ask`` answers DICOMweb requests, ``source`` is what they are answered from."""
    blueprint = Blueprint("looking", __name__)

    @blueprint.get("/console/studies")
    def studies() -> str:
        given = {key: text for key in _SEARCHES if (text := request.args.get(key, "").strip()[:64])}
        asked = {key: f"{text}*" if key == "PatientName" and "*" not in text else text for key, text in given.items()}
        page = min(max(request.args.get("page", 1, int), 1), 100_000)
        found = _search(ask, "/studies", limit=PAGE + 1, offset=(page - 1) * PAGE, **asked)
        ordered = sorted((_study(one) for one in found[:PAGE]), key=lambda one: str(one["date"]), reverse=True)
        return render_template("studies.html", studies=ordered, given=given, page=page, more=len(found) > PAGE)

    @blueprint.get("/console/studies/<study>")
    def study(study: str) -> str:
        one = _only(_search(ask, "/studies", limit=1, StudyInstanceUID=study))
        series = [_series(found) for found in _search(ask, f"/studies/{study}/series")]
        return render_template("study.html", study=_study(one), series=series)

    @blueprint.get("/console/studies/<study>/series/<series>")
    def series(study: str, series: str) -> str:
        one = _only(_search(ask, "/studies", limit=1, StudyInstanceUID=study))
        within = _only(_search(ask, f"/studies/{study}/series", SeriesInstanceUID=series))
        found = _search(ask, f"/studies/{study}/series/{series}/instances", limit=INSTANCES)
        images = _images(found, f"/console/studies/{study}/series/{series}/instances")
        kinds = sorted({UID(_text(i, "SOPClassUID")).name for i in found})
        return render_template(
            "series.html",
            study=_study(one),
            series=_series(within),
            images=images,
            kinds=kinds,
            found=found,
            text=_text,
        )

    @blueprint.get("/console/studies/<study>/series/<series>/thumbnail")
    def thumbnail(study: str, series: str) -> Response:
        members = source.members(study, series) if source is not None else ()
        middle = members[len(members) // 2] if members else None  # which is what DICOMweb shows
        return picture(f"/studies/{study}/series/{series}/thumbnail", middle)

    @blueprint.get("/console/studies/<study>/series/<series>/instances/<instance>/frames/<frame>/rendered")
    def rendered(study: str, series: str, instance: str, frame: str) -> Response:
        window = request.args.get("window", "")[:60]
        path = f"/studies/{study}/series/{series}/instances/{instance}/frames/{frame}/rendered"
        held = next(iter(source.members(study, series, instance)), None) if source is not None else None
        return picture(path, held, int(frame) if frame.isdigit() else 1, **({"window": window} if window else {}))

    def picture(path: str, held: Held | None = None, frame: int = 1, **wanted: str) -> Response:
        """As DICOMweb renders it, which is on record; or the reason that it gives."""
        status, data = _answer(ask, path, "image/jpeg", **wanted)
        if status == 200:
            return pictures.picture(data, _described(source, held, frame))
        reason = data.decode().strip()
        if held is not None and status == 406:
            reason = pictures.no_picture(held.sop_class_uid, reason)
        return pictures.missing(reason, status)

    @blueprint.before_request
    def only_uids() -> None:
        if not all(re.fullmatch(r"[0-9.]{1,64}", uid) for uid in (request.view_args or {}).values()):
            abort(404)

    @blueprint.errorhandler(NotAnswered)
    def not_answered(problem: NotAnswered) -> Response:
        return trouble(str(problem), problem.status)

    return blueprint


def _search(ask: Ask, path: str, **wanted: object) -> list[Found]:
    """What QIDO-RS finds.

    Raises:
        NotAnswered: it refuses, or cannot answer.
    """
    status, data = _answer(ask, path, "application/dicom+json", **wanted)
    if status != 200:
        raise NotAnswered(status, data.decode().strip())
    found: list[Found] = json.loads(data)
    return found


def _answer(ask: Ask, path: str, accept: str, **wanted: object) -> tuple[int, bytes]:
    """What DICOMweb answers."""
    here = HttpRequest.of(request.environ)
    base = here.url[: -len(here.path)] if here.path else here.url
    asked = HttpRequest(
        "GET", f"/dicomweb{path}", urlencode(wanted), "", lambda _: b"", here.remote_address, f"{base}/dicomweb{path}",
        here.certificate, accept, ours=True,
    )  # fmt: skip
    reply = ask(asked)
    chunks = reply.chunks
    try:
        return reply.status, b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close:
            close()


def _described(source: ImagingDocumentSource | None, held: Held | None, frame: int) -> str:
    """What the viewer begins with, where it can be told; the look that is on record is the picture's."""
    if source is None or held is None:
        return ""
    try:
        with source.uncompressed(held) as path:
            return pictures.about(render.described(path, frame))
    except (render.NotRendered, NotEncodable, Gone, SpoolFull, NotAnswering):
        return ""


def _images(found: list[Found], base: str) -> list[dict[str, Any]]:
    """Where each instance of a series is, what it is called, and how many frames it has."""
    return [{
        "address": f"{base}/{_text(one, 'SOPInstanceUID')}", "name": _text(one, "InstanceNumber") or "without number",
        "frames": _count(_text(one, "NumberOfFrames")), "single": _text(one, "SOPClassUID") in pictures.SINGLE,
    } for one in found]  # fmt: skip


def _count(text: str) -> int | None:
    """How many frames an instance says that it has; None where that is told with its first picture."""
    return int(text) if text.isdecimal() and int(text[:9]) > 0 else None


def _only(found: list[Found]) -> Found:
    if not found:
        abort(404)
    return found[0]


def _text(dataset: Found, keyword: str) -> str:
    """The values of an element as they are read."""
    values = dataset.get(f"{tag_for_keyword(keyword):08X}", {}).get("Value", [])
    return ", ".join(str(one.get("Alphabetic", "") if isinstance(one, dict) else one) for one in values)


def _study(one: Found) -> dict[str, str]:
    name = _text(one, "PatientName").replace("^", " ").strip()
    day = _text(one, "StudyDate")
    return {
        "uid": _text(one, "StudyInstanceUID"),
        "patient": name or "no name",
        "patient_id": _text(one, "PatientID"),
        "born": _day(_text(one, "PatientBirthDate")),
        "date": _day(day),
        "description": _text(one, "StudyDescription"),
        "modalities": _text(one, "ModalitiesInStudy"),
        "accession": _text(one, "AccessionNumber"),
        "series": _text(one, "NumberOfStudyRelatedSeries"),
        "instances": _text(one, "NumberOfStudyRelatedInstances"),
        "where": _text(one, "RetrieveURL"),
    }


def _series(one: Found) -> dict[str, str]:
    return {
        "uid": _text(one, "SeriesInstanceUID"),
        "number": _text(one, "SeriesNumber"),
        "modality": _text(one, "Modality"),
        "description": _text(one, "SeriesDescription"),
        "instances": _text(one, "NumberOfSeriesRelatedInstances"),
        "where": _text(one, "RetrieveURL"),
    }


def _day(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 else text
