"""Two nodes with the images of one archive: each gives all of them, and keeps what the other has taken in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.archives.orthanc import Orthanc, orthanc, orthanc_server
from tests.builders import REPOSITORY
from tests.endpoints.dicomweb.test_service import got
from tests.endpoints.dicomweb.test_store import as_bytes, body, posted
from tests.imaging.images import SERIES, STUDY, a_rejection_note, an_instance, put, saved
from tests.journeys.test_pacs_behind import asked, made
from tests.server.test_application import Site, serving
from xds.archives.folder import FolderArchive
from xds.archives.intake import AnothersStudy, Intake, NotTaken, Reason
from xds.archives.senders import Sender
from xds.errors import Status
from xds.imaging.part10 import EXPLICIT_LITTLE

__all__ = ["orthanc", "orthanc_server"]

A, B = Sender("key of hospital A"), Sender("key of hospital B")
SAME = f'[repository]\nunique_id = "{REPOSITORY}"\n[imaging_source]\nretrieve_location_uid = "1.2.3.77"\n'


def nodes(stack: ExitStack, database_url: str, tmp_path: Path, text: str) -> list[Site]:
    """Two, on one database, each with a data folder of its own."""
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    return [stack.enter_context(serving(database_url, folder, text)) for folder in folders]


def test_two_nodes_before_one_pacs_give_the_same(database_url: str, tmp_path: Path, orthanc: Orthanc) -> None:
    orthanc.keep(*(saved(an_instance(number)) for number in range(1, 5)))
    text = f'{SAME}dicomweb = "{orthanc.dicomweb}"\ncache_bytes = 1000000\n'
    with ExitStack() as stack:
        found = [asked(site, *map(made, range(1, 5))) for site in nodes(stack, database_url, tmp_path, text)]
    assert found[0] == found[1]
    assert found[0][0] is Status.SUCCESS
    assert found[0][2][f"{SERIES}.3"] == saved(an_instance(3))


def test_two_nodes_with_one_folder_give_the_same_and_what_one_takes_the_other_has(
    database_url: str, tmp_path: Path
) -> None:
    for number in range(1, 5):
        put(tmp_path / "images", f"{number}.dcm", an_instance(number))
    text = f'{SAME}folder = "{tmp_path / "images"}"\nstow_rs = true\n'
    with ExitStack() as stack:
        one, other = nodes(stack, database_url, tmp_path, text)
        for site in (one, other):
            refreshed(site)
        assert asked(one, *map(made, range(1, 5))) == asked(other, *map(made, range(1, 5)))
        another = an_instance(1, StudyInstanceUID="1.2.77", SeriesInstanceUID="1.2.77.1", SOPInstanceUID="1.2.77.1.1")
        another.file_meta.MediaStorageSOPInstanceUID = "1.2.77.1.1"
        assert posted(one, body(as_bytes(another)))[0] == 200
        assert got(f"{other.url}/dicomweb/studies/1.2.77")[0] == 404
        refreshed(other)  # as its archive process does, each refresh_seconds
        assert got(f"{other.url}/dicomweb/studies/1.2.77")[0] == 200


def refreshed(site: Site) -> None:
    archive = site.application.domains["default"].actors.imaging_source._archive
    assert archive is not None
    archive.refresh()


# Whose a study is.


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[list[FolderArchive]]:
    """Of two nodes, over one tree."""
    (tmp_path / "images").mkdir()
    found = [FolderArchive(tmp_path / "images", tmp_path / n / "images.sqlite", tmp_path / n / "spool") for n in "ab"]
    yield found
    for one in found:
        one.close()


def sent(archive: FolderArchive, dataset: object, sender: Sender) -> bool:
    intake = Intake(archive)
    return intake.keep(intake.examined(put(intake.incoming, uuid4().hex, dataset)), sender)  # type: ignore[arg-type]


def test_nobody_adds_to_another_s_study_by_way_of_the_other_node(archives: list[FolderArchive]) -> None:
    first, second = archives
    assert sent(first, an_instance(1), A)
    with pytest.raises(AnothersStudy):
        sent(second, an_instance(2), B)
    with pytest.raises(AnothersStudy):
        sent(second, an_instance(2, PatientID="P2"), A)
    with pytest.raises(AnothersStudy):
        sent(second, a_rejection_note(f"{SERIES}.1"), B)
    assert sent(second, an_instance(2), A)
    assert not sent(first, an_instance(2), A)  # it is there, although this node has not seen it yet
    with pytest.raises(NotTaken) as refusal:
        sent(first, an_instance(2, PixelData=bytes(32)), A)
    assert refusal.value.reason is Reason.DUPLICATE
    for archive in archives:
        archive.refresh()
        assert {one.sop_instance_uid for one in archive.members(STUDY)} == {f"{SERIES}.1", f"{SERIES}.2"}
        with archive.open(archive.members(STUDY)[0], [EXPLICIT_LITTLE]) as ready:
            assert b"".join(ready.chunks()) == saved(an_instance(1))


def test_who_stored_a_study_before_nodes_could_share_it_has_still(archives: list[FolderArchive]) -> None:
    first, _ = archives
    assert sent(first, an_instance(1), A)
    note = first.root / ".stored-by" / STUDY
    before = first.root.parent / "a" / "images-stored-by"
    before.mkdir()
    note.rename(before / STUDY)
    with pytest.raises(AnothersStudy):
        sent(first, an_instance(2), B)
    assert sent(first, an_instance(2), A)
