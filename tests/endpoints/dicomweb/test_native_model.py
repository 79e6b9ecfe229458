"""Metadata as XML: every attribute, and nothing that is no XML.  PS3.19: A.1; PS3.18: 10.4.4."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.archives.test_real_files import FILES
from tests.endpoints.dicomweb.test_service import CT, address, got, site
from tests.imaging.elements import an_image, dataset, part10
from tests.imaging.test_attributes import SEQUENCE, SPOILT, TAG, private
from tests.server.test_application import Site
from xds.endpoints.dicomweb import datasets, native_model

__all__ = ["site"]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")

BASE = "https://images.example.org/dicomweb/studies/1"
NAMES = {"n": native_model.NAMESPACE}


def model(tmp_path: Path, changes: dict[int, Any]) -> Any:
    path = tmp_path / "one.dcm"
    path.write_bytes(part10(an_image(changes)))
    return etree.fromstring(native_model.metadata(path, BASE))


def attribute(root: Any, tag: int) -> Any:
    (found,) = root.xpath(f"n:DicomAttribute[@tag='{tag:08X}']", namespaces=NAMES)
    return found


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_it_has_the_attributes_of_the_json(path: Path) -> None:
    root = etree.fromstring(native_model.metadata(path, BASE))
    found = datasets.metadata(path, BASE)
    assert [(one.get("tag"), one.get("vr")) for one in root] == [(tag, one["vr"]) for tag, one in found.items()]
    uris = [one.get("uri") for one in root.xpath("n:DicomAttribute/n:BulkData", namespaces=NAMES)]
    assert uris == [one["BulkDataURI"] for one in found.values() if "BulkDataURI" in one]


@pytest.mark.parametrize(("vr", "value", "expected"), SPOILT)
def test_a_value_that_breaks_its_rules_is_in_it(tmp_path: Path, vr: str, value: Any, expected: tuple[Any, ...]) -> None:
    inside = {SEQUENCE: ("SQ", [dataset(private(vr, value))])}
    root = model(tmp_path, {**private(vr, value), **inside})
    (item,) = attribute(root, SEQUENCE)
    for parent in (root, item):
        one = attribute(parent, TAG)
        assert (one.get("vr"), one.get("privateCreator")) == (vr, "XDS TEST")
        kept = [str(number) for number, each in enumerate(expected, 1) if each is not None]
        assert [each.get("number") for each in one] == kept


def test_a_name_has_its_groups_and_components(tmp_path: Path) -> None:
    one = attribute(model(tmp_path, {0x00100010: ("PN", "Sato^Ken^^Dr.=佐藤^健".encode())}), 0x00100010)
    assert one.get("keyword") == "PatientName"
    texts = {(each.getparent().tag.rpartition("}")[2], each.tag.rpartition("}")[2]): each.text
             for each in one.iter() if each.text and each.text.strip()}  # fmt: skip
    assert texts == {
        ("Alphabetic", "FamilyName"): "Sato", ("Alphabetic", "GivenName"): "Ken", ("Alphabetic", "NamePrefix"): "Dr.",
        ("Ideographic", "FamilyName"): "佐藤", ("Ideographic", "GivenName"): "健",
    }  # fmt: skip


def test_the_character_set_is_that_of_the_answer(tmp_path: Path) -> None:
    root = model(tmp_path, {0x00080005: ("CS", "ISO_IR 100"), 0x00081030: ("LO", "Schädel <&>".encode("latin-1"))})
    assert attribute(root, 0x00080005)[0].text == "ISO_IR 192"
    assert attribute(root, 0x00081030)[0].text == "Schädel <&>"


def test_it_comes_in_parts_where_it_is_accepted(site: Site) -> None:
    status, kind, body = got(address(site, CT, "/metadata"), 'multipart/related; type="application/dicom+xml"')
    assert (status, kind.partition("; boundary")[0]) == (200, 'multipart/related; type="application/dicom+xml"')
    (part,) = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body).get_payload()
    assert part.get_content_type() == "application/dicom+xml"  # type: ignore[union-attr]
    root = etree.fromstring(part.get_payload(decode=True))  # type: ignore[union-attr, arg-type]
    assert root.tag == f"{{{native_model.NAMESPACE}}}NativeDicomModel"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ('application/dicom+json, multipart/related; type="application/dicom+xml"', "application/dicom+json"),
        ('application/json;q=0.1, multipart/related; type="application/dicom+xml"', "multipart/related"),
        ("application/dicom+xml", "text/plain"),
        ('multipart/related; type="application/dicom+json"', "text/plain"),
    ],
)
def test_metadata_are_of_the_type_that_is_accepted_first(site: Site, accept: str, kind: str) -> None:
    status, found, _ = got(address(site, CT, "/metadata"), accept)
    assert found.partition(";")[0] == kind
    assert status == (406 if kind == "text/plain" else 200)
