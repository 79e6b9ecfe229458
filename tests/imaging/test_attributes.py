"""No attribute of a file is lost on the way to whoever reads it, whatever is odd about its value.

The spoilt values are of every VR: too long, too precise, not finite, of a wrong separator, a leading zero, a wrong
repertoire.  PS3.5: Table 6.2-1.
"""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian

from tests.archives.test_real_files import FILES
from tests.imaging.elements import an_image, dataset, element, part10
from tests.imaging.images import an_instance
from xds.imaging import attributes
from xds.imaging.attributes import Attribute, Unreadable
from xds.imaging.text import Name

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")

NAN, INFINITE = float("nan"), float("inf")

# VR, what the file holds, what is read of it.
SPOILT: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("AE", "AN-AE-TITLE-OF-OVER-16-CHARACTERS", ("AN-AE-TITLE-OF-OVER-16-CHARACTERS",)),
    ("AS", "45", ("45",)),
    ("CS", "lower case, of more than sixteen", ("lower case, of more than sixteen",)),
    ("CS", "A\\\\B", ("A", None, "B")),
    ("DA", "2026-01-10", ("2026-01-10",)),
    ("DA", "2026.01.10\\2026", ("2026.01.10", "2026")),
    ("DS", "3.217806451612903E-4\\0.48828125000000001", ("3.217806451612903E-4", "0.48828125000000001")),
    ("DS", "40,5", ("40,5",)),
    ("DS", "NaN\\inf", ("NaN", "inf")),
    ("DS", "1.5\\\\2", ("1.5", None, "2")),
    ("DT", "yesterday", ("yesterday",)),
    ("IS", "2.0\\12.5\\007\\99999999999999999999", ("2.0", "12.5", "007", "99999999999999999999")),
    ("LO", "x" * 100, ("x" * 100,)),
    ("LT", "a\\b", ("a\\b",)),
    ("PN", "A^B^C^D^E^F=G=H=I", (Name("A^B^C^D^E^F", "G", "H=I"),)),
    ("PN", "=", (Name(),)),
    ("SH", "STATION-OF-MORE-THAN-16", ("STATION-OF-MORE-THAN-16",)),
    ("ST", "y" * 2000, ("y" * 2000,)),
    ("TM", "10:15:00", ("10:15:00",)),
    ("TM", "256199", ("256199",)),
    ("UC", "u" * 300, ("u" * 300,)),
    ("UI", "1.2.840.0113.007", ("1.2.840.0113.007",)),
    ("UI", "1.2_3\\1.2.", ("1.2_3", "1.2.")),
    ("UR", "not a url\\at all", ("not a url\\at all",)),
    ("UT", "t\\t", ("t\\t",)),
    ("SH", "\x01\x02", ("\x01\x02",)),
    ("FL", struct.pack("<2f", 1.5, INFINITE), (1.5, INFINITE)),
    ("FD", struct.pack("<2d", -INFINITE, 0.1), (-INFINITE, 0.1)),
    ("SS", struct.pack("<h", -1), (-1,)),
    ("SL", struct.pack("<i", -1), (-1,)),
    ("SV", struct.pack("<q", -(2**63)), (-(2**63),)),
    ("UL", struct.pack("<I", 2**32 - 1), (2**32 - 1,)),
    ("US", struct.pack("<H", 0xFFFF), (0xFFFF,)),
    ("UV", struct.pack("<Q", 2**64 - 1), (2**64 - 1,)),
    ("AT", struct.pack("<4H", 0x0018, 0x00FF, 0xFFFF, 0), ("001800FF", "FFFF0000")),
]
BLOCK, TAG = 0x00290010, 0x00291001  # a private element takes any VR
SEQUENCE = 0x52009230


def read(tmp_path: Path, data: bytes) -> dict[int, Attribute]:
    path = tmp_path / "one.dcm"
    path.write_bytes(data)
    return {one.tag: one for one in attributes.read(path).attributes}


def private(vr: str, value: Any) -> dict[int, Any]:
    return {BLOCK: ("LO", "XDS TEST"), TAG: (vr, value)}


