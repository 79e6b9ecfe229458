"""Instances go to a PACS as they are, or uncompressed where it takes them only so; and of each is told what became."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pynetdicom import AE, AllStoragePresentationContexts, evt

from tests.archives.orthanc import TITLE, Orthanc, orthanc, orthanc_server
from tests.imaging.images import CT, PYDICOM_FILES, SERIES, an_instance, put, saved
from xds.archives.dimse import Peer
from xds.archives.helpers import Helpers
from xds.archives.interface import NotAnswering
from xds.archives.sending import send
from xds.demo.site import free_port
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE

__all__ = ["orthanc", "orthanc_server"]


@contextmanager
def a_pacs(
    *, classes: Sequence[str] = (CT,), syntaxes: Sequence[str] = (EXPLICIT_LITTLE,), status: int = 0, most: int = 1000
) -> Iterator[tuple[Peer, list[Any]]]:
    """A PACS that takes this, and what it was sent; it breaks off at what is over ``most``."""
    came: list[Any] = []

    def keep(event: Any) -> int:
        if len(came) == most:
            event.assoc.abort()
        event.dataset.file_meta = event.file_meta
        came.append(event.dataset)
        return status

    entity, port = AE(ae_title="PACS"), free_port()
    for one in classes:
        entity.add_supported_context(one, list(syntaxes))
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        yield Peer("PACS", "127.0.0.1", port, seconds=10.0), came
    finally:
        server.shutdown()


@pytest.fixture
def rle(tmp_path: Path) -> Path:
    """An MR compressed by RLE."""
    path = tmp_path / "rle.dcm"
    path.write_bytes(next(PYDICOM_FILES.rglob("MR_small_RLE.dcm")).read_bytes())
    return path


MR = "1.2.840.10008.5.1.4.1.1.4"


def test_a_real_pacs_has_what_was_sent_as_it_was(orthanc: Orthanc, tmp_path: Path, rle: Path) -> None:
    files = [put(tmp_path, f"{number}.dcm", an_instance(number)) for number in range(1, 6)]
    sent = list(send(Peer(TITLE, "127.0.0.1", orthanc.dicom_port), [*files, rle], Helpers()))
    assert [one.problem for one in sent] == [""] * 6
    assert [one.sop_instance_uid for one in sent[:5]] == [f"{SERIES}.{number}" for number in range(1, 6)]
    stored = [
        pydicom.dcmread(io.BytesIO(requests.get(f"{orthanc.url}/instances/{one}/file", timeout=10).content))
        for one in requests.get(f"{orthanc.url}/instances", timeout=10).json()
    ]
    assert {str(one.SOPInstanceUID) for one in stored} == {one.sop_instance_uid for one in sent}
    assert {str(one.file_meta.TransferSyntaxUID) for one in stored if one.SOPClassUID == MR} == {
        "1.2.840.10008.1.2.5"
    }  # as it is stored


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
def test_what_it_does_not_take_as_it_is_goes_uncompressed(rle: Path, syntax: str) -> None:
    with a_pacs(classes=[MR], syntaxes=[syntax]) as (peer, came):
        (sent,) = send(peer, [rle], Helpers())
        assert sent.problem == ""
    (image,) = came
    assert image.file_meta.TransferSyntaxUID == syntax
    assert image.PixelData == pydicom.dcmread(next(PYDICOM_FILES.rglob("MR_small.dcm"))).PixelData


def test_a_class_that_it_does_not_take_is_said_and_the_others_go(tmp_path: Path, rle: Path) -> None:
    with a_pacs() as (peer, came):
        sent = list(send(peer, [rle, put(tmp_path, "1.dcm", an_instance())], Helpers()))
    assert [one.problem for one in sent] == [f"the archive takes nothing of class {MR}", ""]
    assert len(came) == 1


@pytest.mark.parametrize(
    ("status", "problem"),
    [(0x0000, ""), (0xB000, ""), (0xB007, ""), (0xA700, "the archive says status A700"), (0xC000, "status C000")],
)
def test_what_it_says_decides(status: int, problem: str, tmp_path: Path) -> None:
    with a_pacs(status=status) as (peer, _):
        (sent,) = send(peer, [put(tmp_path, "1.dcm", an_instance())], Helpers())
    assert sent.problem.endswith(problem)
    assert bool(sent.problem) is bool(problem)


def test_a_file_that_is_damaged_is_said_and_the_others_go(tmp_path: Path) -> None:
    (tmp_path / "0.dcm").write_bytes(saved(an_instance())[:-20])
    with a_pacs() as (peer, _):
        sent = list(send(peer, [tmp_path / "0.dcm", put(tmp_path, "1.dcm", an_instance())], Helpers()))
    assert [bool(one.problem) for one in sent] == [True, False]


def test_more_kinds_than_an_association_has_contexts_for_go_by_several(tmp_path: Path) -> None:
    classes = [str(one.abstract_syntax) for one in AllStoragePresentationContexts[:100]]
    files = [put(tmp_path, f"{number}.dcm", an_instance(number, SOPClassUID=one)) for number, one in enumerate(classes)]
    with a_pacs(classes=classes) as (peer, came):
        assert [one.problem for one in send(peer, files, Helpers())] == [""] * len(files)
    assert len(came) == len(files)


def test_a_pacs_that_is_away_or_goes_away_is_said(tmp_path: Path) -> None:
    files = [put(tmp_path, f"{number}.dcm", an_instance(number)) for number in (1, 2)]
    with pytest.raises(NotAnswering, match="does not answer"):
        list(send(Peer("PACS", "127.0.0.1", free_port(), seconds=2.0), files, Helpers()))
    with a_pacs(most=1) as (peer, _):
        sending = send(peer, files, Helpers())
        assert next(sending).problem == ""
        with pytest.raises(NotAnswering):
            list(sending)
