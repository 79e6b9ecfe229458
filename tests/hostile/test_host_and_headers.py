"""A page whose name was made to lead here is told nothing; and what we tell nobody keeps, guesses at or frames."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.test_application import Site, serving

PATHS = [
    "/", "/healthz", "/readyz", "/metrics", "/registry?wsdl", "/repository?wsdl", "/nothing", "/console",
    "/console/static/xds.css", "/console/studies", "/console/audit", "/dicomweb/studies", "/dicomweb/nothing",
    "/wado?requestType=WADO", "/fhir/AuditEvent",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "images").mkdir()
    text = f'[imaging_source]\nfolder = "{folder / "images"}"\n[audit]\nreaders = ["127.0.0.1"]\n'
    with serving(f"sqlite:///{folder}/xds.sqlite", folder, text) as made:
        yield made


def asked(site: Site, path: str, host: str, method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=10)
    connection.request(method, path, headers={"Host": host}, body=b"<a/>" if method == "POST" else None)
    reply = connection.getresponse()
    reply.body = reply.read()  # type: ignore[attr-defined]
    connection.close()
    return reply


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "10.9.8.7"])
def test_another_name_is_told_nothing_at_any_address(site: Site, path: str, host: str) -> None:
    reply = asked(site, path, host)
    assert (reply.status, reply.reason) == (421, "Misdirected Request")
    assert b"evil" not in reply.body  # type: ignore[attr-defined]


def test_another_name_is_not_posted_to_either(site: Site) -> None:
    assert asked(site, "/registry", "evil.example", "POST").status == 421
    assert asked(site, "/registry", "localhost", "POST").status != 421


@pytest.mark.parametrize("path", PATHS)
def test_every_reply_says_what_browsers_must_not_do_with_it(site: Site, path: str) -> None:
    headers = asked(site, path, "localhost").headers
    assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert headers.get_all("Referrer-Policy") == ["no-referrer"]
    (policy,) = headers.get_all("Content-Security-Policy") or []
    assert "frame-ancestors 'none'" in policy
    assert len(headers.get_all("Cache-Control") or []) == 1
    if not path.startswith("/console"):
        assert headers["Cache-Control"] == "no-store"
    assert headers["Strict-Transport-Security"] is None


def test_soap_is_kept_by_nobody(site: Site) -> None:
    headers = asked(site, "/registry", "localhost", "POST").headers
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_who_is_reached_by_https_says_that_it_stays_so(tmp_path: Path) -> None:
    text = '[server]\npublic_url = "https://xds.north.example"\n'
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, text) as site:
        assert asked(site, "/", "xds.north.example").headers["Strict-Transport-Security"] == "max-age=31536000"
        assert asked(site, "/", "north.example").status == 421
