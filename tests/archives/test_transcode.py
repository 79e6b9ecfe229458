"""Transcoding: what may change and what must not; what cannot be done is told."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import pydicom
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tests.archives.trees import DATA_STORE, TEST_FILES
from tests.imaging.images import CT, SERIES, an_instance, saved
from xds.archives.helpers import Helpers
from xds.archives.transcode import Source, Unable, target_of
from xds.imaging.dicom import form
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE

ROOM = 1024 * 1024 * 1024


@pytest.fixture(scope="module")
def helpers() -> Iterator[Helpers]:
    helpers = Helpers(2)
    yield helpers
    helpers.close()


def transcoded(helpers: Helpers, path: Path, target: str, out: Path, room: int = ROOM) -> Dataset:
    encoding = form(path)
    source = Source(path, encoding.dataset_begin, encoding.transfer_syntax_uid, CT, f"{SERIES}.1")
    made = helpers.transcode(source, target, out, room)
    data = out.read_bytes()
    assert len(data) == made.size_bytes
    dataset = pydicom.dcmread(BytesIO(data))
    assert dataset.file_meta.TransferSyntaxUID == target
    return dataset


def stored(tmp_path: Path, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "stored.dcm"
    path.write_bytes(saved(dataset))
    return path


def a_rich_instance() -> Dataset:
    """With odd text, private elements, nested sequences, numbers of every width and a group length."""
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    item.PatientName = "Inner^Name"
    outer = Dataset()
    outer.ReferencedImageSequence = Sequence([item, item])
    outer.add_new(0x00081032, "SQ", Sequence())
    dataset = an_instance(
        ReferencedStudySequence=Sequence([outer]),
        PixelRepresentation=1,
        SmallestImagePixelValue=-5,
        RescaleSlope="1.5",
        EventElapsedTimes=["1", "2"],
        FrameIncrementPointer=0x00181063,
        RealWorldValueFirstValueMapped=None,
        DoubleExposureIndicator=None,
    )
    dataset.add_new(0x00189087, "FD", [1.25, -2.5])
    dataset.add_new(0x00089459, "FL", 3.5)
    dataset.add_new(0x00280106, "SS", -300)
    block = dataset.private_block(0x0011, "GEMS_PATI_01", create=True)
    block.add_new(0x10, "SS", -7)
    other = dataset.private_block(0x0013, "NOBODY KNOWS", create=True)
    other.add_new(0x10, "LO", "private")
    return dataset


@pytest.mark.parametrize("target", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=str
)
def test_every_element_comes_out_as_it_went_in(helpers: Helpers, tmp_path: Path, syntax: str, target: str) -> None:
    path = stored(tmp_path, a_rich_instance(), syntax)
    expected, found = pydicom.dcmread(path), transcoded(helpers, path, target, tmp_path / "out.dcm")
    assert {element.tag for element in expected} == {element.tag for element in found}
    private = 0x00131010  # nothing says what it is once the VR is lost
    for element in expected:
        if element.tag != private:
            assert found[element.tag].value == element.value, element.tag
    assert bytes(found[private].value if isinstance(found[private].value, bytes) else b"private").strip() == b"private"


def test_big_endian_numbers_are_swapped_by_their_width(helpers: Helpers, tmp_path: Path) -> None:
    dataset = a_rich_instance()
    dataset.PixelData = numpy.arange(16, dtype=">i2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = tmp_path / "stored.dcm"
    path.write_bytes(saved(dataset))
    found = transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    assert found.pixel_array.ravel().tolist() == list(range(16))
    for element in pydicom.dcmread(path):
        if element.keyword != "PixelData":
            assert found[element.tag].value == element.value, element.tag


def test_text_is_not_decoded_on_the_way(helpers: Helpers, tmp_path: Path) -> None:
    dataset = an_instance(PatientName="XXXX")
    path = stored(tmp_path, dataset)
    path.write_bytes(path.read_bytes().replace(b"XXXX", b"\xff\xfe\xfd\x1b"))
    transcoded(helpers, path, IMPLICIT_LITTLE, tmp_path / "out.dcm")
    assert b"\xff\xfe\xfd\x1b" in (tmp_path / "out.dcm").read_bytes()


def test_a_value_too_long_for_its_vr_becomes_unknown(helpers: Helpers, tmp_path: Path) -> None:
    path = stored(tmp_path, an_instance(StudyDescription="MARK"), ImplicitVRLittleEndian)
    data = path.read_bytes()
    mark = data.index(b"MARK")
    path.write_bytes(data[: mark - 4] + (70_000).to_bytes(4, "little") + b"x" * 70_000 + data[mark + 4 :])
    found = transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    assert len(found.get_item(0x00081030).value) == 70_000


def test_group_lengths_are_left_out(helpers: Helpers, tmp_path: Path) -> None:
    dataset = an_instance()
    dataset.add_new(0x00080000, "UL", 4)
    found = transcoded(helpers, stored(tmp_path, dataset), IMPLICIT_LITTLE, tmp_path / "out.dcm")
    assert 0x00080000 not in found


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("693_J2KR.dcm", "693_UNCR.dcm"),
        ("MR2_J2KR.dcm", "MR2_UNCR.dcm"),
        ("RG1_J2KR.dcm", "RG1_UNCR.dcm"),
        ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
        ("US1_J2KR.dcm", "US1_UNCR.dcm"),
        ("emri_small_RLE.dcm", "emri_small.dcm"),
        ("emri_small_jpeg_2k_lossless.dcm", "emri_small.dcm"),
        ("emri_small_jpeg_ls_lossless.dcm", "emri_small.dcm"),
        ("OBXXXX1A_rle_2frame.dcm", "OBXXXX1A_2frame.dcm"),
        ("emri_small_big_endian.dcm", "emri_small.dcm"),
        ("liver_expb.dcm", "liver.dcm"),
    ],
)
def test_what_was_compressed_without_loss_is_what_it_was(
    helpers: Helpers, tmp_path: Path, name: str, plain: str
) -> None:
    """The originals were compressed by others, so this holds the decoders to more than themselves."""
    found = transcoded(helpers, DATA_STORE / name, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    assert numpy.array_equal(found.pixel_array, pydicom.dcmread(DATA_STORE / plain).pixel_array)


def test_colours_become_rgb_and_the_header_says_so(helpers: Helpers, tmp_path: Path) -> None:
    path = TEST_FILES / "SC_rgb_dcmtk_+eb+cy+s2.dcm"
    assert pydicom.dcmread(path).PhotometricInterpretation == "YBR_FULL_422"
    found = transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    assert (found.PhotometricInterpretation, found.PlanarConfiguration) == ("RGB", 0)
    assert numpy.array_equal(found.pixel_array, pydicom.dcmread(path).pixel_array)


def test_what_was_lossy_stays_marked_as_lossy(helpers: Helpers, tmp_path: Path) -> None:
    path = TEST_FILES / "SC_rgb_dcmtk_+eb+cr.dcm"
    found = transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    assert found.LossyImageCompression == "01"


def test_the_sop_instance_uid_stays(helpers: Helpers, tmp_path: Path) -> None:
    path = DATA_STORE / "693_J2KR.dcm"
    found = transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    assert found.SOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID


def _spoilt(tmp_path: Path, change: Any) -> Path:
    dataset = pydicom.dcmread(DATA_STORE / "693_J2KR.dcm")
    change(dataset)
    path = tmp_path / "stored.dcm"
    dataset.save_as(path)
    return path


def _garbage(dataset: Dataset) -> None:
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + os.urandom(2000)])


@pytest.mark.parametrize(
    "change",
    [
        _garbage,
        lambda dataset: setattr(dataset, "Rows", 9999),
        lambda dataset: setattr(dataset, "Rows", 0),
        lambda dataset: setattr(dataset, "BitsAllocated", 12),
        lambda dataset: setattr(dataset, "BitsAllocated", 1),
        lambda dataset: setattr(dataset, "NumberOfFrames", "3"),
        lambda dataset: setattr(dataset, "SamplesPerPixel", 3),
        lambda dataset: delattr(dataset, "BitsStored"),
        lambda dataset: delattr(dataset, "Columns"),
        lambda dataset: setattr(dataset.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2.4.70"),
        lambda dataset: setattr(dataset.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2.5"),
    ],
)
def test_pixel_data_that_do_not_decode_are_refused(helpers: Helpers, tmp_path: Path, change: Any) -> None:
    with pytest.raises(Unable):
        transcoded(helpers, _spoilt(tmp_path, change), EXPLICIT_LITTLE, tmp_path / "out.dcm")


@for_all(st.data())
@settings(max_examples=40, deadline=None)
def test_damaged_files_are_refused_or_transcoded_and_nothing_else_happens(
    helpers: Helpers, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    name = data.draw(st.sampled_from(["MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small_jpeg_ls_lossless.dcm"]))
    whole = bytearray((TEST_FILES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        whole[data.draw(st.integers(400, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "stored.dcm"
    path.write_bytes(whole)
    encoding = form(path)
    source = Source(path, encoding.dataset_begin, encoding.transfer_syntax_uid, CT, f"{SERIES}.1")
    with contextlib.suppress(Unable):
        helpers.transcode(source, EXPLICIT_LITTLE, folder / "out.dcm", ROOM)


def test_an_instance_larger_than_its_room_is_refused(helpers: Helpers, tmp_path: Path) -> None:
    with pytest.raises(Unable, match="room"):
        transcoded(helpers, DATA_STORE / "693_J2KR.dcm", EXPLICIT_LITTLE, tmp_path / "out.dcm", room=10_000)


def test_a_decoder_that_crashes_takes_only_itself_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helpers = Helpers(1)
    path = DATA_STORE / "693_J2KR.dcm"
    transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    (helper,) = helpers._idle
    # Stopped, it takes the job; the signal then finds it at work, as a fault in a decoder would.
    os.kill(helper._process.pid, signal.SIGSTOP)
    monkeypatch.setattr("xds.archives.helpers._is_readable", lambda *_: _crash(helper._process.pid))
    with pytest.raises(Unable, match="crashed"):
        transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    monkeypatch.undo()
    transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    helpers.close()


def _crash(process: int) -> bool:
    os.kill(process, signal.SIGSEGV)
    os.kill(process, signal.SIGCONT)
    return True


def test_a_helper_that_ended_while_idle_is_replaced(tmp_path: Path) -> None:
    helpers = Helpers(1)
    path = DATA_STORE / "693_J2KR.dcm"
    transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    (helper,) = helpers._idle
    helper._process.kill()
    helper._process.wait()
    transcoded(helpers, path, EXPLICIT_LITTLE, tmp_path / "out.dcm")
    helpers.close()


def test_a_decoder_that_hangs_is_ended(tmp_path: Path) -> None:
    helpers = Helpers(1, seconds=0.05)
    with pytest.raises(Unable, match="longer"):
        transcoded(helpers, DATA_STORE / "693_J2KR.dcm", EXPLICIT_LITTLE, tmp_path / "out.dcm")
    assert helpers._idle == []


def test_where_nothing_can_be_written_is_an_os_error(helpers: Helpers, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        transcoded(helpers, DATA_STORE / "693_J2KR.dcm", EXPLICIT_LITTLE, tmp_path / "nowhere/out.dcm")


@pytest.mark.parametrize(
    ("stored_as", "listed", "expected"),
    [
        ("1.2.840.10008.1.2.4.90", [IMPLICIT_LITTLE, EXPLICIT_LITTLE], EXPLICIT_LITTLE),
        ("1.2.840.10008.1.2.4.90", [IMPLICIT_LITTLE], IMPLICIT_LITTLE),
        ("1.2.840.10008.1.2.4.90", ["1.2.840.10008.1.2.4.50"], None),
        ("1.2.840.10008.1.2.4.100", [EXPLICIT_LITTLE], None),  # MPEG-2
        ("1.2.840.10008.1.2.4.102", [EXPLICIT_LITTLE], None),  # H.264
        ("1.2.840.10008.1.2.4.201", [EXPLICIT_LITTLE], None),  # HTJ2K: no decoder of a free licence in use
        ("1.2.3.4", [EXPLICIT_LITTLE], None),
    ],
)
def test_the_target_is_uncompressed_and_explicit_if_it_may_be(
    stored_as: str, listed: list[str], expected: str | None
) -> None:
    assert target_of(stored_as, listed) == expected
