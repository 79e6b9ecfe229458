"""Who fetches where no turns can be taken."""

from __future__ import annotations

import errno
import fcntl
import logging
from pathlib import Path

import pytest

from tests.archives.test_read_through import Counting, archive, cache, given, way
from tests.imaging.images import SERIES
from xds.archives.flights import Turns
from xds.archives.pacs import Pacs

__all__ = ["archive", "cache", "way"]


def test_an_image_is_given_though_the_folder_of_the_cache_cannot_be_made(
    archive: Pacs, way: Counting, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_bytes(b"no folder")
    assert given(archive) == way.instances[f"{SERIES}.1"]
    assert given(archive) == way.instances[f"{SERIES}.1"]


def test_a_disk_that_locks_nothing_hinders_nobody_and_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", none)
    turns = Turns(tmp_path / "lock")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with turns.alone("a"):
                pass
    assert [one.message for one in caplog.records] == ["fetching.no_lock"]


def test_what_fails_while_it_is_somebody_s_turn_is_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="theirs"), Turns(tmp_path / "lock").alone("a"):
        raise OSError("theirs")
