"""Bytes encrypted in segments: what was written comes back, and whatever else is there is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.wire import sealed
from xds.wire.sealed import SEGMENT_BYTES, UNIT_BYTES, Altered, Sealer, opened, sealed_bytes
from xds.wire.spool import HEADER_BYTES, Spool

KEY = bytes(range(32))
SIZES = [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES, 2 * SEGMENT_BYTES + 7]


def a_text(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def of(text: bytes, step: int = 100_000, key: bytes = KEY) -> bytes:
    sealer = Sealer(key)
    done = [sealer.update(text[at : at + step]) for at in range(0, len(text), step)]
    return b"".join([*done, sealer.end()])


def pieces(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


def read(data: bytes, key: bytes = KEY, segment: int = 0, step: int = 70_000) -> bytes:
    return b"".join(opened(pieces(data, step), key, segment))


sizes = st.sampled_from(SIZES) | st.integers(0, 3 * SEGMENT_BYTES)
steps = st.integers(1_000, 2 * UNIT_BYTES)


@given(sizes, steps, steps)
def test_what_was_written_comes_back_in_whatever_pieces(size: int, written: int, taken: int) -> None:
    text = a_text(size)
    kept = of(text, written)
    assert len(kept) == sealed_bytes(size)
    assert sealed.text_bytes(len(kept)) == size
    assert read(kept, step=taken) == text


@given(sizes, st.data())
def test_from_any_segment_on_it_is_read_without_what_is_before(size: int, data: st.DataObject) -> None:
    text = a_text(size)
    start = data.draw(st.integers(0, size))
    segment = sealed.segment_of(start, size)
    came = read(of(text)[segment * UNIT_BYTES :], segment=segment)
    assert came[start - segment * SEGMENT_BYTES :] == text[start:]


@given(sizes, st.data())
def test_any_bit_that_is_another_is_found_before_its_segment_comes(size: int, data: st.DataObject) -> None:
    text, kept = a_text(size), bytearray(of(a_text(size)))
    at, bit = data.draw(st.integers(0, len(kept) - 1)), data.draw(st.integers(0, 7))
    kept[at] ^= 1 << bit
    came = list[bytes]()
    with pytest.raises(Altered):
        came.extend(opened(pieces(bytes(kept), 70_000), KEY))
    assert b"".join(came) == text[: at // UNIT_BYTES * SEGMENT_BYTES]


@given(sizes, st.data())
def test_whatever_was_cut_off_is_found(size: int, data: st.DataObject) -> None:
    kept = of(a_text(size))
    left = data.draw(
        st.integers(0, len(kept) - 1) | st.sampled_from([*range(0, len(kept), UNIT_BYTES)]), label="bytes left"
    )
    with pytest.raises(Altered):
        read(kept[:left])


@given(sizes, st.binary(min_size=1, max_size=64) | st.just(bytes(UNIT_BYTES)))
def test_whatever_was_added_is_found(size: int, more: bytes) -> None:
    with pytest.raises(Altered):
        read(of(a_text(size)) + more)


def test_segments_in_another_order_twice_or_of_another_text_are_found() -> None:
    kept, other = of(a_text(3 * SEGMENT_BYTES)), of(a_text(3 * SEGMENT_BYTES), key=bytes(32))
    first, second, third = pieces(kept, UNIT_BYTES)
    for spoilt in (
        second + first + third, first + first + third, first + second + second, first + third,
        first + other[UNIT_BYTES : 2 * UNIT_BYTES] + third, first + second, other,
    ):  # fmt: skip
        with pytest.raises(Altered):
            read(spoilt)
    assert read(first + second + third) == a_text(3 * SEGMENT_BYTES)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_spooled_encrypted_is_in_no_file_as_it_came(tmp_path: Path, size: int) -> None:
    text = (b"Anna Schmidt" * (size // 12 + 1))[:size]
    with Spool(tmp_path, sealed=True) as spool:
        writing = spool.new()
        for piece in pieces(text, 50_000):
            writing.write(piece)
        one = writing.finish()
        kept = one.path.read_bytes()
        assert (one.size_bytes, len(kept)) == (size, HEADER_BYTES + sealed_bytes(size))
        assert b"Schmidt" not in kept
        assert one.read() == text
        assert one.key.hex() not in repr(one)
        assert one.key not in kept
    assert list(tmp_path.iterdir()) == []
