"""The guides as pages: readable by whoever may see the console, their HTML escaped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.endpoints.console.visiting import got
from tests.server.test_application import Site, serving
from xds.system.guides import guides


@pytest.fixture
def site(sqlite_template: Path, tmp_path: Path) -> Iterator[Site]:
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, "") as site:
        yield site


def test_the_start_page_leads_to_the_guides_and_these_to_each(site: Site) -> None:
    assert 'href="/console/guides"' in got(site, "/console")[1]
    listed = got(site, "/console/guides")[1]
    for guide in guides():
        assert f'href="/console/guides/{guide.name}"' in listed
        status, page = got(site, f"/console/guides/{guide.name}")
        assert status == 200
        assert f"<h1>{guide.title}</h1>" in page
        assert "<table>" in page or guide.name in ("ehr", "auditor")


@pytest.mark.parametrize("path", ["/console", "/console/guides/ehr", "/console/sign-in", "/console/nothing-here"])
def test_what_an_operator_has_to_say_stands_on_every_page(sqlite_template: Path, tmp_path: Path, path: str) -> None:
    text = '[console]\nnotice = "TEST: nobody here is <real>"\n'
    with serving(f"sqlite:///{tmp_path}/xds.sqlite", tmp_path, text) as site:
        _, page = got(site, path)
    assert '<p class="notice" role="note">TEST: nobody here is &lt;real&gt;</p>' in page


def test_where_nothing_is_said_nothing_stands_there(site: Site) -> None:
    assert "notice" not in got(site, "/console")[1]


def test_messages_in_a_guide_are_text_and_not_markup(site: Site) -> None:
    page = got(site, "/console/guides/ehr")[1]
    assert "&lt;soap:Envelope" in page
    assert "<soap:Envelope" not in page
    assert "<script" not in page


def test_a_guide_that_is_not_there_is_nothing_at_this_address(site: Site) -> None:
    for name in ("nurse", "ehr.md", "..%2FREADME", "%00", "EHR"):
        assert got(site, f"/console/guides/{name}")[0] == 404


def test_the_guides_are_for_whoever_has_signed_in(site: Site) -> None:
    with urlopen(f"{site.url}/console/guides/auditor") as reply:  # noqa: S310
        page = reply.read().decode()
    assert 'name="password"' in page  # the sign-in, and nothing of the guide
    assert "who saw what" not in page
    assert "who saw what" in got(site, "/console/guides/auditor", role="auditor")[1]