@pytest.mark.parametrize(("vr", "value", "expected"), SPOILT)
def test_a_value_that_breaks_its_rules_is_read_as_it_is(
    tmp_path: Path, vr: str, value: Any, expected: tuple[Any, ...]
) -> None:
    inside = {SEQUENCE: ("SQ", [dataset(private(vr, value))])}
    found = read(tmp_path, part10(an_image({**private(vr, value), **inside})))
    (item,) = found[SEQUENCE].items
    for one in (found[TAG], {each.tag: each for each in item}[TAG]):
        assert (one.vr, one.values, one.creator) == (vr, expected, "XDS TEST")


@pytest.mark.parametrize("vr", ["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
def test_bytes_are_read_as_they_are(tmp_path: Path, vr: str) -> None:
    assert read(tmp_path, part10(an_image(private(vr, bytes(range(10))))))[TAG].data == bytes(range(10))


@pytest.mark.parametrize("vr", ["UL", "SL", "SV", "UV", "FL", "FD", "AT"])  # US and SS: every even length is theirs
def test_a_number_of_a_wrong_length_keeps_its_bytes(tmp_path: Path, vr: str) -> None:
    found = read(tmp_path, part10(an_image(private(vr, b"123456789"))))[TAG]
    assert (found.vr, found.data) == ("UN", b"123456789 ")


@pytest.mark.parametrize("value", [b"garbage!", b"\xfe\xff\x00\xe0\xff\x00\x00\x00"])
def test_a_sequence_that_is_none_keeps_its_bytes(tmp_path: Path, value: bytes) -> None:
    found = read(tmp_path, part10(an_image({SEQUENCE: ("SQ", value)})))
    assert SEQUENCE in found
    assert found[SEQUENCE].vr in ("SQ", "UN")


def test_what_follows_the_pixels_is_read(tmp_path: Path) -> None:
    signed = an_image({0xFFFAFFFA: ("SQ", [dataset({0x04000100: ("UI", "1.2.3")})]), 0xFFFCFFFC: ("OB", b"\0\0")})
    found = read(tmp_path, part10(signed))
    assert [one.values for one in found[0xFFFAFFFA].items[0]] == [("1.2.3",)]
    assert 0xFFFCFFFC in found
    assert 0x7FE00010 not in found


def test_words_of_a_big_endian_file_are_turned_round(tmp_path: Path) -> None:
    one = an_instance(RedPaletteColorLookupTableData=b"\1\2\3\4", PixelPaddingValue=258)
    one.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = BytesIO()
    one.save_as(buffer, enforce_file_format=True, implicit_vr=False, little_endian=False)
    found = read(tmp_path, buffer.getvalue())
    assert found[0x00281201].data == b"\2\1\4\3"  # pydicom writes the bytes of OW as they are given
    assert found[0x00280010].values == (4,)


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_attribute_of_a_real_file_is_read(path: Path) -> None:
    found = attributes.read(path)
    original = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    assert {int(tag) for tag in original.keys() if tag.element} <= {one.tag for one in found.attributes}  # noqa: SIM118
    for tag in original.keys():  # noqa: SIM118
        (one,) = [each for each in found.attributes if each.tag == tag] or [None]
        if one is not None and one.vr == "SQ":
            assert [_tags(item) for item in one.items] == [_tags_of(item) for item in original[tag].value]
        elif one is not None and one.vr in ("US", "SS", "UL", "SL", "FD", "FL"):
            value = original[tag].value
            several = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
            assert list(one.values) == [each for each in several if each is not None]


def _tags(item: tuple[Attribute, ...]) -> list[int]:
    return [one.tag for one in item]


def _tags_of(item: Any) -> list[int]:
    return [int(tag) for tag in sorted(item.keys()) if tag.element]


@pytest.mark.parametrize("cut", [140, 200, 300, 333])
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes_or_refused(tmp_path: Path, cut: int) -> None:
    try:
        read(tmp_path, part10(an_image())[:cut])
    except Unreadable as problem:
        assert "Trial" not in str(problem)


def test_sequences_too_deep_are_refused(tmp_path: Path) -> None:
    data = element(0x00081030, "LO", "deep")
    for _ in range(40):
        data = element(SEQUENCE, "SQ", [data])
    with pytest.raises(Unreadable):
        read(tmp_path, part10(an_image({SEQUENCE: ("SQ", [data])})))
