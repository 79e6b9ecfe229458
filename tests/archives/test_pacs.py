"""A PACS as an archive, against Debian's Orthanc: what it lists, what it gives, and when it does not answer."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from tests.archives.orthanc import Orthanc, orthanc, orthanc_server
from tests.archives.trees import TEST_FILES, an_archive
from tests.imaging.images import SERIES, STUDY, a_kos, an_instance, put, saved
from xds.archives.cache import Cache
from xds.archives.contents import Member
from xds.archives.dicomweb import DicomWebWay
from xds.archives.dimse import DimseWay, Peer
from xds.archives.interface import Gone, Held, NotAnswering, NotEncodable, SpoolFull
from xds.archives.pacs import Pacs, Way
from xds.archives.web import Web
from xds.errors import Unusable
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE

__all__ = ["orthanc", "orthanc_server"]

JPEG_LS = "MR_small_jpeg_ls_lossless.dcm"
NAMES = ["CT_small.dcm", JPEG_LS, "rtdose.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "JPEG2000.dcm"]


def held_of(archive: Pacs, data: bytes) -> Held | None:
    dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    return archive.find(dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)


def bytes_of(archive: Pacs, held: Held, *syntaxes: str) -> bytes:
    with archive.open(held, syntaxes) as ready:
        data = b"".join(ready.chunks())
        assert len(data) == ready.size_bytes
        return data


def ways(orthanc: Orthanc) -> dict[str, Callable[[], Way]]:
    """Every way to speak to it."""
    title = f"ORTHANC@127.0.0.1:{orthanc.dicom_port}"
    return {
        "dicomweb": lambda: DicomWebWay(Web(orthanc.dicomweb)),
        "c-get": lambda: DimseWay(Peer.parse(title, seconds=10.0)),
        "c-move": lambda: DimseWay(Peer.parse(title, seconds=10.0, move_port=orthanc.move_port)),
    }


@pytest.fixture(params=["dicomweb", "c-get", "c-move", "dicomweb, cached", "c-get, cached"])
def archive(request: pytest.FixtureRequest, orthanc: Orthanc, tmp_path: Path) -> Iterator[Pacs]:
    """Orthanc by each way, with three made instances of a study; with a cache all is as without one."""
    orthanc.keep(*(saved(an_instance(number)) for number in (2, 1, 3)))
    name, _, cached = request.param.partition(", ")
    way = ways(orthanc)[name]()
    cache = Cache(tmp_path / "cache", 1 << 30, 3600.0) if cached else None
    archive = Pacs(way, tmp_path / "spool", known_seconds=0.0, cache=cache)
    yield archive
    archive.close()
    if isinstance(way, DimseWay):
        way.close()


def is_same(found: bytes, kept: bytes) -> bool:
    """Whether two files hold the same dataset in the same syntax; what stands around it is whose who wrote the file."""
    one, other = (pydicom.dcmread(io.BytesIO(data)) for data in (found, kept))
    if "PixelData" in other and not numpy.array_equal(one.pixel_array, other.pixel_array):
        return False
    for dataset in (one, other):
        # Group lengths, padding, and pixels, whose fragments may be parted otherwise.
        for tag in [t for t in dataset if t.tag.element == 0 or t.tag in (0xFFFCFFFC, 0x7FE00010)]:
            del dataset[tag.tag]
    return one == other and one.file_meta.TransferSyntaxUID == other.file_meta.TransferSyntaxUID


def test_an_instance_is_found_in_its_series_of_its_study_and_nowhere_else(archive: Pacs) -> None:
    assert archive.find(STUDY, SERIES, f"{SERIES}.1") is not None
    assert archive.find(STUDY, SERIES, f"{SERIES}.4") is None
    assert archive.find(STUDY, "1.2.9", f"{SERIES}.1") is None
    assert archive.find("1.2.9", SERIES, f"{SERIES}.1") is None


def test_members_come_in_their_order(archive: Pacs) -> None:
    assert [one.sop_instance_uid for one in archive.members(STUDY)] == [f"{SERIES}.{n}" for n in (1, 2, 3)]
    assert [one.sop_instance_uid for one in archive.members(STUDY, SERIES, f"{SERIES}.2")] == [f"{SERIES}.2"]
    assert archive.members("1.2.9") == []


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_comes_as_it_is_stored_where_that_is_listed(archive: Pacs, orthanc: Orthanc, name: str) -> None:
    data = (TEST_FILES / name).read_bytes()
    orthanc.keep(data)
    held = held_of(archive, data)
    assert held is not None
    syntax = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert is_same(bytes_of(archive, held, syntax), data)
    assert is_same(bytes_of(archive, held), data)


def test_and_in_another_encoding_where_that_is(archive: Pacs, orthanc: Orthanc) -> None:
    data = (TEST_FILES / JPEG_LS).read_bytes()
    orthanc.keep(data)
    held = held_of(archive, data)
    assert held is not None
    for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPEG2000Lossless):
        found = pydicom.dcmread(io.BytesIO(bytes_of(archive, held, syntax)))
        assert found.file_meta.TransferSyntaxUID == syntax
        assert numpy.array_equal(found.pixel_array, pydicom.dcmread(TEST_FILES / "MR_small.dcm").pixel_array)
    with pytest.raises(NotEncodable):
        archive.open(held, [JPEGBaseline8Bit])


def test_a_study_is_what_a_folder_of_the_same_files_says(archive: Pacs, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        put(tmp_path / "tree", f"{number}.dcm", an_instance(number))
    of_folder = an_archive(tmp_path / "tree").study(STUDY)
    found = archive.study(STUDY)
    assert of_folder is not None
    assert found is not None
    for name in ("patient", "study_date", "study_date_time", "description", "requests", "modalities", "count",
                 "body_parts", "institution_name", "referring_physician"):  # fmt: skip
        assert getattr(found, name) == getattr(of_folder, name), name
    assert [s.series_instance_uid for s in found.series] == [s.series_instance_uid for s in of_folder.series]
    assert [i.sop_instance_uid for i in found.instances] == [i.sop_instance_uid for i in of_folder.instances]
    assert [study.study_instance_uid for study in archive.studies()] == [STUDY]
    assert archive.study("1.2.9") is None


def test_what_a_rejection_note_takes_back_is_neither_listed_nor_given(archive: Pacs, orthanc: Orthanc) -> None:
    held = archive.find(STUDY, SERIES, f"{SERIES}.2")
    note = a_kos()
    note.StudyInstanceUID = STUDY
    note.ConceptNameCodeSequence[0].CodeValue = "113001"
    evidence = note.CurrentRequestedProcedureEvidenceSequence[0]
    evidence.StudyInstanceUID = STUDY
    evidence.ReferencedSeriesSequence[0].SeriesInstanceUID = SERIES
    (reference, *_) = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    reference.ReferencedSOPInstanceUID = f"{SERIES}.2"
    evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence = [reference]
    orthanc.keep(saved(note))
    assert [one.sop_instance_uid for one in archive.members(STUDY)] == [f"{SERIES}.{n}" for n in (1, 3)]
    assert held is not None
    with pytest.raises(Gone):
        archive.open(held, [EXPLICIT_LITTLE])


def test_a_spool_that_is_full_says_so_and_is_empty_again(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.keep((TEST_FILES / "CT_small.dcm").read_bytes())
    small = Pacs(DicomWebWay(Web(orthanc.dicomweb)), tmp_path / "spool", spool_bytes=1000)
    held = held_of(small, (TEST_FILES / "CT_small.dcm").read_bytes())
    assert held is not None
    with pytest.raises(SpoolFull):
        small.open(held, [EXPLICIT_LITTLE])
    assert list((tmp_path / "spool").iterdir()) == []


# A PACS that does not answer, or nonsense.


def unanswering(tmp_path: Path, url: str) -> Pacs:
    return Pacs(DicomWebWay(Web(url, seconds=0.5)), tmp_path / "spool")


def test_a_pacs_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    gone = unanswering(tmp_path, "http://127.0.0.1:1")
    for ask in (lambda: gone.find("1", "2", "3"), lambda: gone.members("1"), lambda: list(gone.studies())):
        with pytest.raises(NotAnswering, match="does not answer"):
            ask()


def test_a_pacs_by_dimse_that_is_not_there_or_refuses_is_said_so(tmp_path: Path) -> None:
    gone = Pacs(DimseWay(Peer.parse("GONE@127.0.0.1:1", seconds=1.0)), tmp_path / "spool")
    with pytest.raises(NotAnswering, match="does not answer"):
        gone.members("1.2.3")


def test_a_pacs_by_dimse_that_stalls_is_waited_for_no_longer_than_is_set(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        way = DimseWay(Peer.parse(f"X@127.0.0.1:{server.getsockname()[1]}", seconds=0.5))
        with pytest.raises(NotAnswering):
            Pacs(way, tmp_path / "spool").members("1.2.3")


@pytest.mark.parametrize("text", ["", "PACS", "PACS@host", "PACS@host:99999", "A_TITLE_TOO_LONG_X@host:104", "@h:1"])
def test_a_pacs_by_dimse_is_a_title_and_an_address(text: str) -> None:
    with pytest.raises(Unusable, match="TITLE@HOST:PORT"):
        Peer.parse(text)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "does not answer"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "HTTP 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<xml>", "no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "no list"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]", "lacks 0020000"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[", "broke off"),
    ],
)
def test_an_answer_that_is_none_is_said_so(tmp_path: Path, answer: bytes, told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65536)
                    peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        archive = unanswering(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(NotAnswering, match=told):
            archive.members("1.2.3")


def test_a_pacs_that_stalls_is_waited_for_no_longer_than_is_set(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        archive = unanswering(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(NotAnswering):
            archive.find("1", "2", "3")


class Odd(DicomWebWay):
    """Gives something else than was asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def members(self, study_instance_uid: str) -> dict[tuple[str, str], Member]:  # noqa: ARG002
        return {(SERIES, f"{SERIES}.1"): Member(SERIES, "1.2.840.10008.5.1.4.1.1.2", f"{SERIES}.1")}

    def fetch(self, study_instance_uid: str, member: Member, keep: object) -> str:  # noqa: ARG002
        keep(self._data)  # type: ignore[operator]
        return ""


@pytest.mark.parametrize("data", [b"", b"nonsense", saved(an_instance(2)), saved(an_instance(1))[:300]])
def test_what_is_not_the_instance_is_not_given_for_it(tmp_path: Path, data: bytes) -> None:
    archive = Pacs(Odd(data), tmp_path / "spool")
    held = archive.find(STUDY, SERIES, f"{SERIES}.1")
    assert held is not None
    with pytest.raises(Gone):
        archive.open(held, [EXPLICIT_LITTLE])
    assert list((tmp_path / "spool").iterdir()) == []
