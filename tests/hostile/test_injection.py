"""Values of a peer that are meant as something else: SQL, patterns, headers, markup, addresses.  They are values."""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from lxml import etree

from tests.builders import ANNA, AUTHORITY, a_submission, an_entry, text
from tests.endpoints.console.test_desk import PASSWORD, Browser
from tests.endpoints.dicomweb.test_store import as_bytes, body, files, posted
from tests.hostile.test_expansive_xml import Listening, inside
from tests.imaging.images import an_instance
from tests.server.test_application import APPROVED, Site, of_bytes, serving
from tests.wire.messages import AMessage, APart, read
from xds.ebxml import lcm, query, rs
from xds.ebxml.rim import Slot
from xds.endpoints.console.passwords import hashed
from xds.errors import Status
from xds.metadata import to_ebxml
from xds.metadata.datatypes import Code
from xds.queries import catalogue
from xds.store import accounts
from xds.transactions import iti18_registry_stored_query as iti18
from xds.wire.client import Answer

__all__ = ["inside"]

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "images").mkdir()
    settings = f'[imaging_source]\nfolder = "{tmp_path}/images"\nstow_rs = true\n'
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, settings) as made:
        with made.application.engine.begin() as connection:
            accounts.add(connection, "vera", "viewer", hashed(PASSWORD))
        yield made


def asked(site: Site, query_id: str, *slots: tuple[str, tuple[str, ...]]) -> Answer:
    given = tuple(Slot(f"${key}", values) for key, values in slots)
    element = query.write_request(query.AdhocQuery(query_id, "LeafClass", given))
    return site.send("/registry", iti18.TRANSACTION.action, [etree.tostring(element)], mtom=False)


@pytest.mark.parametrize("id_", ["' OR 1=1 --", "anna'; DROP TABLE document_entry; --", "%", "_nna", "ann_", "\\", "*"])
def test_an_id_of_a_patient_is_never_sql_nor_a_pattern(site: Site, id_: str) -> None:
    site.provide(a_submission(entries=[an_entry(**of_bytes(b"one"))]), [b"one"])
    answer = asked(
        site, catalogue.FIND_DOCUMENTS.id,
        ("XDSDocumentEntryPatientId", (f"'{id_.replace(chr(39), chr(39) * 2)}^^^&{AUTHORITY}&ISO'",)),
        ("XDSDocumentEntryStatus", (APPROVED,)),
    )  # fmt: skip
    assert b"ExtrinsicObject" not in etree.tostring(answer.body)
    assert b"ExtrinsicObject" in etree.tostring(site.find().body)


def test_patterns_of_many_wildcards_are_refused_or_answered_in_bounded_time(site: Site) -> None:
    """120 patterns of 20 wildcards each: as fast as any other, or refused; the test's own timeout is the bound."""
    site.provide(a_submission(entries=[an_entry(**of_bytes(b"one"))]), [b"one"])
    hard = ",".join(f"'%{'_%' * 20}{number}'" for number in range(8))
    answer = asked(
        site, catalogue.FIND_DOCUMENTS.id, ("XDSDocumentEntryPatientId", (f"'{ANNA}'",)),
        ("XDSDocumentEntryStatus", (APPROVED,)), ("XDSDocumentEntryAuthorPerson", (f"({hard})",) * 15),
    )  # fmt: skip
    assert answer.body.get("status") in (Status.SUCCESS, Status.FAILURE)
    assert b"ExtrinsicObject" not in etree.tostring(answer.body)


def test_ten_thousand_ids_in_a_query_are_refused(site: Site) -> None:
    ids = ",".join(f"'urn:uuid:00000000-0000-4000-8000-{number:012d}'" for number in range(5))
    answer = asked(site, catalogue.GET_DOCUMENTS.id, ("XDSDocumentEntryEntryUUID", (f"({ids})",) * 2000))
    assert answer.body.get("status") == Status.FAILURE


SEARCHES = [
    "PatientName=" + "*a" * 30 + "*b", "PatientName=" + "%3F*" * 31, "StudyDescription=*%5B!%5D*", "PatientName=%5B",
    "limit=99999999&offset=999999999", "StudyDate=-", "00100010=*", "includefield=all&fuzzymatching=true",
    "PatientID=" + "*" * 64, "PatientID='%20OR%201=1%20--", "PatientID=%25", "PatientID=_RN-1", "x=" + "y" * 7000,
]  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_of_images_is_answered_or_refused_and_breaks_nothing(site: Site, search: str) -> None:
    assert posted(site, body(as_bytes(an_instance(1, PatientID="MRN-1", PatientName="a" * 60))))[0] == 200
    try:
        with urllib.request.urlopen(f"{site.url}/dicomweb/studies?{search}", timeout=30) as reply:  # noqa: S310
            found = json.load(reply) if reply.status == 200 else []
    except HTTPError as refused:
        assert 400 <= refused.code < 500
        return
    if search.startswith(("PatientID='", "PatientID=%25", "PatientID=_")):
        assert found == []


# What would write headers, or markup.


