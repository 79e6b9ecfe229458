"""What is on disk is this account's alone, whatever the umask; and a server that was killed leaves no patient data."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.cli.command import xds
from tests.hostile.server import Served
from xds.system import private


def _wider(folder: Path) -> dict[str, str]:
    """Files and folders that others may read."""
    every = [folder, *folder.rglob("*")]
    return {str(one.relative_to(folder)): oct(one.lstat().st_mode) for one in every
            if stat.S_IMODE(one.lstat().st_mode) & 0o077 and not one.is_symlink()}  # fmt: skip


def test_nobody_else_reads_what_a_server_writes_under_a_careless_umask(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    served = Served(tmp_path, {"imaging_source": {"folder": str(images), "stow_rs": True}})
    before = os.umask(0o000)
    try:
        served.start()
    finally:
        os.umask(before)
    request = served.provide(b"good", tmp_path / "good")
    assert served.retrieved(request) == b"good"
    assert served.stop() == 0
    assert _wider(served.data) == {}
    assert (served.data / "xds.sqlite").exists()
    assert "readable_by_others" not in served.log


def test_commands_too_write_for_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        assert xds("config", "show", "--data", tmp_path / "data").code == 0
        assert xds("db", "upgrade", "--data", tmp_path / "data").code == 0
    finally:
        os.umask(before)
    assert _wider(tmp_path / "data") == {}


def test_a_start_warns_of_what_others_may_read_and_sweeps_what_was_left(tmp_path: Path) -> None:
    images = tmp_path / "images"
    served = Served(tmp_path, {"imaging_source": {"folder": str(images)}})
    folders = [images / ".incoming", served.data / "spool", served.data / "documents" / "staging",
               served.data / "run" / "tmp"]  # fmt: skip
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "part-abc").write_bytes(b"Anna's image")
    (served.data / "run" / "tmp" / "tmpabc.dcm").write_bytes(b"Anna's image")
    (images / ".incoming" / "fetched-abc").write_bytes(b"a fetch that is under way")
    served.data.chmod(0o755)
    (served.data / "documents").chmod(0o755)
    served.start()
    left = [path for folder in folders for path in folder.glob("*")]
    assert left == [images / ".incoming" / "fetched-abc"]
    assert f"file.readable_by_others file={served.data} " in served.log
    assert served.stop() == 0


def test_a_private_file_is_whole_or_not_there_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    private.write(tmp_path / "a", b"one")
    with pytest.raises(FileExistsError):
        private.write(tmp_path / "a", b"two")
    private.write(tmp_path / "b", b"one")
    private.write(tmp_path / "b", b"two", replaces=True)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"a": b"one", "b": b"two"}
