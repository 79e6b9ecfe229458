"""Documents on their way: nothing leaves the old store that the new one has not given back."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.cli.test_documents import CONTENTS, Site, nothing_is_young
from tests.store.documents.test_blobs import settings
from tests.store.faulty import Fault, Faulty, after, faulty
from tests.store.object_stores import Server, s3_server
from xds.errors import Unusable
from xds.store.documents import moving
from xds.store.documents.folder import BlobStore
from xds.store.documents.moving import Move, Pace
from xds.store.tables import document

__all__ = ["nothing_is_young", "s3_server"]


class Time:
    """A clock that goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_so_many_bytes_come_in_a_second_and_no_more() -> None:
    time = Time()
    pace = Pace(1000, time.clock, time.sleep)
    assert len(b"".join(pace.through([b"x" * 500] * 9))) == 4500
    assert list(pace.through([b"y"])) == [b"y"]
    assert time.now == pytest.approx(104.5)


def test_without_a_pace_nobody_sleeps() -> None:
    time = Time()
    assert len(b"".join(Pace(0, time.clock, time.sleep).through([b"x" * 500] * 9))) == 4500
    assert time.now == 100.0


@pytest.fixture
def way(s3_server: Server) -> Iterator[Faulty]:
    with faulty(s3_server.port) as way:
        yield way


def move(site: Site) -> Move:
    return Move(site.served.settings, site.engine, Pace(0))


@pytest.fixture(params=["into it", "out of it"])
def site(request: pytest.FixtureRequest, tmp_path: Path, way: Faulty, s3_server: Server) -> Iterator[Site]:
    """Documents move between a folder and a bucket on a faulty way."""
    folder, bucket = f"file:{tmp_path / 'folder'}", f"s3://{s3_server.bucket()}"
    old, new = (folder, bucket) if request.param == "into it" else (bucket, folder)
    site = Site(tmp_path, old, new, way.url)
    yield site
    site.engine.dispose()


@pytest.mark.parametrize(
    "fault", [Fault(503, "SlowDown"), Fault(403, "AccessDenied"), Fault(cut=True), Fault(wrong=True), Fault(lost=True)],
    ids=["503", "403", "cut", "wrong", "lost"],
)  # fmt: skip
@pytest.mark.parametrize("good", [2, 6, 11])
def test_whatever_goes_wrong_nothing_is_lost_and_the_next_move_ends_it(
    site: Site, way: Faulty, fault: Fault, good: int
) -> None:
    way.says = after(good, fault, *(["PUT"] if fault.lost else []))
    with contextlib.suppress(Unusable):
        told = move(site).run(finish=True)
        assert told.damaged or told.left == len([*site.old.names()])
    way.says = lambda _: None
    assert site.read() == site.names
    told = move(site).run(finish=True)
    assert (told.left, told.damaged) == (0, ())
    assert site.contents(site.new) == site.names
    assert list(site.old.names()) == []


def test_a_store_that_gives_back_something_else_lets_nothing_go(tmp_path: Path, way: Faulty, s3_server: Server) -> None:
    site = Site(tmp_path, f"file:{tmp_path / 'folder'}", f"s3://{s3_server.bucket()}", way.url)
    way.says = lambda asked: Fault(wrong=True) if asked.method == "GET" and "list-type" not in asked.path else None
    with pytest.raises(Unusable, match="gives back something else than was sent"):
        move(site).run(finish=True)
    assert site.read() == site.names
    assert {*site.old.names()} | {hashlib.sha256(b"").hexdigest()} == site.names.keys()  # nothing is not spoilt
    assert [path for path in site.new.staging.iterdir() if path.is_file()] == []
    site.engine.dispose()


def test_two_do_not_move_them_at_once(tmp_path: Path) -> None:
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", f"file:{tmp_path / 'new'}")
    lock = site.served.settings.data / "run" / "documents-move.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unusable, match="are being moved by another process"):
            move(site).run(finish=False)
    assert move(site).run(finish=False).copied == len(CONTENTS)
    site.engine.dispose()


