"""A patient's studies across all sources, a manifest as a tree, and pictures of another site's images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from tests.builders import AUTHORITY, BERT, REPOSITORY, a_submission, an_entry
from tests.endpoints.console.browsing import a_browser
from tests.endpoints.console.visiting import got, opened, sign_in
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.initiating.test_patient_identifier_consumer import by_http
from tests.initiating.test_publisher import ANNA, Follower
from tests.server.test_application import Site, serving
from xds.endpoints.console import region
from xds.endpoints.console.region import _line
from xds.metadata.datatypes import Code
from xds.metadata.identifiers import Oid, PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store.registry import patients
from xds.store.tables import audit_record
from xds.wire.soap import around


@pytest.fixture
def north(database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A hospital with the registry, and a study of Anna's that is published."""
    images = tmp_path / "images"
    for number in (1, 2, 3):
        dataset = an_instance(number, StudyDescription="<b>Thorax</b>")
        dataset.PatientID, dataset.IssuerOfPatientIDQualifiersSequence = ANNA.id, []
        put(images, f"{number}.dcm", dataset)
    text = (
        f'[repository]\nunique_id = "{REPOSITORY}"\n[audit]\nenterprise_site_id = "North Hospital"\n'
        f'[imaging_source]\nfolder = "{images}"\nissuer = "{AUTHORITY}"\npublish_quiet_seconds = 0.0\n'
    )
    with serving(database_url, tmp_path, text) as site:
        Follower(site, images, tmp_path / "none").step()
        yield site


@pytest.fixture
def clinic(north: Site, tmp_path: Path) -> Iterator[Site]:
    """Another site, that has no images."""
    settings = north.application.settings
    text = (
        f'[server]\nactors = []\n[console]\nregistry_url = "{north.url}/registry"\n'
        f'[repositories]\n"{REPOSITORY}" = {{url = "{north.url}/repository", name = "North Hospital"}}\n'
        f'[imaging_sources]\n"{settings.imaging_source.retrieve_location_uid}" = "{north.url}/imaging-source"\n'
    )
    (tmp_path / "clinic").mkdir()
    with serving(f"sqlite:///{tmp_path / 'clinic/xds.sqlite'}", tmp_path / "clinic", text) as site:
        yield site


def patient_page(site: Site, patient: object = ANNA) -> str:
    status, page = got(site, f"/console/patients?patient={quote(str(patient))}")
    assert status == 200
    return page


def link(page: str, pattern: str) -> str:
    """The first address in a page that has this in it."""
    found = re.search(rf'(?:href|src)="([^"]*{pattern}[^"]*)"', page)
    assert found is not None
    return found[1].replace("&amp;", "&")


def transactions(site: Site) -> list[tuple[str, str, int, str]]:
    """Transaction, event, outcome and patient of every record."""
    columns = (audit_record.c.transaction, audit_record.c.event, audit_record.c.outcome, audit_record.c.patient_id)
    site.outcomes()
    with site.application.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(audit_record.c.id))]  # type: ignore[misc]


def test_a_patients_studies_are_listed_and_drawn_by_their_source(clinic: Site) -> None:
    page = patient_page(clinic)
    assert "&lt;b&gt;Thorax" in page
    assert page.count('<tr id="study-') == 1
    assert re.search(r'class="who">North Hospital<', page)
    assert 'href="#study-0"' in page
    # The clinic's registry is elsewhere, and answers Success with nothing for whom it does not know.
    assert "No documents, or an unknown patient" in patient_page(clinic, BERT)


def test_a_manifest_is_shown_as_a_tree_with_where_each_part_lives(clinic: Site, north: Site) -> None:
    tree = got(clinic, link(patient_page(clinic), "/tree"))[1]
    for part in (STUDY, SERIES, f"{SERIES}.3", north.application.settings.imaging_source.retrieve_location_uid):
        assert part in tree
    assert "3 instances" in tree
    assert "this source" not in tree


def test_pictures_of_another_site_are_shown_here(clinic: Site) -> None:
    tree = got(clinic, link(patient_page(clinic), "/tree"))[1]
    thumbnail = link(tree, "thumbnail")
    frame = f"{thumbnail.partition('/series')[0]}/instances/{SERIES}.2/frames/1/rendered"
    for address in (thumbnail, frame, f"{frame}?window=40,400,LINEAR", f"{frame}?window=nonsense"):
        assert picture(clinic, address).startswith(b"\xff\xd8")
    viewer = got(clinic, link(tree, "/series/[0-9.]+\\?"))[1]
    assert viewer.count("/frames/1/rendered") == 4  # without scripts: the first, and a link to each


