"""Pages of other origins.  Fetch Standard, CORS protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.server.test_application import Site, serving
from xds.errors import Unusable
from xds.settings.sections import DEFAULT_DOMAIN
from xds.wire.cors import Cors

VIEWER, STRANGER = "https://viewer.example.org", "https://stranger.example.org"
STUDIES, OBJECT = (
    "/dicomweb/studies",
    f"/wado?requestType=WADO&studyUID={STUDY}&seriesUID={SERIES}&objectUID={SERIES}.1",
)


def opened(database_url: str, tmp_path: Path, origins: str) -> Iterator[Site]:
    put(tmp_path / "images", "1.dcm", an_instance(1))
    text = f'[server]\ncors_origins = {origins}\n[imaging_source]\nfolder = "{tmp_path / "images"}"\n'
    with serving(database_url, tmp_path, text) as site:
        source = site.application.domains[DEFAULT_DOMAIN].actors.imaging_source
        assert source._archive is not None
        source._archive.refresh()
        yield site


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    yield from opened(database_url, tmp_path, f'["{VIEWER}"]')


@pytest.fixture
def closed(database_url: str, tmp_path: Path) -> Iterator[Site]:
    yield from opened(database_url, tmp_path, "[]")


@pytest.fixture
def wide(database_url: str, tmp_path: Path) -> Iterator[Site]:
    yield from opened(database_url, tmp_path, '["*"]')


def asked(site: Site, path: str, origin: str = VIEWER, method: str = "GET", **more: str) -> tuple[int, dict[str, str]]:
    headers = {"Origin": origin, **{name.replace("_", "-"): value for name, value in more.items()}}
    try:
        with urlopen(Request(site.url + path, headers=headers, method=method)) as reply:  # noqa: S310
            return reply.status, dict(reply.headers)
    except HTTPError as problem:
        return problem.code, dict(problem.headers)


def preflight(site: Site, path: str, origin: str = VIEWER) -> tuple[int, dict[str, str]]:
    more = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "accept"}
    return asked(site, path, origin, "OPTIONS", **more)


@pytest.mark.parametrize("path", [STUDIES, OBJECT, f"{STUDIES}/1.2.9/metadata", f"{STUDIES}?fuzzymatching=true"])
def test_a_page_of_an_origin_that_is_named_may_read_images(site: Site, path: str) -> None:
    _, headers = asked(site, path)
    assert headers["Access-Control-Allow-Origin"] == VIEWER
    assert headers["Vary"] == "Origin"
    assert "Warning" in headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("path", [STUDIES, OBJECT])
def test_its_browser_may_ask_beforehand(site: Site, path: str) -> None:
    status, headers = preflight(site, path)
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == VIEWER
    assert "GET" in headers["Access-Control-Allow-Methods"]
    assert "Accept" in headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", VIEWER + ".evil.example", "http://viewer.example.org", VIEWER + ":8443"]
)
def test_a_page_of_another_origin_may_not(site: Site, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in asked(site, STUDIES, origin)[1]
    status, headers = preflight(site, STUDIES, origin)
    assert status == 405
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("path", ["/console/", "/registry", "/metrics", "/fhir/metadata", "/wadox"])
def test_nothing_but_images_may_be_read(site: Site, path: str) -> None:
    assert "Access-Control-Allow-Origin" not in asked(site, path)[1]
    assert "Access-Control-Allow-Origin" not in preflight(site, path)[1]


def test_without_the_setting_no_page_may(closed: Site) -> None:
    assert not {"Access-Control-Allow-Origin", "Vary"} & set(asked(closed, STUDIES)[1])
    assert preflight(closed, STUDIES)[0] == 405


def test_any_page_may_where_the_operator_says_so(wide: Site) -> None:
    assert asked(wide, STUDIES, STRANGER)[1]["Access-Control-Allow-Origin"] == "*"
    assert preflight(wide, STUDIES, STRANGER)[0] == 204


@pytest.mark.parametrize(
    "origin",
    ["viewer.example.org", VIEWER + "/", "https://Viewer.example.org", "ftp://x", "", "https://*", f"{VIEWER}\r\nX: y"],
)
def test_an_origin_that_is_none_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(Unusable, match="cors_origins"):
        Cors([origin])
