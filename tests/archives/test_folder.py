"""A folder as an archive: what it finds, gives and refuses.  The sentences of ``archives/interface.py``."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from tests.archives.trees import a_tree, an_archive, given, held, opened
from tests.imaging.images import CT, SERIES, STUDY, a_kos, a_series, an_instance, put, saved
from xds.archives.folder import FolderArchive
from xds.archives.interface import Archive, Gone, NotEncodable, Refreshed, SpoolFull
from xds.imaging.instance import read_file
from xds.imaging.manifest import Code, InstanceReference
from xds.imaging.part10 import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from xds.imaging.study import scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return a_tree(tmp_path / "tree")


@pytest.fixture
def archive(folder: Path) -> Iterator[FolderArchive]:
    archive = an_archive(folder)
    yield archive
    archive.close()


def test_a_folder_is_an_archive(archive: FolderArchive) -> None:
    promised: Archive = archive
    assert promised.find(STUDY, SERIES, f"{SERIES}.1") is not None


def test_an_instance_is_found_in_its_series_of_its_study_only(archive: FolderArchive) -> None:
    one = held(archive)
    assert (one.sop_class_uid, one.transfer_syntax_uid) == (CT, EXPLICIT_LITTLE)
    assert archive.find("1.2.9", SERIES, f"{SERIES}.1") is None
    assert archive.find(STUDY, "1.2.9", f"{SERIES}.1") is None
    assert archive.find(STUDY, SERIES, "1.2.9") is None


def test_studies_are_those_that_a_scan_finds(folder: Path) -> None:
    """Read at once; of a study that is known already what another patient's file does is below."""
    put(folder, "bad/1.dcm", an_instance(8, PatientID="4712"))
    put(folder, "other.dcm", an_instance(9, StudyInstanceUID="1.2.3.200", SeriesInstanceUID="1.2.3.200.1"))
    (folder / "odd.txt").write_text("no image")
    archive, expected = an_archive(folder), scan(folder)
    assert tuple(archive.studies()) == expected.studies
    assert {p.path for p in archive.problems()} == {p.path for p in expected.problems}
    assert archive.study("1.2.3.200") == expected.studies[0]
    assert archive.study(STUDY) is None
    assert archive.study("1.2.9") is None


def test_an_instance_as_stored_is_the_file_byte_for_byte(archive: FolderArchive, folder: Path) -> None:
    expected = (folder / "ct/1.dcm").read_bytes()
    with archive.open(held(archive), [IMPLICIT_LITTLE, EXPLICIT_LITTLE]) as ready:
        assert ready.transfer_syntax_uid == EXPLICIT_LITTLE
        assert ready.sha256 == hashlib.sha256(expected).hexdigest()
        assert b"".join(ready.chunks(7)) == expected
        assert b"".join(ready.chunks()) == expected


def test_a_file_without_a_header_is_given_with_one(folder: Path) -> None:
    data = saved(an_instance(3))
    bare = data[data.index(b"\x08\0\x05\0CS") :]
    (folder / "bare.dcm").write_bytes(bare)
    archive = an_archive(folder)
    with archive.open(held(archive, 3), [EXPLICIT_LITTLE]) as ready:
        assert ready.sha256 is None
    whole = given(archive, held(archive, 3))
    assert whole.endswith(bare)
    dataset = pydicom.dcmread(BytesIO(whole))
    assert dataset.file_meta.MediaStorageSOPInstanceUID == f"{SERIES}.3"
    assert dataset.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE


def test_a_new_a_changed_and_a_vanished_file_are_noticed(archive: FolderArchive, folder: Path) -> None:
    put(folder, "ct/3.dcm", an_instance(3))
    put(folder, "ct/1.dcm", an_instance(1, PatientName="Müller^Anna Maria"))
    (folder / "ct/2.dcm").unlink()
    assert archive.refresh() == Refreshed(added=1, changed=1, removed=1, unchanged=0, problems=0)
    assert archive.find(STUDY, SERIES, f"{SERIES}.2") is None
    (study,) = archive.studies()
    assert [one.instance_number for one in study.instances] == [1, 3]


