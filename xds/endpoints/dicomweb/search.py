"""QIDO-RS: studies, series and instances by their attributes.  PS3.18: 10.6, Tables 10.6.1-2 to 10.6.3-5."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from xds.endpoints.dicomweb.datasets import value
from xds.imaging.group import Series, Study
from xds.imaging.instance import InstanceFacts

MOST = 1000
"""Matches of one answer, whatever the client's limit."""

Dataset: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute that is returned, and may be asked for."""

    keyword: str
    tag: str
    vr: str


# PS3.18: Tables 10.6.3-3 to 10.6.3-5, as far as the archive knows them; PS3.6 has tags and VRs.
STUDY = {a.keyword: a for a in (
    Attribute("StudyDate", "00080020", "DA"),
    Attribute("StudyTime", "00080030", "TM"),
    Attribute("AccessionNumber", "00080050", "SH"),
    Attribute("InstanceAvailability", "00080056", "CS"),
    Attribute("ModalitiesInStudy", "00080061", "CS"),
    Attribute("ReferringPhysicianName", "00080090", "PN"),
    Attribute("TimezoneOffsetFromUTC", "00080201", "SH"),
    Attribute("StudyDescription", "00081030", "LO"),
    Attribute("RetrieveURL", "00081190", "UR"),
    Attribute("PatientName", "00100010", "PN"),
    Attribute("PatientID", "00100020", "LO"),
    Attribute("IssuerOfPatientID", "00100021", "LO"),
    Attribute("PatientBirthDate", "00100030", "DA"),
    Attribute("PatientSex", "00100040", "CS"),
    Attribute("StudyInstanceUID", "0020000D", "UI"),
    Attribute("StudyID", "00200010", "SH"),
    Attribute("NumberOfStudyRelatedSeries", "00201206", "IS"),
    Attribute("NumberOfStudyRelatedInstances", "00201208", "IS"),
)}  # fmt: skip
SERIES = {a.keyword: a for a in (
    Attribute("Modality", "00080060", "CS"),
    Attribute("SeriesDescription", "0008103E", "LO"),
    Attribute("RetrieveURL", "00081190", "UR"),
    Attribute("BodyPartExamined", "00180015", "CS"),
    Attribute("SeriesInstanceUID", "0020000E", "UI"),
    Attribute("SeriesNumber", "00200011", "IS"),
    Attribute("NumberOfSeriesRelatedInstances", "00201209", "IS"),
)}  # fmt: skip
INSTANCE = {a.keyword: a for a in (
    Attribute("SOPClassUID", "00080016", "UI"),
    Attribute("SOPInstanceUID", "00080018", "UI"),
    Attribute("RetrieveURL", "00081190", "UR"),
    Attribute("InstanceNumber", "00200013", "IS"),
    Attribute("NumberOfFrames", "00280008", "IS"),
)}  # fmt: skip
_LEVELS = {"studies": STUDY, "series": STUDY | SERIES, "instances": STUDY | SERIES | INSTANCE}
_RETURNED_ONLY = frozenset((
    "InstanceAvailability", "RetrieveURL", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
))  # fmt: skip
_PARAMETERS = frozenset({"includefield", "fuzzymatching", "limit", "offset", "_"})


class BadSearch(ValueError):
    """A search that cannot be understood; the message names the parameter."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: attributes with the values any of which will do, and which part of the matches is wanted."""

    level: str  # studies, series, instances
    wanted: Mapping[str, tuple[str, ...]]
    limit: int
    offset: int
    ignored: tuple[str, ...]  # attributes that the archive does not know, or that were not asked rightly


def read(level: str, parameters: Iterable[tuple[str, str]], known: Mapping[str, str]) -> Search:
    """A search from the query string; ``known`` are UIDs of the path.

    Raises:
        BadSearch: limit or offset is no number.
    """
    attributes = _LEVELS[level]
    by_tag = {a.tag: a.keyword for a in attributes.values()}
    wanted: dict[str, tuple[str, ...]] = {keyword: (uid,) for keyword, uid in known.items()}
    numbers = {"limit": MOST, "offset": 0}
    ignored = []
    for key, text in parameters:
        if key in numbers:
            if re.fullmatch(r"[0-9]{1,9}", text) is None:
                raise BadSearch(f"{key} is a number")
            numbers[key] = int(text)
        elif key not in _PARAMETERS:
            keyword = by_tag.get(key.upper(), key)
            if keyword not in attributes or keyword in _RETURNED_ONLY:
                ignored.append(key[:64])
            elif text:
                wanted[keyword] = tuple(re.split(r"[,\\]", text)) if attributes[keyword].vr == "UI" else (text,)
    return Search(level, wanted, min(numbers["limit"], MOST), numbers["offset"], tuple(ignored))


