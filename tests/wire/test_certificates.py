from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.certificates import Authority
from xds.wire.certificates import NotACertificate, from_pem, name_of


def test_a_certificate_says_whose_it_is_by_whom_and_which_one(tmp_path: Path) -> None:
    found = from_pem(Path(Authority(tmp_path, "region").signed("pacs.north").certificate).read_text())
    assert (found.subject, found.issuer) == (name_of("CN=pacs.north"), name_of("CN=region"))
    assert found.alternative_names == {"dns:localhost", "ip:127.0.0.1"}
    assert found.text == f"CN=pacs.north (serial number {found.serial}, issuer CN=region)"
    assert len(found.spki_sha256) == 64


@pytest.mark.parametrize("text", ["O=North,CN=pacs", "CN=pacs, O=North", "commonName=pacs, organizationName=North"])
def test_a_name_is_the_set_of_its_attributes_however_it_is_written(text: str) -> None:
    assert name_of(text) == name_of("CN=pacs,O=North")


@pytest.mark.parametrize(
    "text",
    [r"CN=auditor\, O=Ministry", r"CN=auditor\, organizationName=Ministry", "CN=auditor", "CN=auditor+O=Ministry"],
)
def test_what_only_reads_like_a_name_is_another(text: str) -> None:
    assert name_of(text) != name_of("CN=auditor, O=Ministry")


@pytest.mark.parametrize("text", ["", "pacs", "CN", "=x", "XY=z", "CN=a,,O=b"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(NotACertificate):
        name_of(text)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(NotACertificate):
        from_pem(text)
