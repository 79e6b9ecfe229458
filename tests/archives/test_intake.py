"""Instances taken into the folder: on disk before they are acknowledged, and never written over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pydicom
import pytest

from tests.archives.trees import TEST_FILES, archive
from tests.imaging.images import SERIES, STUDY, a_kos, an_instance, put
from xds.archives.folder import FolderArchive
from xds.archives.intake import Intake, NotTaken, Reason
from xds.imaging.study import INCOMING

__all__ = ["archive"]


@pytest.fixture
def intake(archive: FolderArchive) -> Intake:
    return Intake(archive)


def arrive(intake: Intake, number: int = 1, **changes: Any) -> Path:
    return put(intake.incoming, uuid4().hex, an_instance(number, **changes))


def refused(intake: Intake, path: Path) -> NotTaken:
    with pytest.raises(NotTaken) as refusal:
        intake.keep(intake.examined(path))
    return refusal.value


def test_an_instance_is_known_at_once_where_its_uids_say(intake: Intake, archive: FolderArchive) -> None:
    path = arrive(intake)
    data = path.read_bytes()
    assert intake.keep(intake.examined(path))
    held = archive.find(STUDY, SERIES, f"{SERIES}.1")
    assert held is not None
    assert held.locator == f"{STUDY}/{SERIES}/{SERIES}.1.dcm"
    assert (archive.root / held.locator).read_bytes() == data
    path.unlink()
    assert archive.refresh().unchanged == 1


def test_what_is_still_arriving_is_not_the_archives(intake: Intake, archive: FolderArchive) -> None:
    arrive(intake)
    assert archive.refresh().added == 0


def test_the_same_dataset_again_is_taken_and_changes_nothing(intake: Intake, archive: FolderArchive) -> None:
    intake.keep(intake.examined(arrive(intake)))
    there = archive.root / STUDY / SERIES / f"{SERIES}.1.dcm"
    before = there.stat().st_mtime_ns
    assert not intake.keep(intake.examined(arrive(intake, 1)))
    assert there.stat().st_mtime_ns == before


@pytest.mark.parametrize("known", [True, False], ids=["in the index", "not yet in the index"])
def test_another_dataset_of_the_same_uid_is_refused(intake: Intake, archive: FolderArchive, known: bool) -> None:
    place = f"{STUDY}/{SERIES}/{SERIES}.1.dcm"
    put(archive.root, place, an_instance(1))
    before = (archive.root / place).read_bytes()
    if known:
        archive.refresh()
    refusal = refused(intake, arrive(intake, 1, StudyID="other"))
    assert (refusal.reason, refusal.sop_instance_uid) == (Reason.DUPLICATE, f"{SERIES}.1")
    assert (archive.root / place).read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"StudyInstanceUID": None},
        {"SeriesInstanceUID": ".."},
        {"SOPInstanceUID": "1.2/../3"},
        {"SOPClassUID": "1.2."},
        {"SOPInstanceUID": "1.2_3"},
        {"StudyInstanceUID": "1." + "2" * 63},
    ],
)
def test_an_instance_with_a_uid_absent_or_malformed_is_refused(intake: Intake, changes: dict[str, Any]) -> None:
    path = arrive(intake, 1, **changes)
    assert refused(intake, path).reason is Reason.NOT_UNDERSTOOD
    assert [entry.name for entry in intake.incoming.parent.iterdir()] == [INCOMING]


@pytest.mark.parametrize(
    "changes",
    [{"StudyInstanceUID": "1.2.840.0113.7"}, {"SOPInstanceUID": "1.02"}, {"SOPClassUID": "1.3.46.670589.11.0.0.12.1"}],
)
def test_uids_that_archives_hold_are_taken_as_the_folder_takes_them(
    intake: Intake, archive: FolderArchive, changes: dict[str, Any]
) -> None:
    """Leading zeros, which PS3.5: 9.1 forbids, and private SOP classes."""
    arrived = intake.examined(arrive(intake, 1, **changes))
    intake.keep(arrived)
    assert archive.find(arrived.study_instance_uid, arrived.series_instance_uid, arrived.sop_instance_uid) is not None


def reencoded(intake: Intake, name: str, syntax: str, **changes: Any) -> Path:
    """A real file in another encoding, arriving."""
    dataset = pydicom.dcmread(TEST_FILES / name)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.decompress(generate_instance_uid=False)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    if pydicom.uid.UID(syntax).is_compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    path = intake.incoming / "part-2"
    path.parent.mkdir(exist_ok=True)
    implicit = syntax == pydicom.uid.ImplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=True, implicit_vr=implicit, little_endian=True)
    return path


ENCODINGS = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"]


@pytest.mark.parametrize("syntax", ENCODINGS)
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_jpeg_ls_lossless.dcm", "rtdose.dcm", "reportsi.dcm"])
def test_the_same_instance_in_another_encoding_is_taken_and_changes_nothing(
    intake: Intake, archive: FolderArchive, name: str, syntax: str
) -> None:
    if name in ("reportsi.dcm", "rtdose.dcm") and syntax == ENCODINGS[2]:
        pytest.skip("it has no pixels to compress, or such as RLE has no form for")
    shutil.copy(TEST_FILES / name, archive.root / name)
    archive.refresh()
    assert not intake.keep(intake.examined(reencoded(intake, name, syntax)))
    assert (archive.root / name).read_bytes() == (TEST_FILES / name).read_bytes()


@pytest.mark.parametrize(
    "changes", [{"StudyID": "other"}, {"PatientName": "Other^Name"}, {"RescaleSlope": "2"}, {"ImageComments": "new"}]
)
def test_another_instance_in_another_encoding_is_refused(
    intake: Intake, archive: FolderArchive, changes: dict[str, Any]
) -> None:
    shutil.copy(TEST_FILES / "CT_small.dcm", archive.root / "ct.dcm")
    archive.refresh()
    assert refused_to_keep(intake, reencoded(intake, "CT_small.dcm", ENCODINGS[2], **changes)) is Reason.DUPLICATE


def test_other_pixels_in_another_encoding_are_refused(intake: Intake, archive: FolderArchive) -> None:
    shutil.copy(TEST_FILES / "CT_small.dcm", archive.root / "ct.dcm")
    archive.refresh()
    pixels = bytearray(pydicom.dcmread(TEST_FILES / "CT_small.dcm").PixelData)
    pixels[1000] ^= 1
    changed = reencoded(intake, "CT_small.dcm", ENCODINGS[2], PixelData=bytes(pixels))
    assert refused_to_keep(intake, changed) is Reason.DUPLICATE


def refused_to_keep(intake: Intake, path: Path) -> Reason:
    with pytest.raises(NotTaken) as refusal:
        intake.keep(intake.examined(path))
    return refusal.value.reason


@pytest.mark.parametrize("data", [b"", b"no image", (TEST_FILES / "CT_small.dcm").read_bytes()[:-1000]])
def test_what_is_no_whole_dicom_file_is_refused(intake: Intake, data: bytes) -> None:
    intake.incoming.mkdir()
    path = intake.incoming / "part-1"
    path.write_bytes(data)
    assert refused(intake, path).reason is Reason.NOT_UNDERSTOOD


def test_a_manifest_is_no_instance_to_take(intake: Intake) -> None:
    assert refused(intake, put(intake.incoming, "part-1", a_kos())).reason is Reason.NOT_UNDERSTOOD


def test_a_rejection_note_is_taken_and_rejects(intake: Intake, archive: FolderArchive) -> None:
    intake.keep(intake.examined(arrive(intake)))
    note = a_kos()
    title = note.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "113001", "DCM", "Rejected for Quality Reasons"
    evidence = note.CurrentRequestedProcedureEvidenceSequence[0]
    evidence.StudyInstanceUID = STUDY
    series = evidence.ReferencedSeriesSequence[0]
    series.SeriesInstanceUID = SERIES
    series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = f"{SERIES}.1"
    assert archive.find(STUDY, SERIES, f"{SERIES}.1") is not None
    intake.keep(intake.examined(put(intake.incoming, "note", note)))
    assert archive.find(STUDY, SERIES, f"{SERIES}.1") is None


def test_a_disk_that_takes_nothing_is_told_and_leaves_nothing(
    intake: Intake, archive: FolderArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = intake.examined(arrive(intake))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(NotTaken, match="No space left") as refusal:
        intake.keep(arrived)
    assert refusal.value.reason is Reason.OUT_OF_RESOURCES
    assert not list(archive.root.rglob("*.dcm"))
