"""The signing key in a PKCS#11 token (SoftHSM): the log is sealed by it, and what is wrong with it is said."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.audit.logs import a_key, records
from tests.needs import needed
from xds.audit.log.hsm import PIN
from xds.audit.log.keys import load_or_make
from xds.audit.log.verify import verify
from xds.audit.log.writer import LogWriter
from xds.errors import Unusable

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def certificate_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hsm")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a token of one key, and the key's certificate."""
    needed("softhsm2-util", "softhsm2", "SoftHSM")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "audit.crt").write_bytes(certificate_of(key))
    for arguments in (
        ["--init-token", "--free", "--label", "audit", "--so-pin", "12345678", "--pin", "4321"],
        ["--import", str(folder / "key.pem"), "--token", "audit", "--label", "xds", "--id", "01", "--pin", "4321"],
    ):
        subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)
    return folder


def uri(**changes: str) -> str:
    parts = {"token": "audit", "object": "xds", "module": MODULE} | changes
    return f"pkcs11:token={parts['token']};object={parts['object']}?module-path={parts['module']}"


def test_a_log_is_sealed_by_a_key_that_stays_in_its_token(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PIN, "4321")
    key = load_or_make(tmp_path, key=uri(), certificate=str(token / "audit.crt"))
    writer = LogWriter(tmp_path / "log", key, "2.25.1")
    writer.open()
    writer.append(records(0, 5), datetime.now(UTC))
    writer.close()
    found = verify(tmp_path / "log", [key.certificate], every_signature=True)
    assert (found.records, found.checkpoints) == (5, 1)
    with pytest.raises(NotImplementedError):
        key.key.private_numbers()


def test_the_pin_may_be_in_a_file(token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PIN, raising=False)
    (tmp_path / "pin").write_text("4321\n")
    assert load_or_make(tmp_path, key=f"{uri()}&pin-source={tmp_path}/pin", certificate=str(token / "audit.crt"))


@pytest.mark.parametrize(("key", "pin", "reason"), [
    (uri(object="another"), "4321", "NoSuchKey"),
    (uri(token="another"), "4321", "NoSuchToken"),
    (uri(module="/nowhere.so"), "4321", "audit.key"),
    ("pkcs11:token=audit", "4321", "needs object and module-path"),
    (uri(), "0000", "PinIncorrect"),
    (uri(), "", "the PIN is neither"),
    (f"{uri()}&pin-source=/nowhere", "", "pin-source"),
])  # fmt: skip
def test_a_token_that_is_not_right_is_said(token: Path, tmp_path: Path, key: str, pin: str, reason: str) -> None:
    """In a process of its own: a token remembers who has given it a PIN."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from xds.audit.log.keys import load_or_make\nfrom xds.errors import Unusable\n"
        "try:\n    load_or_make(Path('.'), key=sys.argv[1], certificate=sys.argv[2])\n"
        "except Unusable as problem:\n    print(problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, key, token / "audit.crt"], capture_output=True, text=True, check=True,
        env={**os.environ, PIN: pin}, cwd=tmp_path,
    )  # fmt: skip
    assert reason in done.stdout


def test_a_certificate_of_another_key_is_refused(token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PIN, "4321")
    (tmp_path / "other.crt").write_bytes(a_key().certificate.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(Unusable, match="not the certificate"):
        load_or_make(tmp_path, key=uri(), certificate=str(tmp_path / "other.crt"))
