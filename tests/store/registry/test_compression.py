"""Fragments small on disk, and whole again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_submission
from xds.store.registry.compression import pack, unpack
from xds.store.registry.rows import fragment


@given(st.binary())
def test_any_bytes_come_back_as_they_were(data: bytes) -> None:
    assert unpack(pack(data)) == data


def test_every_fragment_comes_back_smaller_than_half() -> None:
    for item in a_submission().objects():
        data = fragment(item)
        assert unpack(pack(data)) == data
        assert len(pack(data)) < len(data) / 2


@pytest.mark.parametrize("first", [b"", b"\x00", b"\x02", b"<"])
def test_a_fragment_of_a_later_version_is_refused(first: bytes) -> None:
    with pytest.raises(ValueError, match="later version"):
        unpack(first + pack(b"<a/>")[1:] if first else b"")
