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
from xds.imaging.coercion import CHANGED, Here, copy
from xds.metadata.identifiers import Oid, PatientId

NOW = datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
WAS = PatientId("4711", Oid("1.2.276.0.76.3"))
HERE = Here(PatientId("L-17", Oid("1.2.3.4.9")), WAS, "North Hospital")


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
    assert (before.PatientID, before.IssuerOfPatientID, before.AccessionNumber) == ("4711", "North", "A1")


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
    image, after = copied(before, tmp_path)
    old = pydicom.dcmread(io.BytesIO(before))
    assert image.get("PixelData") == old.get("PixelData")
    assert image.SOPInstanceUID == old.SOPInstanceUID
    if "PixelData" in old:
        assert after.endswith(before[before.rindex(b"\xe0\x7f\x10\x00") :])


def test_accession_numbers_of_elsewhere_are_told_apart_from_those_of_here(tmp_path: Path) -> None:
    found, data = copied(saved(an_instance()), tmp_path, replace(HERE, prefix="N-", issuer="1.2.3"))
    assert found.AccessionNumber == "N-A1"
    assert found.IssuerOfAccessionNumberSequence[0].UniversalEntityID == "1.2.3"
    (tmp_path / "a.dcm").write_bytes(data)
    assert not copy(tmp_path / "a.dcm", tmp_path / "c.dcm", replace(HERE, prefix="N-", issuer="1.2.3"), NOW)
    assert (tmp_path / "c.dcm").read_bytes() == data  # once is enough
    assert "AccessionNumber" not in copied(saved(an_instance(AccessionNumber=None)), tmp_path)[0]
    long, _ = copied(saved(an_instance(AccessionNumber="1234567890123456")), tmp_path, replace(HERE, prefix="N-"))
    assert long.AccessionNumber == "N-12345678901234"  # a number has sixteen characters


def test_what_was_changed_before_and_other_ids_stay(tmp_path: Path) -> None:
    other, item = Dataset(), Dataset()
    other.PatientID, other.TypeOfPatientID = "X-1", "TEXT"
    item.ReasonForTheAttributeModification, item.ModifiedAttributesSequence = "CORRECT", Sequence([Dataset()])
    found, _ = copied(
        saved(an_instance(OtherPatientIDsSequence=Sequence([other]), OriginalAttributesSequence=Sequence([item]))),
        tmp_path,
    )
    assert [one.PatientID for one in found.OtherPatientIDsSequence] == ["X-1", "4711"]
    assert [one.ReasonForTheAttributeModification for one in found.OriginalAttributesSequence] == ["CORRECT", "COERCE"]


@pytest.mark.parametrize("spoilt", [b"", b"no DICOM", saved(an_instance())[:-40], saved(an_instance())[:-1]])
def test_what_is_damaged_is_not_written(spoilt: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(spoilt)
    with pytest.raises(NotDicom):
        copy(tmp_path / "a.dcm", tmp_path / "b.dcm", HERE, NOW)
