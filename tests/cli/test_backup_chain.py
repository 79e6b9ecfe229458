"""Backups after one another: what one has already is not copied again, and what is removed nobody needs any more."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.command import xds
from tests.cli.test_backup import brought_back, made, there
from tests.cli.test_document_keys import readable
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.needs import missing
from tests.postgres import Server
from tests.replication import do
from xds.audit.log.keys import load_or_make
from xds.backup import layout, sealing
from xds.backup.pruning import Keep
from xds.store.documents import wrapping
from xds.store.engine import make_engine

__all__ = ["there"]

DAY = datetime(2026, 11, 30, 2, tzinfo=UTC)


@pytest.fixture
def url() -> str:
    """What kind of database they have."""
    return "sqlite:"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A deployment that runs."""
    served = Served(tmp_path / "here").start()
    yield served
    if served.process is not None and served.process.poll() is None:
        served.kill()


def said(folder: Path, manifest: layout.Manifest, served: Served, **more: Any) -> None:
    """Let a backup's manifest be another, and signed."""
    text = json.dumps({**json.loads(manifest.text()), **more}).encode()
    (folder / layout.MANIFEST).write_bytes(text)
    (folder / layout.STATEMENT).write_bytes(layout.signed(text, manifest.log_id, load_or_make(served.data / "keys")))


def made_at(when: datetime, served: Served, to: Path, *more: object) -> Path:
    """A backup that seems to have been made then."""
    folder = made(served, to, *more)
    said(folder, dataclasses.replace(layout.read(folder), made=when), served)
    return folder.rename(folder.with_name(f"{when:%Y-%m-%dT%H%M%SZ}"))


def pooled(to: Path) -> dict[str, bytes]:
    """What backups share."""
    files = (one for pool in ("documents", "audit") for one in to.glob(f"{pool}*/??/??/*"))
    return {str(one.relative_to(to)): one.read_bytes() for one in files}


def documents_of(to: Path) -> set[str]:
    return {one.name[:64] for one in to.glob("documents*/??/??/*")}


def pruned(to: Path, *more: object) -> Any:
    done = xds("backup", "prune", to, "--json", *more)
    assert (done.code, done.err) == (0, ""), done.out
    return done.json


# Which are kept.

times = st.lists(st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31)), min_size=1, max_size=60)
keeps = st.builds(Keep, *[st.integers(0, 6)] * 5)


@given(times, keeps)
def test_the_newest_stays_and_what_is_kept_once_is_kept_again(made: list[datetime], keep: Keep) -> None:
    kept = keep.of(made)
    assert max(made) in kept
    assert kept <= set(made)
    assert len(kept) <= 1 + sum(dataclasses.astuple(keep))
    assert keep.of([*kept]) == kept


@given(times, st.integers(1, 10))
def test_of_each_of_the_last_days_that_have_one_the_newest_is_kept(made: list[datetime], days: int) -> None:
    last = sorted({one.date() for one in made})[-days:]
    assert Keep(daily=days).of(made) == {max(one for one in made if one.date() == day) for day in last}


def test_a_year_of_nights_becomes_days_weeks_and_months() -> None:
    nights = [DAY - timedelta(days=number) for number in range(365)]
    kept = sorted(Keep(daily=7, weekly=5, monthly=12).of(nights), reverse=True)
    assert kept[:7] == nights[:7]
    assert {one.isocalendar()[1] for one in kept} >= {49, 48, 47, 46, 45}
    assert {(one.year, one.month) for one in kept} == {(2025, 12), *((2026, month) for month in range(1, 12))}
    assert len(kept) == 7 + 3 + 11


# What is copied, and what is removed.