def matches(search: Search, studies: Iterable[Study], base: str) -> tuple[list[Dataset], bool]:
    """The datasets of the part that is wanted, and whether more remain."""
    found: list[Dataset] = []
    skipped = 0
    for dataset in _all(search, studies, base):
        if skipped < search.offset:
            skipped += 1
        elif len(found) == search.limit:
            return found, True
        else:
            found.append(dataset)
    return found, False


def _all(search: Search, studies: Iterable[Study], base: str) -> Iterator[Dataset]:
    for study in studies:
        of_study = _study(study, f"{base}/studies/{study.study_instance_uid}")
        if not _meets(of_study, STUDY, search.wanted):
            continue
        if search.level == "studies":
            yield _written(of_study, STUDY)
            continue
        for series in study.series:
            yield from _of_series(search, of_study, series)


def _of_series(search: Search, of_study: Dataset, series: Series) -> Iterator[Dataset]:
    of_series = _series(series, f"{of_study['RetrieveURL']}/series/{series.series_instance_uid}")
    if not _meets(of_series, SERIES, search.wanted):
        return
    if search.level == "series":
        yield _written(of_study | of_series, STUDY | SERIES)
        return
    for instance in series.instances:
        one = _instance(instance, f"{of_series['RetrieveURL']}/instances/{instance.sop_instance_uid}")
        if _meets(one, INSTANCE, search.wanted):
            yield _written(of_study | of_series | one, STUDY | SERIES | INSTANCE)


def _study(study: Study, url: str) -> Dataset:
    return {
        "StudyDate": study.study_date, "StudyTime": study.study_time,
        "AccessionNumber": next((r.accession_number for r in study.requests if r.accession_number), ""),
        "InstanceAvailability": "ONLINE", "ModalitiesInStudy": study.modalities,
        "ReferringPhysicianName": study.referring_physician, "TimezoneOffsetFromUTC": study.timezone_offset,
        "StudyDescription": study.description, "RetrieveURL": url, "PatientName": study.patient.name,
        "PatientID": study.patient.id, "IssuerOfPatientID": study.patient.issuer,
        "PatientBirthDate": study.patient.birth_date, "PatientSex": study.patient.sex,
        "StudyInstanceUID": study.study_instance_uid, "StudyID": study.study_id,
        "NumberOfStudyRelatedSeries": len(study.series), "NumberOfStudyRelatedInstances": study.count,
    }  # fmt: skip


def _series(series: Series, url: str) -> Dataset:
    return {
        "Modality": series.modality, "SeriesDescription": series.description, "RetrieveURL": url,
        "BodyPartExamined": series.body_part, "SeriesInstanceUID": series.series_instance_uid,
        "SeriesNumber": series.number, "NumberOfSeriesRelatedInstances": len(series.instances),
    }  # fmt: skip


def _instance(instance: InstanceFacts, url: str) -> Dataset:
    return {
        "SOPClassUID": instance.sop_class_uid, "SOPInstanceUID": instance.sop_instance_uid, "RetrieveURL": url,
        "InstanceNumber": instance.instance_number,
        "NumberOfFrames": instance.number_of_frames if instance.number_of_frames > 1 else None,
    }  # fmt: skip


def _written(dataset: Dataset, attributes: Mapping[str, Attribute]) -> Dataset:
    """As DICOM JSON, in order of tag."""
    found = {}
    for attribute in sorted(attributes.values(), key=lambda a: a.tag):
        held = dataset[attribute.keyword]
        found[attribute.tag] = value(attribute.vr, *(held if isinstance(held, tuple) else (held,)))
    return found


def _meets(dataset: Dataset, attributes: Mapping[str, Attribute], wanted: Mapping[str, Sequence[str]]) -> bool:
    for keyword, values in wanted.items():
        attribute = attributes.get(keyword)
        if attribute is None:
            continue
        held = dataset[keyword]
        texts = [str(one) for one in (held if isinstance(held, tuple) else (held,)) if one is not None]
        match = _MATCHERS.get(attribute.vr, _like)
        if not any(match(text, asked) for asked in values for text in texts):
            return False
    return True


def _like(text: str, asked: str) -> bool:
    """``*`` and ``?`` stand for anything; all else for itself (PS3.4: C.2.2.2.4)."""
    pattern = re.sub(r"\[", "[[]", asked)
    return fnmatchcase(text, pattern) if set(asked) & set("*?") else text == asked


def _named(text: str, asked: str) -> bool:
    """Names are compared without regard to case."""
    return _like(text.lower(), asked.lower())


def _within(text: str, asked: str) -> bool:
    """A date or time, or ``from-to`` with either end open (PS3.4: C.2.2.2.5)."""
    if "-" not in asked:
        return text == asked
    begin, _, end = asked.partition("-")
    # A time of hours stands for all of that hour.
    return bool(text) and (not begin or text >= begin) and (not end or text[: len(end)] <= end)


_MATCHERS: Mapping[str, Callable[[str, str], bool]] = {"PN": _named, "DA": _within, "TM": _within}
