"""QIDO-RS: studies, series and instances by their attributes.  PS3.18: 10.6, Tables 10.6.1-2 to 10.6.3-5."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from xds.endpoints.dicomweb.datasets import value
from xds.endpoints.dicomweb.matching import EMPTY, MATCHERS, like, wrong
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
_SEVERAL = frozenset({"ModalitiesInStudy"})  # of these attributes, those that may have several values
_SWITCHES = frozenset({"fuzzymatching", "emptyvaluematching", "multiplevaluematching"})

# The standard's own words (PS3.18: 8.3.4.2).
NOT_FUZZY = "The fuzzymatching parameter is not supported. Only literal matching has been performed."


T = TypeVar("T")

Withheld = Callable[[Collection[str]], Collection[str]]
"""Which of some studies, by their UIDs, who asks may not see."""

NO_STUDY = "0.0"
DECIDED = 100
"""Studies about which that is asked at once."""


class BadSearch(ValueError):
    """A search that cannot be understood; the message names the parameter."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: attributes with the values any of which will do, and which part of the matches is wanted.

    Of the attributes named in ``every`` all values are wanted, and those in ``empty`` without any.  ``warnings`` are
    of what was asked for and is not done.
    """

    level: str  # studies, series, instances
    wanted: Mapping[str, tuple[str, ...]]
    limit: int = MOST
    offset: int = 0
    every: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def read(level: str, parameters: Iterable[tuple[str, str]], known: Mapping[str, str]) -> Search:
    """A search from the query string; ``known`` are UIDs of the path.  PS3.18: 8.3.4.

    Raises:
        BadSearch: a parameter is malformed, or is there twice.
    """
    attributes = _LEVELS[level]
    by_tag = {a.tag: a.keyword for a in attributes.values()}
    keys: dict[str, str] = {}
    included = list[str]()
    for key, text in parameters:
        name = by_tag.get(key.upper(), key)
        if name == "includefield":
            included += [one for one in text.split(",") if one]
        elif name in known:
            raise BadSearch(f"{name[:64]} is in the address already")
        elif name in keys:
            raise BadSearch(f"{name[:64]} is there twice")
        else:
            keys[name] = text
    for name in ("_", "accept", "charset"):  # the first is sent to get round caches; the others are read elsewhere
        keys.pop(name, "")
    limit, offset = (_uint(keys, name, otherwise) for name, otherwise in (("limit", MOST), ("offset", 0)))
    switches = {name for name in _SWITCHES if _switch(keys, name)}
    asked = {name: text for name, text in keys.items() if name in attributes and name not in _RETURNED_ONLY}
    ignored = [name for name in keys if name not in asked]
    ignored += [f"includefield={one}" for one in included
                if one != "all" and by_tag.get(one.upper(), one) not in attributes]  # fmt: skip
    return _search(Search(level, {}, min(limit, MOST), offset), asked, known, switches, ignored)


def _search(
    plain: Search, asked: Mapping[str, str], known: Mapping[str, str], switches: set[str], ignored: Sequence[str]
) -> Search:
    wanted: dict[str, tuple[str, ...]] = {keyword: (uid,) for keyword, uid in known.items()}
    every, empty, warnings = set[str](), set[str](), list[str]()
    for keyword, text in asked.items():
        vr = _LEVELS[plain.level][keyword].vr
        if text == EMPTY and "emptyvaluematching" in switches:
            empty.add(keyword)
        elif text:
            wanted[keyword] = _values(keyword, vr, text)
            several = len(wanted[keyword]) > 1 and vr != "UI"
            if several and keyword in _SEVERAL and "multiplevaluematching" in switches:
                every.add(keyword)  # PS3.4: C.2.2.2.8
            elif several:
                warnings.append(f"{keyword} has several values, of which any one was matched")
    if "fuzzymatching" in switches:
        warnings.append(NOT_FUZZY)
    if ignored:
        warnings.append("not supported and not applied: " + ", ".join(one[:64] for one in ignored))
    return replace(
        plain, wanted=wanted, every=frozenset(every), empty=frozenset(empty), warnings=tuple(warnings)
    )  # fmt: skip


def _values(keyword: str, vr: str, text: str) -> tuple[str, ...]:
    """UIDs may be a list (PS3.18: 8.3.4.1).  Of codes, which hold neither separator, viewers send lists too."""
    values = tuple(re.split(r"[,\\]", text)) if vr in ("UI", "CS") else (text,)
    for one in values:
        reason = wrong(vr, one)
        if reason:
            raise BadSearch(f"{keyword} {reason}")
    return values


def _uint(keys: dict[str, str], name: str, otherwise: int) -> int:
    text = keys.pop(name, str(otherwise))
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) is None:
        raise BadSearch(f"{name} is a number")
    return int(text)


def _switch(keys: dict[str, str], name: str) -> bool:
    text = keys.pop(name, "false")
    if text not in ("true", "false"):
        raise BadSearch(f"{name} is true or false (PS3.18: 8.3.4)")
    return text == "true"


def matches(
    search: Search, studies: Iterable[Study], base: str, withheld: Withheld = lambda _uids: ()
) -> tuple[list[Dataset], bool]:
    """The datasets of the part that is wanted, and whether more remain; of studies that are not ``withheld``."""
    found: list[Dataset] = []
    skipped = 0
    for dataset in _all(search, studies, base, withheld):
        if skipped < search.offset:
            skipped += 1
        elif len(found) == search.limit:
            return found, True
        else:
            found.append(dataset)
    return found, False


def _all(search: Search, studies: Iterable[Study], base: str, withheld: Withheld) -> Iterator[Dataset]:
    if "StudyInstanceUID" in search.wanted:  # few, whose datasets are not made before it is known who may see them
        studies, withheld = _seen(iter(studies), lambda study: study, withheld), lambda _uids: ()
    found = ((study, _study(study, f"{base}/studies/{study.study_instance_uid}")) for study in studies)
    met = (one for one in found if _meets(one[1], STUDY, search))
    for study, of_study in _seen(met, lambda one: one[0], withheld):
        if search.level == "studies":
            yield _written(of_study, STUDY)
            continue
        for series in study.series:
            yield from _of_series(search, of_study, series)


def _seen(found: Iterator[T], study: Callable[[T], Study], withheld: Withheld) -> Iterator[T]:
    """Those whose study is not withheld; where there is none, in the time of one that is withheld."""
    some = list(islice(found, DECIDED))
    if not some:
        withheld([NO_STUDY])
    while some:
        hidden = withheld([study(one).study_instance_uid for one in some])
        yield from (one for one in some if study(one).study_instance_uid not in hidden)
        some = list(islice(found, DECIDED))


def _of_series(search: Search, of_study: Dataset, series: Series) -> Iterator[Dataset]:
    of_series = _series(series, f"{of_study['RetrieveURL']}/series/{series.series_instance_uid}")
    if not _meets(of_series, SERIES, search):
        return
    if search.level == "series":
        yield _written(of_study | of_series, STUDY | SERIES)
        return
    for instance in series.instances:
        one = _instance(instance, f"{of_series['RetrieveURL']}/instances/{instance.sop_instance_uid}")
        if _meets(one, INSTANCE, search):
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


def _meets(dataset: Dataset, attributes: Mapping[str, Attribute], search: Search) -> bool:
    """Whether what is of one level is what is looked for there."""
    if any(_texts(dataset, keyword) for keyword in search.empty if keyword in attributes):
        return False
    return all(
        _met(attributes[keyword].vr, values, _texts(dataset, keyword), every=keyword in search.every)
        for keyword, values in search.wanted.items()
        if keyword in attributes
    )


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    held = dataset[keyword]
    return [str(one) for one in (held if isinstance(held, tuple) else (held,)) if one not in (None, "")]


def _met(vr: str, values: Sequence[str], texts: Sequence[str], *, every: bool) -> bool:
    match = MATCHERS.get(vr, like)
    met = (any(match(text, asked) for text in texts or ("",)) for asked in values)
    return all(met) if every else any(met)
