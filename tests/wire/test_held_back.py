"""Who is turned away in a flood is told a moment later, and everybody is told once."""

from __future__ import annotations

import pytest

from xds.wire.held_back import HOLD_SECONDS, HeldBack


class Told(list[tuple[str, bytes]]):
    def __call__(self, who: str, said: bytes) -> None:
        self.append((who, said))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("xds.wire.held_back.time.monotonic", lambda: now[0])
    return now


def test_they_are_told_in_their_order_each_after_its_time(now: list[float]) -> None:
    told = Told()
    held = HeldBack[str](told, 10)
    held.add("a", b"1")
    now[0] += HOLD_SECONDS / 2
    held.add("b", b"2")
    held.tell_due()
    assert told == []
    now[0] += HOLD_SECONDS / 2
    held.tell_due()
    assert told == [("a", b"1")]
    now[0] += HOLD_SECONDS
    held.tell_due()
    assert told == [("a", b"1"), ("b", b"2")]
    assert len(held) == 0


def test_when_there_are_too_many_the_oldest_is_told(now: list[float]) -> None:
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
    assert [who for who, _ in told] == ["a", "b", "c"]
    assert not held.tell_first()
