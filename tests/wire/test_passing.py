"""An answer that is passed on as it comes: how slowly whoever answers may be, and how slowly whoever reads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from xds.wire import passing
from xds.wire.client import OverBounds, Within


class Peer:
    """An answer of which each read gives so many bytes, and takes so many seconds."""

    def __init__(self, size: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.size, self.seconds, self.now = size, seconds, 100.0
        monkeypatch.setattr(passing, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.reading = passing._Reading(self, Within(10**9, 100, 160.0))

    def read1(self, size: int) -> bytes:
        self.now += self.seconds
        return bytes(min(size, self.size))

    def read(self, times: int) -> None:
        for _ in range(times):
            self.reading(10**6)


def test_whoever_drips_is_broken_off_once_it_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(1, 3.0, monkeypatch)
    peer.read(10)  # its root part has a time of its own
    peer.reading.passes()
    with pytest.raises(OverBounds, match="too slowly"):
        peer.read(10)


def test_whoever_reads_slowly_is_not_taken_for_a_slow_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(1000, 0.0, monkeypatch)
    peer.reading.passes()
    for _ in range(100):
        peer.now += 60.0
        assert len(peer.reading(1000)) == 1000


def test_the_root_part_has_its_time_and_the_rest_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(1000, 0.0, monkeypatch)
    peer.now = 161.0
    with pytest.raises(OverBounds, match="in time"):
        peer.reading(1000)
    peer.reading.passes()
    peer.now += passing.MOST_SECONDS - 1
    peer.reading(1000)
    peer.now += 2
    with pytest.raises(OverBounds, match="in time"):
        peer.reading(1000)


def test_more_than_is_taken_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(passing.READ_BYTES, 0.0, monkeypatch)
    peer.reading.passes()
    with pytest.raises(OverBounds, match="over 1000000000 bytes"):
        peer.read(10**9 // passing.READ_BYTES + 1)
