"""A stolen key: seconds after the CRL or the deny list says so it opens nothing, by no protocol, without a restart."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE

from tests.cli.command import xds
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.imaging.images import CT, an_instance
from xds.archives.dimse import SYNTAXES
from xds.demo.site import free_port
from xds.wire.authority import Authority, Issued
from xds.wire.mllp import BEGIN, END
from xds.wire.syslog import framed


@dataclass
class Site:
    """A node with every listener over mutual TLS, and who signs for it."""

    served: Served
    authority: Authority
    ports: dict[str, int]

    def context(self, issued: Issued) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.folder / "ca.crt"))
        context.load_cert_chain(issued.certificate_file, issued.key_file)
        return context

    def stream(self, protocol: str, issued: Issued) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.ports[protocol]), 10)
        return self.context(issued).wrap_socket(plain, server_hostname="localhost")

    def web(self, issued: Issued) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.served.port, context=self.context(issued), timeout=10)

    def associated(self, issued: Issued) -> Any:
        entity = AE(ae_title="CT1")
        entity.add_requested_context(CT, SYNTAXES[0])
        tls = (self.context(issued), "localhost")
        return entity.associate("127.0.0.1", self.ports["cstore"], ae_title="XDS", tls_args=tls)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = Authority.made(folder / "pki", "pilot", 1)
    node = authority.issue("node", ["localhost"], ["127.0.0.1"])
    (folder / "images").mkdir()
    (folder / "denied").write_text("# nobody\n")
    ports = {name: free_port() for name in ("mllp", "syslog", "cstore")}
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    sections: dict[str, dict[str, Any]] = {
        "tls": {
            "certificate": str(node.certificate_file), "key": str(node.key_file),
            "trusted": str(authority.folder / "ca.crt"), "crl": [str(authority.folder / "ca.crl")],
            "denied": [str(folder / "denied")],
        },
        "policy": {"mode": "watch"},  # who may do what is another sentence
        "mllp": {"listen": at["mllp"]},
        "syslog": {"tls": at["syslog"]},
        "imaging_source": {"folder": str(folder / "images"), "cstore_listen": at["cstore"]},
    }  # fmt: skip
    for thief in ("thief-crl", "thief-denied"):  # a certificate alone is let in nowhere: they were known before
        known = {"issuer": "CN=pilot", "subject": f"CN={thief}", "roles": ["imaging-document-source", "audit-source"]}
        sections[f"peers.{thief}"] = known
    served = Served(folder, sections, scheme="https").start()
    found = Site(served, authority, ports)
    client = authority.issue("probe")
    wait_for(lambda: all(_answers(found, name, client) for name in ("mllp", "syslog", "cstore")), 30)
    yield found
    assert served.stop() == 0


def _answers(site: Site, protocol: str, client: Issued) -> bool:
    try:
        site.stream(protocol, client).close()
    except OSError:
        return False
    return True


def _asks(connection: http.client.HTTPSConnection) -> int:
    """The status of an answer; 0 where the connection ends without."""
    try:
        connection.request("GET", "/healthz")
        reply = connection.getresponse()
        reply.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return reply.status


def _still(stream: ssl.SSLSocket, data: bytes) -> bool:
    """Whether the other side lets a connection be when it is sent more."""
    try:
        stream.settimeout(0.3)
        stream.sendall(data)
        return bool(stream.recv(1000))
    except TimeoutError:
        return True
    except OSError:
        return False


def _stored(association: Any, instance: Any) -> bool:
    """Whether an instance is taken; not where it is refused, or the association has ended."""
    return association.is_established and getattr(association.send_c_store(instance), "Status", 0x0110) == 0x0000


@pytest.mark.parametrize("by", ["crl", "denied"])
def test_a_revoked_peer_is_let_in_nowhere_and_what_it_has_open_ends(site: Site, by: str) -> None:
    thief, honest = site.authority.issue(f"thief-{by}"), site.authority.issue(f"honest-{by}")
    web, mllp, syslog = site.web(thief), site.stream("mllp", thief), site.stream("syslog", thief)
    association, others = site.associated(thief), site.web(honest)
    assert (_asks(web), _asks(others), association.is_established) == (200, 200, True)
    assert _still(mllp, BEGIN + b"MSH|" + END)
    assert _still(syslog, framed([b"<85>1 nothing"]))
    if by == "crl":
        site.authority.revoke(f"thief-{by}")
    else:
        serial = f"{thief.certificate.serial_number:x}@CN=pilot"
        (site.served.folder / "denied").write_text(f"{serial}\n")
    wait_for(lambda: _asks(web) == 0, 10)
    wait_for(lambda: not _still(mllp, BEGIN + b"MSH|" + END), 10)
    wait_for(lambda: not _still(syslog, framed([b"<85>1 nothing"])), 10)
    one = an_instance(1)
    one.file_meta.MediaStorageSOPClassUID, one.file_meta.MediaStorageSOPInstanceUID = CT, one.SOPInstanceUID
    # each listener's process reads the list for itself, one a moment after the other
    wait_for(lambda: not _stored(association, one), 10)
    wait_for(lambda: not association.is_established, 10)
    assert _asks(site.web(thief)) == 0
    for protocol in ("mllp", "syslog"):
        assert not _said(site, protocol, thief)
    assert _asks(others) == 200
    alerts = [row for row in xds("audit", "list", "--json", "--config", site.served.config).json
              if row["event"] == "Security Alert"]  # fmt: skip
    assert len(alerts) >= 4


def _said(site: Site, protocol: str, issued: Issued) -> bool:
    """Whether a new connection is let speak; TLS 1.3 tells a client late that it is not."""
    try:
        with site.stream(protocol, issued) as stream:
            return _still(stream, b"x") and _still(stream, b"x")
    except OSError:
        return False


def test_a_node_takes_its_new_certificate_without_a_restart(site: Site) -> None:
    tls = site.served.settings.tls
    new = site.authority.issue("renewed", ["localhost"], ["127.0.0.1"])
    client = site.authority.issue("looking")
    Path(tls.key).write_bytes(new.key_file.read_bytes())
    Path(tls.certificate).write_bytes(new.certificate_file.read_bytes())

    def shown(port: int) -> bytes | None:
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            return site.context(client).wrap_socket(plain, server_hostname="localhost").getpeercert(True)

    wanted = ssl.PEM_cert_to_DER_cert(new.certificate_file.read_text())
    for port in (site.served.port, *site.ports.values()):
        wait_for(lambda port=port: shown(port) == wanted, 10)
