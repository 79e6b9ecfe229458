"""Revoked certificates: files read again when they change, and the last good one in force whatever comes after."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import wait_for
from tests.wire import test_mllp
from xds.errors import Unusable
from xds.wire import contexts, followed, mllp, revocation
from xds.wire.authority import Authority, Issued
from xds.wire.certificates import spki_sha256
from xds.wire.contexts import server_context
from xds.wire.mllp import send
from xds.wire.revocation import Revoked


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
    for entry in (
        spki_sha256(north.certificate.public_key()),
        spki_sha256(north.certificate.public_key()).upper(),
        serial,
    ):
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
    denied = [spki_sha256(authority.certificate.public_key())]
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
def listening(
    authority: Authority, node: Issued, told: list[tuple[str, str]], trusted: Path | None = None
) -> Iterator[int]:
    trust = str(trusted or authority.folder / "ca.crt")
    context = server_context(str(node.certificate_file), str(node.key_file), trust)
    tell = lambda peer, reason: told.append((peer, reason))  # noqa: E731
    with test_mllp.listening(lambda data, *_: data, context, tell=tell) as port:
        yield port


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


def test_who_comes_by_an_authority_between_that_was_revoked_is_refused(
    authority: Authority, north: Issued, tmp_path: Path
) -> None:
    """Its certificate is not in tls.trusted: the peer presents it."""
    between, leaf = _by_another(tmp_path / "national")
    national = Authority(tmp_path / "national")
    national.sign_crl()
    revocation.use(by_crl(national))
    context = contexts.client_context(str(leaf), str(leaf), str(authority.folder / "ca.crt"))
    (authority.folder / "trusted.pem").write_bytes((national.folder / "ca.crt").read_bytes())
    with listening(authority, north, [], trusted=authority.folder / "trusted.pem") as port:
        assert send("127.0.0.1", port, b"MSH|", context=context) == b"MSH|"
        national.sign_crl([between.serial_number])
        with pytest.raises((OSError, mllp.Malformed)):
            send("127.0.0.1", port, b"MSH|", context=context)


def _by_another(folder: Path) -> tuple[x509.Certificate, Path]:
    """The certificate of an authority by one in this folder, and a PEM file of a client's by it, with both."""
    folder.mkdir()
    now, names = datetime.now(UTC), [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)])
                                     for one in ("national", "between", "leaf")]  # fmt: skip
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    made = []
    for place, (name, key) in enumerate(zip(names, keys, strict=True)):
        signer = max(place - 1, 0)
        builder = x509.CertificateBuilder(
            names[signer], name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY
        ).add_extension(x509.BasicConstraints(ca=place < 2, path_length=None), critical=True)
        made.append(builder.sign(keys[signer], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "ca.crt").write_bytes(made[0])
    (folder / "ca.key").write_bytes(keys[0].private_bytes(*form))
    (folder / "leaf.pem").write_bytes(keys[2].private_bytes(*form) + made[2] + made[1])
    return x509.load_pem_x509_certificate(made[1]), folder / "leaf.pem"


class _Tls(ThreadingHTTPServer):
    """Over TLS, each connection by the context as it is then."""

    context: ssl.SSLContext

    def get_request(self) -> tuple[socket.socket, object]:
        plain, peer = super().get_request()
        return self.context.wrap_socket(plain, server_side=True), peer


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_connection_that_is_kept_is_not_used_again_once_its_server_is_revoked(
    authority: Authority, north: Issued
) -> None:
    revocation.use(by_crl(authority))
    server = _Tls(("127.0.0.1", 0), _Answers)
    server.context = server_context(str(north.certificate_file), str(north.key_file), "")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        pool = contexts.pool(contexts.client_context("", "", str(authority.folder / "ca.crt")), timeout=5)
        url = f"https://localhost:{server.server_port}/"
        assert [pool.request("GET", url).status for _ in range(2)] == [200, 200]
        assert pool.connection_from_url(url).num_connections == 1  # kept
        authority.revoke("north")
        with pytest.raises(urllib3.exceptions.HTTPError, match="CRL"):
            pool.request("GET", url)
    finally:
        server.shutdown()
        server.server_close()


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
