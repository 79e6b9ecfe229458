"""The pages to look at images with, by their markup and in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.archives.trees import TEST_FILES
from tests.endpoints.console.browsing import a_browser
from tests.endpoints.console.visiting import got, opened, sign_in
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.server.test_application import Site, serving
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.tables import audit_record


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    images = tmp_path / "images"
    for number in (1, 2, 3):
        put(images, f"made/{number}.dcm", an_instance(number, StudyDescription="<b>Thorax</b>"))
    shutil.copy(TEST_FILES / "CT_small.dcm", images)
    shutil.copy(TEST_FILES / "rtdose.dcm", images)
    with serving(database_url, tmp_path, f'[imaging_source]\nfolder = "{images}"\n') as site:
        source = site.application.domains[DEFAULT_DOMAIN].actors.imaging_source
        assert source._archive is not None
        source._archive.refresh()
        yield site


def test_studies_are_listed_and_found_by_their_patient(site: Site) -> None:
    assert got(site, "/console/studies")[1].count("<tr><td") == 3
    page = got(site, "/console/studies?PatientID=4711&ModalitiesInStudy=CT")[1]
    assert page.count("<tr><td") == 1
    assert "Müller Anna" in page
    assert "&lt;b&gt;Thorax" in page
    assert "No study meets this" in got(site, "/console/studies?PatientID=nobody")[1]


def test_a_study_leads_to_its_series_and_their_pictures(site: Site) -> None:
    page = got(site, f"/console/studies/{STUDY}")[1]
    assert f'href="/console/studies/{STUDY}/series/{SERIES}"' in page
    viewer = got(site, f"/console/studies/{STUDY}/series/{SERIES}")[1]
    assert len(re.findall(r'"address": "/console/studies/[^"]+"', viewer)) == 3
    assert viewer.count("/frames/1/rendered") == 4  # without scripts: the first, and a link to each
    assert "CT Image Storage" in viewer
    (thumbnail,) = re.findall(r'src="(/console/studies[^"]+thumbnail)"', page)
    with opened(site, thumbnail) as reply:
        assert reply.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize("path", ["1.2.9", f"{STUDY}/series/1.2.9", "%2A", "a"])
def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert got(site, f"/console/studies/{path}")[0] == 404


def test_each_look_is_in_the_audit_log(site: Site) -> None:
    got(site, f"/console/studies/{STUDY}")
    site.outcomes()
    with site.application.engine.connect() as connection:
        found = connection.execute(sa.select(audit_record.c.transaction, audit_record.c.outcome)).all()
    assert [tuple(row) for row in found] == [("RAD-129", 0)] * 2


def test_in_a_browser_the_viewer_says_which_image_it_shows(site: Site) -> None:
    with a_browser() as page:
        sign_in(page, site)
        page.goto(f"{site.url}/console/studies/{STUDY}/series/{SERIES}")
        # Without a window in the file it is all of the pixels' values, and the viewer says which (0x0100 to 0x1f1e).
        page.locator("#status", has_text="Image 1 of 3 (1), window 4111 / 7710 as stored, 100 %").wait_for()
