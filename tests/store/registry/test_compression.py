"""Fragments small on disk, and whole again."""

from __future__ import annotations

import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_submission
from xds.store.registry import compression
from xds.store.registry.compression import pack, unpack, unpack_all
from xds.store.registry.rows import fragment


@given(st.binary())
def test_any_bytes_come_back_as_they_were(data: bytes) -> None:
    assert unpack(pack(data)) == data


@given(st.lists(st.binary(min_size=1)))
def test_any_number_of_fragments_come_back_as_they_were(fragments: list[bytes]) -> None:
    assert unpack_all(list(map(pack, fragments))) == fragments


def test_more_than_are_unpacked_at_once_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fragments = [fragment(item) for _ in range(7) for item in a_submission().objects()]
    for most in (compression.AT_ONCE, 5):
        monkeypatch.setattr(compression, "AT_ONCE", most)
        assert unpack_all(list(map(pack, fragments))) == fragments
    monkeypatch.setattr(compression, "MOST", max(map(len, fragments)))
    assert unpack_all(list(map(pack, fragments))) == fragments


def test_of_many_fragments_a_damaged_one_is_an_error() -> None:
    packed = [pack(fragment(item)) for _ in range(3) for item in a_submission().objects()]
    packed[5] = packed[5][:-3] + bytes([packed[5][-3] ^ 1]) + packed[5][-2:]
    with pytest.raises(zstandard.ZstdError):
        unpack_all(packed)


def test_among_many_fragments_older_and_later_ones_are_told_apart() -> None:
    packed, older = [pack(b"<a/>")] * 5, zlib.compressobj(6, zdict=compression._DICTIONARY)
    assert unpack_all([*packed, b"\x01" + older.compress(b"<b/>") + older.flush()]) == [b"<a/>"] * 5 + [b"<b/>"]
    with pytest.raises(ValueError, match="later version"):
        unpack_all([*packed, b"\x03"])


def test_every_fragment_comes_back_smaller_than_half() -> None:
    for item in a_submission().objects():
        data = fragment(item)
        assert unpack(pack(data)) == data
        assert len(pack(data)) < len(data) / 2


def test_what_was_packed_by_deflate_is_read_still() -> None:
    compressor = zlib.compressobj(6, zdict=compression._DICTIONARY)
    assert unpack(b"\x01" + compressor.compress(b"<a/>") + compressor.flush()) == b"<a/>"


def test_the_dictionary_is_the_one_that_rows_were_packed_with() -> None:
    """Another one is another first byte: words that are added to the vocabulary are not added to it."""
    known = "235fe72a9b406048b074c7785dcb6693faa4ab1899a348021c4e34d8284572e5"
    assert hashlib.sha256(compression._DICTIONARY).hexdigest() == known


def test_a_damaged_fragment_is_an_error_and_no_other_text() -> None:
    """Few bits say nothing: without these the text is whole all the same."""
    data = fragment(a_submission().document_entries[0])
    packed, damaged = bytearray(pack(data)), 0
    for place in range(10, len(packed), 7):
        spoilt = bytes(packed[:place]) + bytes([packed[place] ^ 1]) + bytes(packed[place + 1 :])
        try:
            read = unpack(spoilt)
        except zstandard.ZstdError:
            damaged += 1
        else:
            assert read == data
    assert damaged > 100


def test_threads_pack_and_unpack_at_once() -> None:
    fragments = [fragment(item) for _ in range(50) for item in a_submission().objects()]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda data: unpack(pack(data)), fragments)) == fragments


@pytest.mark.parametrize("first", [b"", b"\x00", b"\x03", b"<"])
def test_a_fragment_of_a_later_version_is_refused(first: bytes) -> None:
    with pytest.raises(ValueError, match="later version"):
        unpack(first + pack(b"<a/>")[1:] if first else b"")
