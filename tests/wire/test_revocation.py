"""Revoked certificates: files read again when they change, and the last good one in force whatever comes after."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.conftest import wait_for
from xds.errors import Unusable
from xds.wire import contexts, followed, mllp, revocation
from xds.wire.authority import Authority, Issued
from xds.wire.contexts import server_context
from xds.wire.mllp import Listener, send
from xds.wire.revocation import Revoked, key_digest


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(revocation, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(contexts, "LOOK_SECONDS", 0.0)
    yield
    revocation.use(Revoked())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path / "pki", "pilot", 1)


@pytest.fixture
def north(authority: Authority) -> Issued:
    return authority.issue("north", ["localhost"], ["127.0.0.1"])


def der(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(serialization.Encoding.DER)


def by_crl(authority: Authority, kept: Path | None = None) -> Revoked:
    return Revoked([str(authority.folder / "ca.crl")], (), [str(authority.folder / "ca.crt")], kept)


def test_who_is_on_the_crl_is_revoked_as_soon_as_the_file_says_so(authority: Authority, north: Issued) -> None:
    revoked = by_crl(authority)
    revoked.check()
    assert revoked.reason(der(north)) == ""
    authority.revoke("north")
    assert revoked.reason(der(north)) == "on its authority's CRL"
    assert revoked.reason(der(authority.issue("south"))) == ""
    assert revoked.troubles() == []


def test_a_crl_in_der_counts_as_one_in_pem(authority: Authority, north: Issued) -> None:
    authority.revoke("north")
    path = authority.folder / "ca.crl"
    path.write_bytes(x509.load_pem_x509_crl(path.read_bytes()).public_bytes(serialization.Encoding.DER))
    assert by_crl(authority).reason(der(north))


def test_another_authority_s_crl_of_the_same_name_counts_for_nothing(
    authority: Authority, north: Issued, tmp_path: Path
) -> None:
    revoked = by_crl(authority)
    revoked.check()
    other = Authority.made(tmp_path / "other", "pilot", 1)
    other.sign_crl([north.certificate.serial_number])
    (other.folder / "ca.crl").replace(authority.folder / "ca.crl")
    assert revoked.reason(der(north)) == ""
    assert revoked.troubles() == ["ca.crl: is signed by no authority of tls.trusted"]
    with pytest.raises(Unusable, match="signed by no authority"):
        by_crl(authority).check()


@pytest.mark.parametrize("spoilt", [b"", b"no CRL", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", None])
def test_what_is_no_crl_leaves_the_last_good_one_in_force(
    authority: Authority, north: Issued, spoilt: bytes | None
) -> None:
    authority.revoke("north")
    revoked = by_crl(authority)
    revoked.check()
    if spoilt is None:
        (authority.folder / "ca.crl").unlink()
    else:
        (authority.folder / "ca.crl").write_bytes(spoilt)
    assert revoked.reason(der(north))
    assert len(revoked.troubles()) == 1
    (authority.folder / "ca.crl").unlink(missing_ok=True)
    authority.sign_crl()
    assert revoked.reason(der(north)) == ""
    assert revoked.troubles() == []


def resigned(authority: Authority, *, since: timedelta, until: timedelta, extra: bool = False) -> None:
    """A CRL of the authority's that revokes nothing, of and until so long from now."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(authority.certificate.subject, now + since, now + until)
    if extra:
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    signed = builder.sign(authority._key, hashes.SHA256())
    (authority.folder / "ca.crl").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


DAY = timedelta(days=1)


@pytest.mark.parametrize(("since", "until", "extra", "said"), [
    (-2 * DAY, -DAY, False, "is older than the one in force"),
    (-2 * DAY, 10 * DAY, False, "is older than the one in force"),
    (timedelta(0), timedelta(microseconds=1), False, "has expired, and the one in force has not"),
    (30 * DAY, 60 * DAY, False, "is of the future"),
    (timedelta(0), DAY, True, "has a critical extension that is not known here"),
])  # fmt: skip
def test_a_crl_that_is_worse_than_the_one_in_force_is_not_taken(
    authority: Authority, north: Issued, since: timedelta, until: timedelta, extra: bool, said: str
) -> None:
    authority.revoke("north")
    revoked = by_crl(authority)
    revoked.check()
    resigned(authority, since=since, until=until, extra=extra)
    assert revoked.reason(der(north))
    assert revoked.troubles() == [f"ca.crl: {said}"]


def test_a_crl_that_has_expired_is_in_force_still_and_that_is_said(authority: Authority) -> None:
    resigned(authority, since=-2 * DAY, until=-DAY)
    revoked = by_crl(authority)
    revoked.check()
    assert revoked.troubles() == ["ca.crl: has expired, and is in force still"]


def test_the_last_good_crl_outlives_the_process(authority: Authority, north: Issued, tmp_path: Path) -> None:
    authority.revoke("north")
    by_crl(authority, tmp_path / "kept").check()
    (authority.folder / "ca.crl").write_bytes(b"half")
    assert by_crl(authority, tmp_path / "kept").reason(der(north)) == "on its authority's CRL"


def test_where_no_crl_was_ever_good_nobody_is_let_in(authority: Authority, north: Issued) -> None:
    (authority.folder / "ca.crl").write_bytes(b"half")
    assert by_crl(authority).reason(der(north)) == revocation.UNCHECKED


