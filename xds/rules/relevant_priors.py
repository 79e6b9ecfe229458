"""Which earlier examinations matter to one that is ordered, and which may make it needless.

No profile says so: the rules are the region's own, in a TOML file; those below hold where there is none.  Each needs
``days``, how old it may be.  ``of`` is what is ordered, ``are`` what was made before: DICOM modalities, any where they
are left out, and ``are`` may be "same".  ``region`` is "same", as it is where nothing is said, or "any".
``procedures`` says what an order's code is of, where the order itself does not::

    [[relevant]]
    of = ["CT", "MR"]
    days = 3650
    [[needless]]
    of = ["CT"]
    are = "same"
    days = 30
    [procedures."24627-2"]
    modality = "CT"
    body_part = "CHEST"

Nothing is guessed: where the region of one of two is not known, it is not the same.  And what may make an order
needless is of the very same part of the body, which has no two sides: entries do not say which of two it was.
"""

from __future__ import annotations

import tomllib
from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from xds.errors import Unusable
from xds.imaging import anatomy
from xds.imaging.codes import is_acquisition
from xds.imaging.entry import FORMAT_CODE, SCHEMES
from xds.imaging.manifest import Code as DicomCode
from xds.metadata.document_entry import DocumentEntry

MODALITY_SCHEMES = frozenset({SCHEMES["DCM"], "1.2.840.10008.2.6.1", "DCM"})
"""By which modalities are coded in the field."""

_RADIOGRAPHS = frozenset({"CR", "DX", "RG"})
"""The same examination, by another detector."""

_SNOMED = frozenset({SCHEMES["SCT"], anatomy.SCT})
_MOST_DAYS = 200 * 366

_WITHIN = {
    anatomy.HEART: (anatomy.UPPER_TRUNK,),
    anatomy.BREAST: (anatomy.UPPER_TRUNK,),
    anatomy.CARDIOVASCULAR: (anatomy.UPPER_TRUNK, anatomy.LOWER_TRUNK, anatomy.HEAD_AND_NECK),
    anatomy.SPINE: (anatomy.UPPER_TRUNK, anatomy.LOWER_TRUNK, anatomy.HEAD_AND_NECK),
}
_NEAR = {one.value: {one.value, *(each.value for each in others)} for one, others in _WITHIN.items()}
"""Regions that others show, too."""

_TWO_SIDED = frozenset({anatomy.UPPER_LIMB.value, anatomy.LOWER_LIMB.value, anatomy.BREAST.value})


@dataclass(frozen=True, slots=True)
class Examination:
    """One that is ordered, or was made: DICOM modalities, parts of the body and regions as SNOMED CT codes, its day.

    Of a day that is not known to the day it is the last that it may be; None where nothing is known.
    """

    modalities: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    day: date | None = None

    def is_of(self, modalities: frozenset[str]) -> bool:
        """Whether one of its modalities is among these; a radiograph is one whatever took it."""
        return bool(_as_one(self.modalities) & _as_one(modalities))

    def is_no_more_than(self, other: Examination) -> bool:
        """Whether it was made by the other's modalities alone: the CT of a PET is no CT."""
        return self.modalities <= _as_one(other.modalities)

    def has_region_of(self, other: Examination) -> bool:
        """Whether both are known to show one region."""
        one, two = _near(self.regions), _near(other.regions)
        whole = anatomy.ENTIRE_BODY.value in one | two and one and two
        return bool(one & two or whole)

    def has_part_of(self, other: Examination) -> bool:
        """Whether both are known to be of the same part of the body, and there is one of it."""
        return bool(self.parts & other.parts) and not (self.regions | other.regions) & _TWO_SIDED


