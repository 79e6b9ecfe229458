"""DICOM's text and times.  PS3.5: 6.1, 6.2, Annexes H to J."""

from __future__ import annotations

from datetime import UTC, datetime

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.imaging.images import PYDICOM_FILES
from xds.imaging import text
from xds.imaging.dicom import form, read_header
from xds.imaging.tags import PATIENT_NAME

# The names in pydicom's samples, which are PS3.5's examples: all three groups, in NFC.
SAMPLES = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrFrenMulti.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti.dcm": "やまだ^たろう",
    "chrJapMultiExplicitIR6.dcm": "やまだ^たろう",
    "chrKoreanMulti.dcm": "김희중",
    "chrRuss.dcm": "Люкceмбypг",
    "chrX1.dcm": "Wang^XiaoDong=王^小東",
    "chrX2.dcm": "Wang^XiaoDong=王^小东",
}


@pytest.mark.parametrize(("name", "expected"), SAMPLES.items(), ids=SAMPLES)
def test_every_character_set_of_the_samples_is_read(name: str, expected: str) -> None:
    path = PYDICOM_FILES / "charset_files" / name
    assert read_header(path, [PATIENT_NAME], form(path)).whole(PATIENT_NAME).rstrip("=") == expected


@pytest.mark.parametrize("name", SAMPLES)
def test_names_are_what_pydicom_reads(name: str) -> None:
    path = PYDICOM_FILES / "charset_files" / name
    header = read_header(path, [PATIENT_NAME], form(path))
    assert header.whole(PATIENT_NAME).rstrip("=") == str(pydicom.dcmread(path).PatientName)


def test_text_is_in_nfc() -> None:
    assert text.decode("u\u0308".encode(), ["ISO_IR 192"]) == "ü"


@pytest.mark.parametrize("term", ["ISO-IR 100", "ISO_IR_100", "ISO IR 100", "iso_ir 100", " ISO_IR 100 "])
def test_a_misspelt_character_set_is_understood(term: str) -> None:
    assert text.decode("Jérôme".encode("latin-1"), [term]) == "Jérôme"


def test_text_without_a_declared_character_set_is_of_the_fallback() -> None:
    assert text.decode("Люк".encode("iso8859-5"), [], fallback="ISO_IR 144") == "Люк"


def test_text_without_any_character_set_is_utf_8_if_it_can_be_else_latin_1() -> None:
    assert text.decode("Jérôme".encode()) == "Jérôme"
    assert text.decode("Jérôme".encode("latin-1")) == "Jérôme"


def test_text_that_does_not_fit_its_character_set_is_of_the_fallback() -> None:
    assert text.decode("Люк".encode("iso8859-5"), ["ISO_IR 192"], fallback="ISO_IR 144") == "Люк"


def test_gb18030_with_a_backslash_in_a_character_is_one_value() -> None:
    assert text.decode("誠\\b".encode("gb18030"), ["GB18030"]) == "誠\\b"


@given(st.binary(max_size=60), st.lists(st.sampled_from([*SAMPLES, "ISO 2022 IR 87", "ISO_IR 192", "", "x"])))
def test_any_bytes_in_any_character_set_are_some_text(value: bytes, terms: list[str]) -> None:
    assert isinstance(text.decode(value, terms), str)


@pytest.mark.parametrize(
    ("date", "time", "offset", "zone", "expected"),
    [
        ("20260301", "101500", "+0100", "UTC", datetime(2026, 3, 1, 9, 15, tzinfo=UTC)),
        ("20260701", "101500", "", "Europe/Berlin", datetime(2026, 7, 1, 8, 15, tzinfo=UTC)),
        ("20260301", "101500", "", "Europe/Berlin", datetime(2026, 3, 1, 9, 15, tzinfo=UTC)),
        ("20260301", "101500", "", "-0530", datetime(2026, 3, 1, 15, 45, tzinfo=UTC)),
        ("20260301", "101500.25", "+0000", "UTC", datetime(2026, 3, 1, 10, 15, 0, 250000, tzinfo=UTC)),
        ("20260301", "1015", "", "UTC", datetime(2026, 3, 1, 10, 15, tzinfo=UTC)),
        ("20260301", "10", "", "UTC", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("20260301", "", "+0100", "UTC", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ("20260301", "nonsense", "", "UTC", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260301", "256199", "", "UTC", datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260301", "235960", "", "UTC", datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)),
        ("2026.03.01", "10:15:00", "", "UTC", datetime(2026, 3, 1, 10, 15, tzinfo=UTC)),
        ("20260301", "101500", "Berlin", "+0200", datetime(2026, 3, 1, 8, 15, tzinfo=UTC)),
    ],
)
def test_a_date_and_a_time_are_one_moment(date: str, time: str, offset: str, zone: str, expected: datetime) -> None:
    assert text.utc(date, time, offset, zone) == expected


@pytest.mark.parametrize(
    "date", ["", "2026", "202603", "20260230", "00000000", "0001", "yesterday", "２０２６０３０１"]
)
def test_what_is_no_whole_date_is_no_moment(date: str) -> None:
    assert text.utc(date, "101500", "") is None


def test_a_date_at_the_edge_of_the_calendar_is_no_moment() -> None:
    assert text.utc("00010101", "000000", "+1400") is None


@pytest.mark.parametrize("name", ["Europe/Nowhere", "+2500", "+0160", "CET+1", "../etc/passwd", "\0"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        text.zone(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Adams^John Robert Quincy^^Rev.^B.A. M.Div.", "Adams^John Robert Quincy^^B.A. M.Div.^Rev."),
        ("Müller^Anna", "Müller^Anna"),
        ("Müller^Anna^^Dr.", "Müller^Anna^^^Dr."),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou"),
        ("=山田^太郎", "山田^太郎"),
        ("A&B|C~D", "A\\T\\B\\F\\C\\R\\D"),
        ("Doe^John^^^^extra", "Doe^John"),
        ("", ""),
    ],
)
def test_a_person_name_becomes_an_hl7_name(name: str, expected: str) -> None:
    assert text.xpn(name) == expected
