"""``xds fetch``: by either way, several sources, priors, and what is handed on."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.assertions import signed
from tests.builders import AUTHORITY, an_entry, text
from tests.cli.command import Done, xds
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.imaging.images import SERIES, STUDY, an_instance, put
from xds.archives.web import Web
from xds.cli.fetch import priors
from xds.cli.packing import file_set, zipped
from xds.demo.site import free_port
from xds.errors import Unusable
from xds.metadata.datatypes import Code, Dtm, ReferenceId
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.vocabulary import REFERENCE_STUDY

ANNA = f"anna^^^&{AUTHORITY}&ISO"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A hospital whose manifests name its WADO-RS service, with a study of three instances published."""
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    for number in (1, 2, 3):
        put(folder / "images", f"{number}.dcm", an_instance(number))
    imaging = {
        "folder": str(folder / "images"),
        "retrieve_url": f"http://127.0.0.1:{port}/dicomweb",
        "refresh_seconds": 0.5,
    }
    served = Served(folder, {"imaging_source": imaging}, port=port).start()
    done = xds("publish", folder / "images", "--patient", ANNA, "--repository", f"{served.url}/repository",
               "--config", served.config)  # fmt: skip
    assert done.code == 0, done.err
    yield served
    assert served.stop() == 0


@pytest.fixture
def clinic(site: Served, tmp_path: Path) -> Path:
    """A clinic that knows the repository, and the source by its manifest alone."""
    settings = site.settings
    config = tmp_path / "clinic.toml"
    config.write_text(
        f'[server]\ndata = "{tmp_path}/clinic"\n'
        f'[repositories]\n"{settings.repository.unique_id}" = "{site.url}/repository"\n'
        f'[console]\nfetch_from = ["{site.url}"]\n'  # without it nothing that a manifest names is called
    )
    return config


def fetch(site: Served, to: Path, config: Path, *more: object) -> Done:
    return xds("fetch", "--patient", ANNA, "--registry", f"{site.url}/registry", "--to", to, "--config", config,
               "--json", *more)  # fmt: skip


def test_a_source_that_only_the_manifest_knows_is_asked_by_wado_rs(site: Served, clinic: Path, tmp_path: Path) -> None:
    wait_for(lambda: fetch(site, tmp_path / "first", clinic).code == 0)  # the index is made
    done = fetch(site, tmp_path / "got", clinic)
    assert (done.code, done.json["arrived"], done.json["problems"]) == (0, 3, [])
    for number in (1, 2, 3):
        fetched = tmp_path / "got" / STUDY / SERIES / f"{SERIES}.{number}.dcm"
        assert fetched.read_bytes() == (site.folder / "images" / f"{number}.dcm").read_bytes()
    rows = xds("audit", "list", "--json", "--transaction", "RAD-107", "--config", clinic).json
    assert [(row["event"], row["outcome"], row["patient"]) for row in rows[:1]] == [
        ("DICOM Instances Accessed", "0", ANNA)
    ]
    assert fetch(site, tmp_path / "other", clinic, "--by", "rad-69").code == 1  # not in the settings


