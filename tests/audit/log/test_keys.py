"""The signing key: made once, kept to its owner, and never half."""

from __future__ import annotations

import multiprocessing
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.audit.logs import a_key
from xds.audit.log import keys
from xds.audit.log.keys import SigningKey, load_certificates, load_or_make
from xds.errors import Unusable

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    made, found = load_or_make(tmp_path / "keys"), load_or_make(tmp_path / "keys")
    assert found.certificate == made.certificate
    assert found.key.private_numbers() == made.key.private_numbers()
    assert made.key.curve.name == "secp256r1"
    assert made.certificate.public_key() == made.key.public_key()


def test_the_certificate_is_valid_now_and_for_two_years_at_most(tmp_path: Path) -> None:
    certificate, now = load_or_make(tmp_path).certificate, datetime.now(UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc
    assert certificate.not_valid_after_utc - now < timedelta(days=731)


def test_only_the_owner_can_read_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    load_or_make(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "audit-signing.pem").stat().st_mode) == 0o600
    assert not list(folder.glob("*.new"))


def _made(folder: Path, gate: object, out: object) -> None:
    gate.wait()  # type: ignore[attr-defined]
    out.put(load_or_make(folder).certificate.public_bytes(PEM))  # type: ignore[attr-defined]


def test_processes_that_race_to_make_it_get_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    gate, out = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_made, args=(tmp_path, gate, out)) for _ in range(3)]
    for process in processes:
        process.start()
    found = {out.get(timeout=20) for _ in processes}
    for process in processes:
        process.join()
    assert found == {load_or_make(tmp_path).certificate.public_bytes(PEM)}


@pytest.mark.parametrize("fails_at", range(4))
def test_a_key_half_made_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    calls = 0

    def failing(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            nonlocal calls
            calls += 1
            if calls > fails_at:
                raise OSError(28, "No space left on device")
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(keys.os, "fsync", failing(keys.os.fsync))
        patch.setattr(Path, "rename", failing(Path.rename))
        with pytest.raises(Unusable, match="No space left"):
            load_or_make(tmp_path)
    made = load_or_make(tmp_path)
    assert made.certificate == load_or_make(tmp_path).certificate


def written(folder: Path, key: SigningKey) -> dict[str, str]:
    """A pair of files as an operator gives them."""
    (folder / "given.pem").write_bytes(key.key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    (folder / "given.crt").write_bytes(key.certificate.public_bytes(PEM))
    return {"key": str(folder / "given.pem"), "certificate": str(folder / "given.crt")}


def test_the_operators_own_key_is_used_and_none_is_made(tmp_path: Path) -> None:
    key = a_key()
    found = load_or_make(tmp_path / "keys", **written(tmp_path, key))
    assert found.certificate == key.certificate
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("only", ["key", "certificate"])
def test_a_key_without_its_certificate_is_refused(tmp_path: Path, only: str) -> None:
    given = {only: written(tmp_path, a_key())[only]}
    with pytest.raises(Unusable, match="together or not at all"):
        load_or_make(tmp_path / "keys", **given)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    given = written(tmp_path, a_key())
    (tmp_path / "given.crt").write_bytes(a_key().certificate.public_bytes(PEM))
    with pytest.raises(Unusable, match=r"given\.crt is not the certificate of .*given\.pem"):
        load_or_make(tmp_path / "keys", **given)


OTHER_KEYS = {
    "another curve": (lambda: ec.generate_private_key(ec.SECP384R1()), "not an ECDSA P-256 key"),
    "RSA": (lambda: rsa.generate_private_key(65537, 2048), "not an ECDSA P-256 key"),
}


@pytest.mark.parametrize(("make", "reason"), OTHER_KEYS.values(), ids=OTHER_KEYS)
def test_a_key_of_another_kind_is_refused(tmp_path: Path, make: Callable[[], ec.EllipticCurvePrivateKey],
                                          reason: str) -> None:  # fmt: skip
    given = written(tmp_path, a_key())
    data = make().private_bytes(PEM, PKCS8, serialization.NoEncryption())
    (tmp_path / "given.pem").write_bytes(data)
    with pytest.raises(Unusable, match=reason):
        load_or_make(tmp_path / "keys", **given)


def test_a_key_under_a_password_is_refused(tmp_path: Path) -> None:
    key = a_key()
    given = written(tmp_path, key)
    encrypted = key.key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret"))
    (tmp_path / "given.pem").write_bytes(encrypted)
    with pytest.raises(Unusable, match="signing key"):
        load_or_make(tmp_path / "keys", **given)


@pytest.mark.parametrize("file", ["given.pem", "given.crt"])
@pytest.mark.parametrize("content", [b"", b"not PEM", None])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, file: str, content: bytes | None) -> None:
    given = written(tmp_path, a_key())
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(Unusable, match="signing key"):
        load_or_make(tmp_path / "keys", **given)


def test_several_certificates_are_read_from_one_file(tmp_path: Path) -> None:
    certificates = [a_key().certificate, a_key().certificate]
    (tmp_path / "all.crt").write_bytes(b"".join(c.public_bytes(PEM) for c in certificates))
    found: list[x509.Certificate] = load_certificates(tmp_path / "all.crt")
    assert found == certificates


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n", None])
def test_a_file_without_certificates_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "none.crt").write_bytes(content)
    with pytest.raises(Unusable, match="no certificate"):
        load_certificates(tmp_path / "none.crt")
