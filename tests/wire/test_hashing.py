"""Two hashes at once are the hashes of the same bytes, however they come."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.wire import hashing
from xds.wire.hashing import AHEAD, SHORT_BYTES, Hashes


def _threads() -> int:
    return sum(thread.name == "hashing" for thread in threading.enumerate())


def _expected(data: bytes) -> tuple[str, str]:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()


@given(st.lists(st.binary(max_size=64)))
def test_pieces_are_hashed_as_the_whole_of_them_is(pieces: Sequence[bytes]) -> None:
    hashes = Hashes()
    for piece in pieces:
        hashes.update(piece)
    assert hashes.digests() == _expected(b"".join(pieces))


@pytest.mark.parametrize("beyond", [0, 1, SHORT_BYTES])
def test_many_bytes_are_hashed_on_a_thread_that_ends_with_them(beyond: int) -> None:
    data, before, hashes = bytes(range(256)) * (SHORT_BYTES // 256) + bytes(beyond), _threads(), Hashes()
    for start in range(0, len(data), 65536):
        hashes.update(data[start : start + 65536])
    assert _threads() - before == (beyond > 0)
    assert hashes.digests() == _expected(data)
    assert _threads() == before


def test_what_is_given_up_leaves_no_thread() -> None:
    before, hashes = _threads(), Hashes()
    for _ in range(3):
        hashes.update(bytes(SHORT_BYTES))
    hashes.end()
    assert _threads() == before


def test_what_fails_on_the_thread_is_told_and_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = Hashes()
    monkeypatch.setattr(hashing, "SHORT_BYTES", 0)

    def fail(_data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(hashes, "_take", fail)
    for _ in range(3 * AHEAD):
        hashes.update(b"piece")
    with pytest.raises(MemoryError):
        hashes.digests()