def test_the_next_backup_has_of_the_log_only_what_is_new(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (layout, sealing):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    for number in range(10):
        served.provide(f"document {number}".encode(), tmp_path / "spool")
    segments = served.data / "audit" / "segments"
    wait_for(lambda: sum(one.stat().st_size for one in segments.glob("*.log")) > 20_000)
    to = tmp_path / "backups"
    first = made_at(DAY, served, to)
    before = pooled(to)
    served.provide(b"one more", tmp_path / "spool")
    second = made(served, to)
    new = {name: content for name, content in pooled(to).items() if name not in before}
    shared = {block for file in layout.read(first).log for block in file.blocks}
    blocks = [block for file in layout.read(second).log for block in file.blocks]
    assert sum(block in shared for block in blocks) > 10
    assert len([name for name in new if name.startswith("audit")]) == len({*blocks} - shared)
    assert all(before[name] == content for name, content in pooled(to).items() if name in before)
    assert xds("backup", "verify", to, "--json").json == {"backups": 2, "documents": 11, "not_read": 0, "wrong": []}


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_what_goes_takes_with_it_what_was_its_alone(
    served: Served, there: Served, tmp_path: Path, *, encrypted: bool
) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n", "utf-8")
    sealed = ("--recipient", identity.to_public()) if encrypted else ()
    opened = ("--identity", tmp_path / "identity") if encrypted else ()
    to, sent, folders = tmp_path / "backups", list[Any](), list[Path]()
    for number in range(4):
        sent.append(served.provide(f"document {number}".encode(), tmp_path / "spool"))
        folders.append(made_at(DAY + timedelta(days=number), served, to, *sealed))
    gone = folders[1]
    # Of the first two something is in no other: as if it had been removed from the deployment since.
    alone = hashlib.sha256(b"removed since").hexdigest()
    for folder in folders[:2]:
        pool = to / layout.read(folder).pool
        _also(folder, alone, served)
        sealing.Recipients([str(one) for one in sealed[1:]]).write(
            iter((b"removed since",)), layout.pooled(pool, alone, sealed=encrypted)
        )  # fmt: skip
    assert xds("backup", "verify", to, *opened).code == 0
    everything = pooled(to)

    told = pruned(to, "--keep-last", 3, "--dry-run")
    assert [Path(one).name for one in told["removed"]] == [folders[0].name]
    assert pooled(to) == everything
    assert layout.backups(to) == folders
    again = pruned(to, "--keep-last", 3)
    assert (again["removed"], again["files"], again["bytes"]) == (told["removed"], told["files"], told["bytes"])
    assert alone in documents_of(to)  # the second still names it
    assert xds("backup", "verify", to, *opened).code == 0

    told = pruned(to, "--keep-daily", 2)
    assert [Path(one).name for one in told["removed"]] == [gone.name]
    assert alone not in documents_of(to)
    assert documents_of(to) == {hashlib.sha256(f"document {number}".encode()).hexdigest() for number in range(4)}
    assert pruned(to, "--keep-daily", 2)["files"] == 0
    looked = xds("backup", "verify", to, "--json", *opened).json
    assert (looked["backups"], looked["documents"], looked["wrong"]) == (2, 4, [])

    served.stop()
    assert brought_back(folders[-1], there, *opened).code == 0
    there.start()
    assert [there.retrieved(one) for one in sent] == [f"document {number}".encode() for number in range(4)]
    assert there.stop() == 0
    assert xds("audit", "verify", "--config", there.config, "--database").code == 0


def _also(folder: Path, sha256: str, served: Served) -> None:
    """Let a backup name one more document."""
    lines = (folder / layout.LIST).read_text().splitlines()
    (folder / layout.LIST).write_text("".join(f"{one}\n" for one in sorted([*lines, f"{sha256} 13"])))
    manifest = layout.read(folder)
    files = tuple(
        dataclasses.replace(layout.hashed(folder / one.name), name=one.name) if one.name == layout.LIST else one
        for one in manifest.files
    )
    said(folder, dataclasses.replace(manifest, documents=manifest.documents + 1, files=files), served)


def _spoilt(folder: Path) -> None:
    path = folder / layout.LIST
    path.write_text(path.read_text().replace("a", "b", 1).replace("0", "1", 1))


SPOILT: dict[str, Callable[[Path], object]] = {
    "a manifest that is gone": lambda folder: (folder / layout.MANIFEST).unlink(),
    "a manifest that is none": lambda folder: (folder / layout.MANIFEST).write_text("{}"),
    "a manifest that is another": lambda folder: (folder / layout.MANIFEST).write_text(
        (folder / layout.MANIFEST).read_text().replace('"records": ', '"records": 1')
    ),
    "a list that is gone": lambda folder: (folder / layout.LIST).unlink(),
    "a list that is another": _spoilt,
    "a folder of somebody's": lambda folder: (folder.parent / "photos" / "2025").mkdir(parents=True),
}


def test_where_a_backup_cannot_be_read_nothing_is_removed(served: Served, tmp_path: Path) -> None:
    served.provide(b"document", tmp_path / "spool")
    whole = tmp_path / "backups"
    for number in range(3):
        made_at(DAY + timedelta(days=number), served, whole)
    for what, spoil in SPOILT.items():
        to = tmp_path / what.replace(" ", "-")
        shutil.copytree(whole, to)
        spoil(layout.backups(to)[1])
        before = sorted(to.rglob("*"))
        done = xds("backup", "prune", to, "--keep-last", 1)
        assert (done.code, done.out) == (1, ""), what
        assert "nothing is removed" in done.err, what
        assert sorted(to.rglob("*")) == before, what


def test_what_makes_no_sense_or_comes_at_the_wrong_time_is_refused(served: Served, tmp_path: Path) -> None:
    to = tmp_path / "backups"
    made(served, to)
    assert "which backups are kept?" in xds("backup", "prune", to).err
    assert "is no folder of backups" in xds("backup", "prune", tmp_path / "none", "--keep-last", 1).err
    (tmp_path / "empty").mkdir()
    assert "holds no backup" in xds("backup", "prune", tmp_path / "empty", "--keep-last", 1).err
    assert xds("backup", "prune", to, "--keep-daily", -1).code == 2
    with (to / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "a backup is being made into" in xds("backup", "prune", to, "--keep-last", 1).err


def test_what_a_prune_that_was_killed_has_begun_the_next_one_ends(served: Served, tmp_path: Path) -> None:
    served.provide(b"document", tmp_path / "spool")
    to = tmp_path / "backups"
    first, _ = made_at(DAY, served, to), made_at(DAY + timedelta(days=1), served, to)
    first.rename(to / f".going-{first.name}")
    name = "ab" * 32
    (to / "documents" / "ab" / "ab").mkdir(parents=True, exist_ok=True)
    for left in (name, f".{name}.part", f"{name}.age", "not ours", "0" * 64):
        (to / "documents" / "ab" / "ab" / left).write_bytes(b"left")
    told = pruned(to, "--keep-last", 1)
    assert (told["removed"], len(told["kept"])) == ([], 1)
    assert not list(to.glob(".going-*"))
    assert {one.name for one in (to / "documents" / "ab" / "ab").iterdir()} == {"not ours", "0" * 64}
    assert xds("backup", "verify", to).code == 0


def test_what_is_wrong_in_a_folder_of_backups_is_told_with_its_backup(served: Served, tmp_path: Path) -> None:
    served.provide(b"document", tmp_path / "spool")
    to = tmp_path / "backups"
    first, second = made_at(DAY, served, to), made_at(DAY + timedelta(days=1), served, to)
    assert "2 backups" in xds("backup", "verify", to).out
    (second / "identity.json").write_text("{}")
    (first / layout.MANIFEST).unlink()
    log = next(one for one in layout.read(second).log if one.blocks)
    block = layout.pooled(to / "audit", log.blocks[0], sealed=False)
    block.write_bytes(b"other")
    done = xds("backup", "verify", to)
    assert done.code == 1
    for wrong in (f"{second.name}/identity.json: it is not what was written", f"{first} holds no backup"):
        assert wrong in done.out
    assert f"block {block.name}: it is not what was written" in done.out


def test_a_backup_of_the_version_before_comes_back(served: Served, there: Served, tmp_path: Path) -> None:
    """Its audit log is in its own folder."""
    sent = served.provide(b"document", tmp_path / "spool")
    folder = made(served, tmp_path / "backups")
    manifest = layout.read(folder)
    for file in manifest.log:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        pool = folder.parent / manifest.log_pool
        target.write_bytes(b"".join(layout.pooled(pool, one, sealed=False).read_bytes() for one in file.blocks))
    shutil.rmtree(folder.parent / manifest.log_pool)
    files = [
        dataclasses.asdict(dataclasses.replace(layout.hashed(path), name=str(path.relative_to(folder))))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (layout.MANIFEST, layout.STATEMENT)
    ]
    text = {key: value for key, value in json.loads(manifest.text()).items() if key != "log"}
    said_before = json.dumps(text | {"format": 1, "files": files}).encode()
    (folder / layout.MANIFEST).write_bytes(said_before)
    key = load_or_make(served.data / "keys")
    (folder / layout.STATEMENT).write_bytes(layout.signed(said_before, manifest.log_id, key))
    served.stop()
    assert xds("backup", "verify", folder, "--certificate", served.data / "keys" / "audit-signing.crt").code == 0
    assert brought_back(folder, there).code == 0
    there.start()
    assert there.retrieved(sent) == b"document"
    assert there.stop() == 0
    assert xds("audit", "verify", "--config", there.config, "--database").code == 0


# Where documents are encrypted.


def test_what_is_encrypted_here_comes_back_elsewhere_by_another_key(
    there: Served, tmp_path: Path
) -> None:  # fmt: skip
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n", "utf-8")
    for name in ("here", "there"):
        wrapping.add(tmp_path / f"{name}.keys")
    served = Served(tmp_path / "here", {"server": {"documents_key": str(tmp_path / "here.keys")}}).start()
    contents = [b"Anna Schmidt", b"Schmidt " * 100_000]
    sent = [served.provide(content, tmp_path / "spool") for content in contents]
    to = tmp_path / "backups"
    refused = xds("backup", "make", to, "--config", served.config)
    assert (refused.code, "would be in clear in the backup" in refused.err) == (1, True)
    assert not to.exists()
    folder = made(served, to, "--recipient", identity.to_public())
    assert not [one for one in to.rglob("*") if one.is_file() and b"Schmidt" in one.read_bytes()]
    in_clear = made(served, tmp_path / "clear", "--in-clear")
    secret = (tmp_path / "here.keys").read_bytes().splitlines()[-1]
    assert not [one for one in in_clear.parent.rglob("*") if one.is_file() and secret in one.read_bytes()]
    served.stop()
    shutil.rmtree(served.data)
    (tmp_path / "here.keys").unlink()

    there.sections = {"server": {**there.sections["server"], "documents_key": str(tmp_path / "there.keys")}}
    there.write_config()
    assert brought_back(folder, there, "--identity", tmp_path / "identity").code == 0
    assert readable(there) == []
    there.start()
    assert [there.retrieved(one) for one in sent] == contents
    assert there.stop() == 0


def test_without_its_key_file_nothing_is_brought_back(served: Served, there: Served, tmp_path: Path) -> None:
    folder = made(served, tmp_path / "backups")
    there.sections = {"server": {**there.sections["server"], "documents_key": str(tmp_path / "none.keys")}}
    there.write_config()
    done = brought_back(folder, there)
    assert (done.code, "xds documents key new FILE makes one" in done.err) == (1, True)
    assert not there.data.exists() or [*there.data.iterdir()] == []


# PostgreSQL's whole server.


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Server]:
    """A server of PostgreSQL with a database «xds»."""
    try:
        server = Server()
    except FileNotFoundError:
        missing("PostgreSQL", "postgresql")
    try:
        wait_for(server.answers)
        do(server, "CREATE DATABASE xds")
        yield server
    finally:
        server.stop()


@pytest.mark.postgres
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_whole_server_of_postgresql_comes_back(whole: Server, tmp_path: Path, *, encrypted: bool) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(f"{identity}\n", "utf-8")
    sealed = ("--recipient", identity.to_public()) if encrypted else ()
    opened = ("--identity", tmp_path / "identity") if encrypted else ()
    here = Served(tmp_path / "here", {"server": {"database": f"{whole.url}/xds"}}).start()
    sent = [here.provide(f"document {number}".encode(), tmp_path / "spool") for number in range(3)]
    folder = made(here, tmp_path / "backups", "--whole-server", *sealed)
    here.provide(b"afterwards", tmp_path / "spool")
    here.kill()
    assert xds("backup", "verify", folder, *opened).code == 0

    short = Path(tempfile.mkdtemp(prefix="xds-pg-"))
    done = xds("restore", folder, "--postgresql", short / "data", *opened)
    assert (done.code, done.err) == (0, "")
    assert "has something in it already" in xds("restore", folder, "--postgresql", short / "data", *opened).err
    if whole.user:
        subprocess.run(["chown", "-R", whole.user, short], check=True)
    back = Server(short, kept=True)
    try:
        wait_for(back.answers)
        there = Served(tmp_path / "there", {"server": {"database": f"{back.url}/xds"}})
        there.write_config()
        assert "in use by nodes that run" in brought_back(folder, there, *opened).err  # or did, when it was copied
        engine = make_engine(f"{back.url}/xds", connections=1)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE audit_node SET seen = 0"))
        engine.dispose()
        assert not there.data.exists() or [*there.data.iterdir()] == []
        assert brought_back(folder, there, *opened).code == 0
        there.start()
        assert [there.retrieved(one) for one in sent] == [f"document {number}".encode() for number in range(3)]
        assert len(there.found()) == 3
        assert there.stop() == 0
        assert xds("audit", "verify", "--config", there.config, "--database").code == 0
    finally:
        back.stop()
        shutil.rmtree(short)


@pytest.mark.postgres
def test_a_server_that_is_another_is_not_taken_for_the_one_that_came_back(whole: Server, tmp_path: Path) -> None:
    here = Served(tmp_path / "here", {"server": {"database": f"{whole.url}/xds"}}).start()
    folder = made(here, tmp_path / "backups", "--whole-server")
    here.kill()
    do(whole, "CREATE DATABASE other")
    there = Served(tmp_path / "there", {"server": {"database": f"{whole.url}/other"}})
    there.write_config()
    done = brought_back(folder, there)
    assert (done.code, "has not what is in the backup: xds restore --postgresql DIR" in done.err) == (1, True)


def test_only_postgresql_has_a_server_to_copy(served: Served, tmp_path: Path) -> None:
    done = xds("backup", "make", tmp_path / "backups", "--config", served.config, "--whole-server")
    assert (done.code, "only a server of PostgreSQL" in done.err) == (1, True)
    folder = made(served, tmp_path / "backups")
    done = xds("restore", folder, "--postgresql", tmp_path / "server")
    assert (done.code, "it was made without --whole-server" in done.err) == (1, True)
