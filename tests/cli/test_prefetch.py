"""``xds prefetch``: an order's priors are in the PACS here, as its own patient's, before they are looked at."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from tests.archives.orthanc import TITLE, Orthanc, orthanc, orthanc_server
from tests.builders import AUTHORITY
from tests.cli.command import Done, xds
from tests.conftest import wait_for
from tests.hl7.test_orders import orm
from tests.hostile.server import Served
from tests.imaging.images import STUDY, an_instance, put
from xds.demo.site import free_port

__all__ = ["orthanc", "orthanc_server"]

ANNA, LOCAL = f"anna^^^&{AUTHORITY}&ISO", "L-17^^^&1.2.3.4.9&ISO"


@pytest.fixture(scope="module")
def north(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A hospital that has published a CT of Anna's chest of three images, made on the first of March."""
    folder = tmp_path_factory.mktemp("north")
    for number in (1, 2, 3):
        put(folder / "images", f"{number}.dcm", an_instance(number))
    served = Served(folder, {"imaging_source": {"folder": str(folder / "images"), "refresh_seconds": 0.5}}).start()
    done = xds("publish", folder / "images", "--patient", ANNA, "--repository", f"{served.url}/repository",
               "--config", served.config)  # fmt: skip
    assert done.code == 0, done.err
    yield served
    assert served.stop() == 0


@pytest.fixture
def clinic(north: Served, tmp_path: Path) -> Path:
    """A clinic with a PACS of its own, which knows Anna by another id."""
    settings, config = north.settings, tmp_path / "clinic.toml"
    config.write_text(
        f'[server]\ndata = "{tmp_path}/clinic"\n[domain]\nassigning_authorities = ["{AUTHORITY}"]\n'
        f'[imaging_source]\nissuer = "1.2.3.4.9"\n'
        f'[repositories]\n"{settings.repository.unique_id}" = {{url = "{north.url}/repository", name = "North"}}\n'
        f'[imaging_sources]\n"{settings.imaging_source.retrieve_location_uid}" = "{north.url}/imaging-source"\n'
    )
    return config


@pytest.fixture
def order(tmp_path: Path) -> Path:
    path = tmp_path / "order.hl7"
    path.write_text(
        orm()
        .replace(f"anna^^^&{AUTHORITY}&ISO", f"{LOCAL}~{ANNA}")
        .replace("20261201", "20260401")
        .replace("19560527", "19561127")
    )
    return path


def prefetch(north: Served, clinic: Path, order: Path, port: int, *more: object) -> Done:
    return xds("prefetch", "--order", order, "--into", f"{TITLE}@127.0.0.1:{port}", "--registry",
               f"{north.url}/registry", "--body-part", "CHEST", "--config", clinic, *more)  # fmt: skip


def kept(orthanc: Orthanc) -> list[Any]:
    """The images of the clinic's PACS."""
    return [
        pydicom.dcmread(io.BytesIO(requests.get(f"{orthanc.url}/instances/{one}/file", timeout=10).content))
        for one in requests.get(f"{orthanc.url}/instances", timeout=10).json()
    ]


def ready(north: Served, clinic: Path, tmp_path: Path) -> None:
    """Once the hospital gives its images: its index is made when it has time."""
    wait_for(lambda: xds("fetch", "--patient", ANNA, "--registry", f"{north.url}/registry", "--to", tmp_path / "got",
                         "--config", clinic).code == 0)  # fmt: skip


def test_the_priors_are_in_the_pacs_as_its_own_patients_and_are_sent_once(
    north: Served, clinic: Path, order: Path, orthanc: Orthanc, tmp_path: Path
) -> None:
    ready(north, clinic, tmp_path)
    done = prefetch(north, clinic, order, orthanc.dicom_port, "--accession-prefix", "N-")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"1 of 1 prior at {TITLE}"
    assert "3 of 3 images sent" in done.out
    images = kept(orthanc)
    assert {(one.PatientID, one.StudyInstanceUID, one.AccessionNumber) for one in images} == {("L-17", STUDY, "N-A1")}
    assert {one.OtherPatientIDsSequence[0].PatientID for one in images} == {"4711"}
    assert len(images) == 3
    again = prefetch(north, clinic, order, orthanc.dicom_port, "--json")
    assert [(one["wasThere"], one["sent"], one["images"]) for one in again.json] == [(True, 0, 3)]


