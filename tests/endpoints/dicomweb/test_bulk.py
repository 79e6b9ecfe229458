"""Bulk data of whole resources, and encapsulated documents.  PS3.18: 8.7.4, 10.4.3.3.6, 10.4.4."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints.dicomweb.test_service import got
from tests.imaging.elements import an_image, part10
from tests.server.test_application import Site, serving
from xds.endpoints.dicomweb.documents import read
from xds.settings.sections import DEFAULT_DOMAIN

PDF = b"%PDF-1.4\n" + b"% text\n" * 2000 + b"%%EOF\n"
STUDY, OTHER, DOCUMENT, BROKEN = "1.2.3.77", "1.2.3.78", "1.2.3.79", "1.2.3.80"
LARGE = bytes(range(256)) * 20
OCTETS = 'multipart/related; type="application/octet-stream"'


def a_document(changes: dict[int, Any] | None = None, study: str = DOCUMENT) -> bytes:
    found = an_image({
        0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.104.1"), 0x00080060: ("CS", "DOC"), 0x00420011: ("OB", PDF),
        0x00420012: ("LO", "application/pdf"), **(changes or {}),
    }, study=study)  # fmt: skip
    return part10({tag: one for tag, one in found.items() if tag >> 16 not in (0x0028, 0x7FE0)})


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    images = tmp_path / "images"
    images.mkdir()
    private: dict[int, Any] = {0x00290010: ("LO", "XDS TEST"), 0x00291001: ("OB", LARGE)}
    second: dict[int, Any] = {0x00080018: ("UI", f"{STUDY}.1.2"), 0x00200013: ("IS", "2")}
    (images / "1.dcm").write_bytes(part10(an_image(private)))
    (images / "2.dcm").write_bytes(part10(an_image(second)))
    (images / "other.dcm").write_bytes(a_document({0x00420011: ("OB", b""), 0x00420012: ("LO", "")}, OTHER))
    (images / "document.dcm").write_bytes(a_document())
    (images / "broken.dcm").write_bytes(a_document({0x00420012: ("LO", "text/html")}, BROKEN))
    with serving(database_url, tmp_path, f'[imaging_source]\nfolder = "{images}"\n') as site:
        source = site.application.domains[DEFAULT_DOMAIN].actors.imaging_source
        assert source._archive is not None
        source._archive.refresh()
        yield site


def instance(site: Site, study: str, number: int = 1) -> str:
    return f"{site.url}/dicomweb/studies/{study}/series/{study}.1/instances/{study}.1.{number}"


def parts(url: str, accept: str = OCTETS) -> list[tuple[str, bytes]]:
    """Content-Location and bytes of each part."""
    status, kind, body = got(url, accept)
    assert status == 200
    assert kind.startswith('multipart/related; type="application/octet-stream"')
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    found = message.get_payload()
    assert isinstance(found, list)
    return [(str(one["Content-Location"]), one.get_payload(decode=True)) for one in found]  # type: ignore[misc, union-attr]


def test_pixel_data_of_a_study_are_those_of_each_instance(site: Site) -> None:
    for place in ("", f"/series/{STUDY}.1"):
        found = parts(f"{site.url}/dicomweb/studies/{STUDY}{place}/pixeldata")
        assert found == [(f"{instance(site, STUDY, n)}/bulkdata/7FE00010", bytes(range(16))) for n in (1, 2)]


@pytest.mark.parametrize("place", ["/bulkdata", ""])
def test_bulk_data_of_an_instance_are_all_that_its_metadata_name(site: Site, place: str) -> None:
    """Also asked for as the instance itself in octets (PS3.18: 10.4.4)."""
    found = parts(instance(site, STUDY) + place)
    address = instance(site, STUDY) + "/bulkdata/"
    assert found == [(address + "00291001", LARGE), (address + "7FE00010", bytes(range(16)))]
    for url, data in found:
        assert got(url, "application/octet-stream")[2] == data


@pytest.mark.parametrize(
    ("study", "place", "accept", "status"),
    [
        (STUDY, "/pixeldata", "", 200),
        (STUDY, "/pixeldata", "*/*", 200),
        (STUDY, "/pixeldata", "image/jpeg", 406),
        (STUDY, "/bulkdata", "application/octet-stream", 406),
        (STUDY, "", "application/octet-stream", 406),
        (OTHER, "/pixeldata", OCTETS, 404),
        (DOCUMENT, "/pixeldata", OCTETS, 404),
        (DOCUMENT, "/bulkdata", OCTETS, 200),
        ("1.2.9", "/bulkdata", OCTETS, 404),
    ],
)
def test_bulk_data_are_given_or_refused(site: Site, study: str, place: str, accept: str, status: int) -> None:
    assert got(f"{site.url}/dicomweb/studies/{study}{place}", accept)[0] == status


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/rendered", "application/pdf"),
        ("/rendered", "*/*"),
        ("/rendered", ""),
        ("/bulkdata/00420011", "application/pdf"),
        ("/bulkdata/00420011", "application/pdf, application/octet-stream;q=0.5"),
    ],
)
def test_a_pdf_comes_as_what_it_is(site: Site, path: str, accept: str) -> None:
    assert got(instance(site, DOCUMENT) + path, accept) == (200, "application/pdf", PDF)


def test_a_pdf_comes_in_parts_or_as_octets_where_that_is_asked_for(site: Site) -> None:
    where = instance(site, DOCUMENT) + "/bulkdata/00420011"
    status, kind, body = got(where, 'multipart/related; type="application/pdf"')
    assert (status, kind.partition(";")[0]) == (200, "multipart/related")
    assert b"Content-Type: application/pdf" in body
    assert PDF in body
    assert got(where, "application/octet-stream")[2].startswith(PDF)


def test_a_pdf_comes_by_wado_uri(site: Site) -> None:
    uri = f"{site.url}/wado?requestType=WADO&studyUID={DOCUMENT}&seriesUID={DOCUMENT}.1&objectUID={DOCUMENT}.1.1"
    assert got(uri + "&contentType=application/pdf") == (200, "application/pdf", PDF)
    assert got(uri) == (200, "application/pdf", PDF)
    assert got(uri + "&contentType=image/jpeg")[0] == 406
    assert got(uri + "&contentType=application/dicom")[1] == "application/dicom"


def test_the_length_of_a_document_is_what_it_says(site: Site, tmp_path: Path) -> None:
    """An odd one is padded to be even in the file (Encapsulated Document Length)."""
    path = tmp_path / "odd.dcm"
    path.write_bytes(a_document({0x00420011: ("OB", b"%PDF\0"), 0x00420015: ("UL", 5)}))
    found = read(path)
    assert found is not None
    assert found.data == b"%PDF\0"
    path.write_bytes(a_document({0x00420011: ("OB", b"%PDF1")}))
    found = read(path)
    assert found is not None
    assert found.data == b"%PDF1"


@pytest.mark.parametrize("study", [OTHER, BROKEN])
def test_what_is_no_pdf_is_not_given_as_one(site: Site, study: str) -> None:
    assert got(instance(site, study) + "/rendered", "application/pdf")[0] == 406
    assert got(instance(site, study) + "/bulkdata/00420011", "application/pdf")[0] in (404, 406)


def test_a_picture_of_a_pdf_is_not_to_be_had(site: Site) -> None:
    assert got(instance(site, DOCUMENT) + "/rendered", "image/jpeg")[0] == 406
    assert got(instance(site, DOCUMENT) + "/thumbnail")[0] == 406
    assert got(instance(site, STUDY) + "/rendered", "application/pdf")[0] == 406
