"""Documents on their way: nothing leaves the old store that the new one has not given back."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_documents import CONTENTS, Site
from tests.store.faulty import Fault, Faulty, after, faulty
from tests.store.object_stores import Server, s3_server
from xds.errors import Unusable
from xds.store.documents.moving import Move, Pace

__all__ = ["s3_server"]


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
    lock = site.served.settings.data / "run" / "move.lock"
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
            os.rename(self._settings.data / "run" / "move.lock", self._settings.data / "run" / "other.lock")  # noqa: PTH104
            assert another.run(finish=True).left == 0
            yield some

    monkeypatch.setattr(Move, "_found", slowly)
    told = mine.run(finish=True)
    assert (told.copied, told.left, told.damaged) == (0, 0, ())
    assert site.contents(site.new) == site.names
    site.engine.dispose()
