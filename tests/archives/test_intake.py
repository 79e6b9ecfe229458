"""Instances taken into the folder: on disk before they are acknowledged, and never written over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.archives.trees import TEST_FILES
from tests.imaging.images import SERIES, STUDY, a_kos, an_instance, put
from xds.archives.folder import INCOMING, FolderArchive
from xds.archives.intake import Intake, NotTaken, Reason


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[FolderArchive]:
    (tmp_path / "images").mkdir()
    archive = FolderArchive(tmp_path / "images", tmp_path / "index.sqlite", tmp_path / "spool")
    yield archive
    archive.close()


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
    [{"StudyInstanceUID": None}, {"SeriesInstanceUID": ".."}, {"SOPInstanceUID": "1.2/../3"}, {"SOPClassUID": "1.02"}],
)
def test_an_instance_with_a_uid_absent_or_malformed_is_refused(intake: Intake, changes: dict[str, Any]) -> None:
    path = arrive(intake, 1, **changes)
    assert refused(intake, path).reason is Reason.NOT_UNDERSTOOD
    assert [entry.name for entry in intake.incoming.parent.iterdir()] == [INCOMING]


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
