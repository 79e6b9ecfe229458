"""A study put together from its instances' facts.

DICOM PS3.3: C.7.1 to C.7.3 (patient, study, series): what one study's instances should all say alike, and
what is taken where they do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from xds.imaging import anatomy, codes, text
from xds.imaging.instance import InstanceFacts
from xds.imaging.manifest import Code, Patient, Request


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a study, its instances in order of Instance Number (0020,0013)."""

    series_instance_uid: str
    modality: str
    number: int | None
    description: str
    body_part: str
    anatomic_regions: tuple[Code, ...]
    performing_physician: str
    instances: tuple[InstanceFacts, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """One study of one patient, its series in order of Series Number (0020,0011).

    ``study_date`` and ``study_time`` are local at ``timezone_offset``; ``study_date_time`` and
    ``last_date_time``, the start of the last acquisition known, are aware UTC times.
    """

    study_instance_uid: str
    patient: Patient
    series: tuple[Series, ...]
    study_date: str
    study_time: str
    timezone_offset: str
    study_date_time: datetime | None
    last_date_time: datetime | None
    study_id: str
    description: str
    requests: tuple[Request, ...]
    referring_physician: str
    institution_name: str
    procedure_codes: tuple[Code, ...]

    @property
    def instances(self) -> Iterator[InstanceFacts]:
        return (instance for series in self.series for instance in series.instances)

    @property
    def count(self) -> int:
        """How many instances it has."""
        return sum(len(series.instances) for series in self.series)

    @property
    def size_bytes(self) -> int:
        return sum(instance.size_bytes for instance in self.instances)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Every value of Modality, each once, in order."""
        return tuple(dict.fromkeys(series.modality for series in self.series if series.modality))

    @property
    def acquisition_modalities(self) -> tuple[Code, ...]:
        """Those that acquire, as DocumentEntry.eventCodeList has them.  PS3.16: CID 29."""
        found = (codes.modality(one) for one in self.modalities if codes.is_acquisition(one))
        return tuple(dict.fromkeys(one for one in found if one))

    @property
    def body_parts(self) -> tuple[Code, ...]:
        """Anatomy as coded in the images, else Body Part Examined where it is a defined term."""
        found: dict[Code, None] = {}
        for series in self.series:
            examined = anatomy.body_part(series.body_part)
            found.update(dict.fromkeys(series.anatomic_regions or ((examined,) if examined else ())))
        return tuple(found)

    @property
    def regions(self) -> tuple[Code, ...]:
        """The coarse regions of ``body_parts`` that searches go by.  IHE RAD MADO."""
        return tuple(dict.fromkeys(region for part in self.body_parts for region in anatomy.regions(part)))


def is_another(one: Patient, other: Patient) -> bool:
    """Whether two descriptions cannot be of one patient: the id, its issuer or the date of birth differs.

    Names are not compared while there are ids: the same person's is written in many ways.
    """
    pairs = [(one.issuer_oid, other.issuer_oid), (one.birth_date, other.birth_date)]
    if not (one.issuer_oid and other.issuer_oid):
        pairs.append((one.issuer, other.issuer))
    if any(left and right and left != right for left, right in pairs):
        return True
    if one.id or other.id:
        return one.id != other.id
    return text.alphabetic(one.name).upper() != text.alphabetic(other.name).upper()


def study(uid: str, members: list[InstanceFacts], zone: str) -> Study:
    """The study of these instances; where they differ, the first that has a value counts.

    Raises:
        ValueError: there is no zone of that name.
    """
    by_series: defaultdict[str, list[InstanceFacts]] = defaultdict(list)
    for member in members:
        by_series[member.series_instance_uid].append(member)
    series = sorted(map(_series, by_series.values()), key=lambda one: (_order(one.number), one.series_instance_uid))
    ordered = [instance for one in series for instance in one.instances]
    # Study Date and Time are the study's, the same in all instances; where they are not, the earliest counts.
    dated = [one for one in ordered if one.study_date]
    earliest = min(dated, key=lambda one: (one.study_date, one.study_time), default=ordered[0])
    start = text.utc(earliest.study_date, earliest.study_time, earliest.timezone_offset, zone)
    offset = earliest.timezone_offset
    if not text.is_offset(offset):
        offset = text.offset((start or datetime.now(UTC)).astimezone(text.zone(zone)))
    requests = (request for one in ordered for request in one.requests)
    procedures = (code for one in ordered for code in one.procedure_codes)
    return Study(
        study_instance_uid=uid,
        patient=_fullest(one.patient for one in ordered),
        series=tuple(series),
        study_date=earliest.study_date,
        study_time=earliest.study_time,
        timezone_offset=offset,
        study_date_time=start,
        last_date_time=_last(ordered, start, zone),
        study_id=_first(one.study_id for one in ordered),
        description=_first(one.study_description for one in ordered),
        requests=tuple(dict.fromkeys(requests)),
        referring_physician=_first(one.referring_physician for one in ordered),
        institution_name=_first(one.institution_name for one in ordered),
        procedure_codes=tuple(dict.fromkeys(procedures)),
    )


def _series(members: list[InstanceFacts]) -> Series:
    ordered = sorted(members, key=lambda one: (_order(one.instance_number), one.sop_instance_uid))
    return Series(
        series_instance_uid=ordered[0].series_instance_uid,
        modality=_first(one.modality for one in ordered),
        number=ordered[0].series_number,
        description=_first(one.series_description for one in ordered),
        body_part=_first(one.body_part for one in ordered),
        anatomic_regions=tuple(dict.fromkeys(code for one in ordered for code in one.anatomic_regions)),
        performing_physician=_first(one.performing_physician for one in ordered),
        instances=tuple(ordered),
    )


def _order(number: int | None) -> tuple[bool, int]:
    return (number is None, number or 0)


def _first(values: Iterable[str]) -> str:
    return next(filter(None, values), "")


def _fullest(patients: Iterable[Patient]) -> Patient:
    """The first description, with what it lacks from the others."""
    several = list(dict.fromkeys(patients))
    fields = ("issuer", "issuer_oid", "name", "birth_date", "sex")
    return replace(several[0], **{name: _first(getattr(one, name) for one in several) for name in fields})


def _last(instances: Iterable[InstanceFacts], start: datetime | None, zone: str) -> datetime | None:
    times = set()
    for one in instances:
        times.add((one.acquisition_date, one.acquisition_time, one.timezone_offset))
        times.add((one.series_date, one.series_time, one.timezone_offset))
    known = (text.utc(day, clock, offset, zone) for day, clock, offset in times if clock)
    last = max(filter(None, known), default=None)
    # Anonymisers shift the study's date and forget the others.
    return None if last is None or (start is not None and last < start) else last
