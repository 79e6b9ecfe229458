"""Which backups of a folder are removed, and what of the pools."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.audit.logs import our_key
from xds.backup import layout
from xds.backup.layout import LIST, MANIFEST, STATEMENT, Manifest
from xds.backup.pruning import Keep, Pruned, prune
from xds.errors import Unusable

DAY = datetime(2026, 11, 30, 2, tzinfo=UTC)


def a_backup(to: Path, made: datetime, log_id: str = "1") -> Path:
    """One of no documents."""
    folder = to / f"{made:%Y-%m-%dT%H%M%SZ}"
    folder.mkdir(parents=True)
    (folder / LIST).write_bytes(b"")
    listed = dataclasses.replace(layout.hashed(folder / LIST), name=LIST)
    manifest = Manifest(made, log_id, layout.SQLITE, "1", 0, 0, 0, False, "documents", (listed,))
    (folder / MANIFEST).write_bytes(manifest.text())
    (folder / STATEMENT).write_bytes(layout.signed(manifest.text(), log_id, our_key()))
    return folder


def pruned(to: Path, keep: Keep) -> Pruned:
    return prune(to, keep, lambda *_: None)


def test_of_nodes_that_share_a_folder_each_one_s_backups_are_kept(tmp_path: Path) -> None:
    mine = [a_backup(tmp_path, DAY + timedelta(days=number), "1") for number in range(3)]
    theirs = [a_backup(tmp_path, DAY + timedelta(days=number, hours=-1), "2") for number in range(3)]
    done = pruned(tmp_path, Keep(daily=2))
    assert {*done.kept} == {*mine[1:], *theirs[1:]}
    assert {*pruned(tmp_path, Keep(last=1)).kept} == {mine[-1], theirs[-1]} == {*layout.backups(tmp_path)}


def test_of_a_node_that_makes_none_any_more_the_newest_stays(tmp_path: Path) -> None:
    last, _ = [a_backup(tmp_path, DAY - timedelta(days=1000 + number), "gone") for number in range(2)]
    mine = [a_backup(tmp_path, DAY + timedelta(days=number)) for number in range(3)]
    assert {*pruned(tmp_path, Keep(daily=1)).kept} == {last, mine[-1]}


NAME = "ab" * 32


def in_a_pool(to: Path, pool: str) -> Path:
    """What no backup names."""
    path = to / pool / "ab" / "ab" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize("pool", ["documents", "audit", "documents-0123456789abcdef", "audit-0123456789abcdef"])
def test_what_no_backup_names_leaves_the_pools(tmp_path: Path, pool: str) -> None:
    a_backup(tmp_path, DAY)
    left = in_a_pool(tmp_path, pool)
    assert pruned(tmp_path, Keep(last=1)).files == 1
    assert not left.exists()


@pytest.mark.parametrize("name", ["documents-old", "audit-2025", "documents-", "audit-0123456789abcdef0", "documents2"])
def test_a_folder_that_is_only_called_like_a_pool_is_left_alone(tmp_path: Path, name: str) -> None:
    first, _ = a_backup(tmp_path, DAY), a_backup(tmp_path, DAY + timedelta(days=1))
    left = in_a_pool(tmp_path, name)
    with pytest.raises(Unusable, match=f"{name} holds no backup.*nothing is removed"):
        pruned(tmp_path, Keep(last=1))
    assert left.exists()
    assert first.exists()


def test_what_a_disk_has_of_its_own_and_empty_folders_are_passed_over(tmp_path: Path) -> None:
    first, second = a_backup(tmp_path, DAY), a_backup(tmp_path, DAY + timedelta(days=1))
    (tmp_path / "lost+found" / "#1234").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    done = pruned(tmp_path, Keep(last=1))
    assert (done.kept, done.removed) == ((second,), (first,))