def test_for_whom_images_are_fetched_is_told_to_known_sources_alone(
    site: Served, clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest names the WADO-RS service: whoever may publish one could have the assertion sent anywhere."""
    (tmp_path / "me.xml").write_bytes(signed())
    monkeypatch.setenv("XDS_XUA_ASSERTION", str(tmp_path / "me.xml"))
    sent: list[str] = []
    real = Web.__init__

    def noting(self: Web, url: str, **more: Any) -> None:
        sent.append(more["authorization"])
        real(self, url, **more)

    monkeypatch.setattr(Web, "__init__", noting)
    wait_for(lambda: fetch(site, tmp_path / "first", clinic, "--by", "wado-rs").code == 0)
    assert set(sent) == {""}
    sent.clear()
    uid = site.settings.imaging_source.retrieve_location_uid
    clinic.write_text(clinic.read_text() + f'[imaging_sources]\n"{uid}" = "{site.url}/imaging-source"\n')
    assert fetch(site, tmp_path / "second", clinic, "--by", "wado-rs").code == 0
    assert {one[:8] for one in sent} == {"Bearer P"}  # of "<saml:Assertion"


@pytest.mark.parametrize("more", [(), ("--by", "wado-rs")])
def test_a_source_that_nobody_here_has_named_is_not_called(
    site: Served, clinic: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    clinic.write_text(clinic.read_text().replace(f'["{site.url}"]', "[]"))
    before = len(xds("audit", "list", "--json", "--transaction", "RAD-107", "--config", site.config).json)
    done = fetch(site, tmp_path / "got", clinic, *more)
    assert done.code == 1
    assert f"console.fetch_from names it: {site.url}" in done.err
    assert len(xds("audit", "list", "--json", "--transaction", "RAD-107", "--config", site.config).json) == before


def test_an_instance_that_does_not_come_by_wado_rs_is_named(site: Served, clinic: Path, tmp_path: Path) -> None:
    wait_for(lambda: fetch(site, tmp_path / "first", clinic).code == 0)
    image = site.folder / "images" / "2.dcm"
    kept = image.read_bytes()
    image.unlink()
    try:
        done = fetch(site, tmp_path / "got", clinic)
    finally:
        image.write_bytes(kept)
    assert (done.code, done.json["arrived"]) == (1, 2)
    assert any(f"{SERIES}.2" in problem for problem in done.json["problems"])
    rows = xds("audit", "list", "--json", "--transaction", "RAD-107", "--config", clinic).json
    assert sorted(row["outcome"] for row in rows[:2]) == ["0", "4"]


def test_what_was_fetched_is_handed_on_as_a_file_set_and_as_a_zip(site: Served, clinic: Path, tmp_path: Path) -> None:
    wait_for(lambda: fetch(site, tmp_path / "first", clinic).code == 0)
    done = fetch(site, tmp_path / "got", clinic, "--dicomdir", "--zip", tmp_path / "out/study.zip")
    assert done.code == 0
    directory = pydicom.dcmread(tmp_path / "got/file-set/DICOMDIR")
    assert sum(item.DirectoryRecordType == "IMAGE" for item in directory.DirectoryRecordSequence) == 3
    with zipfile.ZipFile(tmp_path / "out/study.zip") as packed:
        assert packed.testzip() is None
        assert sorted(name.rpartition("/")[2] for name in packed.namelist()) == [
            *(f"{SERIES}.{n}.dcm" for n in (1, 2, 3)), "manifest.dcm",
        ]  # fmt: skip


def test_what_cannot_be_packed_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "study/series").mkdir(parents=True)
    (tmp_path / "study/series/1.dcm").write_bytes(b"no image")
    with pytest.raises(Unusable, match="no file-set"):
        file_set([tmp_path / "study"], tmp_path / "set")
    (tmp_path / "file").touch()
    with pytest.raises(Unusable):
        zipped([tmp_path / "study"], tmp_path / "file" / "x.zip")
    assert not list(tmp_path.glob("**/*.part"))


# Priors.


def a_manifest(study: str, began: str, *codes: str, **changes: Any) -> DocumentEntry:
    return an_entry(
        reference_id_list=(ReferenceId.of(study, REFERENCE_STUDY),), service_start_time=Dtm(began),
        event_code_list=tuple(Code(code, "1.2", code) for code in codes), title=text(study), **changes,
    )  # fmt: skip


def test_priors_are_earlier_studies_of_the_same_modality_or_anatomy_newest_first() -> None:
    now = a_manifest("1.0", "20250601", "CT", "chest")
    older, newer = a_manifest("1.1", "2023", "CT"), a_manifest("1.2", "202412", "CT", "head")
    region = a_manifest("1.3", "2024", "MR", "chest")
    later, other = a_manifest("1.4", "202507", "CT"), a_manifest("1.5", "2020", "US", "knee")
    report = a_manifest("1.6", "2024", "CT", format_code=Code("urn:x", "1.2", "x"))
    found = priors([older, now, later, other, report, region, newer], "1.0")
    assert [one.entry_uuid for one in found] == [one.entry_uuid for one in (newer, region, older)]


def test_of_a_study_that_says_nothing_of_itself_every_earlier_one_is_a_prior() -> None:
    now, older = a_manifest("1.0", "2025"), a_manifest("1.1", "2023", "MR")
    assert priors([now, older], "1.0") == [older]


def test_a_study_that_the_registry_does_not_have_has_no_priors(site: Served, clinic: Path, tmp_path: Path) -> None:
    done = fetch(site, tmp_path / "got", clinic, "--priors-of", "1.2.9")
    assert (done.code, "no manifest of study 1.2.9" in done.err) == (1, True)
    none = fetch(site, tmp_path / "got", clinic, "--priors-of", STUDY)
    assert (none.code, none.json["studies"]) == (0, 0)
