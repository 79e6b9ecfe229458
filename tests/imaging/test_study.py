"""Studies from a folder: one good one, one file spoilt, the problem that names it."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.imaging.images import (
    CT,
    LOCATION,
    MR,
    PYDICOM_FILES,
    SERIES,
    STUDY,
    a_kos,
    a_manifest,
    a_series,
    an_instance,
    put,
    saved,
)
from xds.imaging import kos
from xds.imaging.manifest import MANIFEST_TITLE, Code, InstanceReference, Patient, Request
from xds.imaging.study import Scan, Study, manifest_of, scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two slices of one study."""
    for number in (1, 2):
        put(tmp_path, f"ct/{number}.dcm", an_instance(number))
    return tmp_path


def the_study(found: Scan) -> Study:
    assert len(found.studies) == 1
    return found.studies[0]


def messages(found: Scan) -> dict[str, str]:
    return {problem.path.name: problem.message for problem in found.problems}


def test_a_study_is_found_with_what_its_images_say(folder: Path) -> None:
    found = scan(folder)
    study = the_study(found)
    assert found.problems == ()
    assert study.study_instance_uid == STUDY
    assert study.patient == Patient("4711", "", "", "Müller^Anna", "19561127", "F")
    assert study.study_date_time == datetime(2026, 3, 1, 9, 15, tzinfo=UTC)
    assert study.last_date_time == datetime(2026, 3, 1, 9, 20, tzinfo=UTC)
    assert study.timezone_offset == "+0100"
    assert study.requests == (Request("A1"),)
    assert study.modalities == ("CT",)
    assert study.acquisition_modalities == (Code("CT", "DCM", "Computed Tomography"),)
    assert [part.meaning for part in study.body_parts] == ["Thorax"]
    assert [region.meaning for region in study.regions] == ["Upper trunk"]
    assert (study.count, study.size_bytes) == (2, sum(path.stat().st_size for path in folder.rglob("*.dcm")))


def test_series_and_instances_are_in_the_order_of_their_numbers(folder: Path) -> None:
    for number in (10, 9):
        other = {"SeriesInstanceUID": "1.2.3.100.0", "SeriesNumber": "2", "Modality": "MR", "SOPClassUID": MR}
        put(folder, f"mr/{number}.dcm", an_instance(number, **other))
    study = the_study(scan(folder))
    assert [series.modality for series in study.series] == ["CT", "MR"]
    assert [one.instance_number for one in study.series[1].instances] == [9, 10]


def test_progress_is_told(folder: Path) -> None:
    told: list[int] = []
    scan(folder, progress=told.append)
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%PDF-1.7", "not a DICOM file"),
        (b"", "not a DICOM file"),
        (saved(an_instance(9))[:-4], "cut off"),
        (saved(an_instance(9))[:400], "cut off: the last element"),
        (saved(an_instance(9))[:-60], "cut off: the last element"),
        (saved(an_instance(9))[:140], "not a DICOM file"),
        (saved(an_instance(9, SOPInstanceUID="1.2.x")), "SOP Instance UID (0008,0018) is malformed"),
        (saved(an_instance(9, StudyInstanceUID=None)), "Study Instance UID (0020,000D) is missing"),
        (saved(an_instance(9, SeriesInstanceUID="")), "Series Instance UID (0020,000E) is missing"),
        (kos.write(a_manifest()), "a Key Object Selection"),
        ((PYDICOM_FILES / "test_files/dicomdirtests/DICOMDIR").read_bytes(), "a DICOMDIR"),
        (saved(an_instance(2)), "the same SOP Instance UID as 2.dcm"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_file_that_cannot_be_used_is_named_and_the_rest_goes_on(folder: Path, content: bytes, message: str) -> None:
    (folder / "odd").write_bytes(content)
    found = scan(folder)
    assert the_study(found).count == 2
    assert message in messages(found)["odd"]


def test_a_link_is_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put(elsewhere, "x.dcm", an_instance(7))
    (folder / "link.dcm").symlink_to(elsewhere / "x.dcm")
    (folder / "linked").symlink_to(elsewhere)
    found = scan(folder)
    assert the_study(found).count == 2
    assert set(messages(found)) == {"link.dcm", "linked"}


def test_two_patients_in_one_study_leave_it_out(folder: Path) -> None:
    put(folder, "ct/3.dcm", an_instance(3, PatientID="4712"))
    put(folder, "other.dcm", an_instance(4, StudyInstanceUID="1.2.3.200", SeriesInstanceUID="1.2.3.200.1"))
    found = scan(folder)
    assert the_study(found).study_instance_uid == "1.2.3.200"
    assert "another patient than in 1.dcm" in messages(found)["3.dcm"]


def test_two_patients_with_a_study_each_are_two_studies(folder: Path) -> None:
    changes = {"StudyInstanceUID": "1.2.3.200", "SeriesInstanceUID": "1.2.3.200.1", "PatientID": "4712"}
    put(folder, "other.dcm", an_instance(4, **changes))
    assert [study.patient.id for study in scan(folder).studies] == ["4711", "4712"]


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({"PatientName": "MUELLER^ANNA"}, False),
        ({"PatientBirthDate": ""}, False),
        ({"PatientBirthDate": "19561128"}, True),
        ({"PatientID": ""}, True),
        ({"IssuerOfPatientID": "Hospital"}, False),
    ],
)
def test_what_tells_two_patients_apart(folder: Path, changes: dict[str, Any], another: bool) -> None:
    put(folder, "ct/3.dcm", an_instance(3, **changes))
    assert (scan(folder).studies == ()) == another


