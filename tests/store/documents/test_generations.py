"""The keys of a store where nodes, files and databases come from different times."""

from __future__ import annotations

import pytest

from tests.store.databases import shared_engine
from tests.store.documents.test_blobs import kept, read
from tests.store.documents.test_sealing import TEXT, Store, store
from xds.errors import Unusable
from xds.store.documents import checking, wrapping

__all__ = ["shared_engine", "store"]


def test_keys_that_the_database_alone_has_stay_there_though_a_node_lacks_the_key_that_wraps_them(store: Store) -> None:
    one, earlier, old_keys = kept(store.open(), TEXT), store.keys_file.read_bytes(), store.key_file.read_bytes()
    for _ in range(2):
        newest = wrapping.add(store.key_file).id
        store.place.store_keys(store.engine).rotate()
    other, noted, keys = kept(store.open(), b"after that"), store.note(), store.key_file.read_bytes()

    store.keys_file.write_bytes(earlier)
    store.key_file.write_bytes(old_keys)
    with pytest.raises(Unusable, match=f"need the key {newest}, which {store.key_file} has not"):
        checking.opens(store.place, store.engine)
    assert store.note() == noted
    assert store.keys_file.read_bytes() == earlier

    store.key_file.write_bytes(keys)
    assert [read(store.open(), each) for each in (one, other)] == [TEXT, b"after that"]
    assert store.keys_file.read_text() == store.note() == noted