def picture(site: Site, address: str) -> bytes:
    with opened(site, address) as reply:
        assert reply.headers["Content-Type"] == "image/jpeg"
        return bytes(reply.read())


def test_each_step_is_on_record_at_both_sites(clinic: Site, north: Site) -> None:
    before = len(transactions(north))
    tree = got(clinic, link(patient_page(clinic), "/tree"))[1]
    picture(clinic, link(tree, "thumbnail"))
    assert transactions(clinic) == [
        ("ITI-18", "110112", 0, str(ANNA)), ("ITI-43", "110107", 0, str(ANNA)), ("RAD-69", "110103", 0, str(ANNA)),
    ]  # fmt: skip
    assert [one[:3] for one in transactions(north)[before:]] == [
        ("ITI-18", "110112", 0), ("ITI-43", "110106", 0), ("RAD-69", "110104", 0),
    ]  # fmt: skip


def test_what_is_in_this_process_is_called_and_links_to_its_own_viewer(north: Site) -> None:
    tree = got(north, link(patient_page(north), "/tree"))[1]
    assert "this source" in tree
    assert link(tree, f"/console/studies/{STUDY}/series/{SERIES}")
    assert picture(north, link(tree, "thumbnail")).startswith(b"\xff\xd8")


@pytest.mark.parametrize("patient", ["anna", "a^^^&1.2&DNS"])
def test_what_is_no_patient_id_is_said_so(north: Site, patient: str) -> None:
    status, page = got(north, f"/console/patients?patient={quote(patient)}")
    assert (status, 'role="alert"' in page) == (400, True)


@pytest.mark.parametrize(
    ("patient", "here", "elsewhere"),
    [
        (PatientId("annna", AUTHORITY), "Unknown patient", "No documents, or an unknown patient"),
        (PatientId("anna", Oid("1.2.9.9")), f"Unknown authority: ids of this affinity domain are of {AUTHORITY}",
         f"Unknown authority: ids of this affinity domain are of {AUTHORITY}"),
        (PatientId("empty", AUTHORITY), "The patient is known, and has no study", "No documents, or an unknown"),
        (PatientId("letters", AUTHORITY), "The patient is known, and has no study", "The patient is known, and has no"),
        (PatientId("before", AUTHORITY), f"merged into anna^^^&amp;{AUTHORITY}&amp;ISO", "No documents, or an unknown"),
    ],
)  # fmt: skip
def test_each_reason_for_no_studies_is_told_in_its_own_words(
    north: Site, clinic: Site, patient: PatientId, here: str, elsewhere: str
) -> None:
    anna = PatientId("anna", AUTHORITY)
    with north.application.engine.begin() as connection:
        for name in ("anna", "empty", "before"):
            patients.add(connection, DEFAULT_DOMAIN, PatientId(name, AUTHORITY))
        patients.merge(connection, DEFAULT_DOMAIN, PatientId("before", AUTHORITY), anna)
    letters = PatientId("letters", AUTHORITY)
    entry = an_entry(patient_id=letters, format_code=Code("urn:ihe:pcc:xphr:2007", "1.3.6.1.4.1.19376.1.2.3", "XPHR"))
    north.provide(a_submission(patient=letters, entries=[entry]), [b"A" * (entry.size or 0)])
    for site, said in ((north, here), (clinic, elsewhere)):
        page = patient_page(site, patient)
        assert said in page
        assert page.count(' role="') == 2  # the form's, and that one answer's


def test_a_registry_that_refuses_an_unknown_patient_says_so(north: Site, clinic: Site) -> None:
    north.application.domains[DEFAULT_DOMAIN].actors.registry._refuse_unknown = True  # as by registry.unknown_patient
    assert "Unknown patient: the registry has nobody of this id" in patient_page(clinic, BERT)


