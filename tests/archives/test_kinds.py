"""Instances of every kind that an archive may hold: given byte for byte where listed, transcoded where that can be.

Video, documents, private transfer syntaxes and manifests are made here; ``test_real_files.py`` has the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HEVCM10P51,
    HTJ2K,
    MPEG2MPML,
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from tests.archives.trees import given, opened
from tests.imaging.images import SERIES, SR, STUDY, a_kos, an_instance, put, saved
from xds.archives.folder import FolderArchive
from xds.archives.interface import Held, NotEncodable

GE_PRIVATE = "1.2.840.113619.5.2"
"""Implicit VR little endian with pixels in big endian, of GE's."""
VIDEO_ENDOSCOPY, PDF, RAW = (
    "1.2.840.10008.5.1.4.1.1.77.1.1.1",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.66",
)


def video(syntax: str, *fragments: bytes) -> Dataset:
    dataset = an_instance(
        SOPClassUID=VIDEO_ENDOSCOPY, NumberOfFrames=25, Rows=8, Columns=8, SamplesPerPixel=3, BitsAllocated=8,
        BitsStored=8, HighBit=7, PhotometricInterpretation="YBR_PARTIAL_420", PlanarConfiguration=0,
    )  # fmt: skip
    dataset.PixelData = encapsulate(list(fragments), has_bot=False)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def document(syntax: str) -> Dataset:
    dataset = an_instance(SOPClassUID=PDF, MIMETypeOfEncapsulatedDocument="application/pdf", PixelData=None)
    dataset.add_new(0x00420011, "OB", b"%PDF-1.7 ...")
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def report() -> Dataset:
    return an_instance(SOPClassUID=SR, Modality="SR", ValueType="CONTAINER", PixelData=None)


def raw() -> Dataset:
    dataset = an_instance(SOPClassUID=RAW, PixelData=None)
    block = dataset.private_block(0x0019, "VENDOR RAW", create=True)
    block.add_new(0x01, "OB", bytes(range(256)))
    return dataset


def plain(syntax: str) -> Dataset:
    dataset = an_instance()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


KINDS = {
    "MPEG-2": video(MPEG2MPML, b"\0\0\1\xb3" * 40),
    "H.264, in fragments": video(MPEG4HP41, b"\0\0\0\1" * 40, b"\0\0\1\x65" * 40),
    "H.265": video(HEVCM10P51, b"\0\0\0\1" * 40),
    "a PDF": document(ExplicitVRLittleEndian),
    "a PDF, deflated": document(DeflatedExplicitVRLittleEndian),
    "a report": report(),
    "raw data": raw(),
    "big endian": plain(ExplicitVRBigEndian),
    "implicit VR": plain(ImplicitVRLittleEndian),
}
NO_OTHER_WAY = {"MPEG-2", "H.264, in fragments", "H.265"}


def files(folder: Path) -> None:
    for number, dataset in enumerate(KINDS.values(), 1):
        uid = f"{SERIES}.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        put(folder, f"{number}.dcm", dataset)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderArchive]:
    folder = tmp_path_factory.mktemp("kinds")
    files(folder)
    archive = opened(folder)
    archive.refresh()
    yield archive
    archive.close()


def held(archive: FolderArchive, kind: str) -> Held:
    found = archive.find(STUDY, SERIES, f"{SERIES}.{list(KINDS).index(kind) + 1}")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_instance_of_every_kind_is_given_as_it_is_stored(archive: FolderArchive, kind: str) -> None:
    one = held(archive, kind)
    assert given(archive, one, [one.transfer_syntax_uid]) == (archive.root / one.locator).read_bytes()


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - NO_OTHER_WAY))
@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_what_is_no_video_is_given_uncompressed(archive: FolderArchive, kind: str, target: str) -> None:
    found = pydicom.dcmread(BytesIO(given(archive, held(archive, kind), [target])))
    assert found.file_meta.TransferSyntaxUID == target
    for element in KINDS[kind]:
        if not element.tag.is_private and element.keyword != "PixelData":
            assert found[element.tag].value == element.value, element.tag


@pytest.mark.parametrize("kind", sorted(NO_OTHER_WAY))
@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, JPEGLSLossless])
def test_a_video_is_nothing_but_what_it_is(archive: FolderArchive, kind: str, target: str) -> None:
    with pytest.raises(NotEncodable, match="no way"):
        archive.open(held(archive, kind), [target])


@pytest.mark.parametrize("syntax", [GE_PRIVATE, "1.2.3.4.5.6", HTJ2K])
def test_a_transfer_syntax_that_nobody_here_knows_is_given_as_it_is_and_as_nothing_else(
    tmp_path: Path, syntax: str
) -> None:
    encoding: dict[str, Any] = {"implicit_vr": syntax == GE_PRIVATE, "little_endian": True}
    dataset = an_instance()
    if syntax == HTJ2K:
        dataset.PixelData = encapsulate([b"\xff\x4f" * 20])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    data = saved(dataset) if syntax == HTJ2K else saved(dataset, **encoding)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.dcm").write_bytes(data)
    archive = opened(tmp_path / "images")
    archive.refresh()
    found = archive.find(STUDY, SERIES, f"{SERIES}.1")
    assert found is not None
    assert given(archive, found, [syntax]) == data
    with pytest.raises(NotEncodable):
        archive.open(found, [ExplicitVRLittleEndian, JPEGLSLossless])


def test_a_manifest_in_the_archive_is_of_no_study(tmp_path: Path) -> None:
    put(tmp_path / "images", "1.dcm", an_instance())
    put(tmp_path / "images", "kos.dcm", a_kos())
    archive = opened(tmp_path / "images")
    archive.refresh()
    (study,) = archive.studies()
    assert [one.sop_instance_uid for series in study.series for one in series.instances] == [f"{SERIES}.1"]
