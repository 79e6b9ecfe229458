"""Where the values of several processes are kept, and that nobody else's are taken away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xds.wire import metrics


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(metrics, "MEMORY", tmp_path / "shm")
    monkeypatch.setenv(metrics.VARIABLE, "before")
    (tmp_path / "shm").mkdir()
    return tmp_path / "shm"


def test_values_are_kept_in_memory_where_there_is_such_a_place(memory: Path, tmp_path: Path) -> None:
    metrics.prepare(tmp_path / "disk")
    (folder,) = memory.iterdir()
    assert os.environ[metrics.VARIABLE] == str(folder)
    assert folder.name.startswith(f"xds-metrics-{os.getpid()}-")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "disk").exists()


def test_else_on_disk(memory: Path, tmp_path: Path) -> None:
    memory.rmdir()
    metrics.prepare(tmp_path / "disk")
    assert os.environ[metrics.VARIABLE] == str(tmp_path / "disk")


def test_what_a_process_that_is_gone_has_left_is_removed_and_anothers_is_not(memory: Path, tmp_path: Path) -> None:
    for name in ("xds-metrics-99999999-a", "xds-metrics-1-b", "other"):
        (memory / name).mkdir()
    metrics.prepare(tmp_path / "disk")
    left = {one.name for one in memory.iterdir() if not one.name.startswith(f"xds-metrics-{os.getpid()}-")}
    assert left == {"xds-metrics-1-b", "other"}


def test_a_child_that_ends_leaves_its_parents_values(memory: Path) -> None:
    folder = memory / "mine"
    folder.mkdir()
    metrics._removed(folder, os.getpid() + 1)
    assert folder.exists()
    metrics._removed(folder, os.getpid())
    assert not folder.exists()
