"""A certificate in a header is worth what a handshake's is, from proxies that are named; from all others nothing."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.hostile.certificates import Authority
from xds.errors import Unusable
from xds.settings.addresses import stands_alone
from xds.settings.sections import Settings
from xds.wire import revocation
from xds.wire.http import HttpRequest
from xds.wire.peers import CERTIFICATE, KEY
from xds.wire.proxied import NotForwarded, Proxies

PROXY, CLIENT = "10.0.0.1", "10.7.7.7"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    authority = Authority(tmp_path_factory.mktemp("region"), "region")
    return Path(authority.signed("pacs").certificate).read_text()


@pytest.fixture
def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem)


def settings(form: str = "rfc9440", proxies: tuple[str, ...] = ("10.0.0.0/24",)) -> Settings:
    usual = Settings()
    return replace(usual, server=replace(usual.server, proxies=proxies, proxy_certificate=form))


def request(address: str = PROXY, **headers: str) -> dict[str, object]:
    body = open("/dev/null", "rb")  # noqa: SIM115, PTH123
    return {"REMOTE_ADDR": address, "wsgi.input": body, **{f"HTTP_{name}": text for name, text in headers.items()}}


def sequence(der: bytes) -> str:
    return f":{base64.b64encode(der).decode()}:"


def told(environ: dict[str, object], form: str = "rfc9440") -> HttpRequest:
    return HttpRequest.of(Proxies.of(settings(form)).told(environ))


def test_each_form_names_the_peer(pem: str, der: bytes) -> None:
    plain = base64.b64encode(der).decode()
    forms = {
        "rfc9440": {"CLIENT_CERT": f":{plain}:"},
        "nginx": {"X_SSL_CLIENT_CERT": quote(pem, safe="")},
        "haproxy": {"X_SSL_CLIENT_CERT": plain},
        "haproxy:X-Their-Own": {"X_THEIR_OWN": plain},
    }
    for form, headers in forms.items():
        assert told(request(**headers), form).subject == "CN=pacs", form


def test_padding_may_be_left_out_of_a_byte_sequence(der: bytes) -> None:
    text = sequence(der + b"")
    assert told(request(CLIENT_CERT=":" + text.strip(":").rstrip("=") + ":")).subject == "CN=pacs"


def test_the_client_is_told_apart_by_its_own_key_and_not_by_the_proxys(der: bytes) -> None:
    found = Proxies.of(settings()).told(request(CLIENT_CERT=sequence(der)) | {CERTIFICATE: b"the proxy's own"})
    assert found[CERTIFICATE] == der
    assert len(str(found[KEY])) == 64


def test_a_proxys_own_certificate_is_never_its_clients(der: bytes) -> None:
    environ = request() | {CERTIFICATE: der, KEY: "the proxy's"}
    assert told(environ).certificate is None
    assert told(request(CLIENT_CERT="") | {CERTIFICATE: der}).certificate is None


def test_the_header_is_refused_from_anybody_else(der: bytes) -> None:
    for address in ("10.0.1.1", "127.0.0.1", "", "::1", "no address"):
        with pytest.raises(NotForwarded, match=r"server\.proxies"):
            told(request(address, CLIENT_CERT=sequence(der)))


def test_who_is_no_proxy_keeps_the_certificate_of_its_own_connection(der: bytes) -> None:
    assert told(request("10.0.1.1", X_FORWARDED_FOR=CLIENT) | {CERTIFICATE: der}).subject == "CN=pacs"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: f"{good},{good}",
        lambda good: f"{good},",
        lambda good: good.strip(":"),
        lambda good: good[:-1],
        lambda good: good[:40] + "!" + good[41:],
        lambda good: good[:200] + ":",
        lambda good: good + ";a=1",
        lambda _: "::",
        lambda _: ":",
        lambda _: ":AAAA:",
        lambda _: "\xff\xfe",
    ],
)
def test_a_header_that_is_doubled_or_malformed_is_refused(spoil: object, der: bytes) -> None:
    with pytest.raises(NotForwarded) as refused:
        told(request(CLIENT_CERT=spoil(sequence(der))))  # type: ignore[operator]
    assert base64.b64encode(der)[:20].decode() not in str(refused.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pem: pem + pem,
        lambda pem: pem.replace("CERTIFICATE", "PRIVATE KEY"),
        lambda pem: "<!DOCTYPE x>" + pem,
        lambda pem: pem[:100],
        lambda pem: pem.replace("M", "!", 1),
    ],
)
def test_one_escaped_pem_text_is_taken_and_nothing_else(spoil: object, pem: str) -> None:
    with pytest.raises(NotForwarded):
        told(request(X_SSL_CLIENT_CERT=quote(spoil(pem), safe="")), "nginx")  # type: ignore[operator]


def test_bytes_behind_the_certificate_are_refused(der: bytes) -> None:
    with pytest.raises(NotForwarded):
        told(request(CLIENT_CERT=sequence(der + b"\0")))


def test_the_last_hop_is_who_calls_and_what_stands_before_it_is_not_believed() -> None:
    assert told(request(X_FORWARDED_FOR=f"1.1.1.1, {CLIENT}")).remote_address == CLIENT
    assert told(request(X_FORWARDED_FOR="2001:db8::1")).remote_address == "2001:db8::1"
    assert told(request()).remote_address == PROXY
    assert told(request("::ffff:10.0.0.1", X_FORWARDED_FOR=CLIENT)).remote_address == CLIENT


def test_nobody_else_says_from_where_they_call() -> None:
    assert told(request("10.0.1.1", X_FORWARDED_FOR=CLIENT)).remote_address == "10.0.1.1"


def test_a_last_hop_that_is_no_address_is_refused() -> None:
    for text in ("unknown", f"{CLIENT}:443", f"{CLIENT}, <script>", "1.1.1.1, 999.1.1.1"):
        with pytest.raises(NotForwarded):
            told(request(X_FORWARDED_FOR=text))


def test_without_a_setting_the_header_is_nothing(der: bytes) -> None:
    assert HttpRequest.of(Proxies.of(Settings()).told(request(CLIENT_CERT=sequence(der)))).certificate is None


@pytest.fixture
def denied(der: bytes) -> Iterator[None]:
    before = revocation.current()
    key = HttpRequest.of(Proxies.of(settings()).told(request(CLIENT_CERT=sequence(der)))).told_by
    revocation.use(revocation.Revoked((), (key,), [], None))
    yield
    revocation.use(before)


@pytest.mark.usefixtures("denied")
def test_who_is_on_the_deny_list_is_not_let_in_through_a_proxy_either(der: bytes) -> None:
    with pytest.raises(NotForwarded, match="not let in"):
        told(request(CLIENT_CERT=sequence(der)))


def test_a_node_behind_a_proxy_that_hands_certificates_on_does_not_stand_alone() -> None:
    assert stands_alone(Settings())
    assert not stands_alone(settings())


@pytest.mark.parametrize(
    ("form", "proxies"),
    [("rfc9440", ()), ("apache", (PROXY,)), ("nginx:X Y", (PROXY,)), ("nginx:A_B", (PROXY,)), ("rfc9440", ("proxy",))],
)
def test_settings_that_believe_nobody_or_everybody_by_mistake_are_refused(form: str, proxies: tuple[str, ...]) -> None:
    with pytest.raises(Unusable, match=r"server\.prox"):
        Proxies.of(settings(form, proxies))
