"""What the cache of instances promises: its bound, who goes first, what is left after a process was killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.archives.clock import Clock
from tests.extent import examples
from xds.archives import cache as module
from xds.archives.cache import LOOK_SECONDS, Cache, Kept, Key
from xds.archives.cache_index import FILES, INDEX, counts
from xds.system.disk import Reserve

LIMIT, SECONDS = 1000, 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path, clock: Clock) -> Cache:
    return Cache(folder, LIMIT, SECONDS, clock=clock)


def key(number: int, study: int = 1) -> Key:
    return Key(f"1.2.{study}", f"1.2.{study}.1", f"1.2.{study}.1.{number}")


def content(number: int, size: int) -> bytes:
    return bytes([number % 256]) * size


def kept(cache: Cache, number: int, size: int = 100, *, stamp: str = "", tag: str = "", study: int = 1) -> Kept | None:
    """An instance of so many bytes, put in, and still being read."""
    data = content(number, size)
    with tempfile.TemporaryDirectory(dir=cache.lock_file.parent.parent) as folder:
        path = Path(folder) / "came"
        path.touch(mode=0o600)
        path.write_bytes(data)
        return cache.keep(key(number, study), stamp, tag, path, size, hashlib.sha256(data).hexdigest())


def put(cache: Cache, number: int, size: int = 100, **named: str) -> bool:
    """An instance put in, which nobody reads any more; whether there was room."""
    found = kept(cache, number, size, **named)  # type: ignore[arg-type]
    if found is not None:
        cache.done(found)
    return found is not None


def has(cache: Cache, number: int, stamp: str = "", study: int = 1) -> bool:
    found = cache.taken(key(number, study), stamp)
    if found is None:
        return False
    assert found.path.read_bytes() == content(number, found.size_bytes)
    cache.done(found)
    return True


def files(folder: Path) -> list[Path]:
    return list((folder / FILES).glob("*/*"))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder))


def test_what_was_put_in_is_there_and_is_this_account_s_alone(cache: Cache, folder: Path) -> None:
    assert not has(cache, 1)
    before = os.umask(0o000)
    try:
        assert put(cache, 1)
    finally:
        os.umask(before)
    assert has(cache, 1)
    assert not has(cache, 2)
    assert counts(folder)["bytes"] == size_of(folder) == 100
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [folder, folder / FILES, *files(folder)]}
    assert list(modes.values()) == ["0o700", "0o700", "0o600"]
    assert oct((folder / INDEX).stat().st_mode & 0o777) == "0o600"


def test_files_are_not_called_as_a_pacs_says(cache: Cache, folder: Path) -> None:
    put(cache, 1)
    (path,) = files(folder)
    assert "1.2" not in str(path.relative_to(folder))


def test_what_was_not_wanted_for_longest_goes_first(cache: Cache) -> None:
    for number in range(10):
        assert put(cache, number)
    assert has(cache, 0)  # wanted again: now 1 is the one
    assert put(cache, 10, 150)
    assert [has(cache, number) for number in range(11)] == [True, False, False, *[True] * 8]


def test_what_is_read_stays_until_it_is_not_and_what_has_no_room_takes_none(cache: Cache, folder: Path) -> None:
    reading = [one for number in range(9) if (one := kept(cache, number)) is not None]
    assert put(cache, 9)
    assert not put(cache, 10, 101)
    assert has(cache, 9)  # for what does not fit all the same, nothing had to go
    assert put(cache, 11, 100)
    assert not has(cache, 9)
    assert all(one.path.exists() for one in reading)
    cache.done(reading[4])
    assert put(cache, 12, 200)
    assert [has(cache, number) for number in range(9)] == [*[True] * 4, False, *[True] * 4]
    assert size_of(folder) == LIMIT


def test_more_than_all_that_may_be_is_not_kept(cache: Cache, folder: Path) -> None:
    put(cache, 1)
    assert not put(cache, 2, LIMIT + 1)
    assert has(cache, 1)
    assert put(cache, 2, LIMIT)
    assert counts(folder)["uncached"] == 1


def test_another_state_of_an_instance_takes_the_place_of_the_one_before(cache: Cache, folder: Path) -> None:
    reading = kept(cache, 1, stamp="before")
    assert reading is not None
    assert not has(cache, 1, "after")
    assert not has(cache, 1, "before")  # one of them was not true any more, and it is not known which
    assert put(cache, 1, stamp="after")
    assert has(cache, 1, "after")
    assert reading.path.exists()  # by whoever reads it, to the end
    assert counts(folder)["bytes"] == size_of(folder) == 200
    cache.done(reading)
    assert counts(folder)["bytes"] == size_of(folder) == 100


def test_what_a_study_has_no_more_or_in_another_state_goes(cache: Cache, folder: Path) -> None:
    for number in (1, 2, 3, 4):
        put(cache, number, stamp="x")
    put(cache, 1, study=2)
    cache.only("1.2.1", {key(1)[1:]: "x", key(2)[1:]: "y", key(3)[1:]: None})
    assert [has(cache, number, "x") for number in (1, 2, 3, 4)] == [True, False, True, False]
    assert has(cache, 1, study=2)
    assert len(files(folder)) == 3


def test_what_is_older_than_may_be_is_given_only_when_it_was_asked_for(cache: Cache, clock: Clock) -> None:
    put(cache, 1, tag="T")
    clock.now += SECONDS - 1
    assert has(cache, 1)
    clock.now += 1
    assert cache.taken(key(1), "") is None
    found = cache.taken(key(1), "", due=True)
    assert found is not None
    assert (found.is_due, found.tag) == (True, "T")
    cache.confirmed(found)
    cache.done(found)
    assert has(cache, 1)


def test_of_a_clock_that_was_set_back_nothing_is_believed(cache: Cache, clock: Clock) -> None:
    put(cache, 1)
    clock.now -= 10
    assert cache.taken(key(1), "") is None


def test_what_nobody_wants_any_more_goes_when_the_next_one_comes(cache: Cache, clock: Clock) -> None:
    put(cache, 1), put(cache, 2)
    clock.now += SECONDS / 2
    assert has(cache, 2)
    clock.now += SECONDS / 2 + LOOK_SECONDS
    put(cache, 3)
    assert cache.taken(key(1), "", due=True) is None
    assert cache.taken(key(2), "", due=True) is not None


def test_a_disk_that_is_low_has_it_give_way(folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Reserve(1000, folder.parent)
    monkeypatch.setattr(Reserve, "free_bytes", lambda _: 1100 - size_of(folder))
    cache = Cache(folder, LIMIT, SECONDS, clock=clock, disk=disk)
    assert put(cache, 1)
    assert put(cache, 2)
    assert size_of(folder) == 200
    assert put(cache, 3)
    assert [has(cache, number) for number in (1, 2, 3)] == [False, True, True]
    monkeypatch.setattr(Reserve, "free_bytes", lambda _: 0)
    assert not put(cache, 4)
    assert size_of(folder) == 0


# The index.


def test_a_smaller_limit_holds_from_the_next_start(cache: Cache, folder: Path) -> None:
    for number in range(10):
        put(cache, number)
    smaller = Cache(folder, 250, SECONDS)
    smaller.tidy()
    assert size_of(folder) == counts(folder)["bytes"] == 200
    assert not put(smaller, 11, 251)


@pytest.mark.parametrize("spoilt", ["damaged", "another version", "another PACS", "another start of the machine"])
def test_an_index_that_is_not_of_this_cache_is_made_anew(
    folder: Path, clock: Clock, spoilt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Cache(folder, LIMIT, SECONDS, made_of="one", clock=clock)
    put(before, 1)
    before.close()
    with sqlite3.connect(folder / INDEX) as at:
        if spoilt == "another version":
            at.execute("PRAGMA user_version = 99")
        if spoilt == "another start of the machine":
            at.execute("UPDATE made_of SET text = 'one\nbefore'")
    at.close()
    if spoilt == "damaged":
        for suffix in ("-wal", "-shm"):
            (folder / f"{INDEX}{suffix}").unlink(missing_ok=True)
        (folder / INDEX).write_bytes(b"nonsense" * 1000)
    after = Cache(folder, LIMIT, SECONDS, made_of="two" if spoilt == "another PACS" else "one", clock=clock)
    assert not has(after, 1)
    assert files(folder) == []
    assert put(after, 1)
    assert has(after, 1)


def test_it_can_be_deleted_at_any_time(cache: Cache, folder: Path) -> None:
    put(cache, 1)
    shutil.rmtree(folder)
    assert not has(cache, 1)
    assert put(cache, 1)
    assert has(cache, 1)
    files(folder)[0].unlink()
    assert not has(cache, 1)
    assert counts(folder)["bytes"] == 0


def test_one_that_cannot_be_written_keeps_nothing_and_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"no folder")
    cache = Cache(tmp_path / "cache", LIMIT, SECONDS)
    assert not put(cache, 1)
    assert not has(cache, 1)
    cache.only("1.2.1", {})
    cache.tidy()
    assert counts(tmp_path / "cache") == {}


def test_after_a_file_that_could_not_be_put_in_files_and_rows_tell_one_story(
    cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        put(cache, number)
    with monkeypatch.context() as broken:
        broken.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
        assert not put(cache, 11, 300)
    assert [has(cache, number) for number in range(11)] == [*[False] * 3, *[True] * 7, False]
    assert counts(folder)["bytes"] == size_of(folder) == 700


def test_a_child_has_an_index_of_its_own(cache: Cache) -> None:
    put(cache, 1)

    def does() -> None:
        assert has(cache, 1)
        assert put(cache, 2)

    assert waited(forked(does)) == 0
    assert has(cache, 1)
    assert has(cache, 2)


# Killed.


def test_of_a_process_that_was_killed_neither_a_file_nor_a_reader_is_left(folder: Path) -> None:
    real = os.link

    def dies() -> None:
        cache = Cache(folder, LIMIT, SECONDS)
        put(cache, 1)
        kept(cache, 2)
        module.os.link = lambda *ends: (real(*ends), os.kill(os.getpid(), signal.SIGKILL))  # type: ignore[assignment]
        put(cache, 3)

    folder.parent.mkdir(exist_ok=True)
    assert waited(forked(dies)) == -signal.SIGKILL
    assert size_of(folder) == 300
    after = Cache(folder, LIMIT, SECONDS)
    assert [has(after, number) for number in (1, 2, 3)] == [True, True, False]
    assert counts(folder)["bytes"] == size_of(folder) == 200
    assert put(after, 4, LIMIT)  # the one that it read was in nobody's way


# The bound.


@pytest.fixture
def linked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much there was on disk each time that a file had been put in."""
    found, real = list[int](), os.link

    def link(one: Path, other: Path) -> None:
        real(one, other)
        found.append(size_of(folder))

    monkeypatch.setattr(module.os, "link", link)
    return found