def test_a_registry_that_does_not_answer_is_said_so(clinic: Site, north: Site, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    text = '[server]\nactors = []\n[console]\nregistry_url = "http://127.0.0.1:1/registry"\n'
    with serving(f"sqlite:///{folder / 'xds.sqlite'}", folder, text) as site:
        status, page = got(site, f"/console/patients?patient={quote(str(ANNA))}")
        assert (status, "does not answer" in page) == (502, True)
        assert transactions(site) == [("ITI-18", "110112", 8, str(ANNA))]


def test_a_repository_or_source_that_is_not_known_is_named(north: Site, clinic: Site) -> None:
    status, page = got(clinic, "/console/manifests/1.2.3.99/1.2.3/tree")
    assert (status, "1.2.3.99 is not in [repositories]" in page) == (502, True)
    clinic.application.settings.imaging_sources.clear()  # type: ignore[attr-defined]
    tree = got(clinic, link(patient_page(clinic), "/tree"))[1]
    assert got(clinic, link(tree, "thumbnail"))[0] == 502


def test_what_is_no_manifest_or_not_in_it_is_said_so(north: Site) -> None:
    entry = an_entry(patient_id=ANNA)
    north.provide(a_submission(patient=ANNA, entries=[entry]), [b"A" * (entry.size or 0)])
    assert got(north, f"/console/manifests/{REPOSITORY}/2.25.404/tree")[0] == 502
    base = link(patient_page(north), "/tree").partition("/tree")[0]
    assert got(north, f"{base}/series/1.2.9")[0] == 404
    assert got(north, f"{base}/instances/1.2.9/frames/1/rendered")[0] == 404
    assert got(north, f"{base}/instances/{SERIES}.1/frames/9/rendered")[0] == 404


def test_each_look_at_a_page_is_on_record_and_its_pictures_do_not_fetch_the_manifest_again(
    clinic: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = link(patient_page(clinic), "/tree")
    thumbnail = link(got(clinic, address)[1], "thumbnail")
    got(clinic, address)
    picture(clinic, thumbnail)
    assert [one[0] for one in transactions(clinic)] == ["ITI-18", "ITI-43", "ITI-43", "RAD-69"]
    monkeypatch.setattr(region, "_now", lambda: 1e9)
    picture(clinic, thumbnail)
    assert [one[0] for one in transactions(clinic)][4:] == ["ITI-43", "RAD-69"]


def test_a_process_that_has_not_seen_the_patient_records_whom_the_page_names(clinic: Site, tmp_path: Path) -> None:
    address = link(patient_page(clinic), "/tree")
    (tmp_path / "again").mkdir()
    text = (tmp_path / "clinic/xds.toml").read_text()
    with serving(f"sqlite:///{tmp_path / 'again/xds.sqlite'}", tmp_path / "again", text) as other:
        path = address.partition("?")[0]
        assert got(other, f"{path}?patient={quote(str(ANNA))}")[0] == 200
        assert transactions(other) == [("ITI-43", "110107", 0, str(ANNA))]


def test_an_answer_that_is_not_understood_is_said_so(tmp_path: Path) -> None:
    head, tail = around(())
    odd = b'<query:AdhocQueryResponse xmlns:query="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0" status="urn:odd"/>'
    with by_http(lambda *_: (200, "application/soap+xml", head + odd + tail)) as url:
        text = f'[server]\nactors = []\n[console]\nregistry_url = "{url}"\n'
        with serving(f"sqlite:///{tmp_path / 'xds.sqlite'}", tmp_path, text) as site:
            assert got(site, f"/console/patients?patient={quote(str(ANNA))}")[0] == 502
            assert transactions(site) == [("ITI-18", "110112", 8, str(ANNA))]


def test_behind_a_proxy_that_has_the_server_under_a_path_the_pages_work(tmp_path: Path) -> None:
    text = '[server]\npublic_url = "https://host.example/xds"\n'
    with serving(f"sqlite:///{tmp_path / 'xds.sqlite'}", tmp_path, text) as site:
        assert "Unknown patient" in patient_page(site, PatientId("o'neil", AUTHORITY))
        assert {one[3] for one in transactions(site)} == {f"o'neil^^^&{AUTHORITY}&ISO"}


def test_a_site_without_a_registry_has_no_such_page(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'xds.sqlite'}", tmp_path, '[server]\nactors = ["repository"]\n') as site:
        assert got(site, "/console/patients")[0] == 404
        assert "whole domain" not in got(site, "/console")[1]


@pytest.mark.parametrize(
    ("days", "places"),
    [
        ([], []),
        (["20200101"], [0.0]),
        (["20200121", "20200111", "20200101"], [100.0, 50.0, 0.0]),
        (["20200131", "20200131"], [0.0]),
        (["20200131", "2020", "00010101"], [0.0]),
    ],
)
def test_studies_are_drawn_where_their_days_are(days: list[str], places: list[float]) -> None:
    studies = [{"day": day, "date": day, "modalities": "CT", "title": "t", "source": "s"} for day in days]
    line = _line(studies) or {"rows": []}
    assert [mark["at"] for row in line["rows"] for mark in row["marks"]] == places


def test_in_a_browser_a_remote_series_is_shown(clinic: Site) -> None:
    tree = got(clinic, link(patient_page(clinic), "/tree"))[1]
    with a_browser() as page:
        sign_in(page, clinic)
        page.goto(clinic.url + link(tree, "/series/[0-9.]+\\?"))
        page.locator("#status", has_text="Image 1 of 3 (1), window 4111 / 7710 as stored, 100 %").wait_for()