def test_each_step_is_on_record_with_whose_images_they_are(
    north: Served, clinic: Path, order: Path, orthanc: Orthanc, tmp_path: Path
) -> None:
    ready(north, clinic, tmp_path)
    prefetch(north, clinic, order, orthanc.dicom_port)
    rows = xds("audit", "list", "--json", "--config", clinic).json
    assert {row["patient"] for row in rows if row["transaction"] or "DICOM" in row["event"]} == {ANNA}
    events = [row["event"] for row in rows]
    assert events.count("Begin Transferring DICOM Instances") == events.count("DICOM Instances Transferred") == 1


def test_what_the_pacs_lacks_is_sent_and_nothing_else(
    north: Served, clinic: Path, order: Path, orthanc: Orthanc, tmp_path: Path
) -> None:
    ready(north, clinic, tmp_path)
    prefetch(north, clinic, order, orthanc.dicom_port)
    one = requests.get(f"{orthanc.url}/instances", timeout=10).json()[0]
    requests.delete(f"{orthanc.url}/instances/{one}", timeout=10).raise_for_status()
    (again,) = prefetch(north, clinic, order, orthanc.dicom_port, "--json").json
    assert (again["sent"], again["images"], again["problems"]) == (1, 3, [])
    assert len(kept(orthanc)) == 3


def test_images_of_somebody_else_and_a_study_that_is_there_under_another_id_are_not_touched(
    north: Served, clinic: Path, order: Path, orthanc: Orthanc, tmp_path: Path
) -> None:
    ready(north, clinic, tmp_path)
    mended = order.read_text()
    order.write_text(mended.replace("19561127", "19700101"))
    done = prefetch(north, clinic, order, orthanc.dicom_port, "--json")
    assert (done.code, kept(orthanc)) == (1, [])
    assert all("birth date is not the patient's" in problem for problem in done.json[0]["problems"])
    orthanc.keep((north.folder / "images" / "1.dcm").read_bytes())
    order.write_text(mended)
    done = prefetch(north, clinic, order, orthanc.dicom_port, "--json")
    assert (done.code, "under another patient id" in done.json[0]["problems"][0]) == (1, True)
    assert [one.PatientID for one in kept(orthanc)] == ["4711"]


def test_a_pacs_that_is_away_is_said_and_nothing_is_fetched(
    north: Served, clinic: Path, order: Path, tmp_path: Path
) -> None:
    ready(north, clinic, tmp_path)
    before = len(xds("audit", "list", "--json", "--transaction", "RAD-69", "--config", clinic).json)
    done = prefetch(north, clinic, order, free_port())
    assert (done.code, "does not answer" in done.err) == (1, True), done.err
    assert len(xds("audit", "list", "--json", "--transaction", "RAD-69", "--config", clinic).json) == before


def test_what_cannot_be_done_is_said_before_anything_is(
    north: Served, clinic: Path, order: Path, orthanc: Orthanc, tmp_path: Path
) -> None:
    done = prefetch(north, clinic, order, orthanc.dicom_port, "--into", "nonsense")
    assert (done.code, "TITLE@HOST:PORT" in done.err) == (1, True), done.err
    order.write_text(orm())
    done = prefetch(north, clinic, order, orthanc.dicom_port)
    assert (done.code, "no patient id of 1.2.3.4.9" in done.err) == (3, True), done.err
    assert kept(orthanc) == []
    done = prefetch(north, clinic, order, orthanc.dicom_port, "--local", LOCAL, "--on", "2045-01-01", "--json")
    assert (done.code, done.json) == (0, [])  # too old to matter
