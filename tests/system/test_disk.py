"""Some of a disk is kept free for what must go on when the rest is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from xds.system import disk
from xds.system.disk import LOOK_SECONDS, Reserve
from xds.wire.spool import LOOK_BYTES, SHORT_BYTES, NotKept, Spool


class Disk:
    """With so much free as the test says."""

    def __init__(self, free: int) -> None:
        self.free, self.asked = free, 0

    def usage(self, _folder: Path) -> Disk:
        self.asked += 1
        return self


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(100)
    monkeypatch.setattr(disk, "disk_usage", made.usage)
    return made


def test_a_disk_is_looked_at_now_and_then(full: Disk, tmp_path: Path) -> None:
    now = [0.0]
    reserve = Reserve(100, tmp_path, clock=lambda: now[0])
    assert not reserve.is_low()
    full.free = 99
    assert not reserve.is_low()
    now[0] = LOOK_SECONDS
    assert [reserve.is_low() for _ in range(100)] == [True] * 100
    assert full.asked == 2


def test_who_fills_it_sees_it_at_once(full: Disk, tmp_path: Path) -> None:
    reserve = Reserve(100, tmp_path)
    assert not reserve.is_low()
    full.free = 99
    assert reserve.is_low(anew=True)


def test_of_several_disks_the_one_with_least_is_meant_and_one_that_is_gone_is_not_full(tmp_path: Path) -> None:
    assert not Reserve(1, tmp_path / "none").is_low()
    assert Reserve(2**62, tmp_path / "none", tmp_path).is_low()


def test_without_a_reserve_nothing_is_looked_at(full: Disk, tmp_path: Path) -> None:
    full.free = 0
    assert not Reserve(0, tmp_path).is_low(anew=True)
    assert full.asked == 0


def test_a_part_that_would_fill_the_disk_is_broken_off(full: Disk, tmp_path: Path) -> None:
    with Spool(tmp_path, disk=Reserve(100, tmp_path)) as spool:
        writing = spool.new()
        writing.write(b"x" * (SHORT_BYTES + 1))
        full.free = 99
        for _ in range(8):
            writing.write(b"x" * (LOOK_BYTES // 8))
        with pytest.raises(NotKept):
            writing.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_many_small_parts_fill_it_as_one_long_one_does(full: Disk, tmp_path: Path) -> None:
    full.free = 99
    with Spool(tmp_path, disk=Reserve(100, tmp_path)) as spool:
        for _ in range(SHORT_BYTES // 1024):
            spool.new().write(b"x" * 1024)
        one_more = spool.new()
        with pytest.raises(NotKept):
            one_more.write(b"x")
    assert list(tmp_path.iterdir()) == []
