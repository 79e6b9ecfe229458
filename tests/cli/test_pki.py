"""``xds pki``: an authority, certificates for both sides of TLS, and a CRL; keys are this account's alone."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.cli.command import xds
from xds.wire.certificates import spki_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert xds("pki", "init", "--dir", tmp_path / "pki").code == 0
    return tmp_path / "pki"


def test_one_command_makes_a_node_that_python_s_own_tls_takes_for_both_sides(folder: Path) -> None:
    done = xds("pki", "issue", "north", "--dir", folder, "--name", "xds.north.example", "--ip", "10.1.0.5", "--json")
    assert done.code == 0, done.err
    certificate = x509.load_pem_x509_certificate(Path(done.json["certificate"]).read_bytes())
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == ["xds.north.example"]
    assert [str(one) for one in alternative.get_values_for_type(x509.IPAddress)] == ["10.1.0.5"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert done.json["spki_sha256"] == spki_sha256(certificate.public_key())
    context = ssl.create_default_context(cafile=done.json["trusted"])
    context.load_cert_chain(done.json["certificate"], done.json["key"])


def test_what_it_makes_nobody_else_reads(folder: Path) -> None:
    assert xds("pki", "issue", "north", "--dir", folder).code == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == dict.fromkeys(
        ("ca.crt", "ca.key", "ca.crl", "north.crt", "north.key"), 0o600
    )


@pytest.mark.parametrize("more", [("--years", "3"), ("--years", "0"), ("--ip", "10.1.0.999"), ("--name", "a b")])
def test_what_cannot_be_is_refused_and_nothing_is_left(folder: Path, more: tuple[str, str]) -> None:
    assert xds("pki", "issue", "north", "--dir", folder, *more).code == 1
    assert not list(folder.glob("north*"))


@pytest.mark.parametrize("name", ["../north", "", "a" * 65, "-x", "a/b", "ca"])
def test_a_name_is_no_path_and_no_other_s(folder: Path, name: str) -> None:
    assert xds("pki", "issue", "--dir", folder, "--", name).code == 1
    assert len(list(folder.parent.rglob("*.crt"))) == 1


def test_nothing_is_made_twice(folder: Path) -> None:
    authority = (folder / "ca.key").read_bytes()
    assert xds("pki", "init", "--dir", folder).code == 1
    assert (folder / "ca.key").read_bytes() == authority
    assert xds("pki", "issue", "north", "--dir", folder).code == 0
    assert xds("pki", "issue", "north", "--dir", folder).code == 1


def test_who_is_revoked_by_name_or_number_stays_on_each_later_crl(folder: Path) -> None:
    serials = []
    for name in ("north", "south"):
        serials.append(xds("pki", "issue", name, "--dir", folder, "--json").json["serial"])
    assert xds("pki", "revoke", "north", "--dir", folder).code == 0
    assert xds("pki", "revoke", serials[1], "--dir", folder).code == 0
    assert xds("pki", "crl", "--dir", folder, "--days", "7").code == 0
    crl = x509.load_pem_x509_crl((folder / "ca.crl").read_bytes())
    assert {f"{one.serial_number:x}" for one in crl} == set(serials)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 4
    assert crl.next_update_utc is not None
    assert crl.next_update_utc - datetime.now(UTC) < timedelta(days=7, minutes=1)
    assert xds("pki", "revoke", "west", "--dir", folder).code == 1
