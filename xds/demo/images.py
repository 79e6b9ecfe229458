"""Real DICOM files of several modalities and transfer syntaxes, laid out as two hospitals' archives.

The files come with pydicom and with pydicom-data; they are copied, never changed.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.data import get_testdata_file

from xds.demo import phantom
from xds.errors import Unusable
from xds.imaging.group import Study
from xds.imaging.study import scan

# Who was examined where: a patient of the affinity domain, and the files or folders of files that show it.
NORTH = (
    ("anna", ("77654033/CR1", "77654033/CR2", "77654033/CR3", "77654033/CT2")),
    ("bert", ("US1_J2KI.dcm",)),
    ("carla", ("RG1_J2KR.dcm", "waveform_ecg.dcm", "test-SR.dcm")),
)
SOUTH = (
    ("anna", ("693_J2KR.dcm", "MR_small_RLE.dcm", "examples_ybr_color.dcm")),
    ("bert", ("98892001", "98892003")),
    ("carla", ("JPEG-LL.dcm", "liver_1frame.dcm", "emri_small_jpeg_ls_lossless.dcm", "gdcm-US-ALOKA-16_big.dcm")),
)
# Goes into an Orthanc, where there is one.
EAST = (
    ("anna", ("MR2_J2KR.dcm", "RG3_J2KR.dcm")),
    ("carla", ("CT_small.dcm", "eCT_Supplemental.dcm", "OBXXXX1A_rle.dcm")),
)
PHANTOM_SLICES = 500

PACKAGE = "data_store"
"""What the package pydicom-data, which holds the images, is imported as."""


def need() -> None:
    """Say what is not installed, before anything is begun.

    Raises:
        Unusable: there are no images.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise Unusable("the demonstration's images are not installed: pip install 'xds[demo]'")


@dataclass(frozen=True, slots=True)
class Examined:
    """One study of the demo: the folder that holds it, and whose it is in the affinity domain."""

    patient: str
    folder: Path
    study: Study


def lay_out(table: Sequence[tuple[str, Sequence[str]]], folder: Path) -> Iterator[Examined]:
    """Copy a hospital's files, a folder a study.

    Raises:
        Unusable: the files are not installed.
    """
    for patient, names in table:
        incoming = folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(path for name in names for path in _files(name)):
            shutil.copyfile(path, incoming / f"{number:03d}-{path.name}")
        for study in scan(incoming).studies:
            target = folder / patient / study.study_instance_uid
            target.mkdir(parents=True)
            for instance in study.instances:
                instance.path.rename(target / instance.path.name)
            yield Examined(patient, target, scan(target).studies[0])
        shutil.rmtree(incoming)


def lay_out_phantom(folder: Path, patient: str) -> Examined:
    """A computed CT of many slices."""
    phantom.write(folder / patient / "phantom", patient, PHANTOM_SLICES)
    return Examined(patient, folder / patient / "phantom", scan(folder / patient / "phantom").studies[0])


def _files(name: str) -> list[Path]:
    tree = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent / "dicomdirtests" / name
    if tree.is_dir():
        return sorted(path for path in tree.rglob("*") if path.is_file())
    found = get_testdata_file(name, download=False)
    if found is None:
        raise Unusable(f"{name} is not installed: the demo's images come with the package pydicom-data")
    return [Path(str(found))]
