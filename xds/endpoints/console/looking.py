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

from xds.endpoints.console.trouble import trouble
from xds.wire.http import HttpReply, HttpRequest

PAGE = 50
"""Studies on one page."""

INSTANCES = 5000
"""Of one series in the viewer."""

FRAMES = 20_000
"""Pictures of one series in the viewer."""

_SEARCHES = ("PatientID", "PatientName", "StudyDate", "ModalitiesInStudy", "AccessionNumber")

Ask: TypeAlias = Callable[[HttpRequest], HttpReply]
Found: TypeAlias = Mapping[str, Any]


class NotAnswered(Exception):
    """The source does not answer a search now."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def pages(ask: Ask) -> Blueprint:
    """The pages; ``ask`` answers DICOMweb requests."""
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
        frames = _frames(found, f"/dicomweb/studies/{study}/series/{series}/instances")
        kinds = sorted({UID(_text(i, "SOPClassUID")).name for i in found})
        return render_template(
            "series.html",
            study=_study(one),
            series=_series(within),
            frames=frames,
            kinds=kinds,
            found=found,
            text=_text,
        )

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
    here = HttpRequest.of(request.environ)
    base = here.url[: -len(here.path)] if here.path else here.url
    asked = HttpRequest(
        "GET", f"/dicomweb{path}", urlencode(wanted), "", lambda _: b"", here.remote_address, f"{base}/dicomweb{path}",
        here.peer_certificate, "application/dicom+json",
    )  # fmt: skip
    reply = ask(asked)
    chunks = reply.chunks
    try:
        data = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close:
            close()
    if reply.status != 200:
        raise NotAnswered(reply.status, data.decode().strip())
    found: list[Found] = json.loads(data)
    return found


def _frames(found: list[Found], base: str) -> list[dict[str, str]]:
    """Where each picture of a series is, and what it is called."""
    frames = list[dict[str, str]]()
    for instance in found:
        count = int(_text(instance, "NumberOfFrames") or 1)
        number = _text(instance, "InstanceNumber") or "without number"
        for frame in range(1, min(count, FRAMES - len(frames)) + 1):
            address = f"{base}/{_text(instance, 'SOPInstanceUID')}/frames/{frame}"
            frames.append({"address": address, "name": f"{number}, frame {frame}" if count > 1 else number})
    return frames


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
