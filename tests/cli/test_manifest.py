"""``xds manifest``: a folder's manifest made, shown and checked; what is left out is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import xds
from tests.imaging.images import SERIES, STUDY, a_kos, an_instance, put, saved


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        put(tmp_path / "ct", f"{number}.dcm", an_instance(number))
    return tmp_path / "ct"


def test_a_manifest_is_made_shown_and_found_good(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ct.kos.dcm"
    made = xds("manifest", "make", folder, "--out", out, "--data", tmp_path / "data")
    assert (made.code, made.out) == (0, f"{out}: 3 instances in 1 series\n")
    shown = xds("manifest", "show", out)
    assert f"study {STUDY}" in shown.out
    assert [line.strip() for line in shown.out.splitlines()[2:]] == [f"{SERIES}.{number}" for number in (1, 2, 3)]
    listed = xds("manifest", "show", out, "--json").json
    assert listed["study_instance_uid"] == STUDY
    assert len(listed["series"][0]["instances"]) == 3
    checked = xds("manifest", "check", out)
    assert (checked.code, checked.out) == (0, f"{out}: a good manifest\n")
    assert xds("manifest", "check", out, "--json").json == []


def test_what_is_no_image_is_named_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"nonsense")
    done = xds("manifest", "make", folder, "--out", tmp_path / "x.dcm", "--data", tmp_path / "data")
    assert done.code == 0
    assert "3 instances" in done.out
    assert f"left out: {folder / 'notes.dcm'}: " in done.err


def test_a_folder_without_images_or_none_at_all_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "empty", "holds no study"), (tmp_path / "none", "is no folder")):
        done = xds("manifest", "make", path, "--out", tmp_path / "x.dcm", "--data", tmp_path / "data")
        assert (done.code, done.err) == (1, done.err)
        assert said in done.err
        assert not (tmp_path / "x.dcm").exists()


def test_two_studies_want_two_manifests(folder: Path, tmp_path: Path) -> None:
    put(folder, "4.dcm", an_instance(4, StudyInstanceUID="1.2.3.200", SeriesInstanceUID="1.2.3.200.1"))
    done = xds("manifest", "make", folder, "--out", tmp_path / "x.dcm", "--data", tmp_path / "data")
    assert done.code == 1
    assert "holds 2 studies" in done.err


def test_two_patients_in_one_study_are_said(folder: Path, tmp_path: Path) -> None:
    put(folder, "4.dcm", an_instance(4, PatientID="0815", PatientName="Other^One"))
    done = xds("manifest", "make", folder, "--out", tmp_path / "x.dcm", "--data", tmp_path / "data")
    assert "left out" in done.err
    assert "Other" not in done.err


@pytest.mark.parametrize("command", ["show", "check"])
@pytest.mark.parametrize("content", [b"", b"no dicom", b"\0" * 128 + b"DICM"])
def test_what_is_no_manifest_is_said_and_exits_1(tmp_path: Path, command: str, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    done = xds("manifest", command, path)
    assert done.code == 1
    assert done.out + done.err
    assert "Traceback" not in done.err


def test_a_manifest_without_evidence_breaks_a_rule(tmp_path: Path) -> None:
    dataset = a_kos()
    del dataset.CurrentRequestedProcedureEvidenceSequence
    path = tmp_path / "x.dcm"
    path.write_bytes(saved(dataset))
    done = xds("manifest", "check", path)
    assert done.code == 1
    assert "vidence" in done.out
    findings = xds("manifest", "check", path, "--json")
    assert findings.code == 1
    assert findings.json[0]["context"] in done.out


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    assert xds("manifest", "show", tmp_path / "none.dcm").code == 2
