"""Which backups of a folder are removed, and what of the pools."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.audit.logs import our_key
from xds.backup import layout
from xds.backup.layout import LIST, MANIFEST, STATEMENT, Manifest
from xds.backup.pruning import Keep, Pruned, prune

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