def test_patients_of_the_same_number_but_other_authorities_are_two(folder: Path) -> None:
    for number, issuer in ((3, "A"), (4, "B")):
        put(folder, f"ct/{number}.dcm", an_instance(number, IssuerOfPatientID=issuer))
    put(folder, "ct/0.dcm", an_instance(5, IssuerOfPatientID="A"))
    assert scan(folder).studies == ()


def test_without_ids_names_tell_patients_apart(tmp_path: Path) -> None:
    put(tmp_path, "1.dcm", an_instance(1, PatientID="", PatientName="A^B"))
    put(tmp_path, "2.dcm", an_instance(2, PatientID="", PatientName="a^b"))
    assert the_study(scan(tmp_path)).count == 2
    put(tmp_path, "3.dcm", an_instance(3, PatientID="", PatientName="C^D"))
    assert scan(tmp_path).studies == ()


def test_what_a_rejection_note_takes_back_is_left_out(folder: Path) -> None:
    note = a_kos(title=Code("113037", "DCM", "x"), series=(a_series(1, InstanceReference(CT, f"{SERIES}.2")),))
    put(folder, "note.dcm", note)
    found = scan(folder)
    assert [one.sop_instance_uid for one in the_study(found).instances] == [f"{SERIES}.1"]
    assert messages(found) == {"2.dcm": "taken back by a rejection note"}


def test_times_without_an_offset_are_of_the_zone_given(tmp_path: Path) -> None:
    put(tmp_path, "1.dcm", an_instance(TimezoneOffsetFromUTC=None, StudyDate="20260701"))
    study = the_study(scan(tmp_path, zone="Europe/Berlin"))
    assert study.study_date_time == datetime(2026, 7, 1, 8, 15, tzinfo=UTC)
    assert study.timezone_offset == "+0200"


def test_a_zone_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        scan(folder, zone="Europe/Nowhere")


def test_a_study_without_a_date_has_no_time(tmp_path: Path) -> None:
    put(tmp_path, "1.dcm", an_instance(StudyDate="", StudyTime=""))
    study = the_study(scan(tmp_path))
    assert study.study_date_time is None
    assert manifest_of(study, retrieve_location_uid=LOCATION, retrieve_ae_title="A").study_date_time is None


def test_a_last_time_before_the_study_is_none(tmp_path: Path) -> None:
    put(tmp_path, "1.dcm", an_instance(SeriesDate="19970101"))
    assert the_study(scan(tmp_path)).last_date_time is None


def test_a_missing_character_set_is_the_fallback(tmp_path: Path) -> None:
    dataset = an_instance(PatientName="X" * 7)
    data = saved(dataset).replace(b"XXXXXXX", "Люкcемб".encode("iso8859-5")).replace(b"ISO_IR 192", b"          ")
    (tmp_path / "1.dcm").write_bytes(data)
    assert the_study(scan(tmp_path, fallback_character_set="ISO_IR 144")).patient.name == "Люкcемб"


