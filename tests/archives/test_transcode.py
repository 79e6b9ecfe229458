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
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.archives.trees import DATA_STORE, TEST_FILES, an_archive, held
from tests.extent import examples
from tests.imaging.images import CT, SERIES, an_instance, put, saved
from xds.archives import compress
from xds.archives.helpers import Helpers
from xds.archives.interface import NotEncodable
from xds.archives.transcode import Source, targets_of, transcode
from xds.archives.unable import Unable, Unfit
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
@settings(max_examples=examples(40), deadline=None)
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
        (JPEG2000Lossless, [IMPLICIT_LITTLE, EXPLICIT_LITTLE], [EXPLICIT_LITTLE, IMPLICIT_LITTLE]),
        (JPEG2000Lossless, [RLELossless, IMPLICIT_LITTLE], [IMPLICIT_LITTLE, RLELossless]),
        (JPEG2000Lossless, ["1.2.840.10008.1.2.4.50"], []),
        (EXPLICIT_LITTLE, [RLELossless, JPEGLSLossless], [JPEGLSLossless, RLELossless]),
        ("1.2.840.10008.1.2.4.100", [EXPLICIT_LITTLE], []),  # MPEG-2
        ("1.2.840.10008.1.2.4.102", [EXPLICIT_LITTLE], []),  # H.264
        ("1.2.840.10008.1.2.4.201", [EXPLICIT_LITTLE], []),  # HTJ2K: no decoder of a free licence in use
        ("1.2.3.4", [EXPLICIT_LITTLE], []),
    ],
)
def test_the_target_is_uncompressed_and_explicit_if_it_may_be(
    stored_as: str, listed: list[str], expected: list[str]
) -> None:
    assert targets_of(stored_as, listed) == expected


# Compressed without loss.


def an_image(**changes: Any) -> Dataset:
    """Pixels that are all different, in 16 bits of which 12 are used."""
    given = {"Rows": 16, "Columns": 32, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "SamplesPerPixel": 1,
             "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2"} | changes  # fmt: skip
    dataset = an_instance(**given)
    size = given["Rows"] * given["Columns"] * given["SamplesPerPixel"] * int(changes.get("NumberOfFrames", 1))
    values = numpy.arange(size) * 7 % 2 ** given["BitsStored"]
    if given["PixelRepresentation"]:
        values -= 2 ** (given["BitsStored"] - 1)
    kind = f"<{'i' if given['PixelRepresentation'] else 'u'}{given['BitsAllocated'] // 8}"
    dataset.PixelData = values.astype(kind).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


RGB = {"SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "RGB",
       "PlanarConfiguration": 0}  # fmt: skip
KINDS = {
    "of 12 bits": {},
    "signed": {"PixelRepresentation": 1},
    "of 16 bits": {"BitsStored": 16, "HighBit": 15},
    "of 8 bits": {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
    "of several frames": {"NumberOfFrames": 3},
    "in colour": RGB,
    "in colour by plane": RGB | {"PlanarConfiguration": 1},
}


@pytest.mark.parametrize("target", compress.TARGETS, ids=lambda one: one.name)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_compressed_pixels_are_the_same(helpers: Helpers, tmp_path: Path, kind: dict[str, Any], target: str) -> None:
    path = stored(tmp_path, an_image(**kind))
    expected, found = pydicom.dcmread(path), transcoded(helpers, path, target, tmp_path / "out.dcm")
    assert found["PixelData"].is_undefined_length
    assert numpy.array_equal(found.pixel_array, expected.pixel_array)
    for element in expected:
        if element.keyword not in ("PixelData", "PlanarConfiguration", "PhotometricInterpretation"):
            assert found[element.tag].value == element.value, element.tag


def test_from_one_compression_to_another_the_pixels_are_the_same(helpers: Helpers, tmp_path: Path) -> None:
    path = DATA_STORE / "693_J2KR.dcm"
    found = transcoded(helpers, path, JPEGLSLossless, tmp_path / "out.dcm")
    assert numpy.array_equal(found.pixel_array, pydicom.dcmread(path).pixel_array)
    assert (tmp_path / "out.dcm").stat().st_size < found.Rows * found.Columns * 2


def test_a_deflated_dataset_is_the_same(helpers: Helpers, tmp_path: Path) -> None:
    path = stored(tmp_path, a_rich_instance())
    expected = pydicom.dcmread(path)
    found = transcoded(helpers, path, DeflatedExplicitVRLittleEndian, tmp_path / "out.dcm")
    for element in expected:
        assert found[element.tag].value == element.value, element.tag
    assert (tmp_path / "out.dcm").stat().st_size % 2 == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "32 bits"),
        ({"SamplesPerPixel": 4}, "4 samples"),
        ({"Rows": 3, "Columns": 3, **RGB}, "odd length"),
        ({"PhotometricInterpretation": "YBR_FULL_422"}, "photometric"),
        ({"Rows": 0}, "not compressed"),
        ({"BitsStored": 17}, "not compressed"),
        ({"NumberOfFrames": 9}, "fewer pixels"),
    ],
)
def test_pixels_that_cannot_be_compressed_are_said_so(
    helpers: Helpers, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    dataset = an_image()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    with pytest.raises(Unable, match=reason):
        transcoded(helpers, stored(tmp_path, dataset), JPEGLSLossless, tmp_path / "out.dcm")


@pytest.mark.parametrize("target", compress.TARGETS, ids=lambda one: one.name)
def test_of_fewer_bits_than_a_byte_no_process_ends(helpers: Helpers, tmp_path: Path, target: str) -> None:
    path = stored(tmp_path, an_image(BitsAllocated=8, BitsStored=7, HighBit=6))
    try:
        found = transcoded(helpers, path, target, tmp_path / "out.dcm")
    except Unfit as problem:
        assert "crash" not in str(problem)
    else:
        assert numpy.array_equal(found.pixel_array, pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize(("problem", "tried"), [(Unable("took too long"), 1), (Unfit("not so"), 2)])
def test_another_target_is_tried_only_where_the_first_cannot_hold_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Unable, tried: int
) -> None:
    put(tmp_path / "images", "1.dcm", an_image())
    archive = an_archive(tmp_path / "images")
    attempts = list[str]()

    def failing(_source: Source, target: str, *_: Any) -> None:
        attempts.append(target)
        raise problem

    monkeypatch.setattr(archive._helpers, "transcode", failing)
    with pytest.raises(NotEncodable):
        archive.open(held(archive), [JPEGLSLossless, RLELossless])
    assert len(attempts) == tried
    assert list((tmp_path / "images-kept/spool").glob("*/*")) == []


def test_what_has_no_pixels_is_not_compressed(helpers: Helpers, tmp_path: Path) -> None:
    dataset = an_image()
    del dataset.PixelData
    with pytest.raises(Unable, match="no pixel data"):
        transcoded(helpers, stored(tmp_path, dataset), JPEGLSLossless, tmp_path / "out.dcm")


def test_pixels_that_do_not_come_back_are_not_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compress._Image, "_decoded", lambda *_: b"other")
    path = stored(tmp_path, an_image())
    source = Source(path, form(path).dataset_begin, EXPLICIT_LITTLE, CT, f"{SERIES}.1")
    with pytest.raises(Unable, match="come back"):
        transcode(source, JPEGLSLossless, BytesIO(), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["stored.dcm"]
