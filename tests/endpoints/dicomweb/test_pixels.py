"""Frames are cut by what the attributes say.  PS3.5: 8.1.1, 8.2; PS3.3: C.7.6.3."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.pixels import iter_pixels

from tests.archives.test_real_files import FILES
from tests.imaging.elements import SEGMENTATION, an_image, part10
from xds.endpoints.dicomweb.pixels import NotRendered, cut, native_frames

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")


def packed(bits: list[int]) -> bytes:
    """Bits, the first in the lowest (PS3.5: 8.1.1)."""
    return bytes(sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


def unpacked(data: bytes, count: int) -> list[int]:
    return [data[at // 8] >> at % 8 & 1 for at in range(count)]


def frames_of(path: Path, numbers: Sequence[int]) -> list[bytes]:
    return [b"".join(frame.chunks()) for frame in native_frames(path, numbers)]


def put(tmp_path: Path, changes: dict[int, Any]) -> Path:
    path = tmp_path / "one.dcm"
    path.write_bytes(part10(an_image(changes)))
    return path


def segmented(tmp_path: Path, rows: int, columns: int, frames: list[list[int]]) -> Path:
    return put(tmp_path, {
        0x00080016: ("UI", SEGMENTATION), 0x00280008: ("IS", str(len(frames))), 0x00280010: ("US", rows),
        0x00280011: ("US", columns), 0x00280100: ("US", 1), 0x00280101: ("US", 1), 0x00280102: ("US", 0),
        0x7FE00010: ("OB", packed([bit for frame in frames for bit in frame])),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "columns", "count"), [(5, 5, 3), (3, 3, 2), (4, 4, 2), (1, 1, 9), (7, 3, 5), (8, 8, 1)]
)
def test_a_frame_of_single_bits_has_its_own(tmp_path: Path, rows: int, columns: int, count: int) -> None:
    size = rows * columns
    frames = [[(at * number) % 3 % 2 for at in range(size)] for number in range(1, count + 1)]
    path = segmented(tmp_path, rows, columns, frames)
    found = frames_of(path, range(1, count + 1))
    assert [unpacked(frame, size) for frame in found] == frames
    assert all(len(frame) == (size + 7) // 8 for frame in found)
    assert frames_of(path, [count, 1]) == [found[-1], found[0]]


@given(st.lists(st.integers(0, 1), min_size=1, max_size=64), st.integers(1, 32))
def test_frames_together_are_the_whole(bits: list[int], size: int) -> None:
    data, whole = packed(bits), len(bits) // size

    def a_frame(number: int) -> bytes:
        first, last = size * (number - 1) // 8, -(-size * number // 8)
        return cut(data[first:last], size * (number - 1) % 8, size)

    found = [bit for number in range(1, whole + 1) for bit in unpacked(a_frame(number), size)]
    assert found == bits[: whole * size]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({0x00280008: ("IS", "3"), 0x7FE00010: ("OB", bytes(40))}, "fewer pixels"),
        ({0x00280008: ("IS", "2")}, "fewer pixels"),
        ({0x00280008: ("IS", "1")}, "it has 1 frames"),
        ({0x00280008: ("IS", "many")}, "it has 1 frames"),
        ({0x00280010: ("US", 0)}, "no image"),
        ({0x7FE00010: ("OB", b"")}, "it has 0 frames"),
    ],
)
def test_a_frame_that_is_not_there_is_refused(tmp_path: Path, changes: dict[int, Any], reason: str) -> None:
    with pytest.raises(NotRendered, match=reason):
        native_frames(put(tmp_path, changes), [3 if "3" in changes.get(0x00280008, ("", ""))[1] else 2])


def test_what_pads_the_value_is_no_part_of_the_last_frame(tmp_path: Path) -> None:
    image = {0x00280008: ("IS", "3"), 0x00280010: ("US", 1), 0x00280011: ("US", 3), 0x7FE00010: ("OB", bytes(range(9)))}
    assert frames_of(put(tmp_path, image), [3]) == [bytes((6, 7, 8))]


def test_of_422_two_pixels_have_four_samples(tmp_path: Path) -> None:
    changes = {
        0x00280002: ("US", 3),
        0x00280004: ("CS", "YBR_FULL_422"),
        0x00280006: ("US", 0),
        0x00280008: ("IS", "2"),
    }
    path = put(tmp_path, {**changes, 0x7FE00010: ("OB", bytes(range(64)))})
    assert frames_of(path, [2]) == [bytes(range(32, 64))]


def test_float_pixels_are_pixels(tmp_path: Path) -> None:
    image = an_image({0x00280100: ("US", 32), 0x7FE00008: ("OF", bytes(range(64)))})
    del image[0x7FE00010]
    (tmp_path / "one.dcm").write_bytes(part10(image))
    assert frames_of(tmp_path / "one.dcm", [1]) == [bytes(range(64))]


# Of these pydicom reads no frames as they are stored: it masks what is above the bits in use, or gives up.
NOT_COMPARED = {"mlut_18.dcm", "badVR.dcm"}
NATIVE = [
    path for path in FILES if path.name not in NOT_COMPARED
    and (syntax := pydicom.dcmread(path, force=True, stop_before_pixels=True).file_meta.get("TransferSyntaxUID"))
    in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
]  # fmt: skip


@pytest.mark.parametrize("path", NATIVE, ids=[path.name for path in NATIVE])
def test_frames_of_real_files_are_those_that_pydicom_reads(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / "one.dcm")
    original = pydicom.dcmread(path, force=True)
    if "PixelData" not in original or original.BitsAllocated == 1 or original.get("PixelRepresentation") is None:
        return
    wanted = [frame.tobytes() for frame in iter_pixels(original, raw=True)]
    found = frames_of(tmp_path / "one.dcm", range(1, len(wanted) + 1))
    assert [len(frame) for frame in found] == [len(original.PixelData) // len(wanted)] * len(wanted) or len(wanted) == 1
    if original.SamplesPerPixel == 1:
        assert found == wanted