def _coded(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _issued(oid: str) -> Sequence:
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = oid, "ISO"
    return Sequence([item])


def test_orders_issuers_and_codes_are_read(tmp_path: Path) -> None:
    order = Dataset()
    order.PlacerOrderNumberImagingServiceRequest = "P1"
    order.OrderPlacerIdentifierSequence = _issued("1.2.276.2")
    order.RequestedProcedureID = "R1"
    order.RequestedProcedureCodeSequence = Sequence([_coded("RPID1", "RADLEX", "Chest CT")])
    dataset = an_instance(
        RequestAttributesSequence=Sequence([order]),
        IssuerOfAccessionNumberSequence=_issued("1.2.276.1"),
        IssuerOfPatientIDQualifiersSequence=_issued("1.2.276.0.76.3"),
        AnatomicRegionSequence=Sequence([_coded("39607008", "SCT", "Lung")]),
    )
    put(tmp_path, "1.dcm", dataset)
    study = the_study(scan(tmp_path))
    assert study.requests == (Request("A1", "1.2.276.1", "P1", "1.2.276.2", "", "R1"),)
    assert study.patient.issuer_oid == "1.2.276.0.76.3"
    assert study.procedure_codes == (Code("RPID1", "RADLEX", "Chest CT"),)
    assert study.body_parts == (Code("39607008", "SCT", "Lung"),)


def test_performed_procedures_go_before_requested_ones(tmp_path: Path) -> None:
    codes = {
        "ProcedureCodeSequence": Sequence([_coded("1", "99X", "performed")]),
        "RequestedProcedureCodeSequence": Sequence([_coded("2", "99X", "requested")]),
    }
    put(tmp_path, "1.dcm", an_instance(**codes))
    assert [code.meaning for code in the_study(scan(tmp_path)).procedure_codes] == ["performed"]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_transfer_syntaxes_are_read(tmp_path: Path, syntax: str) -> None:
    dataset = an_instance()
    dataset.file_meta.TransferSyntaxUID = syntax
    put(tmp_path, "1.dcm", dataset)
    (instance,) = the_study(scan(tmp_path)).instances
    assert instance.transfer_syntax_uid == syntax


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    data = saved(an_instance())
    (tmp_path / "1.dcm").write_bytes(data[data.index(b"\x08\0\x05\0CS") :])
    (instance,) = the_study(scan(tmp_path)).instances
    assert (instance.is_part10, instance.dataset_begin) == (False, 0)


def test_a_deflated_bomb_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.imaging.bounded.INFLATED_LIMIT", 1024 * 1024)
    dataset = an_instance(PixelData=bytes(4 * 1024 * 1024))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    put(tmp_path, "1.dcm", dataset)
    assert messages(scan(tmp_path)) == {"1.dcm": "inflates to more than 1048576 bytes"}


def test_problems_hold_nothing_of_the_patient(folder: Path) -> None:
    put(folder, "ct/3.dcm", an_instance(3, PatientID="4712"))
    (folder / "4.dcm").write_bytes(saved(an_instance(4, SOPInstanceUID="Müller")))
    assert not any("ller" in one.message or "471" in one.message for one in scan(folder).problems)


def test_the_manifest_of_a_study_lists_all_of_it(folder: Path) -> None:
    study = the_study(scan(folder))
    created = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    manifest = manifest_of(
        study,
        retrieve_location_uid=LOCATION,
        retrieve_ae_title="ARCHIVE",
        retrieve_url="https://images.example.org/wado",
        sop_instance_uid="2.25.7",
        created=created,
    )
    assert (manifest.sop_instance_uid, manifest.created, manifest.title) == ("2.25.7", created, MANIFEST_TITLE)
    assert [one.sop_instance_uid for _, one in manifest.instances()] == [f"{SERIES}.1", f"{SERIES}.2"]
    assert manifest.modalities == ("CT",)
    assert manifest.study_date_time == study.study_date_time
    assert kos.check(kos.write(manifest)) == []


def test_two_manifests_of_a_study_have_uids_of_their_own(folder: Path) -> None:
    study = the_study(scan(folder))
    one, other = (manifest_of(study, retrieve_location_uid=LOCATION, retrieve_ae_title="A") for _ in "ab")
    assert len({one.sop_instance_uid, other.sop_instance_uid, one.series_instance_uid, other.series_instance_uid}) == 4
    assert one.sop_instance_uid.startswith("2.25.")


@pytest.mark.parametrize("name", ["test_files", "charset_files"])
def test_every_study_of_the_real_files_makes_a_manifest_that_stands_the_check(name: str) -> None:
    found = scan(PYDICOM_FILES / name, zone="Europe/Berlin")
    assert len(found.studies) > 10
    for study in found.studies:
        manifest = manifest_of(study, retrieve_location_uid=LOCATION, retrieve_ae_title="ARCHIVE")
        data = kos.write(manifest)
        assert kos.check(data) == []
        again = kos.read(data)
        assert again.patient == study.patient
        assert again.count == study.count
        assert pydicom.dcmread(BytesIO(data)).StudyInstanceUID == study.study_instance_uid
