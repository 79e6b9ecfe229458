"""The keys of a store where nodes, files and databases come from different times."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.databases import shared_engine
from tests.store.documents.test_blobs import kept, read
from tests.store.documents.test_sealing import TEXT, Store, store
from xds.errors import Unusable
from xds.store.documents import checking, wrapping
from xds.store.documents.folder import Damaged
from xds.store.documents.generations import AGAIN_SECONDS
from xds.store.documents.wrapping_token import in_turn

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


def test_a_node_that_lacks_the_new_key_keeps_documents_by_the_one_before_until_it_has_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    late = replace(store, key_file=tmp_path / "late.keys")
    shutil.copy(store.key_file, late.key_file)
    node, one = late.open(), kept(store.open(), TEXT)
    assert read(node, one) == TEXT
    missing = wrapping.add(store.key_file).id
    store.place.store_keys(store.engine).rotate()
    after = kept(store.open(), b"after that")
    with pytest.raises(Damaged):
        read(node, after)

    with caplog.at_level(logging.ERROR):
        mine = [kept(node, b"mine %d" % number) for number in range(3)]
    told = [vars(one)["key"] for one in caplog.records if one.message == "documents.key_missing"]
    assert told == [missing]  # once, not for each document
    assert [read(store.open(), each) for each in mine] == [b"mine 0", b"mine 1", b"mine 2"]

    shutil.copy(store.key_file, late.key_file)
    later = time.monotonic() + AGAIN_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    healed = kept(node, b"healed")
    assert [read(node, each) for each in (one, after, healed)] == [TEXT, b"after that", b"healed"]
    assert store.file_of(healed).read_bytes()[8:24] == store.file_of(after).read_bytes()[8:24]


def test_keys_of_a_later_version_are_not_taken_for_damaged(store: Store) -> None:
    kept(store.open(), TEXT)
    later = store.keys_file.read_text().replace('"format": 1', '"format": 2')
    store.keys_file.write_text(later)
    with pytest.raises(Unusable, match="of a later version of xds"):
        checking.opens(store.place, store.engine)
    assert store.keys_file.read_text() == later


@pytest.mark.parametrize(
    "labels",
    [
        ["documents", "documents-2", "documents-9", "documents-10"],
        ["documents-2026", "documents-2026-2", "documents-2027"],
    ],
)
def test_keys_of_a_token_come_in_the_order_of_their_numbers(labels: list[str]) -> None:
    assert sorted({*labels}, key=in_turn) == labels