def test_what_another_has_moved_meanwhile_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", f"file:{tmp_path / 'new'}")
    mine, another, found = move(site), move(site), Move._found

    def slowly(self: Move, moved: object) -> Iterator[list[tuple[str, int, bool]]]:
        for some in found(self, moved):  # type: ignore[arg-type]
            monkeypatch.setattr(Move, "_found", found)
            run = self._settings.data / "run"
            os.rename(run / "documents-move.lock", run / "other.lock")  # noqa: PTH104
            assert another.run(finish=True).left == 0
            yield some

    monkeypatch.setattr(Move, "_found", slowly)
    told = mine.run(finish=True)
    assert (told.copied, told.left, told.damaged) == (0, 0, ())
    assert site.contents(site.new) == site.names
    site.engine.dispose()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_two_nodes_of_a_deployment_do_not_move_them_at_once(tmp_path: Path, database_url: str) -> None:
    """Each has a data folder of its own: the lock is in the database."""
    one, other = (settings(tmp_path / name, database=database_url) for name in ("one", "other"))
    with moving._alone(one) as still:
        with pytest.raises(Unusable, match="are being moved by another process"), moving._alone(other):
            pass
        still()
    with moving._alone(other):
        pass


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_mover_that_has_lost_its_lock_goes_no_further(tmp_path: Path, database_url: str, engine: sa.Engine) -> None:
    with moving._alone(settings(tmp_path, database=database_url)) as still:
        with engine.begin() as connection:
            others = (
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid != pg_backend_pid()"
            )
            database = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            connection.execute(sa.text(others + database))
        with pytest.raises(Unusable, match="the database does not answer"):
            still()


def test_what_a_node_with_the_old_settings_puts_again_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row was removed, the sweep has taken the new store's copy, and the same content came again."""
    monkeypatch.setattr(moving, "SWEEP_SECONDS", 3600)
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", f"file:{tmp_path / 'new'}")
    assert isinstance(site.old, BlobStore)
    assert isinstance(site.new, BlobStore)
    move(site).run(finish=False)
    for store in (site.old, site.new):
        for name in list(store.names()):
            os.utime(store.path(name), (0, 0))
    content = b"the second"
    sha256, is_whole = hashlib.sha256(content).hexdigest(), Move._is_whole

    def and_then(self: Move, name: str, size: int, *, in_old: bool = False) -> bool:
        found = is_whole(self, name, size, in_old=in_old)
        if name == sha256:
            with site.engine.begin() as connection:
                connection.execute(sa.delete(document).where(document.c.sha256 == sha256))
            assert site.new.sweep(site.engine, now=time.time()) == 1
            site.has(content)
        return found

    monkeypatch.setattr(Move, "_is_whole", and_then)
    told = move(site).run(finish=True)
    assert (told.removed, told.left) == (len(CONTENTS) - 1, 1)
    assert list(site.old.names()) == [sha256]
    assert site.read() == site.names
    site.engine.dispose()


def test_what_may_be_the_only_copy_is_not_removed_after_a_bad_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has moved it to its end meanwhile; from then on each read of the new store arrives damaged."""
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", f"file:{tmp_path / 'new'}")
    is_whole = Move._is_whole

    def damaged(self: Move, name: str, size: int, *, in_old: bool = False) -> bool:
        if not in_old:
            site.old.remove(name)
            return False
        return is_whole(self, name, size, in_old=in_old)

    monkeypatch.setattr(Move, "_is_whole", damaged)
    move(site).run(finish=False)
    assert site.read() == site.names
    site.engine.dispose()


def test_a_copy_that_was_read_back_damaged_once_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", f"file:{tmp_path / 'new'}")
    is_whole, said = Move._is_whole, set[str]()

    def once(self: Move, name: str, size: int, *, in_old: bool = False) -> bool:
        if name in said:
            return is_whole(self, name, size, in_old=in_old)
        said.add(name)
        return False

    monkeypatch.setattr(Move, "_is_whole", once)
    assert move(site).run(finish=False).copied == len(CONTENTS)
    assert site.contents(site.new) == site.names
    site.engine.dispose()
