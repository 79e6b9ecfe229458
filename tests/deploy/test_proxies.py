"""The examples of HAProxy and nginx are started as they are, but for places, before two nodes of one deployment."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from tests.builders import AUTHORITY
from tests.conftest import wait_for
from tests.hostile.certificates import Authority, known
from tests.hostile.server import Served, ask
from tests.hostile.test_behind_haproxy import records
from tests.needs import needed
from tests.places import ROOT
from tests.postgres import Databases
from tests.sockets import listens
from xds.demo.site import free_port
from xds.errors import Refused
from xds.system.parent import ends_with_us
from xds.wire.client import Client, Faulted, NoReply

DEPLOY = ROOT / "deploy"
# Around an example that is a part of nginx' http section.
NGINX = """
daemon off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  include {folder}/xds.conf;
}}
"""


@dataclass
class Site:
    """A proxy before two nodes, and the authority that all of it trusts."""

    url: str
    nodes: list[Served]
    authority: Authority

    def client(self, title: str, authority: Authority | None = None) -> Client:
        """A peer by the name of its certificate, at the registry."""
        signed = (authority or self.authority).signed(title)
        return Client(f"{self.url}/registry", certificate=signed.certificate, key=signed.key,
                      trusted=self.authority.trusted, seconds=60)  # fmt: skip

    def found(self, title: str) -> set[str]:
        """What a peer finds of Anna's by ITI-18."""
        return self.nodes[0].found(client=self.client(title))


def haproxy(folder: Path, text: str) -> list[str]:
    """The command that runs the example."""
    program = needed("haproxy", "haproxy", "HAProxy")
    (folder / "xds.cfg").write_text(text.replace("/etc/haproxy", str(folder)).replace("bind :", "bind 127.0.0.1:"))
    return [program, "-db", "-f", str(folder / "xds.cfg")]


def nginx(folder: Path, text: str) -> list[str]:
    """The command that runs the example."""
    program = needed("nginx", "nginx-light")
    (folder / "xds.conf").write_text(text.replace("/etc/nginx", str(folder)).replace("listen ", "listen 127.0.0.1:"))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


EXAMPLES: dict[str, tuple[str, Callable[[Path, str], list[str]]]] = {
    "haproxy": ("haproxy/xds.cfg", haproxy),
    "nginx": ("nginx/xds.conf", nginx),
}


def node(number: int, form: str, folder: Path, database: str) -> Served:
    """A node as the examples' heads say, its peers told by what the proxy hands on."""
    sections = {
        "server": {
            "database": database, "documents": f"file:{folder}/documents", "public_url": "https://localhost",
            "proxies": ["127.0.0.1"], "proxy_certificate": form,
        },
        "domain": {"assigning_authorities": [AUTHORITY], "home_community_id": "1.2.3.4.5.6"},
        "repository": {"unique_id": "1.2.3.4.5.7"},
        "imaging_source": {"retrieve_location_uid": "1.2.3.4.5.8"},
        **{f"peers.{title}": entry for title, entry in known("reader", issuer="region").items()},
    }  # fmt: skip
    return Served(folder / f"node{number}", sections)


@pytest.fixture(scope="module", params=sorted(EXAMPLES))
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_databases: Databases
) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    authority, database = Authority(folder / "pki", "region"), postgres_databases.new()
    nodes = [node(number, request.param, folder, database) for number in (1, 2)]
    own = authority.signed("localhost")
    shutil.copy(authority.trusted, folder / "peers.pem")
    shutil.copy(own.certificate, folder / "node.crt")
    shutil.copy(own.key, folder / "node.key")
    (folder / "node.pem").write_text(Path(own.certificate).read_text() + Path(own.key).read_text())
    file, command = EXAMPLES[request.param]
    text = (DEPLOY / file).read_text("utf-8").replace("8443", str(port))
    for number, one in enumerate(nodes, 1):
        text = text.replace(f"node{number}:8080", f"127.0.0.1:{one.port}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command(folder, text), stdout=log, stderr=log, preexec_fn=ends_with_us)
    try:
        for one in nodes:
            one.start()
        wait_for(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, (folder / "log").read_text()
        yield Site(f"https://localhost:{port}", nodes, authority)
    finally:
        process.terminate()
        process.wait(60)
        for one in nodes:
            if one.process is not None:
                one.stop()


def test_a_query_goes_through_and_the_peer_is_named_by_its_certificate(site: Site) -> None:
    assert site.found("reader") == set()
    assert any(b"CN=reader (serial number" in one for one in records(site.nodes[0]))


def test_a_peer_that_no_node_knows_may_not_query(site: Site) -> None:
    with pytest.raises(Refused) as refused:
        site.found("somebody")
    assert "permit" in str(refused.value.findings)


def test_a_certificate_of_another_authority_gets_nothing(site: Site, tmp_path: Path) -> None:
    stranger = site.client("reader", Authority(tmp_path, "region"))
    with pytest.raises((NoReply, Faulted)):
        site.nodes[0].found(client=stranger)


def test_metrics_are_not_handed_out(site: Site) -> None:
    own = site.authority.signed("reader")
    peer = urllib3.PoolManager(ca_certs=site.authority.trusted, cert_file=own.certificate, key_file=own.key)
    assert peer.request("GET", f"{site.url}/readyz").status == 200
    for path in ("/metrics", "/%6detrics", "/%6Detrics/", "/./metrics", "//metrics"):
        answer = peer.urlopen("GET", f"{site.url}{path}", assert_same_host=False)
        assert answer.status in (400, 404), path
        assert b"xds_" not in answer.data
    peer.clear()


def queries(node: Served) -> int:
    """How many a node itself has answered since its start."""
    got = ask(node.port, [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert got is not None
    return sum(int(float(line.rpartition(" ")[2])) for line in got.body.decode().splitlines()
               if line.startswith("xds_transactions_total{") and "ITI-18" in line)  # fmt: skip


def test_a_node_that_is_stopped_is_left_out_and_taken_in_again(site: Site) -> None:
    """And no query fails meanwhile."""
    for one in site.nodes:
        assert one.stop() == 0
        for _ in range(10):
            assert site.found("reader") == set()
        one.start()
        wait_for(lambda one=one: site.found("reader") == set() and queries(one) > 0)
