"""Windows and tables.  PS3.3: C.11.1, C.11.2; PS3.18: 8.3.5.1.4."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.imaging.elements import an_image, dataset, part10
from xds.endpoints.dicomweb import render
from xds.endpoints.dicomweb.asked import Refusal
from xds.endpoints.dicomweb.render import NotRendered, Region, View
from xds.endpoints.dicomweb.views import uri_view, view
from xds.endpoints.dicomweb.windows import FUNCTIONS, Window

RAMP = range(16)


def linear(x: float, c: float, w: float) -> float:
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    return 255 if x > c - 0.5 + (w - 1) / 2 else ((x - (c - 0.5)) / (w - 1) + 0.5) * 255


def exact(x: float, c: float, w: float) -> float:
    return 0 if x <= c - w / 2 else 255 if x > c + w / 2 else ((x - c) / w + 0.5) * 255


def sigmoid(x: float, c: float, w: float) -> float:
    return 255 / (1 + math.exp(-4 * (x - c) / w))


CURVES = {"LINEAR": linear, "LINEAR_EXACT": exact, "SIGMOID": sigmoid}


def shown(tmp_path: Path, changes: dict[int, Any], how: View | None = None) -> list[int]:
    path = tmp_path / "one.dcm"
    path.write_bytes(part10(an_image(changes)))
    picture = Image.open(io.BytesIO(render.picture(path, how or View(), "image/png")))
    return list(picture.convert("L").tobytes())


def window(center: str, width: str, function: str = "") -> dict[int, Any]:
    named = {0x00281056: ("CS", function)} if function else {}
    return {0x00281050: ("DS", center), 0x00281051: ("DS", width), **named}


def near(seen: list[int], wanted: list[float]) -> bool:
    return len(seen) == len(wanted) and all(abs(a - b) <= 1 for a, b in zip(seen, wanted, strict=True))


def test_every_function_of_the_standard_is_known() -> None:
    assert set(FUNCTIONS) == set(CURVES)


@pytest.mark.parametrize("function", CURVES)
@pytest.mark.parametrize(("center", "width"), [(8, 16), (8, 4), (7.5, 1), (0, 2), (-3, 100), (1, 1)])
def test_a_window_follows_its_formula(tmp_path: Path, function: str, center: float, width: float) -> None:
    wanted = [CURVES[function](x, center, width) for x in RAMP]
    assert near(shown(tmp_path, window(str(center), str(width), function)), wanted)
    assert near(shown(tmp_path, {}, View(window=Window(center, width, function))), wanted)


@pytest.mark.parametrize("function", ["", "LINEAR", "NONSENSE"])
def test_linear_is_the_default(tmp_path: Path, function: str) -> None:
    assert near(shown(tmp_path, window("8", "16", function)), [linear(x, 8, 16) for x in RAMP])


def test_a_mask_in_a_window_of_one_is_black_and_white(tmp_path: Path) -> None:
    mask = {**window("1", "1"), 0x7FE00010: ("OB", bytes([0, 1] * 8))}
    assert shown(tmp_path, mask) == [0, 255] * 8
    assert shown(tmp_path, {**mask, 0x00280004: ("CS", "MONOCHROME1")}) == [255, 0] * 8


@pytest.mark.parametrize(("center", "width"), [("40,5", "10"), ("8", "0"), ("8", "-3"), ("NaN", "10"), ("8", "0.5")])
def test_a_window_that_is_none_is_passed_over(tmp_path: Path, center: str, width: str) -> None:
    assert near(shown(tmp_path, window(center, width)), [x * 17 for x in RAMP])


def test_the_window_is_of_values_after_the_modality_lut(tmp_path: Path) -> None:
    rescaled = {**window("0", "100"), 0x00281052: ("DS", "-50"), 0x00281053: ("DS", "10")}
    assert near(shown(tmp_path, rescaled), [linear(x * 10 - 50, 0, 100) for x in RAMP])


def table(entries: list[int], *, first: int = 0, bits: int = 16, data: bytes | None = None) -> tuple[str, list[bytes]]:
    packed = struct.pack(f"<{len(entries)}H", *entries) if data is None else data
    descriptor = struct.pack("<3H", len(entries), first % 65536, bits)
    return "SQ", [dataset({0x00283002: ("US", descriptor), 0x00283006: ("OW", packed)})]


def test_a_voi_lut_is_looked_up(tmp_path: Path) -> None:
    lut = {0x00283010: table([0, 65535, 32768, 0])}
    assert near(shown(tmp_path, lut), [0, 255, 127.5, *[0] * 13])


def test_a_voi_lut_begins_where_its_descriptor_says(tmp_path: Path) -> None:
    assert near(shown(tmp_path, {0x00283010: table([0, 65535], first=8)}), [0] * 9 + [255] * 7)


def test_the_entries_of_a_voi_lut_are_of_as_many_bits_as_it_says(tmp_path: Path) -> None:
    assert near(shown(tmp_path, {0x00283010: table([0, 1023, 512], bits=10)}), [0, 255, 127.5, *[127.5] * 13])


def test_entries_of_eight_bits_may_be_packed(tmp_path: Path) -> None:
    packed = {0x00283010: table([0] * 4, bits=8, data=bytes((0, 255, 100, 50)))}
    assert shown(tmp_path, packed) == [0, 255, 100, *[50] * 13]


@pytest.mark.parametrize("lut", [table([], bits=16), table([1, 2], bits=0), table([1, 2], bits=200), ("SQ", [b""])])
def test_a_table_that_is_none_is_no_picture(tmp_path: Path, lut: Any) -> None:
    with pytest.raises(NotRendered):
        shown(tmp_path, {0x00283010: lut})


@pytest.mark.parametrize("how", [View(), View(window=Window(0, 3, "LINEAR_EXACT")), View(window=Window(0, 1))])
def test_floats_that_are_not_finite_spoil_no_picture(tmp_path: Path, how: View) -> None:
    floats = struct.pack("<16f", float("nan"), float("inf"), -float("inf"), *[-1.0, 1.0] * 6, 0.5)
    image = an_image({0x00280100: ("US", 32), 0x7FE00008: ("OF", floats)})
    del image[0x7FE00010]
    (tmp_path / "float.dcm").write_bytes(part10(image))
    picture = Image.open(io.BytesIO(render.picture(tmp_path / "float.dcm", how, "image/png")))
    assert list(picture.tobytes())[1:3] == [255, 0]


def test_a_window_that_is_asked_for_takes_the_place_of_the_table(tmp_path: Path) -> None:
    lut = {0x00283010: table([65535, 0])}
    asked = View(window=Window(8, 16))
    assert near(shown(tmp_path, lut, asked), [linear(x, 8, 16) for x in RAMP])


def test_a_modality_lut_comes_before_the_window(tmp_path: Path) -> None:
    lut = {**window("1500", "1001"), 0x00283000: table([1000, 2000])}
    assert near(shown(tmp_path, lut), [linear(x, 1500, 1001) for x in (1000, *[2000] * 15)])


def test_each_frame_of_an_enhanced_object_has_its_own_window(tmp_path: Path) -> None:
    def frame(center: str) -> bytes:
        return dataset({0x00289132: ("SQ", [dataset(window(center, "16"))])})

    shared = dataset({0x00289145: ("SQ", [dataset({0x00281052: ("DS", "0"), 0x00281053: ("DS", "2")})])})
    enhanced = {
        0x00280008: ("IS", "2"), 0x7FE00010: ("OB", bytes(RAMP) * 2), 0x52009229: ("SQ", [shared]),
        0x52009230: ("SQ", [frame("8"), frame("20")]),
    }  # fmt: skip
    for number, center in ((1, 8), (2, 20)):
        assert near(shown(tmp_path, enhanced, View(frame=number)), [linear(x * 2, center, 16) for x in RAMP])


def test_the_picture_is_of_the_frame_that_frames_give(tmp_path: Path) -> None:
    """One-bit frames that do not end on a byte."""
    mask = {
        0x00280008: ("IS", "2"), 0x00280010: ("US", 3), 0x00280011: ("US", 3), 0x00280100: ("US", 1),
        0x00280101: ("US", 1), 0x00280102: ("US", 0), 0x7FE00010: ("OB", bytes((0x11, 0x89, 2))),
    }  # fmt: skip
    assert shown(tmp_path, mask, View(frame=2)) == [0, 0, 255, 0, 0, 0, 255, 0, 255]
    assert shown(tmp_path, mask) == [255, 0, 0, 0, 255, 0, 0, 0, 255]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, View()),
        ({"window": "8,16"}, View(window=Window(8, 16))),
        ({"window": "8,16,linear"}, View(window=Window(8, 16))),
        ({"window": "8.5,4,linear-exact"}, View(window=Window(8.5, 4, "LINEAR_EXACT"))),
        ({"window": "-8,0.5,sigmoid"}, View(window=Window(-8, 0.5, "SIGMOID"))),
        ({"viewport": "64,32"}, View(width=64, height=32)),
        ({"viewport": "64,32,1,2,3,-4"}, View(width=64, height=32, region=Region(1, 2, 3, -4))),
        ({"viewport": "64,32,,,2,2"}, View(width=64, height=32, region=Region(0, 0, 2, 2))),
        ({"quality": "50"}, View(quality=50)),
    ],
)
def test_a_view_is_what_its_parameters_say(query: dict[str, str], expected: View) -> None:
    assert view(query, "") == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("window", one) for one in (
            "", "8", "8,16,nonsense", "8,16,LINEAR,1", "x,1", "8,0", "8,0.5", "8,-1,sigmoid", "nan,1", "8,inf", "8,16,",
        )),
        *(("viewport", one) for one in (
            "1", "x,y", "inf,1", "nan,1", "1e9,1", "-1,1", "1,2,3", "1,2,3,4,5", "1,1,inf,0,1,1", "-5,-5",
            "1e308,1e308", "1,1,1e308,1e308,1e308,1e308",
        )),
        *(("quality", one) for one in ("0", "101", "high", "1.5", "")),
    ],
)  # fmt: skip
def test_a_view_that_is_malformed_is_refused(name: str, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        view({name: text}, "")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "given",
    [
        {"windowCenter": "1"}, {"windowCenter": "1", "windowWidth": "0"}, {"windowCenter": "nan", "windowWidth": "1"},
        {"rows": "x"}, {"rows": "-1"}, {"rows": "inf"}, {"frameNumber": "0"}, {"imageQuality": "0"},
        {"region": "0,0,1"}, {"region": "0,0,2,1"}, {"region": "0.5,0,0.5,1"}, {"presentationUID": "1.2"},
    ],
)  # fmt: skip
def test_a_view_by_wado_uri_that_is_malformed_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refused:
        uri_view(given)
    assert refused.value.status == 400


def test_a_region_is_cut_out(tmp_path: Path) -> None:
    whole = View(window=Window(8, 16, "LINEAR_EXACT"))
    everything = shown(tmp_path, {}, whole)
    half = View(window=whole.window, region=Region(0, 0.5, 1, 0.5, is_relative=True))
    assert shown(tmp_path, {}, half) == everything[8:]
    assert shown(tmp_path, {}, View(window=whole.window, region=Region(1, 0, 2, 1))) == everything[1:3]
    assert shown(tmp_path, {}, View(window=whole.window, region=Region(1, 0, -2, 1))) == everything[2:0:-1]
    with pytest.raises(NotRendered, match="outside"):
        shown(tmp_path, {}, View(region=Region(9, 9, 1, 1)))
