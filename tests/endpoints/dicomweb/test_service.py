"""DICOMweb over a real socket: an independent client, real files, and what the audit log says."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy
import pydicom
import pytest
import sqlalchemy as sa
from dicomweb_client import DICOMwebClient
from PIL import Image

from tests.archives.trees import TEST_FILES
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.server.test_application import Site, serving
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.tables import audit_record

CT, MULTI, JPEG_LS, SR = "CT_small.dcm", "rtdose.dcm", "MR_small_jpeg_ls_lossless.dcm", "reportsi.dcm"


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """With a study of three made instances, and real files."""
    images = tmp_path / "images"
    for number in (2, 1, 3):
        put(images, f"made/{number}.dcm", an_instance(number))
    for name in (CT, MULTI, JPEG_LS, SR):
        shutil.copy(TEST_FILES / name, images / name)
    with serving(database_url, tmp_path, f'[imaging_source]\nfolder = "{images}"\n') as site:
        source = site.application.domains[DEFAULT_DOMAIN].actors.imaging_source
        assert source._archive is not None
        source._archive.refresh()
        yield site


@pytest.fixture
def client(site: Site) -> DICOMwebClient:
    return DICOMwebClient(f"{site.url}/dicomweb")


def real(name: str) -> Any:
    return pydicom.dcmread(TEST_FILES / name)


def uids(name: str) -> tuple[str, str, str]:
    dataset = real(name)
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def got(url: str, accept: str = "") -> tuple[int, str, bytes]:
    """Status, content type and body."""
    try:
        with urlopen(Request(url, headers={"Accept": accept} if accept else {})) as reply:  # noqa: S310
            return reply.status, reply.headers["Content-Type"], reply.read()
    except HTTPError as problem:
        return problem.code, problem.headers["Content-Type"], problem.read()


def address(site: Site, name: str, more: str = "") -> str:
    study, series, instance = uids(name)
    return f"{site.url}/dicomweb/studies/{study}/series/{series}/instances/{instance}{more}"


def records(site: Site, number: str) -> list[Any]:
    """Every audit record of a transaction, once no stream is open any more."""
    site.outcomes()
    statement = sa.select(audit_record).where(audit_record.c.transaction == number).order_by(audit_record.c.id)
    with site.application.engine.connect() as connection:
        return list(connection.execute(statement))


# WADO-RS.


def test_a_study_comes_whole_in_order_of_its_instances(site: Site, client: DICOMwebClient) -> None:
    found = client.retrieve_study(STUDY)
    assert [one.SOPInstanceUID for one in found] == [f"{SERIES}.{number}" for number in (1, 2, 3)]
    assert [one.SOPInstanceUID for one in client.retrieve_series(STUDY, SERIES)] == [o.SOPInstanceUID for o in found]


def test_an_instance_comes_byte_for_byte_where_its_syntax_is_accepted(site: Site) -> None:
    status, kind, body = got(address(site, JPEG_LS), "application/dicom; transfer-syntax=*")
    assert (status, kind) == (200, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80")
    assert body == (TEST_FILES / JPEG_LS).read_bytes()


def test_without_a_transfer_syntax_it_comes_in_explicit_vr_little_endian(site: Site) -> None:
    found = pydicom.dcmread(io.BytesIO(got(address(site, JPEG_LS), "application/dicom")[2]))
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert numpy.array_equal(found.pixel_array, real("MR_small.dcm").pixel_array)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.90', 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50', 406),
        ("image/gif", 406),
        ("application/dicom; q=0", 406),
        ("text/html, application/dicom", 200),
        ('multipart/related; type="application/dicom"', 200),
        ("multipart/related", 200),
        ("*/*", 200),
        ("", 200),
    ],
)
def test_what_is_accepted_is_given_or_refused(site: Site, accept: str, status: int) -> None:
    assert got(address(site, CT), accept)[0] == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.9", 404),
        (f"/studies/{STUDY}/series/1.2.9", 404),
        (f"/studies/1.2.9/series/{SERIES}/instances/{SERIES}.1", 404),
        ("/studies/not-a-uid", 400),
        ("/studies/" + "1" * 65, 400),
        ("/nothing", 404),
        (f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/frames/0", 400),
        (f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/frames/99", 404),
        (f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/frames/1,2,1", 400),  # PS3.18: non duplicate
        (f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/frames/{'1,' * 999}1", 400),
        (f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/bulkdata/00081190", 404),
    ],
)
def test_what_is_not_here_is_not_found(site: Site, path: str, status: int) -> None:
    code, kind, body = got(f"{site.url}/dicomweb{path}")
    assert (code, kind) == (status, "text/plain; charset=utf-8")
    assert b"Traceback" not in body


def test_only_get_is_known(site: Site) -> None:
    with pytest.raises(HTTPError, match="405"):
        urlopen(Request(f"{site.url}/dicomweb/studies", b"x", method="POST"))  # noqa: S310


def test_metadata_are_the_dataset_without_its_pixels(site: Site, client: DICOMwebClient) -> None:
    (found,) = (client.retrieve_instance_metadata(*uids(CT)),)
    original = real(CT)
    read = pydicom.Dataset.from_json(found, lambda *_: b"")
    assert read.PatientName == original.PatientName
    assert read.Rows == original.Rows
    bulk = found["7FE00010"]["BulkDataURI"]  # this client leaves the port out of its Host
    assert bulk == address(site, CT, "/bulkdata/7FE00010").replace(f":{site.url.rpartition(':')[2]}", "")
    assert len(client.retrieve_study_metadata(STUDY)) == 3


def test_bulk_data_are_the_values_that_metadata_leave_out(site: Site) -> None:
    status, kind, body = got(address(site, CT, "/bulkdata/7FE00010"), "application/octet-stream")
    assert (status, body) == (200, real(CT).PixelData)
    assert kind.startswith("application/octet-stream")


def test_frames_come_uncompressed_by_their_numbers(site: Site, client: DICOMwebClient) -> None:
    pixels = real(MULTI).pixel_array
    frames = client.retrieve_instance_frames(*uids(MULTI), [3, 1])
    assert [numpy.frombuffer(frame, "<u4").tolist() for frame in frames] == [
        pixels[2].ravel().tolist(), pixels[0].ravel().tolist(),
    ]  # fmt: skip
    (frame,) = client.retrieve_instance_frames(*uids(JPEG_LS), [1])
    assert frame == real("MR_small.dcm").PixelData


@pytest.mark.parametrize(
    ("accept", "form"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("", "JPEG"), ("image/*", "JPEG")]
)
def test_a_picture_is_of_the_kind_that_is_accepted(site: Site, accept: str, form: str) -> None:
    status, _, body = got(address(site, CT, "/rendered"), accept)
    picture = Image.open(io.BytesIO(body))
    assert (status, picture.format, picture.size, picture.mode) == (200, form, (128, 128), "L")
    assert picture.getextrema()[1] > 200  # type: ignore[operator]


def test_a_window_and_a_viewport_are_applied(site: Site) -> None:
    dark = got(address(site, CT, "/rendered?window=5000,100,linear"), "image/png")[2]
    assert Image.open(io.BytesIO(dark)).getextrema() == (0, 0)
    small = got(address(site, CT, "/rendered?viewport=64,32"), "image/png")[2]
    assert Image.open(io.BytesIO(small)).size == (32, 32)
    thumbnail = got(f"{site.url}/dicomweb/studies/{STUDY}/thumbnail")[2]
    assert max(Image.open(io.BytesIO(thumbnail)).size) <= 200


@pytest.mark.parametrize("query", ["window=1", "viewport=x,y", "quality=high"])
def test_a_view_that_is_malformed_is_refused(site: Site, query: str) -> None:
    assert got(address(site, CT, f"/rendered?{query}"))[0] == 400


@pytest.mark.parametrize(
    "query", ["quality=90&quality=80", "window=", "window=1,2,nonsense", "&".join("a=1" for _ in range(300))]
)
def test_a_view_that_cannot_be_meant_is_refused(site: Site, query: str) -> None:
    assert got(address(site, CT, f"/rendered?{query}"))[0] == 400


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("accept=image/png", "", "image/png"),
        ("accept=image/png", "image/jpeg", "image/png"),
        ("accept=image/gif", "image/jpeg", "image/jpeg"),
        ("accept=image/gif", "", "text/plain; charset=utf-8"),
        ("accept=image/png&charset=utf-8", "", "image/png"),
        ("charset=utf-16", "", "text/plain; charset=utf-8"),
    ],
)
def test_what_is_accepted_may_be_a_parameter(site: Site, query: str, accept: str, kind: str) -> None:
    """It comes before the header (PS3.18: 8.7.8.1); a character set that is not supported is refused (8.3.3.2)."""
    assert got(address(site, CT, f"/rendered?{query}"), accept)[1] == kind


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/rendered?annotation=patient", "annotation"),
        ("/rendered?iccprofile=yes", "iccprofile"),
        ("/rendered?iccprofile=no", ""),
        ("/rendered", ""),
    ],
)
def test_what_a_picture_does_not_have_is_warned_of(site: Site, path: str, word: str) -> None:
    with urlopen(address(site, CT, path)) as reply:  # noqa: S310
        assert word in (reply.headers["Warning"] or "")
        assert bool(word) == ("Warning" in reply.headers)


def test_a_warning_is_in_the_standards_words(site: Site) -> None:
    with urlopen(f"{site.url}/dicomweb/studies?fuzzymatching=true&PatientName=x") as reply:  # noqa: S310
        assert reply.headers["Warning"] == (
            f"299 {site.url}/dicomweb: The fuzzymatching parameter is not supported. "
            "Only literal matching has been performed."
        )


@pytest.mark.parametrize(
    "query", ["PatientID=1&PatientID=2", "StudyDate=2026-01-12", "fuzzymatching=maybe", "limit=1&limit=2"]
)
def test_a_search_that_cannot_be_meant_is_refused(site: Site, query: str) -> None:
    assert got(f"{site.url}/dicomweb/studies?{query}")[0] == 400


def test_what_has_no_picture_says_so(site: Site) -> None:
    status, _, body = got(address(site, SR, "/rendered"))
    assert (status, body) == (406, b"it has no image\n")


# QIDO-RS.


def test_studies_are_found_by_their_attributes(site: Site, client: DICOMwebClient) -> None:
    dataset = real(CT)
    for wanted in (
        {"StudyInstanceUID": dataset.StudyInstanceUID},
        {"PatientID": dataset.PatientID},
        {"PatientName": "compressedsamples*"},
        {"00100020": dataset.PatientID},
        {
            "StudyDate": f"{dataset.StudyDate}-{dataset.StudyDate}",
            "ModalitiesInStudy": "CT",
            "PatientID": dataset.PatientID,
        },
    ):
        found = client.search_for_studies(search_filters=wanted)
        (one,) = (each for each in found if each["0020000D"]["Value"] == [dataset.StudyInstanceUID])
        assert len(found) < 5
        assert one["00081190"]["Value"][0].endswith(f"/dicomweb/studies/{dataset.StudyInstanceUID}")
    for wanted in ({"PatientID": "nobody"}, {"StudyDate": "19000101-19000102"}, {"PatientID": "1*X"}):
        assert client.search_for_studies(search_filters=wanted) == []


def test_series_and_instances_are_found_within_their_study(client: DICOMwebClient) -> None:
    (series,) = client.search_for_series(STUDY)
    assert series["0020000E"]["Value"] == [SERIES]
    assert series["00201209"]["Value"] == [3]
    assert len(client.search_for_instances(STUDY, SERIES)) == 3
    assert len(client.search_for_instances(STUDY)) == 3
    (one,) = client.search_for_instances(search_filters={"SOPInstanceUID": f"{SERIES}.2"})
    assert one["00200013"]["Value"] == [2]


def test_a_search_is_given_in_parts_and_says_when_more_remain(site: Site) -> None:
    url = f"{site.url}/dicomweb/studies/{STUDY}/instances"
    seen = []
    for offset in range(3):
        with urlopen(f"{url}?limit=1&offset={offset}") as reply:  # noqa: S310
            (one,) = json.loads(reply.read())
            seen.append(one["00080018"]["Value"][0])
            assert ("more results" in (reply.headers["Warning"] or "")) == (offset < 2)
    assert seen == [f"{SERIES}.{number}" for number in (1, 2, 3)]
    assert got(f"{url}?limit=x")[0] == 400


def test_an_attribute_that_is_not_known_is_named_and_not_applied(site: Site) -> None:
    with urlopen(f"{site.url}/dicomweb/studies?Colour=blue") as reply:  # noqa: S310
        assert "Colour" in reply.headers["Warning"]
        assert len(json.loads(reply.read())) > 1


# WADO-URI.


def wado(site: Site, name: str, **more: str) -> str:
    study, series, instance = uids(name)
    given = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance, **more}
    return f"{site.url}/wado?" + "&".join(f"{key}={value}" for key, value in given.items())


def test_an_object_comes_as_a_picture_or_as_it_is(site: Site) -> None:
    status, kind, body = got(wado(site, CT))
    assert (status, kind, Image.open(io.BytesIO(body)).size) == (200, "image/jpeg", (128, 128))
    status, kind, body = got(wado(site, JPEG_LS, contentType="application/dicom"))
    assert pydicom.dcmread(io.BytesIO(body)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    png = got(wado(site, CT, contentType="image/png", rows="64", columns="64", windowCenter="40", windowWidth="400"))
    assert Image.open(io.BytesIO(png[2])).size == (64, 64)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"requestType": "OTHER"}, 400),
        ({"objectUID": ""}, 400),
        ({"studyUID": "1.2.9"}, 404),
        ({"studyUID": ""}, 404),
        ({"windowCenter": "1"}, 400),
        ({"rows": "x"}, 400),
        ({"contentType": "text/html"}, 406),
        ({"anonymize": "yes"}, 406),
        ({"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.50"}, 406),
    ],
)
def test_what_wado_cannot_give_is_refused(site: Site, changes: dict[str, str], status: int) -> None:
    assert got(wado(site, CT, **changes))[0] == status


# The audit log.


def test_each_answer_leaves_its_record(site: Site, client: DICOMwebClient) -> None:
    client.retrieve_study(STUDY)
    client.search_for_studies()
    got(wado(site, CT))
    got(f"{site.url}/dicomweb/studies/1.2.9")
    retrieved, refused = records(site, "RAD-107")
    assert (retrieved.event, retrieved.outcome) == ("110104", 0)
    assert STUDY.encode() in retrieved.message
    assert f"{SERIES}.3".encode() not in retrieved.message  # details are base64
    assert refused.outcome == 4
    assert [row.event for row in records(site, "RAD-129")] == ["110112"]
    assert [row.outcome for row in records(site, "RAD-55")] == [0]


def test_a_file_that_changes_while_it_is_sent_breaks_the_answer_and_is_on_record(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "images/made/2.dcm"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Exception, match=r"IncompleteRead|Connection"):
        urlopen(f"{site.url}/dicomweb/studies/{STUDY}").read()  # noqa: S310
    (broken,) = records(site, "RAD-107")
    assert broken.outcome == 8


def test_an_instance_that_is_gone_is_left_out_and_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "images/made/2.dcm").unlink()
    status, _, body = got(f"{site.url}/dicomweb/studies/{STUDY}")
    assert (status, body.count(b"Content-Location")) == (206, 2)
    good, failed = records(site, "RAD-107")
    assert (good.outcome, failed.outcome) == (0, 4)


def test_without_its_record_nothing_is_given(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xds.endpoints.dicomweb.service.open_stream", full)
    assert got(address(site, CT))[0] == 503