def test_keys_and_numbers_are_denied_from_the_settings_and_from_a_file(
    authority: Authority, north: Issued, tmp_path: Path
) -> None:
    serial = f"{north.certificate.serial_number:X}@CN=pilot"
    for entry in (key_digest(north.certificate), key_digest(north.certificate).upper(), serial):
        assert Revoked(denied=[entry]).reason(der(north)) == "on this node's deny list"
    assert Revoked(denied=[f"{north.certificate.serial_number:x}@CN=other"]).reason(der(north)) == ""
    file = tmp_path / "denied"
    file.write_text("# nobody yet\n")
    revoked = Revoked(denied=[str(file)])
    revoked.check()
    assert revoked.reason(der(north)) == ""
    file.write_text(f"# stolen\n{serial}  # the PACS\n")
    assert revoked.reason(der(north))
    file.write_text(f"{serial}\nwhat is this\n")
    assert revoked.reason(der(north))
    assert revoked.troubles() == ["denied: line 2 is neither a key's SHA-256 nor SERIAL@ISSUER, both in hex"]


def test_whose_authority_is_denied_is_denied(authority: Authority, north: Issued) -> None:
    denied = [key_digest(authority.certificate)]
    assert Revoked(denied=denied, trusted=[str(authority.folder / "ca.crt")]).reason(der(north)) == (
        "its authority is revoked"
    )


def test_a_crl_without_trust_is_a_mistake(authority: Authority) -> None:
    with pytest.raises(Unusable, match=r"needs tls\.trusted"):
        Revoked([str(authority.folder / "ca.crl")]).check()


def test_a_file_that_is_too_long_is_not_read(
    authority: Authority, north: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "MOST_BYTES", 10)
    assert by_crl(authority).reason(der(north)) == revocation.UNCHECKED


# On connections.


@contextmanager
def listening(authority: Authority, node: Issued, told: list[tuple[str, str]]) -> Iterator[int]:
    context = server_context(str(node.certificate_file), str(node.key_file), str(authority.folder / "ca.crt"))
    ending = threading.Event()
    tell = lambda peer, reason: told.append((peer, reason))  # noqa: E731
    listener = Listener("127.0.0.1", 0, lambda data, *_: data, context, tell)
    thread = threading.Thread(target=listener.serve, args=(lambda: not ending.is_set(),))
    thread.start()
    try:
        yield listener.port
    finally:
        ending.set()
        thread.join(10)


def presenting(authority: Authority, issued: Issued) -> ssl.SSLContext:
    return contexts.client_context(str(issued.certificate_file), str(issued.key_file), str(authority.folder / "ca.crt"))


def test_a_listener_refuses_who_was_revoked_a_moment_ago_and_on_a_connection_that_is_open(
    authority: Authority, north: Issued
) -> None:
    client, told = authority.issue("client"), list[tuple[str, str]]()
    revocation.use(by_crl(authority))
    with listening(authority, north, told) as port, socket.create_connection(("127.0.0.1", port), 5) as plain:
        with presenting(authority, client).wrap_socket(plain, server_hostname="localhost") as stream:
            stream.sendall(mllp.BEGIN + b"MSH|1" + mllp.END)
            assert stream.recv(100) == mllp.BEGIN + b"MSH|1" + mllp.END
            authority.revoke("client")
            stream.sendall(mllp.BEGIN + b"MSH|2" + mllp.END)
            stream.settimeout(5)
            assert not stream.recv(100)
        with pytest.raises((OSError, mllp.Malformed)):
            send("127.0.0.1", port, b"MSH|3", context=presenting(authority, client))
        wait_for(lambda: bool(told), 5)
        assert "on its authority's CRL" in told[0][1]
        other = authority.issue("other")
        assert send("127.0.0.1", port, b"MSH|4", context=presenting(authority, other)) == b"MSH|4"


def test_we_go_no_further_with_a_server_that_was_revoked(authority: Authority, north: Issued) -> None:
    revocation.use(by_crl(authority))
    with listening(authority, north, []) as port:
        assert send("127.0.0.1", port, b"MSH|", context=presenting(authority, authority.issue("a"))) == b"MSH|"
        authority.revoke("north")
        with pytest.raises(revocation.RevokedPeer, match="CRL"):
            send("127.0.0.1", port, b"MSH|", context=presenting(authority, authority.issue("b")))


def test_a_listener_takes_new_certificates_and_trust_without_a_restart_and_keeps_old_ones_if_they_are_no_use(
    authority: Authority, north: Issued, tmp_path: Path
) -> None:
    other = Authority.made(tmp_path / "other", "other", 1)
    client = other.issue("client")
    with listening(authority, north, []) as port:
        trusts_both = contexts.client_context(
            str(client.certificate_file), str(client.key_file), _both(authority, other)
        )
        with pytest.raises((OSError, mllp.Malformed)):
            send("127.0.0.1", port, b"MSH|", context=trusts_both)
        (authority.folder / "ca.crt").write_bytes((other.folder / "ca.crt").read_bytes())
        assert send("127.0.0.1", port, b"MSH|", context=trusts_both) == b"MSH|"
        north.certificate_file.write_bytes(b"half a certificate")
        assert send("127.0.0.1", port, b"MSH|", context=trusts_both) == b"MSH|"
        new = other.issue("new", ["localhost"], ["127.0.0.1"])
        north.key_file.write_bytes(new.key_file.read_bytes())
        north.certificate_file.write_bytes(new.certificate_file.read_bytes())
        only_other = contexts.client_context(
            str(client.certificate_file), str(client.key_file), str(other.folder / "ca.crt")
        )
        assert send("127.0.0.1", port, b"MSH|", context=only_other) == b"MSH|"


def _both(one: Authority, other: Authority) -> str:
    path = one.folder / "both.pem"
    path.write_bytes((one.folder / "ca.crt").read_bytes() + (other.folder / "ca.crt").read_bytes())
    return str(path)