def test_unchanged_files_are_not_read_again(archive: FolderArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.archives.folder.read_file", None)
    assert archive.refresh() == Refreshed(added=0, changed=0, removed=0, unchanged=2, problems=0)


def test_what_was_read_is_kept(archive: FolderArchive, folder: Path) -> None:
    assert held(opened(folder)) == held(archive)
    assert tuple(opened(folder).studies()) == tuple(archive.studies())


def test_progress_is_told(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    opened(folder).refresh(lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_another_fallback_character_set_has_everything_read_again(archive: FolderArchive, folder: Path) -> None:
    assert opened(folder, fallback_character_set="ISO_IR 100").refresh().added == 2


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 2000])
def test_a_damaged_index_is_made_anew(folder: Path, content: bytes) -> None:
    index = folder.parent / "tree-kept/index.sqlite"
    index.parent.mkdir()
    index.write_bytes(content)
    assert an_archive(folder).refresh().unchanged == 2


def test_an_index_of_another_version_is_made_anew(archive: FolderArchive, folder: Path) -> None:
    archive.close()
    with sqlite3.connect(folder.parent / "tree-kept/index.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    assert opened(folder).refresh().added == 2


def test_only_its_owner_may_read_the_index(archive: FolderArchive, folder: Path) -> None:
    for path in (folder.parent / "tree-kept").glob("index.sqlite*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_vanished_is_gone(archive: FolderArchive, folder: Path) -> None:
    one = held(archive)
    (folder / "ct/1.dcm").unlink()
    with pytest.raises(Gone):
        archive.open(one, [EXPLICIT_LITTLE])


def test_a_file_that_changed_is_gone(archive: FolderArchive, folder: Path) -> None:
    one = held(archive)
    put(folder, "ct/1.dcm", an_instance(1, PatientID="4712"))
    with pytest.raises(Gone):
        archive.open(one, [EXPLICIT_LITTLE])


def test_a_file_that_vanishes_after_it_was_opened_is_gone(archive: FolderArchive, folder: Path) -> None:
    with archive.open(held(archive), [EXPLICIT_LITTLE]) as ready:
        (folder / "ct/1.dcm").unlink()
        with pytest.raises(Gone):
            list(ready.chunks())


def test_bytes_that_changed_under_the_same_size_and_time_never_come_whole(folder: Path) -> None:
    path = folder / "ct/1.dcm"
    archive, status, data = an_archive(folder), path.stat(), path.read_bytes()
    path.write_bytes(data[:-1] + b"\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with archive.open(held(archive), [EXPLICIT_LITTLE]) as ready:
        came: list[bytes] = []
        with pytest.raises(Gone, match="bytes are not"):
            came.extend(ready.chunks(100))
    assert 0 < sum(map(len, came)) < len(data)


def test_a_file_that_becomes_a_link_is_gone(archive: FolderArchive, folder: Path) -> None:
    one, path = held(archive), folder / "ct/1.dcm"
    moved = path.rename(folder.parent / "moved.dcm")
    path.symlink_to(moved)
    with pytest.raises(Gone):
        archive.open(one, [EXPLICIT_LITTLE])


def test_a_folder_that_becomes_a_link_is_gone(archive: FolderArchive, folder: Path) -> None:
    one = held(archive)
    moved = (folder / "ct").rename(folder.parent / "elsewhere")
    (folder / "ct").symlink_to(moved)
    with pytest.raises(Gone):
        archive.open(one, [EXPLICIT_LITTLE])


def test_links_are_not_followed(folder: Path) -> None:
    elsewhere = a_tree(folder.parent / "elsewhere", 5)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "5.dcm").symlink_to(elsewhere / "ct/5.dcm")
    archive = an_archive(folder)
    assert archive.find(STUDY, SERIES, f"{SERIES}.5") is None
    assert {p.message for p in archive.problems()} == {"a symbolic link, which is not followed"}


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "nowhere")


def test_a_zone_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        opened(folder, zone="Europe/Nowhere")


def test_the_same_instance_in_two_files_is_given_from_the_first(folder: Path) -> None:
    shutil.copy(folder / "ct/1.dcm", folder / "ct/0.dcm")
    archive = an_archive(folder)
    assert held(archive).locator == "ct/0.dcm"
    assert [p.path.name for p in archive.problems()] == ["1.dcm"]


def test_what_a_rejection_note_takes_back_is_not_found_until_the_note_goes(folder: Path) -> None:
    note = a_kos(title=Code("113001", "DCM", "x"), series=(a_series(1, InstanceReference(CT, f"{SERIES}.1")),))
    put(folder, "note.dcm", note)
    archive = an_archive(folder)
    assert archive.find(STUDY, SERIES, f"{SERIES}.1") is None
    assert [p.message for p in archive.problems()] == ["taken back by a rejection note"]
    (folder / "note.dcm").unlink()
    archive.refresh()
    assert archive.find(STUDY, SERIES, f"{SERIES}.1") is not None


def test_nothing_listed_that_can_be_made_is_not_encodable(archive: FolderArchive) -> None:
    for syntaxes in ([], ["1.2.840.10008.1.2.4.50"], ["1.2.840.10008.1.2.2"]):
        with pytest.raises(NotEncodable):
            archive.open(held(archive), syntaxes)


def test_a_transcoded_instance_lives_in_the_spool_until_it_is_closed(archive: FolderArchive, folder: Path) -> None:
    spool = folder.parent / "tree-kept/spool"
    with archive.open(held(archive), [IMPLICIT_LITTLE]) as ready:
        (spooled,) = spool.iterdir()
        assert spooled.stat().st_mode & 0o077 == 0
        data = b"".join(ready.chunks(10))
        assert hashlib.sha256(data).hexdigest() == ready.sha256
    assert list(spool.iterdir()) == []


def test_a_full_spool_is_told_and_empties(folder: Path) -> None:
    archive = an_archive(folder, spool_bytes=2 * 1024 * 1024)
    with archive.open(held(archive, 1), [IMPLICIT_LITTLE]) as first:
        with archive.open(held(archive, 2), [IMPLICIT_LITTLE]):
            pass  # room for both, since the first turned out to be small
        assert first.size_bytes < 2000
    archive = opened(folder, spool_bytes=1024)
    with pytest.raises(SpoolFull):
        archive.open(held(archive, 1), [IMPLICIT_LITTLE])
    archive.close()


def test_what_a_process_that_is_gone_left_in_the_spool_is_deleted(archive: FolderArchive, folder: Path) -> None:
    spool = folder.parent / "tree-kept/spool"
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    left = [spool / f"xds-{number}-{'0' * 32}.dcm" for number in (process.pid, os.getpid())]
    for path in left:
        path.touch()
    opened(folder)
    assert [path.exists() for path in left] == [False, True]


def test_threads_find_and_open_at_once(archive: FolderArchive, folder: Path) -> None:
    expected = (folder / "ct/1.dcm").read_bytes()
    wrong: list[Any] = []

    def work() -> None:
        try:
            for _ in range(50):
                assert given(archive, held(archive)) == expected
        except BaseException as problem:
            wrong.append(problem)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _refresh(folder: Path) -> None:
    archive = opened(folder)
    archive.refresh()
    assert archive.find(STUDY, SERIES, f"{SERIES}.1") is not None


def test_processes_refresh_at_once(tmp_path: Path) -> None:
    folder = a_tree(tmp_path / "tree", 40)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_refresh, args=(folder,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert opened(folder).refresh().unchanged == 40


def test_a_file_name_that_is_no_text_is_a_name(folder: Path) -> None:
    data = saved(an_instance(3))
    with open(os.fsencode(folder) + b"/\xff\xfe.dcm", "wb") as file:  # noqa: PTH123
        file.write(data)
    archive = an_archive(folder)
    assert given(archive, held(archive, 3)) == data
    assert [study.count for study in archive.studies()] == [3]
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.dcm")).unlink()
    assert archive.refresh().removed == 1


def test_what_cannot_be_read_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("xds.archives.folder.read_file", refuse)
    archive = an_archive(folder)
    assert {p.message for p in archive.problems()} == {"cannot be read: Permission denied"}


def test_a_file_that_changes_while_it_is_read_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(path: Path, **options: Any) -> Any:
        found = read_file(path, **options)
        path.touch()
        return found

    monkeypatch.setattr("xds.archives.folder.read_file", changing)
    archive = an_archive(folder)
    assert {p.message for p in archive.problems()} == {"changed while it was read"}
    monkeypatch.undo()
    assert archive.refresh() == Refreshed(added=0, changed=2, removed=0, unchanged=0, problems=0)


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, SpoolFull), (errno.EIO, Gone)])
def test_a_disk_that_fails_while_transcoding_is_told(
    archive: FolderArchive, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, "failed")

    monkeypatch.setattr(archive._helpers, "transcode", fail)
    with pytest.raises(expected):
        archive.open(held(archive), [IMPLICIT_LITTLE])
    assert list((folder.parent / "tree-kept/spool").iterdir()) == []