def test_fifty_studies_that_come_at_once_never_take_more_than_is_set(cache: Cache, linked: list[int]) -> None:
    def one(study: int) -> None:
        for number in range(1, 9):
            found = kept(cache, number, 10 * number + study, study=study)
            if found is not None:
                assert found.path.stat().st_size == found.size_bytes
                cache.done(found)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(one, range(1, 51)))
    assert len(linked) > 100
    assert LIMIT - 130 <= max(linked) <= LIMIT


def test_nor_do_several_processes(cache: Cache, folder: Path) -> None:
    real = os.link

    def link(one: Path, other: Path) -> None:
        real(one, other)
        assert size_of(folder) <= LIMIT, size_of(folder)

    def fills(study: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module.os, "link", link)
            for number in range(1, 60):
                found = kept(cache, number, 10 + number, study=study)
                if found is not None:
                    assert found.path.stat().st_size == found.size_bytes
                    cache.done(found)

    put(cache, 1, study=9)  # what a child is forked with is open
    assert [waited(child) for child in [forked(partial(fills, study)) for study in range(1, 5)]] == [0] * 4
    cache.tidy()
    assert 900 <= size_of(folder) == counts(folder)["bytes"] <= LIMIT


def forked(do: Callable[[], object]) -> int:
    """A child that does it, and ends with 0 if it can."""
    child = os.fork()
    if child:
        return child
    try:
        do()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def waited(child: int) -> int:
    """What a child ended with; a signal is negative."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Model(RuleBasedStateMachine):
    """Whatever is done: the bound, the counts, the right bytes, and who goes first."""

    def __init__(self) -> None:
        super().__init__()
        self.at, self.clock = Path(tempfile.mkdtemp()), Clock()
        self.folder = self.at / "cache"
        self.cache = Cache(self.folder, LIMIT, SECONDS, clock=self.clock)
        self.there: dict[int, Kept] = {}  # by number, the longest unwanted first
        self.reading: list[tuple[int, Kept]] = []

    def teardown(self) -> None:
        self.cache.close()
        shutil.rmtree(self.at)

    @rule()
    def reopened(self) -> None:
        self.cache.close()
        self.cache = Cache(self.folder, LIMIT, SECONDS, clock=self.clock)

    @rule(number=st.integers(0, 6), size=st.integers(1, 1100), stays=st.booleans())
    def keep(self, number: int, size: int, stays: bool) -> None:
        pinned = {one.path: one.size_bytes for _, one in self.reading}
        found = kept(self.cache, number, size)
        if sum(pinned.values()) + size > LIMIT:
            assert found is None
            return
        assert found is not None
        unread = [one for one, at in self.there.items() if at.path not in pinned]
        total = sum(pinned.values()) + sum(self.there[one].size_bytes for one in unread) + size
        for one in unread:
            if total <= LIMIT:
                break
            total -= self.there.pop(one).size_bytes
        self.there.pop(number, None)
        self.there[number] = found
        if stays:
            self.reading.append((number, found))
        else:
            self.cache.done(found)

    @rule(number=st.integers(0, 6))
    def take(self, number: int) -> None:
        found = self.cache.taken(key(number), "")
        assert found == self.there.get(number)
        if found is not None:
            assert found.path.read_bytes() == content(number, found.size_bytes)
            self.there[number] = self.there.pop(number)
            self.reading.append((number, found))

    @precondition(lambda self: self.reading)
    @rule(which=st.integers(0, 100))
    def done(self, which: int) -> None:
        _, found = self.reading.pop(which % len(self.reading))
        assert found.path.stat().st_size == found.size_bytes
        self.cache.done(found)

    @precondition(lambda self: self.reading)
    @rule(which=st.integers(0, 100))
    def forget(self, which: int) -> None:
        number, found = self.reading[which % len(self.reading)]
        self.cache.forget(found)
        if self.there.get(number) == found:
            del self.there[number]

    @invariant()
    def bounded_and_counted(self) -> None:
        assert size_of(self.folder) <= LIMIT
        found = counts(self.folder)
        if found:
            assert (found["bytes"], found["instances"]) == (size_of(self.folder), len(files(self.folder)))
        for _, one in self.reading:
            assert one.path.exists()


@pytest.mark.large
def test_whatever_is_done_it_is_bounded_and_right() -> None:
    run_state_machine_as_test(Model, settings=settings(max_examples=examples(8), stateful_step_count=40))
