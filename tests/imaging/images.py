"""Good DICOM files and manifests, from which a test spoils one part."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from xds.imaging import kos
from xds.imaging.manifest import InstanceReference, Manifest, Patient, Request, SeriesReference

CT, ECG, KOS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.840.10008.5.1.4.1.1.88.59"
SR, MR = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.4"
STUDY, SERIES = "1.2.3.100", "1.2.3.100.1"
LOCATION = "1.2.3.4.5"
PYDICOM_FILES = Path(pydicom.__file__).parent / "data"


def a_series(number: int = 1, *instances: InstanceReference, **changes: Any) -> SeriesReference:
    uid = f"1.2.3.100.{number}"
    listed = instances or tuple(InstanceReference(CT, f"{uid}.{index}") for index in (1, 2))
    whole = SeriesReference(uid, "", "ARCHIVE", LOCATION, "https://images.example.org/wado", listed)
    return replace(whole, **changes)


def a_manifest(**changes: Any) -> Manifest:
    """A manifest with every attribute filled, three SOP classes and two series."""
    other = (InstanceReference(ECG, "1.2.3.100.2.1"), InstanceReference(SR, "1.2.3.100.2.2"))
    whole = Manifest(
        sop_instance_uid="2.25.1",
        series_instance_uid="2.25.2",
        study_instance_uid=STUDY,
        created=datetime(2026, 3, 1, 23, 30, 15, 250000, tzinfo=UTC),
        patient=Patient("4711", "Hospital", "1.2.276.0.76.3", "Müller^Anna^^Dr.", "19561127", "F"),
        series=(a_series(1), a_series(2, *other, retrieve_url="")),
        study_date="20260301",
        study_time="101500",
        timezone_offset="+0100",
        study_id="S1",
        study_description="CT Schädel",
        requests=(
            Request("A1", "1.2.276.1", "P1", "1.2.276.2", "F1", "R1"),
            Request("A2", "", "P2", "", "", ""),
        ),
        referring_physician="Überweiser^Ute",
        institution_name="Haus 東京",
        manufacturer="xds",
        description="Alle Bilder\r\nmit \\ darin",
    )
    return replace(whole, **changes)


def a_kos(**changes: Any) -> Dataset:
    """``a_manifest`` as a pydicom dataset."""
    return pydicom.dcmread(io.BytesIO(kos.write(a_manifest(**changes))))


def a_rejection_note(*sop_instance_uids: str, study: str = STUDY, series: str = SERIES, **changes: Any) -> Dataset:
    """A note by which these instances are rejected for quality reasons (IHE RAD IOCM); ``changes`` are of its own."""
    instances = tuple(InstanceReference(CT, uid) for uid in sop_instance_uids)
    listed = SeriesReference(series, "", "ARCHIVE", LOCATION, "", instances)
    note = a_kos(study_instance_uid=study, series=(listed,))
    title = note.ConceptNameCodeSequence[0]
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "113001", "DCM", "Rejected for Quality Reasons"
    for keyword, value in changes.items():
        setattr(note, keyword, value)
    return note


def saved(dataset: Dataset, **options: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True, **options)
    return buffer.getvalue()


def an_instance(number: int = 1, **changes: Any) -> Dataset:
    """A CT slice of 4 by 4 pixels; ``changes`` by DICOM keyword, ``None`` takes the element out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT,
        "SOPInstanceUID": f"{SERIES}.{number}",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "StudyDate": "20260301",
        "StudyTime": "101500",
        "SeriesDate": "20260301",
        "SeriesTime": "102000",
        "AccessionNumber": "A1",
        "Modality": "CT",
        "PatientName": "Müller^Anna",
        "PatientID": "4711",
        "PatientBirthDate": "19561127",
        "PatientSex": "F",
        "StudyID": "S1",
        "SeriesNumber": "1",
        "InstanceNumber": str(number),
        "BodyPartExamined": "CHEST",
        "TimezoneOffsetFromUTC": "+0100",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 4,
        "Columns": 4,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": bytes(range(32)),
    }
    for keyword, value in {**values, **changes}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def put(folder: Path, name: str, dataset: Dataset) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved(dataset))
    return path
