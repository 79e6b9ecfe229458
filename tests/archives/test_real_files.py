"""Every usable file of pydicom and pydicom-data through the archive: as stored, and transcoded.

Those that have no way to another transfer syntax are named below with the reason.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from tests.archives.trees import DATA_STORE, TEST_FILES, opened
from xds.archives.folder import FolderArchive
from xds.archives.interface import Held, NotEncodable
from xds.imaging.instance import NotAnInstance, read_file
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE

# The tests read the files with pydicom too, which remarks on some.
pytestmark = [pytest.mark.large, pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")]

NOT_ENCODABLE = {
    "JPEG-lossy.dcm": "JPEG extended of 12 bits, which GDCM does not decode",
    "JPGExtended.dcm": "JPEG extended of 12 bits, which GDCM does not decode",
    "J2K_pixelrep_mismatch.dcm": "the codestream's sign is another than the header's",
    "JPEG2000-embedded-sequence-delimiter.dcm": "GDCM does not decode the codestream",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "cut off within the fragments",
}
# Of these pydicom itself reads no pixels to compare with.
NO_PIXELS_TO_COMPARE = {"badVR.dcm"}
# What transcoding is meant to change: pixels, what describes them, offset tables.
CHANGED = {0x00280004, 0x00280006, 0x00282110, 0x7FE00001, 0x7FE00002, 0x7FE00010}


def _usable() -> list[Path]:
    found = []
    for path in (*TEST_FILES.rglob("*"), *DATA_STORE.glob("*.dcm")):
        if path.is_file() and "dicomdirtests" not in path.parts:
            try:
                read_file(path)
            except NotAnInstance:
                continue
            found.append(path)
    return sorted(found)


FILES = _usable()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderArchive]:
    """All the files, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("real")
    for number, path in enumerate(FILES):
        (folder / str(number)).mkdir()
        shutil.copy(path, folder / str(number) / path.name)
    archive = opened(folder)
    assert archive.refresh().added == len(FILES)
    yield archive
    archive.close()


@pytest.fixture
def held(archive: FolderArchive, path: Path) -> Held:
    """The file as held.  Several are the same instance, of which ``find`` would give the first."""
    facts = read_file(path)
    locator = f"{FILES.index(path)}/{path.name}"
    status = (archive.root / locator).stat()
    assert archive.find(facts.study_instance_uid, facts.series_instance_uid, facts.sop_instance_uid) is not None
    return Held(
        facts.study_instance_uid,
        facts.series_instance_uid,
        facts.sop_class_uid,
        facts.sop_instance_uid,
        facts.transfer_syntax_uid,
        size_bytes=status.st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        locator=locator,
        modified_ns=status.st_mtime_ns,
        dataset_begin=facts.dataset_begin,
        is_part10=facts.is_part10,
    )


def test_there_are_many() -> None:
    assert len(FILES) > 130


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_as_stored_a_file_is_given_byte_for_byte(archive: FolderArchive, path: Path, held: Held) -> None:
    with archive.open(held, [held.transfer_syntax_uid]) as ready:
        data = b"".join(ready.chunks())
    if held.is_part10:
        assert data == path.read_bytes()
    else:
        assert data.endswith(path.read_bytes()[held.dataset_begin :])
        assert pydicom.dcmread(BytesIO(data)).file_meta.TransferSyntaxUID == held.transfer_syntax_uid


# The pixels of a large file, which take long, are the same in both: one will do.
TARGETS = [
    (path, target)
    for path in FILES
    for target in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
    if target == EXPLICIT_LITTLE or path.stat().st_size < 4_000_000
]


@pytest.mark.parametrize(("path", "target"), TARGETS, ids=lambda value: getattr(value, "name", value))
def test_transcoded_a_file_has_the_same_pixels_and_the_same_elements(
    archive: FolderArchive, path: Path, held: Held, target: str
) -> None:
    if held.transfer_syntax_uid == target:
        return
    if path.name in NOT_ENCODABLE:
        with pytest.raises(NotEncodable):
            archive.open(held, [target])
        return
    with archive.open(held, [target]) as ready:
        assert ready.transfer_syntax_uid == target
        found = pydicom.dcmread(BytesIO(b"".join(ready.chunks())))
    expected = pydicom.dcmread(path, force=True)
    _same_elements(expected, found)
    if "PixelData" in expected and path.name not in NO_PIXELS_TO_COMPARE:
        if expected.file_meta.get("TransferSyntaxUID") is None:
            expected.file_meta.TransferSyntaxUID = held.transfer_syntax_uid
        assert numpy.array_equal(found.pixel_array, expected.pixel_array)


NOT_COMPRESSED = "no pixel data to compress|are not compressed|come back as they were|do not decode|damaged"


@pytest.mark.parametrize("path", [path for path in FILES if path.stat().st_size < 400_000], ids=lambda path: path.name)
def test_compressed_a_file_has_the_same_pixels_or_it_is_said_why_not(
    archive: FolderArchive, path: Path, held: Held
) -> None:
    target = JPEG2000Lossless if held.transfer_syntax_uid == JPEGLSLossless else JPEGLSLossless
    try:
        ready = archive.open(held, [target])
    except NotEncodable as problem:
        assert re.search(NOT_COMPRESSED, str(problem)), problem
        return
    with ready:
        found = pydicom.dcmread(BytesIO(b"".join(ready.chunks())))
    expected = pydicom.dcmread(path, force=True)
    _same_elements(expected, found)
    if path.name not in NO_PIXELS_TO_COMPARE:
        if expected.file_meta.get("TransferSyntaxUID") is None:
            expected.file_meta.TransferSyntaxUID = held.transfer_syntax_uid
        assert numpy.array_equal(found.pixel_array, expected.pixel_array)


def _same_elements(expected: Any, found: Any) -> None:
    """Every element is there; those whose VR survives have the same value."""
    kept = {tag for tag in set(expected.keys()) if tag.element != 0}
    assert kept - CHANGED == set(found.keys()) - CHANGED
    for tag in kept - CHANGED:
        one, other = expected.get_item(tag), found.get_item(tag)
        if one.VR == other.VR and one.VR not in ("OW", "SQ", "UN") and expected.original_encoding[1]:
            assert expected[tag].value == found[tag].value, tag