@dataclass(frozen=True, slots=True)
class Rule:
    """By which an earlier examination matters."""

    days: int
    of: frozenset[str] = frozenset()
    are: frozenset[str] = frozenset()
    same_modality: bool = False
    any_region: bool = False

    def holds(self, ordered: Examination, made: Examination, age: int | None) -> bool:
        """Whether it does; of what has no day the age does not count."""
        return (
            (age is None or age <= self.days)
            and (not self.of or ordered.is_of(self.of))
            and (not self.are or made.is_of(self.are))
            and (not self.same_modality or made.is_of(ordered.modalities))
            and (self.any_region or ordered.has_region_of(made))
        )


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier examination that matters, by its manifest; ``age`` in days, before the one that is ordered."""

    entry: DocumentEntry
    made: Examination
    age: int | None
    same_part: bool
    same_region: bool
    needless: bool
    """What is ordered may not have to be made."""

    def said(self, place: str) -> str:
        """A sentence of it, for people; ``place`` is where its images are, if it does not say where it was made."""
        what = "/".join(sorted(self.made.modalities)) or "examination"
        article = "An" if what[0] in "AEFHILMNORSXe" else "A"  # as the letters are said
        region = "of the same part " if self.same_part else "of the same region " if self.same_region else ""
        when = "" if self.age is None else f" {_earlier(self.age)}"
        return f"{article} {what} {region}was made{when} at {made_at(self.entry) or place}"


_TEN_YEARS, _FIVE_YEARS = 3653, 1827


@dataclass(frozen=True, slots=True)
class Rules:
    """A region's; ``procedures`` are the modality and the regions of an order's codes."""

    relevant: tuple[Rule, ...] = (Rule(_TEN_YEARS), Rule(_FIVE_YEARS, same_modality=True, any_region=True))
    needless: tuple[Rule, ...] = (
        Rule(30, frozenset({"CT", "MR", "NM", "PT"}), same_modality=True),
        Rule(14, frozenset({"US"}), same_modality=True),
        Rule(7, _RADIOGRAPHS, same_modality=True),
    )
    procedures: Mapping[str, Examination] = field(default_factory=dict)

    def ordered(self, modalities: Iterable[str], body_part: str, procedures: Iterable[str], day: date) -> Examination:
        """What is ordered: by what the order says, and else by the codes of its procedures.

        Raises:
            Unusable: the body part is no defined term (PS3.16: Annex L), or a modality none of DICOM's.
        """
        said = frozenset(modalities)
        if unknown := sorted(one for one in said if not is_acquisition(one)):
            raise Unusable(f"{unknown[0][:16]} is no modality of DICOM that makes images, such as CT or MR")
        known = [self.procedures[code] for code in procedures if code in self.procedures]
        part = _of_part(body_part) if body_part else None
        those = [part] if part else known
        return Examination(
            said or frozenset().union(*(one.modalities for one in known)),
            frozenset().union(*(one.parts for one in those)), frozenset().union(*(one.regions for one in those)), day,
        )  # fmt: skip

    def priors(self, ordered: Examination, entries: Iterable[DocumentEntry], study: str = "") -> Priors:
        """The examinations that matter, the newest first; ``study``, which the order is for, is none of them."""
        found, unjudged = list[Prior](), 0
        for entry in entries:
            if entry.format_code.key != FORMAT_CODE.key or (study and study in entry.study_instance_uids):
                continue
            one = self._judged(ordered, entry)
            if one is not None:
                found.append(one)
            elif not examination(entry).regions or not ordered.regions:
                unjudged += 1
        return Priors(sorted(found, key=lambda one: (one.age is None, one.age or 0, one.entry.unique_id)), unjudged)

    def _judged(self, ordered: Examination, entry: DocumentEntry) -> Prior | None:
        made = examination(entry)
        age = None if made.day is None or ordered.day is None else (ordered.day - made.day).days
        old = None if age is None else max(age, 0)  # what was made since, and not for it, matters most
        begun = entry.service_start_time
        to_the_day = begun is not None and len(begun.text) >= len("20260301")
        needless = to_the_day and made.is_no_more_than(ordered) and any(
            rule.holds(ordered, made, old) and (rule.any_region or made.has_part_of(ordered)) for rule in self.needless
        )  # fmt: skip
        if needless or any(rule.holds(ordered, made, old) for rule in self.relevant):
            return Prior(entry, made, age, made.has_part_of(ordered), ordered.has_region_of(made), needless)
        return None


@dataclass(frozen=True, slots=True)
class Priors:
    """Those that matter; and how many could not be judged, as nobody knows of what they, or the order, are."""

    found: list[Prior]
    unjudged: int


def examination(entry: DocumentEntry) -> Examination:
    """What a manifest's entry says was made."""
    codes = entry.event_code_list
    parts = [DicomCode(code.code, anatomy.SCT, "") for code in codes if code.scheme in _SNOMED]
    regions = {part.value: anatomy.regions(part) for part in parts}
    return Examination(
        frozenset(code.code for code in codes if code.scheme in MODALITY_SCHEMES and is_acquisition(code.code)),
        frozenset(part for part, of in regions.items() if of and part not in {region.value for region in of}),
        frozenset(region.value for of in regions.values() for region in of),
        _last_day(entry.service_start_time.text[:8] if entry.service_start_time else ""),
    )


def made_at(entry: DocumentEntry) -> str:
    """The institution that made an examination, by its name; empty where the entry names none."""
    return next((one.name for author in entry.author for one in author.institutions if one.name), "")


