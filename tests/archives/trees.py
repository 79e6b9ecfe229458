"""Archives over small trees of good files, and the real files of pydicom and pydicom-data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import data_store
import pydicom
import pytest

from tests.imaging.images import SERIES, STUDY, an_instance, put
from xds.archives.folder import FolderArchive
from xds.archives.interface import Held
from xds.imaging.part10 import EXPLICIT_LITTLE

TEST_FILES = Path(pydicom.__file__).parent / "data/test_files"
DATA_STORE = Path(data_store.__file__).parent / "data"


def a_tree(folder: Path, count: int = 2) -> Path:
    """A folder with instances of one study."""
    for number in range(1, count + 1):
        put(folder, f"ct/{number}.dcm", an_instance(number))
    return folder


def an_archive(folder: Path, **options: Any) -> FolderArchive:
    """An archive over the folder, read; its index and spool beside it."""
    archive = opened(folder, **options)
    archive.refresh()
    return archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[FolderArchive]:
    """Over an empty folder."""
    (tmp_path / "images").mkdir()
    archive = FolderArchive(tmp_path / "images", tmp_path / "index.sqlite", tmp_path / "spool")
    yield archive
    archive.close()


def opened(folder: Path, **options: Any) -> FolderArchive:
    beside = folder.parent / f"{folder.name}-kept"
    return FolderArchive(folder, beside / "index.sqlite", beside / "spool", **options)


def held(archive: FolderArchive, number: int = 1) -> Held:
    found = archive.find(STUDY, SERIES, f"{SERIES}.{number}")
    assert found is not None
    return found


def given(archive: FolderArchive, one: Held, syntaxes: Iterable[str] = (EXPLICIT_LITTLE,)) -> bytes:
    with archive.open(one, list(syntaxes)) as ready:
        data = b"".join(ready.chunks())
        assert len(data) == ready.size_bytes
        return data
