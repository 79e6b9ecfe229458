"""Who is turned away in a flood is told a moment later, and everybody is told once."""

from __future__ import annotations

import pytest

from xds.wire.held_back import LEAST_SECONDS, MOST_SECONDS, HeldBack


class Told(list[tuple[str, bytes]]):
    def __call__(self, who: str, said: bytes) -> None:
        self.append((who, said))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("xds.wire.held_back.time.monotonic", lambda: now[0])
    return now


def test_each_is_told_once_and_after_a_time_of_its_own(now: list[float]) -> None:
    told = Told()
    held = HeldBack[str](told, 1000)
    for number in range(100):
        held.add(str(number), b"busy")
    now[0] += LEAST_SECONDS - 0.001
    held.tell_due()
    assert told == []
    counts = []
    for _ in range(10):
        before = len(told)
        now[0] += (MOST_SECONDS - LEAST_SECONDS) / 10 + 0.0002
        held.tell_due()
        counts.append(len(told) - before)
    assert min(counts) >= 8  # who came together comes back one after the other
    assert sorted(who for who, _ in told) == sorted(str(number) for number in range(100))
    assert len(held) == 0


def test_when_there_are_too_many_the_next_is_told(now: list[float]) -> None:
    told = Told()
    held = HeldBack[str](told, 2)
    for who in "abc":
        held.add(who, b"")
    assert told == [("a", b"")]
    assert len(held) == 2


def test_at_the_end_everybody_is_told_at_once(now: list[float]) -> None:
    told = Told()
    held = HeldBack[str](told, 9)
    for who in "abc":
        held.add(who, b"")
    held.tell_due(everybody=True)
    assert sorted(who for who, _ in told) == ["a", "b", "c"]
    assert held.take() is None