def test_what_does_not_decode_is_not_encodable_and_leaves_nothing(archive: FolderArchive, folder: Path) -> None:
    dataset = an_instance(3, PixelData=encapsulate([b"no JPEG at all"]))
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    put(folder, "ct/3.dcm", dataset)
    archive.refresh()
    with pytest.raises(NotEncodable, match="do not decode"):
        archive.open(held(archive, 3), [EXPLICIT_LITTLE])
    assert list((folder.parent / "tree-kept/spool").iterdir()) == []


def _opens_in_a_fork(archive: FolderArchive) -> None:
    assert given(archive, held(archive), [IMPLICIT_LITTLE])
    archive.close()


def test_an_archive_works_on_in_a_fork(archive: FolderArchive) -> None:
    assert given(archive, held(archive), [IMPLICIT_LITTLE])
    process = multiprocessing.get_context("fork").Process(target=_opens_in_a_fork, args=(archive,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert given(archive, held(archive), [IMPLICIT_LITTLE])


# Files that are put into the folder by hand.


def of_another(number: int) -> Any:
    return an_instance(number, PatientID="P2", PatientName="Other^Otto", PatientBirthDate="20000101")


def shown(archive: FolderArchive) -> list[tuple[str, int]]:
    return [(one.patient.id, one.count) for one in archive.studies()]


@pytest.mark.parametrize("name", ["ct/9.dcm", "0.dcm", "zz/9.dcm"])
def test_a_file_of_another_patient_that_is_put_into_a_study_is_left_out_and_the_study_stays(
    archive: FolderArchive, folder: Path, name: str
) -> None:
    before = list(archive.fingerprints())
    put(folder, name, of_another(9))
    assert archive.refresh() == Refreshed(added=1, changed=0, removed=0, unchanged=2, problems=1, mixing=(STUDY,))
    assert (list(archive.fingerprints()), shown(archive)) == (before, [("4711", 2)])
    assert [problem.path.name for problem in archive.problems()] == [Path(name).name]
    assert archive.refresh().mixing == ()  # it is told once


def test_a_file_of_a_study_that_is_written_over_by_another_patients_is_left_out(
    archive: FolderArchive, folder: Path
) -> None:
    put(folder, "ct/1.dcm", of_another(1))
    archive.refresh()
    assert shown(archive) == [("4711", 1)]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_study_whose_patient_is_put_right_file_by_file_is_whole_when_all_are(
    archive: FolderArchive, folder: Path, order: tuple[int, int]
) -> None:
    for number in order:
        put(folder, f"ct/{number}.dcm", of_another(number))
        archive.refresh()
    assert shown(archive) == [("P2", 2)]


def test_a_file_that_was_left_out_is_taken_in_when_the_others_are_gone(archive: FolderArchive, folder: Path) -> None:
    put(folder, "new/9.dcm", of_another(9))
    archive.refresh()
    shutil.rmtree(folder / "ct")
    archive.refresh()
    assert shown(archive) == [("P2", 1)]
