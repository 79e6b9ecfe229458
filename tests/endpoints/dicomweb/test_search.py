"""QIDO-RS: what is asked for is done, refused or warned of.  PS3.18: 8.3.4; PS3.4: C.2.2.2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.imaging.elements import an_image, part10
from xds.endpoints.dicomweb import search
from xds.endpoints.dicomweb.search import NOT_FUZZY, BadSearch, read
from xds.imaging.group import Study
from xds.imaging.instance import InstanceFacts, read_file
from xds.imaging.study import studies_of


def a_study(tmp_path: Path, *changes: dict[int, Any]) -> Study:
    """Of one series for each of these changes."""
    found = []
    for number, one in enumerate(changes or ({},), 1):
        path = tmp_path / f"{number}.dcm"
        own = {0x0020000E: ("UI", f"1.2.3.77.{number}"), 0x00080018: ("UI", f"1.2.3.77.{number}.1")}
        path.write_bytes(part10(an_image({**own, **one})))
        facts = read_file(path)
        assert isinstance(facts, InstanceFacts)
        found.append(facts)
    (study,) = studies_of(found).studies
    return study


def is_found(study: Study, *parameters: tuple[str, str], level: str = "studies") -> bool:
    wanted = read(level, parameters, {})
    return bool(search.matches(wanted, [study], "https://example.org/dicomweb")[0])


def warnings(*parameters: tuple[str, str]) -> tuple[str, ...]:
    return read("series", parameters, {}).warnings


@pytest.mark.parametrize(
    "parameters",
    [
        [("PatientName", "A"), ("PatientName", "B")],
        [("PatientName", "A"), ("00100010", "B")],
        [("limit", "1"), ("limit", "2")],
        [("fuzzymatching", "true"), ("fuzzymatching", "false")],
        [("fuzzymatching", "yes")],
        [("emptyvaluematching", "1")],
        [("multiplevaluematching", "")],
        [("limit", "-1")],
        [("limit", "x")],
        [("offset", "1.5")],
        [("limit", "٣")],
        *([("StudyDate", one)] for one in (
            "2026-01-12", "2026.01.12", "202601", "today", "20260112-20260113-20260114", "-", "20260112--",
        )),
        *([("StudyTime", one)] for one in ("25", "10:30", "1", "1030-11:00", "-", "103000.1234567")),
        [("SeriesNumber", "one")],
        [("StudyInstanceUID", "1.2.x")],
        [("StudyInstanceUID", "1.2,")],
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_meant_is_refused(parameters: list[tuple[str, str]]) -> None:
    with pytest.raises(BadSearch) as refused:
        read("series", parameters, {})
    assert parameters[0][1] not in str(refused.value) or len(parameters[0][1]) < 3


def test_a_uid_of_the_address_is_not_asked_for_again() -> None:
    with pytest.raises(BadSearch, match="in the address"):
        read("series", [("StudyInstanceUID", "1.2.9")], {"StudyInstanceUID": "1.2.3"})


def test_fuzzy_matching_is_warned_of_in_the_standards_words() -> None:
    assert warnings(("fuzzymatching", "true")) == (NOT_FUZZY,)
    assert warnings(("fuzzymatching", "false"), ("emptyvaluematching", "true"), ("_", "1")) == ()


def test_what_is_not_known_is_named() -> None:
    (said,) = warnings(("Colour", "blue"), ("includefield", "PatientName,WindowCenter"), ("includefield", "all"))
    assert said == "not supported and not applied: Colour, includefield=WindowCenter"


@pytest.mark.parametrize(
    ("asked", "found"), [("CT", True), ("CT,PT", True), ("PT\\MR", True), ("MR", False), ("MR,US", False), ("C*", True)]
)
def test_of_several_modalities_any_one_is_matched_and_that_is_said(tmp_path: Path, asked: str, found: bool) -> None:
    """PS3.4: C.2.2.2.8, note 4: without multiple value matching the meaning is not defined; viewers mean any."""
    study = a_study(tmp_path, {0x00080060: ("CS", "CT")}, {0x00080060: ("CS", "PT")})
    assert is_found(study, ("ModalitiesInStudy", asked)) is found
    assert is_found(study, ("Modality", asked), level="series") is found
    several = "," in asked or "\\" in asked
    assert ("of which any one" in " ".join(warnings(("ModalitiesInStudy", asked)))) is several


@pytest.mark.parametrize(("asked", "found"), [("CT,PT", True), ("PT\\CT", True), ("CT,MR", False), ("CT", True)])
def test_with_multiple_value_matching_every_modality_must_be_there(tmp_path: Path, asked: str, found: bool) -> None:
    study = a_study(tmp_path, {0x00080060: ("CS", "CT")}, {0x00080060: ("CS", "PT")})
    switch = ("multiplevaluematching", "true")
    assert is_found(study, ("ModalitiesInStudy", asked), switch) is found
    assert warnings(("ModalitiesInStudy", asked), switch) == ()


def test_with_empty_value_matching_what_has_no_value_is_found(tmp_path: Path) -> None:
    switch = ("emptyvaluematching", "true")
    study = a_study(tmp_path, {0x00100020: ("LO", "")})
    assert is_found(study, ("PatientID", '""'), switch)
    assert not is_found(study, ("PatientName", '""'), switch)
    assert not is_found(study, ("PatientID", '""'))


@pytest.mark.parametrize(
    ("held", "asked", "found"),
    [
        ("103015", "103000-110000", True),
        ("1030", "103000-110000", True),  # a time of minutes is not precise to seconds (PS3.5: Table 6.2-1)
        ("1030", "103030-110000", True),
        ("10", "103000-110000", True),
        ("09", "103000-110000", False),
        ("1101", "103000-11", True),
        ("120000", "103000-11", False),
        ("103000.5", "-103000", True),
        ("103001", "-103000", False),
        ("230000", "220000-010000", False),  # past midnight is not supported (PS3.4: C.2.2.2.5.2)
        ("", "-235959", False),
        ("1030", "1030", True),
        ("103000", "1030", False),
    ],
)
def test_a_time_is_within_a_range_if_it_may_be(tmp_path: Path, held: str, asked: str, found: bool) -> None:
    assert is_found(a_study(tmp_path, {0x00080030: ("TM", held)}), ("StudyTime", asked)) is found


@pytest.mark.parametrize(
    ("asked", "found"),
    [("20260110", True), ("-20260110", True), ("20260110-", True), ("20260101-20260201", True), ("20260111-", False)],
)
def test_a_date_is_within_its_range(tmp_path: Path, asked: str, found: bool) -> None:
    assert is_found(a_study(tmp_path), ("StudyDate", asked)) is found


@pytest.mark.parametrize(("asked", "found"), [("*", True), ("T?", True), ("t1", False), ("", True), ("[T]1", False)])
def test_an_identifier_is_matched_by_wildcards_and_case(tmp_path: Path, asked: str, found: bool) -> None:
    assert is_found(a_study(tmp_path), ("PatientID", asked)) is found


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    assert is_found(a_study(tmp_path), ("SeriesNumber", "01"), level="series")
