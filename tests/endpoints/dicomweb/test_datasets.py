"""DICOM JSON: every attribute, and nothing that is not JSON.  PS3.18: Annex F."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.archives.test_real_files import FILES
from tests.imaging.elements import an_image, dataset, part10
from tests.imaging.test_attributes import BLOCK, SEQUENCE, SPOILT, TAG, private
from xds.archives.interface import Gone
from xds.endpoints.dicomweb import datasets

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")

BASE = "https://images.example.org/dicomweb/studies/1"


def metadata(tmp_path: Path, changes: dict[int, Any]) -> Any:
    path = tmp_path / "one.dcm"
    path.write_bytes(part10(an_image(changes)))
    return strict(datasets.dumped(datasets.metadata(path, BASE)))


def strict(data: bytes) -> Any:
    """JSON as RFC 8259: 6 has it."""

    def never(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(data, parse_constant=never)


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_tag_of_a_real_file_is_in_its_metadata(path: Path) -> None:
    found = strict(datasets.dumped(datasets.metadata(path, BASE)))
    original = pydicom.dcmread(path, force=True)
    assert {f"{int(tag):08X}" for tag in original.keys() if tag.element} <= set(found)  # noqa: SIM118
    assert list(found) == sorted(found)
    for one in found.values():
        assert len(one["vr"]) == 2
        assert one.get("Value") != []


@pytest.mark.parametrize(("vr", "value", "expected"), SPOILT)
def test_a_value_that_breaks_its_rules_is_in_the_metadata(
    tmp_path: Path, vr: str, value: Any, expected: tuple[Any, ...]
) -> None:
    inside = {SEQUENCE: ("SQ", [dataset(private(vr, value))])}
    found = metadata(tmp_path, {**private(vr, value), **inside})
    for one in (found, found[f"{SEQUENCE:08X}"]["Value"][0]):
        assert one[f"{TAG:08X}"]["vr"] == vr
        assert len(one[f"{TAG:08X}"]["Value"]) == len(expected)
        assert f"{BLOCK:08X}" in one


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("DS", "0.5\\3.217806451612903E-4\\+2\\.25", [0.5, 3.217806451612903e-4, 2, 0.25]),
        ("DS", "0.48828125000000001", ["0.48828125000000001"]),  # a double would lose the last digit
        ("DS", "40,5\\NaN\\1e999\\\\1", ["40,5", "NaN", "1e999", None, 1]),
        ("IS", "2.0\\12.5\\007", [2, 12.5, 7]),
        ("IS", "99999999999999999999\\x", ["99999999999999999999", "x"]),
        ("PN", "=王^小==\\A\\", [{"Ideographic": "王^小", "Phonetic": "="}, {"Alphabetic": "A"}, None]),
        ("UV", (2**64 - 1).to_bytes(8, "little"), [str(2**64 - 1)]),
        ("UV", (7).to_bytes(8, "little"), [7]),
        ("FD", bytes.fromhex("000000000000f87f000000000000f83f"), [None, 1.5]),
        ("FL", bytes.fromhex("0000807f0000c03f000080ff"), [None, 1.5, None]),
        ("AT", bytes.fromhex("1000200028000a00"), ["00100020", "0028000A"]),
    ],
)
def test_each_value_is_of_the_type_that_json_has_for_it(
    tmp_path: Path, vr: str, value: str | bytes, expected: list[Any]
) -> None:
    data = value.encode() if isinstance(value, str) else value
    assert metadata(tmp_path, private(vr, data))[f"{TAG:08X}"] == {"vr": vr, "Value": expected}


@pytest.mark.parametrize("vr", ["LO", "SQ", "PN", "US", "DS", "OB", "UN"])
def test_what_is_empty_has_no_value(tmp_path: Path, vr: str) -> None:
    assert metadata(tmp_path, private(vr, b""))[f"{TAG:08X}"] == {"vr": vr}


def test_the_character_set_is_that_of_the_answer(tmp_path: Path) -> None:
    text = {0x00080005: ("CS", "ISO_IR 100"), 0x00081030: ("LO", "Schädel".encode("latin-1"))}
    found = metadata(tmp_path, text)
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00081030"]["Value"] == ["Schädel"]


def test_small_bytes_are_within_and_large_ones_at_their_address(tmp_path: Path) -> None:
    small, large = b"12", bytes(datasets.INLINE_BYTES + 2)
    found = metadata(tmp_path, private("OB", small))
    assert found[f"{TAG:08X}"] == {"vr": "OB", "InlineBinary": base64.b64encode(small).decode()}
    found = metadata(tmp_path, private("OB", large))
    assert found[f"{TAG:08X}"] == {"vr": "OB", "BulkDataURI": f"{BASE}/bulkdata/{TAG:08X}"}
    assert datasets.bulk_data(datasets.content(tmp_path / "one.dcm"), f"{TAG:08X}") == large


def test_bytes_within_a_sequence_stay_there(tmp_path: Path) -> None:
    found = metadata(tmp_path, {SEQUENCE: ("SQ", [dataset(private("OB", bytes(9000)))])})
    assert "InlineBinary" in found[f"{SEQUENCE:08X}"]["Value"][0][f"{TAG:08X}"]


def test_what_is_no_json_is_never_written() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        datasets.dumped([float("nan")])


def test_a_file_that_is_no_dataset_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Gone):
        datasets.metadata(tmp_path / "none.dcm", BASE)
