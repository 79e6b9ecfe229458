"""The images that merged manifests name come into the folder here; whose a study is no source says alone."""

from __future__ import annotations

from lxml import etree

from tests.builders import ANNA, BERT
from tests.imaging.images import SERIES, STUDY, an_instance, put
from tests.journeys.test_two_image_nodes import refreshed
from tests.merging.south import DORA, EMIL, LOCATION, Merging, a_manifest_of
from tests.regions import kept
from xds.ebxml.xdsb import DocumentRequest, ImagingRequest, InstanceRequest, write_imaging_request
from xds.imaging.entry import FORMAT_CODE
from xds.imaging.part10 import EXPLICIT_LITTLE
from xds.store import study_patients
from xds.store.registry.sql_registry import SqlRegistry
from xds.transactions.rad69_retrieve_imaging_document_set import TRANSACTION as RAD_69


def a_manifest_without_images(merging: Merging) -> None:
    """What is copied names three images that south has no more."""
    kept(merging.south, a_manifest_of(3), DORA, mime_type="application/dicom", format_code=FORMAT_CODE)
    merging.run("copy")
    for file in (merging.folder.parent / "south" / "images").rglob("*.dcm"):
        file.unlink()


def test_images_of_merged_manifests_come_into_the_archive_and_are_given_by_their_old_location(
    merging: Merging,
) -> None:
    kept(merging.south, a_manifest_of(3), DORA, mime_type="application/dicom", format_code=FORMAT_CODE)
    merging.run("copy")
    done = merging.run("images", "--json")
    assert (done.code, done.json["problems"]) == (0, [])
    assert (done.json["studies"], done.json["promised"], done.json["kept"], done.json["there"]) == (1, 3, 3, 0)
    again = merging.run("images", "--json").json
    assert (again["kept"], again["there"]) == (0, 3)
    refreshed(merging.here)
    asked = ImagingRequest(
        tuple(InstanceRequest(STUDY, SERIES, DocumentRequest(LOCATION, f"{SERIES}.{n}")) for n in (1, 2, 3)),
        (EXPLICIT_LITTLE,),
    )
    got = merging.here.send("/imaging-source", RAD_69.action, [etree.tostring(write_imaging_request(asked))], mtom=True)
    assert len(got.contents) == 3
    whose = merging.here.application.domains["default"].actors.study_patients.of([STUDY])
    assert whose[STUDY].id == str(ANNA)


def test_a_study_that_is_here_as_somebody_elses_stays_theirs(merging: Merging) -> None:
    put(merging.folder / "images", "mine.dcm", an_instance(9))
    refreshed(merging.here)
    kept(merging.south, a_manifest_of(3), DORA, mime_type="application/dicom", format_code=FORMAT_CODE)
    merging.run("copy")
    done = merging.run("images", "--json")
    assert (done.code, done.json["kept"]) == (1, 0)
    assert done.json["problems"] == [f"{STUDY}: it is here already, and was not merged as this patient's"]
    whose = merging.here.application.domains["default"].actors.study_patients.of([STUDY])
    assert whose[STUDY].id != str(ANNA)


def test_images_that_the_source_does_not_give_are_told(merging: Merging) -> None:
    kept(merging.south, a_manifest_of(4), DORA, mime_type="application/dicom", format_code=FORMAT_CODE)
    merging.run("copy")
    done = merging.run("images", "--json")
    assert (done.code, done.json["kept"]) == (1, 3)
    assert any(f"{SERIES}.4" in one for one in done.json["problems"])


def test_a_manifest_of_the_source_does_not_take_a_study_that_is_known_as_berts(merging: Merging) -> None:
    with merging.here.application.engine.begin() as connection:
        study_patients.keep(connection, STUDY, str(BERT))
    kept(merging.south, a_manifest_of(3), DORA, mime_type="application/dicom", format_code=FORMAT_CODE)
    merging.run("copy")
    merging.run("images")
    with merging.here.application.engine.connect() as connection:
        assert study_patients.of(connection, STUDY) == str(BERT)


def test_a_study_of_which_nothing_came_is_nobodys(merging: Merging) -> None:
    a_manifest_without_images(merging)
    done = merging.run("images", "--json")
    assert done.json["kept"] == 0
    with merging.here.application.engine.connect() as connection:
        assert study_patients.of(connection, STUDY) == ""


def test_the_images_of_whom_the_source_has_merged_are_theirs(merging: Merging) -> None:
    kept(merging.south, a_manifest_of(3), DORA, mime_type="application/dicom", format_code=FORMAT_CODE)
    kept(merging.south, b"emil", EMIL)
    merging.run("copy")
    merging.run("images")
    with merging.south.application.engine.begin() as connection:
        SqlRegistry(connection, "default").merge(DORA, EMIL)
    merging.run("copy")
    merging.run("images")
    with merging.here.application.engine.connect() as connection:
        assert study_patients.of(connection, STUDY) == str(BERT)


def test_images_that_come_from_a_modality_later_are_not_of_whom_the_source_says(merging: Merging) -> None:
    a_manifest_without_images(merging)
    merging.run("images")  # nothing comes
    put(merging.folder / "images", "mine.dcm", an_instance(9))  # of the study, from a modality here
    refreshed(merging.here)
    whose = merging.here.application.domains["default"].actors.study_patients.of([STUDY])
    assert whose[STUDY].id != str(ANNA)
