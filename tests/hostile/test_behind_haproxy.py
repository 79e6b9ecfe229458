"""A real HAProxy does mutual TLS before a plain node, set as the operator's guide says: it alone tells who may what."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.hostile.certificates import Authority
from tests.hostile.server import Served, ask, connected, reply_of
from tests.hostile.test_behind_a_proxy import search
from tests.needs import needed
from tests.places import ROOT
from tests.server.test_processes import alerts
from xds.demo.site import free_port
from xds.store.engine import make_engine
from xds.store.tables import audit_record

HAPROXY = """
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  option forwardfor
frontend xds
  bind 127.0.0.1:{port} ssl crt {folder}/node.pem ca-file {trusted} verify optional
  {line}
  default_backend node
backend node
  server node 127.0.0.1:{behind} source {source}
"""
ELSEWHERE = "127.0.0.3"
"""From where a proxy calls that the settings do not name."""


def documented() -> str:
    """The line that the guide tells an operator to set."""
    guide = (ROOT / "deploy/guides/operator.md").read_text("utf-8")
    (line,) = re.findall(r"`(http-request set-header [^`]+)`", guide)
    return line


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("region"), "region")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node on the loopback that one peer is known to: ``reader``."""
    sections = {
        "server": {"proxies": ["127.0.0.1"], "proxy_certificate": "haproxy"},
        "domain": {"assigning_authorities": [AUTHORITY]},
        "peers.reader": {"issuer": "CN=region", "subject": "CN=reader", "roles": ["audit-reader"]},
    }
    running = Served(tmp_path_factory.mktemp("behind"), sections).start()
    yield running
    assert running.stop() == 0


@contextmanager
def before(served: Served, authority: Authority, folder: Path, source: str) -> Iterator[str]:
    """The URL of an HAProxy before it, which calls from an address."""
    program = needed("haproxy", "haproxy", "HAProxy")
    port, node = free_port(), authority.signed("localhost")
    (folder / "node.pem").write_text(Path(node.certificate).read_text() + Path(node.key).read_text())
    text = HAPROXY.format(port=port, folder=folder, trusted=authority.trusted, line=documented(), behind=served.port,
                          source=source)  # fmt: skip
    (folder / "haproxy.cfg").write_text(text)
    with subprocess.Popen([program, "-db", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: process.poll() is not None or _listens(port))
        assert process.poll() is None, "HAProxy does not take the guide's configuration"
        yield f"https://localhost:{port}"
        process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, authority: Authority, served: Served) -> Iterator[str]:
    with before(served, authority, tmp_path_factory.mktemp("haproxy"), "127.0.0.1") as url:
        yield url


def der64(authority: Authority, title: str) -> str:
    """A certificate as HAProxy writes it."""
    pem = Path(authority.signed(title).certificate).read_text()
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode()


def records(served: Served) -> list[bytes]:
    engine = make_engine(served.settings.database_url)
    with engine.connect() as connection:
        found = [bytes(one) for one in connection.scalars(sa.select(audit_record.c.message))]
    engine.dispose()
    return found


def test_the_certificate_that_haproxy_has_verified_tells_who_may(
    proxy: str, authority: Authority, served: Served
) -> None:
    assert search(proxy, authority, authority.signed("reader")) == 200
    assert search(proxy, authority, authority.signed("somebody")) == 403
    assert search(proxy, authority) == 403
    assert any(b"CN=reader (serial number" in one for one in records(served)), "the record names who it was"


def test_a_certificate_that_haproxy_does_not_trust_gets_no_answer(
    proxy: str, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "region").signed("reader")
    with pytest.raises(OSError):  # noqa: PT011 the handshake ends, however the client sees that
        search(proxy, authority, stranger)


@pytest.mark.parametrize("name", ["X-SSL-Client-Cert", "x-ssl-client-cert", "X_SSL_Client_Cert", "Client-Cert"])
def test_a_client_cannot_bring_the_header_itself(proxy: str, authority: Authority, name: str) -> None:
    """HAProxy replaces its own header; one that is written with ``_`` it hands on, and the node takes it for none."""
    stolen = {name: der64(authority, "reader")}
    assert search(proxy, authority, **stolen) == 403
    assert search(proxy, authority, authority.signed("somebody"), **stolen) == 403
    assert search(proxy, authority, authority.signed("reader"), **{name: der64(authority, "somebody")}) == 200


def test_where_a_client_says_that_it_calls_from_is_not_believed(
    proxy: str, authority: Authority, served: Served
) -> None:
    assert search(proxy, authority, authority.signed("reader"), **{"X-Forwarded-For": "203.0.113.77"}) == 200
    found = records(served)
    assert not any(b"203.0.113.77" in one for one in found)


def test_a_session_that_is_resumed_is_of_the_same_client(proxy: str, authority: Authority) -> None:
    own, port = authority.signed("reader"), int(proxy.rpartition(":")[2])
    context = ssl.create_default_context(cafile=authority.trusted)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose sessions are there when the handshake ends
    context.load_cert_chain(own.certificate, own.key)
    session, resumed = None, list[bool]()
    for _ in range(2):
        with context.wrap_socket(connected(port), server_hostname="localhost", session=session) as sock:
            sock.sendall(b"GET /fhir/AuditEvent?date=ge2020-01-01 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"
            session = sock.session
            resumed.append(bool(sock.session_reused))
    assert resumed == [False, True]


def test_a_proxy_that_the_settings_do_not_name_is_not_believed(
    served: Served, authority: Authority, tmp_path: Path
) -> None:
    with before(served, authority, tmp_path, ELSEWHERE) as url:
        assert search(url, authority, authority.signed("reader")) == 400
    wait_for(lambda: any("none of server.proxies" in one for one in alerts(served, "110126")))


def test_who_goes_around_the_proxy_is_refused(served: Served, authority: Authority) -> None:
    header = f"X-SSL-Client-Cert: {der64(authority, 'reader')}\r\n"
    for source, fields in (("127.0.0.2", header), ("127.0.0.1", header * 2)):
        request = f"GET /fhir/AuditEvent HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
        got = ask(served.port, [request], source=source)
        assert got is not None
        assert got.status == 400


def test_replies_come_whole_on_a_connection_that_is_kept(proxy: str, authority: Authority) -> None:
    own, port = authority.signed("reader"), int(proxy.rpartition(":")[2])
    context = ssl.create_default_context(cafile=authority.trusted)
    context.load_cert_chain(own.certificate, own.key)
    with context.wrap_socket(connected(port), server_hostname="localhost") as sock:
        for _ in range(2):  # on one connection
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = reply_of(sock)
            assert got is not None
            assert got.status == 200