@pytest.mark.parametrize("kind", [
    "text/plain\r\nX-Evil: 1", "text/plain\nX-Evil: 1", f"text/html\r\n\r\n{SCRIPT}", 'text/plain"; x="', "text/€",
])  # fmt: skip
def test_a_media_type_writes_no_header_of_a_part(site: Site, kind: str) -> None:
    entry = an_entry(**of_bytes(b"hello"), mime_type="text/plain")
    sent = etree.tostring(lcm.write_submit_objects(to_ebxml.submission(a_submission(entries=[entry])))).decode()
    evil = "".join(f"&#{ord(letter)};" for letter in kind)
    spoilt = sent.replace('mimeType="text/plain"', f'mimeType="{evil}"')
    assert spoilt != sent
    pieces: list[object] = [
        b'<xds:ProvideAndRegisterDocumentSetRequest xmlns:xds="urn:ihe:iti:xds-b:2007">', spoilt.encode(),
        f'<xds:Document id="{entry.entry_uuid}">aGVsbG8=</xds:Document>'.encode(),
        b"</xds:ProvideAndRegisterDocumentSetRequest>",
    ]  # fmt: skip
    answer = site.send("/repository", "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b", pieces, mtom=False)
    status, findings = rs.read_response(answer.body)
    if status == Status.SUCCESS:
        back = site.retrieve(entry.unique_id)
        assert [one.path.read_bytes() for one in back.contents.values()] == [b"hello"]
    else:
        assert "Evil" not in str(findings)


def test_markup_of_a_title_or_of_an_image_is_text_on_every_page(site: Site) -> None:
    wanted = Code("1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.2.6.1", "Manifest")
    entry = an_entry(**of_bytes(b"x"), title=text(SCRIPT), comments=text("<img src=x>"), format_code=wanted)
    assert rs.read_response(site.provide(a_submission(entries=[entry]), [b"x"]).body)[0] == Status.SUCCESS
    evil = an_instance(
        1, PatientID="<b>x</b>", PatientName=SCRIPT, StudyDescription="\u202e<img src=x onerror=alert(2)>"
    )
    evil.SpecificCharacterSet = "ISO_IR 192"
    assert posted(site, body(as_bytes(evil)))[0] == 200
    browser = Browser(site)
    assert browser.sign_in("vera", target="/console/studies")[0] == 200
    for path in ("/console/studies", f"/console/studies/{evil.StudyInstanceUID}",
                 f"/console/patients?patient={quote(str(ANNA))}"):  # fmt: skip
        status, page, _ = browser.got(path)
        assert status == 200
        assert SCRIPT not in page
        assert "<img src=x" not in page
        assert "<b>x</b>" not in page


# What would be followed.


def test_an_address_in_the_metadata_is_kept_and_not_called(site: Site, inside: str) -> None:
    entry = an_entry(**of_bytes(b"x"), uri=f"{inside}/uri")
    site.provide(a_submission(entries=[entry]), [b"x"])
    assert site.retrieve(entry.unique_id).contents
    assert Listening.asked == []


@pytest.mark.parametrize("target", [
    "//evil.example", "https://evil.example", "/\\evil.example", "/console@evil.example", "/console/../../evil",
    "/console\t//evil", "/consoleevil", "javascript:alert(1)", "/console/\r\nX-Evil: y",
])  # fmt: skip
def test_signing_in_leads_to_this_node_alone(site: Site, target: str) -> None:
    ended = Browser(site).sign_in("vera", target=target)[2]
    assert ended.startswith("/")  # of this node: the browser takes its name off


def test_a_form_of_the_console_leads_to_no_other_site(site: Site) -> None:
    browser = Browser(site)
    browser.sign_in("vera", target="/console/studies")
    for target in ("//evil.example", "https://evil.example/", "/\\evil.example"):
        _, page, ended = browser.got("/console/find", {"to": target, "a": "b"})
        assert ended.startswith("/console")
        assert "evil.example" not in page


def test_a_part_that_says_it_is_packed_is_kept_as_it_came(tmp_path: Path) -> None:
    """Content-Encoding is no header of MIME parts (RFC 2045): nothing is unpacked, so nothing can grow."""
    packed = gzip.compress(bytes(1_000_000))
    part = APart(packed, "<doc@x>", ("Content-Encoding: gzip", "Content-Transfer-Encoding: binary"))
    assert read(AMessage((APart(), part)), tmp_path).attachments == {"doc@x": packed}


# Names of files.


def test_an_instance_is_what_its_dataset_says_whatever_its_file_header_does(site: Site) -> None:
    dataset = an_instance(1)
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.9.9.9"
    status, _ = posted(site, body(as_bytes(dataset)))
    assert status in (200, 409)
    assert not any("1.9.9.9" in name for name in files(site))
    assert len(files(site)) == (status == 200)


UIDS = [
    "../../../../evil",
    "1.2/../../evil",
    "..",
    "/tmp/evil",  # noqa: S108
    "1.2.3\0x",
    "1." + "2" * 70,
    "1.2 .3",
    "",
    "١.٢".encode().decode("latin-1"),
]


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("uid", UIDS)
def test_a_uid_never_names_a_file_elsewhere(site: Site, tmp_path: Path, keyword: str, uid: str) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file() and "data" not in path.parts}
    dataset = an_instance(1)
    element = dataset.data_element(keyword)
    assert element is not None
    element._value = uid  # past what pydicom would let anybody write
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = as_bytes(dataset)
    posted(site, body(data))
    new = {path for path in tmp_path.rglob("*") if path.is_file() and "data" not in path.parts} - before
    assert all(".." not in path.parts for path in new)
    assert not any("evil" in path.name for path in new)
    assert not Path("/tmp/evil").exists()  # noqa: S108
