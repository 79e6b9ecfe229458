"""A chest and abdomen that nobody has: a CT of hundreds of slices, computed, for the demo and its pictures.

DICOM PS3.3: A.3 (CT Image), C.8.2.1.  Ellipsoids in Hounsfield units, and noise that is the same each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from xds.metadata.identifiers import new_oid

Grid: TypeAlias = Any

SIZE = 256
_SPACING_MM, _SLICE_MM = 1.5, 1.0
_AIR, _FAT, _SOFT, _LUNG, _BONE, _BLOOD, _LIVER, _KIDNEY = -1000, -100, 35, -820, 650, 45, 70, 110

# Centre and half axes in parts of the half body (x to the left, y to the back, z from neck to pelvis, 0 to 1), and HU.
_ORGANS = (
    ((-0.38, -0.05, 0.30), (0.30, 0.40, 0.28), _LUNG),
    ((0.38, -0.05, 0.30), (0.28, 0.40, 0.28), _LUNG),
    ((0.08, -0.12, 0.40), (0.24, 0.24, 0.12), _BLOOD),
    ((0.00, 0.02, 0.12), (0.07, 0.07, 0.20), _AIR),
    ((-0.36, -0.02, 0.62), (0.36, 0.36, 0.15), _LIVER),
    ((0.45, 0.10, 0.60), (0.18, 0.22, 0.10), _LIVER),
    ((-0.34, 0.30, 0.76), (0.12, 0.12, 0.10), _KIDNEY),
    ((0.34, 0.30, 0.74), (0.12, 0.12, 0.10), _KIDNEY),
    ((0.06, 0.26, 0.60), (0.06, 0.06, 0.60), _BLOOD),
)


def write(folder: Path, patient_id: str, slices: int) -> None:
    """Write the slices of one series, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = new_oid(), new_oid(), new_oid()
    noise = numpy.random.default_rng(7)
    for number in range(1, slices + 1):
        image = _slice((number - 0.5) / slices, noise)
        dataset = _described(patient_id, study, series, frame, number)
        dataset.PixelData = (image + 1024).clip(0, 4095).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _slice(z: float, noise: numpy.random.Generator) -> Grid:
    """One slice in HU."""
    y, x = (axis * (2 / SIZE) - 1 for axis in numpy.mgrid[0:SIZE, 0:SIZE])
    wide = 0.88 - 0.10 * abs(z - 0.45)
    body = (x / wide) ** 2 + (y / 0.62) ** 2
    image = numpy.full((SIZE, SIZE), float(_AIR))
    image[body < 1] = _FAT
    image[body < 0.90] = _SOFT
    for (cx, cy, cz), (rx, ry, rz), value in _ORGANS:
        left = 1 - ((z - cz) / rz) ** 2
        if left > 0:
            image[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < left] = value
    # Ribs cross a slice where their rings, which lie aslant, do.
    ring = abs(body - 0.80) < 0.05
    image[ring & (numpy.sin(60 * (z + 0.12 * y)) > 0.55) & (z < 0.62)] = _BONE
    disc = numpy.sin(40 * z) > 0.8
    image[(x**2 + ((y - 0.40) / 1.1) ** 2) < 0.010] = _SOFT + 60 if disc else _BONE
    image[(abs(x) < 0.03) & (abs(y - 0.53) < 0.06)] = _BONE
    image[(abs(y - 0.74) < 0.02) & (abs(x) < 0.8)] = -250  # the table
    return image + noise.normal(0, 12, image.shape)


def _described(patient_id: str, study: str, series: str, frame: str, number: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192", "ImageType": ["DERIVED", "PRIMARY", "AXIAL"],
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": f"{series}.{number}", "StudyInstanceUID": study,
        "SeriesInstanceUID": series, "FrameOfReferenceUID": frame, "StudyDate": "20260302", "StudyTime": "091500",
        "SeriesDate": "20260302", "SeriesTime": "091800", "AccessionNumber": "PHANTOM1", "Modality": "CT",
        "Manufacturer": "xds", "StudyDescription": "CT chest and abdomen (phantom)", "StudyID": "1",
        "SeriesDescription": "Axial 1 mm", "BodyPartExamined": "CHEST", "PatientName": "Phantom^Dora",
        "PatientID": patient_id, "PatientBirthDate": "19700101", "PatientSex": "O", "SeriesNumber": 1,
        "InstanceNumber": number, "ReferringPhysicianName": "", "PatientPosition": "HFS",
        "ImagePositionPatient": [-192.0, -192.0, -_SLICE_MM * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SliceThickness": _SLICE_MM, "PixelSpacing": [_SPACING_MM, _SPACING_MM], "KVP": 120,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": SIZE, "Columns": SIZE,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleIntercept": -1024,
        "RescaleSlope": 1, "RescaleType": "HU", "WindowCenter": 40, "WindowWidth": 400,
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset
