"""STOW-RS over a real socket: an independent client, what is answered, kept and recorded."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pydicom
import pytest
import sqlalchemy as sa
from dicomweb_client import DICOMwebClient

from tests.archives.trees import TEST_FILES
from tests.imaging.images import SERIES, STUDY, an_instance
from tests.server.test_application import Site, serving
from xds.imaging.study import STORED_BY
from xds.store.tables import audit_record

TAKEN, FAILED, REASON, URL = "00081199", "00081198", "00081197", "00081190"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "images").mkdir()
    text = f'[imaging_source]\nfolder = "{tmp_path}/images"\nstow_rs = true\n[server]\nparts = 3\npart_bytes = 100000\n'
    with serving(database_url, tmp_path, text) as site:
        yield site


def as_bytes(dataset: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def body(*parts: bytes, end: bytes = b"--X--\r\n") -> bytes:
    return b"".join(b"--X\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + end


KIND = 'multipart/related; type="application/dicom"; boundary=X'


def posted(site: Site, data: bytes, path: str = "/studies", kind: str = KIND) -> tuple[int, Any]:
    request = Request(f"{site.url}/dicomweb{path}", data, {"Content-Type": kind})  # noqa: S310
    try:
        with urlopen(request) as reply:  # noqa: S310
            return reply.status, json.load(reply)
    except HTTPError as problem:
        text = problem.read()
        return problem.code, json.loads(text) if text.startswith(b"{") else text.decode()


def files(site: Site) -> list[str]:
    root = Path(site.application.settings.imaging_source.folder)
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if path.parts[0] != STORED_BY)


def records(site: Site) -> list[tuple[str, int, str]]:
    site.outcomes()
    columns = (audit_record.c.event, audit_record.c.outcome, audit_record.c.patient_id)
    with site.application.engine.connect() as connection:
        statement = sa.select(*columns).where(audit_record.c.transaction == "RAD-108").order_by(audit_record.c.id)
        return [tuple(row) for row in connection.execute(statement)]


def test_what_an_independent_client_stores_it_gets_back(site: Site) -> None:
    client = DICOMwebClient(f"{site.url}/dicomweb")
    sent = [pydicom.dcmread(TEST_FILES / name) for name in ("CT_small.dcm", "MR_small_jpeg_ls_lossless.dcm")]
    answer = client.store_instances(sent)
    assert len(answer.ReferencedSOPSequence) == 2
    assert "FailedSOPSequence" not in answer
    for one in sent:
        back = client.retrieve_instance(
            one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, media_types=(("application/dicom", "*"),)
        )
        assert back.PixelData == one.PixelData
    assert [(event, outcome) for event, outcome, _ in records(site)] == [("110104", 0)] * 2
    assert {patient for _, _, patient in records(site)} == {one.PatientID for one in sent}


def test_the_answer_says_where_the_study_is(site: Site) -> None:
    status, answer = posted(site, body(as_bytes(an_instance(1)), as_bytes(an_instance(2))))
    assert status == 200
    assert answer[URL]["Value"] == [f"{site.url}/dicomweb/studies/{STUDY}"]
    assert [one[URL]["Value"][0].rpartition("/")[2] for one in answer[TAKEN]["Value"]] == [f"{SERIES}.1", f"{SERIES}.2"]
    assert files(site) == [f"{STUDY}/{SERIES}/{SERIES}.{number}.dcm" for number in (1, 2)]


def test_one_bad_instance_of_several_is_named_and_the_others_are_taken(site: Site) -> None:
    assert posted(site, body(as_bytes(an_instance(1))))[0] == 200
    other = as_bytes(an_instance(1, StudyID="other"))
    status, answer = posted(site, body(other, as_bytes(an_instance(2)), b"no image"))
    assert status == 202
    assert [one[REASON]["Value"] for one in answer[FAILED]["Value"]] == [[0xC000], [0x0111]]
    # What cannot be read names no instance: an empty attribute has no Value (PS3.18: F.2.5).
    assert [one["00081155"].get("Value") for one in answer[FAILED]["Value"]] == [None, [f"{SERIES}.1"]]
    assert len(answer[TAKEN]["Value"]) == 1
    assert sorted(outcome for _, outcome, _ in records(site)) == [0, 0, 4, 4]


def test_an_instance_of_another_study_than_the_address_names_is_refused(site: Site) -> None:
    status, answer = posted(site, body(as_bytes(an_instance(1))), "/studies/1.2.9")
    assert (status, answer[FAILED]["Value"][0][REASON]["Value"]) == (409, [0xA900])
    assert files(site) == []
    assert posted(site, body(as_bytes(an_instance(1))), f"/studies/{STUDY}")[0] == 200


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (body(as_bytes(an_instance(1)), end=b""), KIND, 400),
        (body(), KIND, 400),
        (b"", KIND, 400),
        (body(as_bytes(an_instance(1))), "application/dicom", 415),
        (body(as_bytes(an_instance(1))), 'multipart/related; type="application/dicom+json"; boundary=X', 415),
        (body(as_bytes(an_instance(1))).replace(b"application/dicom", b"image/jpeg"), KIND, 415),
        (body(as_bytes(an_instance(1)), *[b"x"] * 3), KIND, 413),
        (body(as_bytes(an_instance(1)), bytes(100_001)), KIND, 413),
    ],
)
def test_a_body_that_is_none_of_stow_rs_leaves_nothing(site: Site, data: bytes, kind: str, status: int) -> None:
    assert posted(site, data, kind=kind)[0] == status
    assert files(site) == []


def test_nothing_is_taken_that_cannot_be_recorded(site: Site) -> None:
    with site.application.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE audit_open RENAME TO audit_open_away"))
    try:
        assert posted(site, body(as_bytes(an_instance(1))))[0] == 503
    finally:
        with site.application.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE audit_open_away RENAME TO audit_open"))
    assert files(site) == []


def test_where_it_is_not_asked_for_nothing_is_taken(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with serving(database_url, tmp_path, f'[imaging_source]\nfolder = "{tmp_path}/images"\n') as site:
        assert posted(site, body(as_bytes(an_instance(1))))[0] == 405
        assert files(site) == []
