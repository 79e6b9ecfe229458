"""A PACS by DICOMweb: QIDO-RS says what there is, WADO-RS gives it.  PS3.18: 10.4, 10.6."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pydicom

from xds.archives.contents import Member, Members
from xds.archives.interface import Gone, NotAnswering
from xds.archives.web import Web

# PS3.6.
_STUDY, _SERIES, _CLASS, _INSTANCE = "0020000D", "0020000E", "00080016", "00080018"
_MODALITY, _SERIES_NUMBER, _NUMBER, _FRAMES = "00080060", "00200011", "00200013", "00280008"
_COUNT = "00201208"
_FIELDS = ",".join((_SERIES, _MODALITY, _SERIES_NUMBER, _NUMBER, _FRAMES))


class DicomWebWay:
    """``pacs.Way`` over a DICOMweb service."""

    gives_headers = True

    def __init__(self, web: Web) -> None:
        self._web = web

    def studies(self, study_instance_uid: str = "") -> Iterator[tuple[str, str]]:
        matched = {"StudyInstanceUID": study_instance_uid} if study_instance_uid else {}
        for dataset in self._web.search("/studies", includefield=_COUNT, **matched):
            yield _text(dataset, _STUDY), _text(dataset, _COUNT, "")

    def members(self, study_instance_uid: str) -> Members:
        path = f"/studies/{study_instance_uid}"
        found: Members = {}
        try:
            # What a series has in common may not be told with its instances.
            series = {_text(one, _SERIES): one for one in self._web.search(f"{path}/series")}
            for dataset in self._web.search(f"{path}/instances", includefield=_FIELDS):
                uid = _text(dataset, _SERIES)
                member = _member(uid, series.get(uid, {}) | dataset)
                found[uid, member.sop_instance_uid] = member
        except Gone:
            return {}
        return found

    def header(self, study_instance_uid: str, member: Member) -> pydicom.Dataset:
        found = self._web.metadata(_address(study_instance_uid, member))
        try:
            return pydicom.Dataset.from_json(found[0], lambda *_: b"")
        except Exception as problem:  # pydicom raises whatever its parts do
            raise NotAnswering(f"the archive's metadata are no dataset ({type(problem).__name__})") from None

    def fetch(self, study_instance_uid: str, member: Member, keep: Callable[[bytes | memoryview], None]) -> str:
        return self._web.instance(_address(study_instance_uid, member), keep)

    def is_still(self, study_instance_uid: str, member: Member, tag: str) -> bool:
        return self._web.is_still(_address(study_instance_uid, member), tag)


def _address(study: str, member: Member) -> str:
    return f"/studies/{study}/series/{member.series_instance_uid}/instances/{member.sop_instance_uid}"


def _member(series: str, dataset: dict[str, Any]) -> Member:
    return Member(
        series, _text(dataset, _CLASS), _text(dataset, _INSTANCE), _text(dataset, _MODALITY, ""),
        _number(dataset, _SERIES_NUMBER), _number(dataset, _NUMBER), _number(dataset, _FRAMES) or 1,
    )  # fmt: skip


def _text(dataset: dict[str, Any], tag: str, default: str | None = None) -> str:
    """The first value of an attribute.

    Raises:
        NotAnswering: there is none, and no default.
    """
    try:
        return str(dataset[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        if default is None:
            raise NotAnswering(f"the archive's answer lacks {tag}") from None
        return default


def _number(dataset: dict[str, Any], tag: str) -> int | None:
    try:
        return int(_text(dataset, tag, ""))
    except ValueError:
        return None