def _earlier(days: int) -> str:
    if days < 0:
        return f"{-days} days later" if days < -1 else "a day later"
    if days < 2:
        return "a day earlier" if days else "on the same day"
    if days < 2 * 365:
        return f"{days} days earlier"
    return f"{days / 365.25:.0f} years earlier"


def read(text: str) -> Rules:
    """The rules that a file holds; of what it says nothing, those that hold without one.

    Raises:
        Unusable: it is not TOML, or something in it is no rule.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Unusable(f"priors: {problem}") from None
    if unknown := tables.keys() - {"relevant", "needless", "procedures"}:
        raise Unusable(f"priors: {', '.join(sorted(unknown))}: only relevant, needless and procedures are known")
    rules = Rules()
    relevant = _rules("relevant", tables["relevant"]) if "relevant" in tables else rules.relevant
    needless = _rules("needless", tables["needless"]) if "needless" in tables else rules.needless
    procedures = tables.get("procedures", {})
    if not isinstance(procedures, dict):
        raise Unusable("priors: procedures is a table of codes")
    return Rules(relevant, needless, {code: _procedure(code, table) for code, table in procedures.items()})


def read_file(path: str) -> Rules:
    """The rules of a file, or where it has no name, those that hold without one.

    Raises:
        Unusable: it cannot be read; or as ``read`` does.
    """
    if not path:
        return Rules()
    try:
        return read(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise Unusable(f"priors.rules: {path} cannot be read: {problem}") from None


def _rules(kind: str, tables: Any) -> tuple[Rule, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise Unusable(f"priors: each rule begins with [[{kind}]]")
    return tuple(_rule(f"priors: {kind} {number}", table) for number, table in enumerate(tables, 1))


def _rule(called: str, table: Mapping[str, Any]) -> Rule:
    if unknown := table.keys() - {"days", "of", "are", "region"}:
        raise Unusable(f"{called}: {', '.join(sorted(unknown))}: only days, of, are and region are known")
    days, are, region = table.get("days"), table.get("are", []), table.get("region", "same")
    if not isinstance(days, int) or isinstance(days, bool) or not 0 <= days <= _MOST_DAYS:
        raise Unusable(f"{called}: days, how old it may be, is a number up to {_MOST_DAYS}")
    if region not in ("same", "any"):
        raise Unusable(f'{called}: region is "same" or "any"')
    same = are == "same"
    of, made = _named(f"{called}: of", table.get("of", [])), frozenset() if same else _named(f"{called}: are", are)
    return Rule(days, of, made, same_modality=same, any_region=region == "any")


def _procedure(code: str, table: Any) -> Examination:
    called = f"priors: the procedure {code}"
    if not isinstance(table, dict) or table.keys() - {"modality", "body_part"}:
        raise Unusable(f"{called}: modality and body_part are known of it")
    modality, part = table.get("modality", ""), table.get("body_part", "")
    if not isinstance(part, str):
        raise Unusable(f"{called}: body_part is a defined term of PS3.16: Annex L")
    try:
        of = _of_part(part) if part else Examination()
    except Unusable as problem:
        raise Unusable(f"{called}: {problem}") from None
    return replace(of, modalities=_named(f"{called}: modality", [modality] if modality else []))


def _named(called: str, value: Any) -> frozenset[str]:
    is_list = isinstance(value, list)
    if not is_list or not all(isinstance(one, str) and one.isalnum() and one.isupper() for one in value):
        raise Unusable(f'{called}: modalities as DICOM has them, such as ["CT", "MR"]')
    return frozenset(value)


def _of_part(body_part: str) -> Examination:
    part = anatomy.body_part(body_part)
    if part is None:
        raise Unusable(f"{body_part[:32]} is no body part of PS3.16: Annex L, such as CHEST or HEAD")
    return Examination(
        parts=frozenset({part.value}), regions=frozenset(region.value for region in anatomy.regions(part))
    )


def _near(regions: frozenset[str]) -> set[str]:
    return {near for region in regions for near in _NEAR.get(region, {region})}


def _as_one(modalities: frozenset[str]) -> frozenset[str]:
    return modalities | _RADIOGRAPHS if modalities & _RADIOGRAPHS else modalities


def _last_day(digits: str) -> date | None:
    """The last day that a date may be, of which only the year or the month may be known."""
    try:
        if len(digits) == len("20260301"):
            return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
        month = int(digits[4:6] or 12)
        return date(int(digits[:4]), month, monthrange(int(digits[:4]), month)[1])
    except ValueError:
        return None
