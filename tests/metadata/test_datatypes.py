"""Data types of ITI TF-3: 4.2.3.1: good ones, each spoilt in one way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.metadata import from_ebxml
from xds.metadata.datatypes import Author, Code, Dtm, Recipient, ReferenceId, Xcn, Xon, Xtn, escape, trimmed
from xds.metadata.identifiers import PatientId, is_entry_uuid, is_oid, new_entry_uuid, new_oid, oid

STUDY = "urn:ihe:iti:xds:2016:studyInstanceUID"
ACCESSION = "urn:ihe:iti:xds:2013:accession"

GOOD: list[tuple[Callable[[str], object], str]] = [
    (oid, "1.2.3"),
    (oid, "2.25.329800735698586629295641978511506172918"),
    (oid, "0.0"),
    (oid, "1." + "2" * 62),
    (PatientId.parse, "1^^^&1.2.3&ISO"),
    (PatientId.parse, "Äö 7-\\E\\^^^&1.2.3&ISO^^"),
    (Dtm, "2024"),
    (Dtm, "202402"),
    (Dtm, "20240229"),
    (Dtm, "2024022923"),
    (Dtm, "202402292359"),
    (Dtm, "20240229235959"),
    (Dtm, "20161231235960"),
    (Xcn, "7^Curie"),
    (Xcn, "^Curie^Marie^^^Dr."),
    (Xcn, "7^^^^^^^^&1.2.3&ISO"),
    (Xcn, "^Curie^Marie^^^"),
    (Xon, "Hôpital"),
    (Xon, "Hôpital^^^^^&1.2.3&ISO^^^^4711"),
    (Xon, "Hôpital^^^^^^^^^1.2.3"),
    (Xon, "Hôpital^^^^^^^^^^^"),
    (Xtn, "^PRN^PH^^41^44^5551234"),
    (Xtn, "^PRN^CP^^^^^^^^^+41 44 555 12 34"),
    (Xtn, "^^Internet^a@example.org"),
    (Xtn, "^NET^Internet^a@example.org"),
    (Recipient, "Clinic"),
    (Recipient, "|^Curie"),
    (Recipient, "||^^Internet^a@example.org"),
    (Recipient, "Clinic|^Curie|^^Internet^a@example.org"),
    (Recipient, "Clinic||"),
    (ReferenceId, f"1.2.840^^^^{STUDY}"),
    (ReferenceId, f"A1^^^&1.2.3&ISO^{ACCESSION}"),
    (ReferenceId, f"A1^^^Hospital^{ACCESSION}"),
    (ReferenceId, f"A1^^^&1.2.3&ISO^{ACCESSION}^urn:oid:1.2"),
    (ReferenceId, f"A1^^^&1.2.3&ISO^{ACCESSION}^^^"),
    (from_ebxml.sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    (from_ebxml.sha1, "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"),
    (from_ebxml.size_bytes, "0"),
    (from_ebxml.size_bytes, str(2**63 - 1)),
    (from_ebxml.language, "de"),
    (from_ebxml.language, "de-CH"),
    (from_ebxml.language, "sr-Latn-RS"),
    (from_ebxml.unique_id, "1.2.3"),
    (from_ebxml.unique_id, "1.2.3^extension"),
    (from_ebxml.unique_id, "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983"),
    (from_ebxml.unique_id, "x" * 128),
]

BAD: list[tuple[Callable[[str], object], str]] = [
    (oid, ""),
    (oid, "1"),
    (oid, "1."),
    (oid, "1..2"),
    (oid, "3.1"),
    (oid, "1.02"),
    (oid, "1.2.x"),
    (oid, "1.2\n"),
    (oid, "urn:oid:1.2.3"),
    (oid, "1.٣"),
    (oid, "1." + "2" * 63),
    (PatientId.parse, ""),
    (PatientId.parse, "4711"),
    (PatientId.parse, "^^^&1.2.3&ISO"),
    (PatientId.parse, "4711^^^&&ISO"),
    (PatientId.parse, "4711^^^&1.2.3&"),
    (PatientId.parse, "4711^^^&1.2.3&DNS"),
    (PatientId.parse, "4711^^^ns&1.2.3&ISO"),
    (PatientId.parse, "4711^1^^&1.2.3&ISO"),
    (PatientId.parse, "4711^^^&1.2.3&ISO^PI"),
    (PatientId.parse, "4711^^^&1.02.3&ISO"),
    (PatientId.parse, "47~11^^^&1.2.3&ISO"),
    (PatientId.parse, "47&11^^^&1.2.3&ISO"),
    (PatientId.parse, "4711^^^&1.2.3&ISO\n"),
    (Dtm, ""),
    (Dtm, "0000"),
    (Dtm, "202"),
    (Dtm, "20245"),
    (Dtm, "202413"),
    (Dtm, "20230229"),
    (Dtm, "2024022924"),
    (Dtm, "202402292360"),
    (Dtm, "20240229235961"),
    (Dtm, "20240229235959.5"),
    (Dtm, "20240229235959+0100"),
    (Dtm, "2024-02-29"),
    (Dtm, "２０２４"),
    (Xcn, ""),
    (Xcn, "^^Marie"),
    (Xcn, "7^Curie^^^^^^^1.2.3"),
    (Xcn, "7^Curie^^^^^^^&1.2.3&DNS"),
    (Xcn, "7^Curie^^^^^^^&x&ISO"),
    (Xcn, "7^Curie" + "^x" * 22),
    (Xon, ""),
    (Xon, "^^^^^^^^^1.2.3"),
    (Xon, "Clinic^^^^^^^^^4711"),
    (Xon, "Clinic^^^^^1.2.3^^^^4711"),
    (Xon, "Clinic^^^^^^^^^1.2.3^more"),
    (Xtn, ""),
    (Xtn, "^^Internet"),
    (Xtn, "^PRN^PH^^41^44"),
    (Xtn, "^PRN^^^41^44^5551234"),
    (Xtn, "5551234"),
    (Recipient, ""),
    (Recipient, "||"),
    (Recipient, "Clinic|^Curie||"),
    (Recipient, "Clinic|^^Marie"),
    (Recipient, "|^Curie|5551234"),
    (ReferenceId, ""),
    (ReferenceId, "1.2.840"),
    (ReferenceId, "1.2.840^^^^"),
    (ReferenceId, f"^^^^{STUDY}"),
    (ReferenceId, f"1.2.840^x^^^{STUDY}"),
    (ReferenceId, f"1.2.840^^x^^{STUDY}"),
    (ReferenceId, f"1.2.840^^^^{STUDY}^urn:oid:1.2^x"),
    (from_ebxml.sha1, ""),
    (from_ebxml.sha1, "da39a3ee5e6b4b0d3255bfef95601890afd8070"),
    (from_ebxml.sha1, "da39a3ee5e6b4b0d3255bfef95601890afd8070g"),
    (from_ebxml.size_bytes, ""),
    (from_ebxml.size_bytes, "-1"),
    (from_ebxml.size_bytes, "1.0"),
    (from_ebxml.size_bytes, "٣"),
    (from_ebxml.size_bytes, str(2**63)),
    (from_ebxml.size_bytes, "9" * 20),
    (from_ebxml.language, ""),
    (from_ebxml.language, "de_CH"),
    (from_ebxml.language, "undetermined"),
    (from_ebxml.language, "de-"),
    (from_ebxml.unique_id, ""),
    (from_ebxml.unique_id, "x" * 129),
    (from_ebxml.unique_id, " 1.2.3"),
    (from_ebxml.unique_id, "1.2.3\n"),
]


def _name(value: object) -> str:
    return getattr(value, "__qualname__", None) or ascii(value)[:40]


@pytest.mark.parametrize(("build", "text"), GOOD, ids=_name)
def test_a_good_value_is_kept_as_it_was_written(build: Callable[[str], object], text: str) -> None:
    assert getattr(build(text), "text", text) == text


@pytest.mark.parametrize(("build", "text"), BAD, ids=_name)
def test_a_bad_value_is_refused_without_being_told(build: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r".") as problem:
        build(text)
    assert len(text) < 5 or text not in str(problem.value)


@given(st.text(max_size=60), st.sampled_from((oid, PatientId.parse, Dtm, Xcn, Xon, Xtn, Recipient, ReferenceId)))
def test_any_text_is_a_value_or_a_value_error(text: str, build: Callable[[str], object]) -> None:
    try:
        build(text)
    except ValueError as problem:
        assert len(text) < 5 or text not in str(problem)


def test_two_names_of_a_code_are_one_code() -> None:
    one, other = Code("CT", "1.2", "Computed Tomography"), Code("CT", "1.2", "Computertomographie")
    assert one.key == other.key == "CT^^1.2"


def test_a_patient_id_is_written_as_it_is_read_and_compared_composed() -> None:
    text = "mu\u0308ller^^^&1.2.3&ISO"
    assert PatientId.parse(text) == PatientId.parse("m\u00fcller^^^&1.2.3&ISO^^^")
    assert str(PatientId.parse(text)) == "m\u00fcller^^^&1.2.3&ISO"


@pytest.mark.parametrize(
    ("text", "padded"),
    [
        ("2024", "20240101000000"),
        ("202402", "20240201000000"),
        ("2024022903", "20240229030000"),
        ("20161231235960", "20161231235960"),
    ],
)
def test_a_time_is_padded_to_the_start_of_its_period(text: str, padded: str) -> None:
    assert Dtm(text).padded == padded


def test_a_leap_second_is_the_last_of_its_minute() -> None:
    assert Dtm("20161231235960").start == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


@given(st.datetimes(timezones=st.timezones()) | st.just(datetime(1, 1, 1, tzinfo=UTC)))
def test_any_aware_time_can_be_written(time: datetime) -> None:
    try:
        expected = time.astimezone(UTC).replace(microsecond=0)
    except OverflowError:  # before the first or after the last day that datetime has
        return
    assert Dtm.of(time).start == expected
    assert len(Dtm.of(time).text) == 14


def test_a_time_of_another_zone_is_written_in_utc() -> None:
    assert Dtm.of(datetime(2024, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))).text == "20231231233000"


def test_delimiters_are_escaped_as_hl7_has_it() -> None:
    assert escape("a|b^c~d&e\\f") == "a\\F\\b\\S\\c\\R\\d\\T\\e\\E\\f"


@given(st.text())
def test_an_escaped_text_is_one_component_and_can_be_read_back(text: str) -> None:
    escaped = escape(text)
    assert not set("|^~&") & set(escaped)
    for name, character in (("F", "|"), ("S", "^"), ("R", "~"), ("T", "&")):
        escaped = escaped.replace(f"\\{name}\\", character) if "\\" not in text else escaped
    assert escaped.replace("\\E\\", "\\") == text or "\\" in text


@pytest.mark.parametrize("text", ["a^b", "a^b^", "a^b^^", "a^b&|~^"])
def test_trailing_delimiters_mean_nothing(text: str) -> None:
    assert trimmed(text) == "a^b"


def test_a_reference_escapes_its_id() -> None:
    assert ReferenceId.of("A^1", ACCESSION, "1.2.3").text == f"A\\S\\1^^^&1.2.3&ISO^{ACCESSION}"


@pytest.mark.parametrize("part", [{"person": Xcn("^Curie")}, {"institutions": (Xon("C"),)},
                                  {"telecommunications": (Xtn("^^Internet^a@b"),)}])  # fmt: skip
def test_one_of_person_institution_and_address_makes_an_author(part: dict[str, object]) -> None:
    Author(**part)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="required"):
        Author(roles=("Radiologist",), specialties=("Radiology",))


def test_what_we_make_is_what_it_is_called() -> None:
    assert is_oid(new_oid())
    assert is_entry_uuid(new_entry_uuid())


@pytest.mark.parametrize(
    "text", ["object1", "urn:uuid:", "urn:uuid:F0306F51-975F-434E-A61C-C59651D33983", "urn:oid:1.2.3"]
)
def test_a_symbolic_id_is_no_uuid(text: str) -> None:
    assert not is_entry_uuid(text)
