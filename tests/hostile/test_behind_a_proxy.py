"""A real nginx does mutual TLS before a plain node: its certificates tell who may what, and nobody goes around it."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
import sqlalchemy as sa

from tests.conftest import wait_for
from tests.hostile.certificates import Authority, Signed
from tests.hostile.server import Served, ask
from tests.needs import needed
from tests.server.test_processes import alerts
from xds.demo.site import free_port
from xds.store.engine import make_engine
from xds.store.tables import audit_record

NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {node.certificate}; ssl_certificate_key {node.key};
    ssl_client_certificate {trusted}; ssl_verify_client optional;
    location / {{
      proxy_pass http://127.0.0.1:{behind};
      proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("region"), "region")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node on the loopback that one peer is known to: ``reader``."""
    sections = {
        "server": {"proxies": ["127.0.0.1"], "proxy_certificate": "nginx"},
        "peers.reader": {"issuer": "CN=region", "subject": "CN=reader", "roles": ["audit-reader"]},
    }
    served = Served(tmp_path_factory.mktemp("behind"), sections).start()
    yield served
    served.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, authority: Authority, served: Served) -> Iterator[str]:
    """The URL of an nginx before it."""
    program = needed("nginx", "nginx-light")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    node = authority.signed("localhost")
    text = NGINX.format(folder=folder, port=port, node=node, trusted=authority.trusted, behind=served.port)
    (folder / "nginx.conf").write_text(text)
    with subprocess.Popen(
        [program, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    ) as process:
        wait_for(lambda: (folder / "pid").exists())
        yield f"https://localhost:{port}"
        process.terminate()


def search(url: str, authority: Authority, who: Signed | None = None, **headers: str) -> int:
    """The status of a search of the audit log, which a reader may do and nobody else."""
    context = ssl.create_default_context(cafile=authority.trusted)
    if who is not None:
        context.load_cert_chain(who.certificate, who.key)
    asked = Request(f"{url}/fhir/AuditEvent?date=ge2020-01-01", headers=headers)  # noqa: S310
    try:
        with urlopen(asked, timeout=60, context=context) as reply:  # noqa: S310
            return int(reply.status)
    except HTTPError as refused:
        return refused.code


def test_the_certificate_that_nginx_has_verified_tells_who_may(
    proxy: str, authority: Authority, served: Served
) -> None:
    assert search(proxy, authority, authority.signed("reader")) == 200
    assert search(proxy, authority, authority.signed("somebody")) == 403
    assert search(proxy, authority) == 403
    engine = make_engine(served.settings.database_url)
    with engine.connect() as connection:
        found = [bytes(one) for one in connection.scalars(sa.select(audit_record.c.message))]
    engine.dispose()
    assert any(b"CN=reader (serial number" in one for one in found), "the record names who it was"


def test_a_client_cannot_bring_the_header_itself(proxy: str, authority: Authority) -> None:
    pem = Path(authority.signed("reader").certificate).read_text()
    stolen = {"X-SSL-Client-Cert": quote(pem, safe="")}
    assert search(proxy, authority, **stolen) == 403  # nginx puts its own in its place
    assert search(proxy, authority, authority.signed("somebody"), **stolen) == 403


def test_who_goes_around_the_proxy_is_refused_and_on_record(served: Served, authority: Authority) -> None:
    pem = Path(authority.signed("reader").certificate).read_text()
    request, header = (
        "GET /fhir/AuditEvent HTTP/1.1\r\nHost: localhost\r\n",
        f"X-SSL-Client-Cert: {quote(pem, safe='')}\r\n",
    )
    got = ask(served.port, [f"{request}{header}\r\n".encode()], source="127.0.0.2")
    assert got is not None
    assert got.status == 400
    wait_for(lambda: any("none of server.proxies" in one for one in alerts(served, "110126")))
    doubled = ask(served.port, [f"{request}{header}{header}\r\n".encode()])
    assert doubled is not None
    assert doubled.status == 400
