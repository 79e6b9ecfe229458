"""Each listener over TLS: old versions, weak suites, no certificate and a stranger's are refused.  RFC 9325."""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.hostile.certificates import Authority, Signed, known
from tests.hostile.server import Served
from xds.demo.site import free_port

LISTENERS = ("web", "mllp", "syslog", "cstore")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[dict[str, int]]:
    """Of a node that listens in all its ways."""
    folder, node = tmp_path_factory.mktemp("site"), authority.signed("node")
    (folder / "images").mkdir()
    found = {name: free_port() for name in LISTENERS}
    here = {name: f"127.0.0.1:{port}" for name, port in found.items()}
    sections = {
        "tls": {"certificate": node.certificate, "key": node.key, "trusted": authority.trusted},
        "mllp": {"listen": here["mllp"]},
        "syslog": {"tls": here["syslog"]},
        "imaging_source": {"folder": str(folder / "images"), "cstore_listen": here["cstore"]},
        "peers": known("client"),
    }
    served = Served(folder, sections, found["web"], "https").start()
    for port in found.values():
        wait_for(lambda port=port: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    yield found
    assert served.stop() == 0


def shakes(port: int, authority: Authority, own: Signed | None, patience: float = 5.0, **how: object) -> str:
    """The version of TLS that both sides agree on; empty where they do not.

    With TLS 1.3 a client learns that its certificate is refused by its first read; for so many seconds it waits for
    that, fewer than a listener waits for somebody who has been let in and says nothing.
    """
    context = ssl.create_default_context(cafile=authority.trusted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers(str(how.pop("ciphers", "DEFAULT:@SECLEVEL=0")))
        for key, value in how.items():
            setattr(context, key, value)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as plain:
        stream = context.wrap_socket(plain, server_hostname="localhost")
        version = stream.version()
        stream.settimeout(patience)
        try:
            ended = stream.recv(1) == b""
        except TimeoutError:
            ended = False  # it waits for what we have to say
        stream.close()
        return "" if ended else str(version)
    return ""


@pytest.mark.parametrize("listener", LISTENERS)
def test_who_is_trusted_is_let_in_by_tls_1_2_and_1_3_alone(
    ports: dict[str, int], authority: Authority, listener: str
) -> None:
    own, port = authority.signed("client"), ports[listener]
    versions = {
        version.name: shakes(port, authority, own, 0.5, minimum_version=version, maximum_version=version)
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    }
    assert versions == {"TLSv1": "", "TLSv1_1": "", "TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("suite", ["AES256-SHA", "ECDHE-ECDSA-AES256-SHA", "eNULL", "aNULL", "AES128-SHA256"])
def test_weak_suites_are_refused(ports: dict[str, int], authority: Authority, listener: str, suite: str) -> None:
    own = authority.signed("client")
    assert not shakes(ports[listener], authority, own, ciphers=f"{suite}:@SECLEVEL=0",
                      maximum_version=ssl.TLSVersion.TLSv1_2)  # fmt: skip


@pytest.mark.parametrize("listener", LISTENERS)
def test_nobody_and_a_stranger_of_the_same_name_are_refused(
    ports: dict[str, int], authority: Authority, listener: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger")).signed("client")
    assert not shakes(ports[listener], authority, None)
    assert not shakes(ports[listener], authority, stranger)
