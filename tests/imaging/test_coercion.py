"""An image of elsewhere becomes the archive's own: whose it is changes and is kept, nothing else is touched."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.imaging.images import PYDICOM_FILES, an_instance, saved
from xds.imaging.bounded import NotDicom
from xds.imaging.coercion import CHANGED, AnotherPatient, Here, copy
from xds.metadata.identifiers import Oid, PatientId

NOW = datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
WAS = PatientId("4711", Oid("1.2.276.0.76.3"))
HERE = Here(PatientId("L-17", Oid("1.2.3.4.9")), WAS, frozenset({"4711"}), "North Hospital")


def copied(data: bytes, tmp_path: Path, here: Here = HERE) -> tuple[Dataset, bytes]:
    """The image as it is written, and its bytes."""
    (tmp_path / "a.dcm").write_bytes(data)
    assert copy(tmp_path / "a.dcm", tmp_path / "b.dcm", here, NOW)
    written = (tmp_path / "b.dcm").read_bytes()
    return pydicom.dcmread(io.BytesIO(written)), written


def test_it_is_under_the_id_of_here_and_keeps_the_one_of_elsewhere(tmp_path: Path) -> None:
    found, _ = copied(saved(an_instance(IssuerOfPatientID="North")), tmp_path)
    assert found.PatientID == "L-17"
    assert found.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == "1.2.3.4.9"
    (other,) = found.OtherPatientIDsSequence
    assert (other.PatientID, other.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID) == ("4711", WAS.authority)
    (item,) = found.OriginalAttributesSequence
    assert (item.SourceOfPreviousValues, item.ReasonForTheAttributeModification) == ("North Hospital", "COERCE")
    assert item.AttributeModificationDateTime == "20261201083000.000000+0000"
    (before,) = item.ModifiedAttributesSequence
    assert (before.PatientID, before.IssuerOfPatientID) == ("4711", "North")
    assert "AccessionNumber" not in before  # it is as it was


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_whatever_else_is_in_it_stays_as_it_was(syntax: str | None, tmp_path: Path) -> None:
    image = an_instance(PatientComments="Schöne Aufnahme", StudyDescription="Schädel")
    if syntax is not None:
        data = io.BytesIO()
        image.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(data, image, enforce_file_format=True)
        before = data.getvalue()
    else:
        before = saved(image)
    found, _ = copied(before, tmp_path)
    old = pydicom.dcmread(io.BytesIO(before))
    for keyword in (*CHANGED, "OriginalAttributesSequence"):
        for each in (old, found):
            if keyword in each:
                del each[keyword]
    assert found == old
    assert found.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "CT_small.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "test-SR.dcm"])
def test_the_pixels_of_a_real_file_stay_as_they_are_to_the_byte(name: str, tmp_path: Path) -> None:
    found = next(iter(PYDICOM_FILES.rglob(name)), None)
    if found is None:
        pytest.skip(f"pydicom's wheel has no {name}")
    before = found.read_bytes()
    old = pydicom.dcmread(io.BytesIO(before))
    image, after = copied(before, tmp_path, replace(HERE, ids=frozenset({str(old.get("PatientID", ""))})))
    assert image.get("PixelData") == old.get("PixelData")
    assert image.SOPInstanceUID == old.SOPInstanceUID
    if "PixelData" in old:
        assert after.endswith(before[before.rindex(b"\xe0\x7f\x10\x00") :])


def test_accession_numbers_of_elsewhere_are_told_apart_from_those_of_here(tmp_path: Path) -> None:
    request = Dataset()
    request.AccessionNumber = "A1"
    here = replace(HERE, prefix="N-", issuer="1.2.3")
    found, _ = copied(saved(an_instance(RequestAttributesSequence=Sequence([request]))), tmp_path, here)
    assert found.AccessionNumber == "N-A1"
    assert found.RequestAttributesSequence[0].AccessionNumber == "N-A1"
    assert found.IssuerOfAccessionNumberSequence[0].UniversalEntityID == "1.2.3"
    (before,) = found.OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert (before.AccessionNumber, before.RequestAttributesSequence[0].AccessionNumber) == ("A1", "A1")
    assert "AccessionNumber" not in copied(saved(an_instance(AccessionNumber=None)), tmp_path)[0]
    long, _ = copied(saved(an_instance(AccessionNumber="1234567890123456")), tmp_path, replace(HERE, prefix="N-"))
    assert long.AccessionNumber == ""  # a number has sixteen characters, and one that is cut is another
    assert long.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].AccessionNumber == "1234567890123456"


def test_what_is_its_own_already_is_copied_as_it_is(tmp_path: Path) -> None:
    _, data = copied(saved(an_instance()), tmp_path)
    (tmp_path / "a.dcm").write_bytes(data)
    assert not copy(tmp_path / "a.dcm", tmp_path / "c.dcm", replace(HERE, ids=frozenset({"L-17"})), NOW)
    assert (tmp_path / "c.dcm").read_bytes() == data


@pytest.mark.parametrize(
    ("changes", "known"),
    [({"PatientBirthDate": "19561128"}, {"born": "19561127"}), ({"PatientSex": "M"}, {"sex": "F"})],
)
def test_an_image_that_shows_somebody_else_is_refused(
    changes: dict[str, str], known: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "a.dcm").write_bytes(saved(an_instance(**changes)))
    with pytest.raises(AnotherPatient):
        copy(tmp_path / "a.dcm", tmp_path / "b.dcm", replace(HERE, **known), NOW)
    copied(saved(an_instance()), tmp_path, replace(HERE, **known))
    copied(saved(an_instance(PatientBirthDate="", PatientSex="O")), tmp_path, replace(HERE, **known))


@pytest.mark.parametrize("id_", ["x" * 65, "a\\b", "Ä"])
def test_an_id_that_no_image_can_have_is_refused(id_: str) -> None:
    with pytest.raises(ValueError, match="none that an image can have"):
        replace(HERE, patient_id=PatientId(id_, Oid("1.2.3")))
    with pytest.raises(ValueError, match="up to 8"):
        replace(HERE, prefix="x" * 9)


def test_a_deflated_image_that_is_too_large_to_be_written_anew_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, data = an_instance(PixelData=bytes(4096)), io.BytesIO()
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(data, image, enforce_file_format=True)
    monkeypatch.setattr("xds.imaging.coercion.WRITTEN_ANEW_BYTES", 4096)
    (tmp_path / "a.dcm").write_bytes(data.getvalue())
    with pytest.raises(NotDicom, match="cannot be written anew"):
        copy(tmp_path / "a.dcm", tmp_path / "b.dcm", HERE, NOW)


def test_what_was_changed_before_and_other_ids_stay(tmp_path: Path) -> None:
    other, item = Dataset(), Dataset()
    other.PatientID, other.TypeOfPatientID = "X-1", "TEXT"
    item.ReasonForTheAttributeModification, item.ModifiedAttributesSequence = "CORRECT", Sequence([Dataset()])
    found, _ = copied(
        saved(an_instance(OtherPatientIDsSequence=Sequence([other]), OriginalAttributesSequence=Sequence([item]))),
        tmp_path,
    )
    assert [one.PatientID for one in found.OtherPatientIDsSequence] == ["X-1", "4711"]
    (before,) = found.OriginalAttributesSequence[1].ModifiedAttributesSequence
    assert [one.PatientID for one in before.OtherPatientIDsSequence] == ["X-1"]
    assert [one.ReasonForTheAttributeModification for one in found.OriginalAttributesSequence] == ["CORRECT", "COERCE"]


@pytest.mark.parametrize("id_", ["4712", "", "47", None])
def test_an_image_of_somebody_else_is_not_made_this_patients(id_: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(saved(an_instance(PatientID=id_)))
    with pytest.raises(AnotherPatient) as refused:
        copy(tmp_path / "a.dcm", tmp_path / "b.dcm", HERE, NOW)
    assert "4712" not in str(refused.value)
    assert not (tmp_path / "b.dcm").exists()


@pytest.mark.parametrize("spoilt", [b"", b"no DICOM", saved(an_instance())[:-40], saved(an_instance())[:-1]])
def test_what_is_damaged_is_not_written(spoilt: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(spoilt)
    with pytest.raises(NotDicom):
        copy(tmp_path / "a.dcm", tmp_path / "b.dcm", HERE, NOW)
