"""RAD-69 and DICOMweb from a site whose images are in a PACS: what is asked of us is fetched from there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from lxml import etree

from tests.archives.orthanc import Orthanc, orthanc, orthanc_server
from tests.archives.trees import TEST_FILES
from tests.endpoints.dicomweb.test_service import got
from tests.imaging.images import SERIES, STUDY, an_instance, saved
from tests.server.test_application import Site, serving
from xds.ebxml import rs, xdsb
from xds.errors import ErrorCode, Status
from xds.imaging.part10 import EXPLICIT_LITTLE
from xds.transactions import rad69_retrieve_imaging_document_set as rad69

__all__ = ["orthanc", "orthanc_server"]

COMPRESSED = "MR_small_jpeg_ls_lossless.dcm"


@pytest.fixture
def site(database_url: str, tmp_path: Path, orthanc: Orthanc) -> Iterator[Site]:
    orthanc.keep(*(saved(an_instance(number)) for number in range(1, 13)), (TEST_FILES / COMPRESSED).read_bytes())
    text = f'[imaging_source]\ndicomweb = "{orthanc.dicomweb}"\npacs_seconds = 2.0\n'
    with serving(database_url, tmp_path, text) as site:
        yield site


def asked(site: Site, *instances: tuple[str, str, str]) -> tuple[Status, list[str], dict[str, bytes]]:
    """Status, codes, and the bytes by SOP Instance UID, of instances by their study, series and own UIDs."""
    source = site.application.settings.imaging_source.retrieve_location_uid
    requests = tuple(xdsb.InstanceRequest(s, e, xdsb.DocumentRequest(source, i)) for s, e, i in instances)
    body = xdsb.write_imaging_request(xdsb.ImagingRequest(requests, (EXPLICIT_LITTLE,)))
    answer = site.send("/imaging-source", rad69.TRANSACTION.action, [etree.tostring(body)], mtom=True)
    status, findings = rs.read_response(answer.body[0])
    found = {}
    for document, spooled in answer.contents.items():
        parent = document.getparent()
        assert parent is not None
        uid = parent.findtext("{urn:ihe:iti:xds-b:2007}DocumentUniqueId") or ""
        found[uid] = spooled.path.read_bytes()
    return status, [finding.code for finding in findings], found


def made(number: int) -> tuple[str, str, str]:
    return STUDY, SERIES, f"{SERIES}.{number}"


def test_images_come_from_the_pacs_as_they_are_or_uncompressed(site: Site) -> None:
    dataset = pydicom.dcmread(TEST_FILES / COMPRESSED)
    wanted = [*map(made, range(1, 13)), (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)]
    status, codes, found = asked(site, *wanted)
    assert (status, codes) == (Status.SUCCESS, [])
    assert found.keys() == {uid for _, _, uid in wanted}
    assert found[f"{SERIES}.7"] == saved(an_instance(7))
    assert pydicom.dcmread(io.BytesIO(found[dataset.SOPInstanceUID])).file_meta.TransferSyntaxUID == EXPLICIT_LITTLE


def test_what_the_pacs_has_not_is_named_and_the_rest_comes(site: Site) -> None:
    status, codes, found = asked(site, made(1), made(99), (STUDY, "1.2.9", f"{SERIES}.2"))
    assert (status, codes) == (Status.PARTIAL_SUCCESS, [ErrorCode.DOCUMENT_UNIQUE_ID] * 2)
    assert found.keys() == {f"{SERIES}.1"}


def test_a_pacs_that_does_not_answer_is_said_to_the_consumer_and_to_the_audit_log(
    database_url: str, tmp_path: Path
) -> None:
    text = '[imaging_source]\ndicomweb = "http://127.0.0.1:1"\npacs_seconds = 1.0\n'
    with serving(database_url, tmp_path, text) as site:
        status, codes, found = asked(site, made(1), made(2))
        assert (status, codes, found) == (Status.FAILURE, [ErrorCode.REPOSITORY_ERROR] * 2, {})
        assert site.outcomes() == [("RAD-69", "110104", 4)]
        assert got(f"{site.url}/dicomweb/studies/{STUDY}")[0] == 503


def test_dicomweb_gives_what_the_pacs_has(site: Site) -> None:
    status, _, body = got(f"{site.url}/dicomweb/studies/{STUDY}", 'multipart/related; type="application/dicom"')
    assert (status, body.count(b"Content-Location")) == (200, 12)
    assert got(f"{site.url}/dicomweb/studies/{STUDY}/rendered")[:2] == (200, "image/jpeg")
