"""A transaction of the database that is begun anew puts the same staged files again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.store.databases import shared_engine
from tests.store.documents.test_blobs import read
from tests.store.documents.test_sealing import TEXT, Store, bucket, store
from tests.store.object_stores import s3_server
from xds.store.interface import Blobs
from xds.wire.spool import NotKept, Spool

__all__ = ["bucket", "s3_server", "shared_engine", "store"]


@pytest.fixture(params=["store", "bucket"])
def place(request: pytest.FixtureRequest, store: Store, bucket: Store) -> Store:
    return {"store": store, "bucket": bucket}[request.param]


@pytest.fixture(params=["encrypted", "plain"])
def blobs(request: pytest.FixtureRequest, place: Store) -> Blobs:
    return place.open() if request.param == "encrypted" else replace(place.place, key_file="").open(place.engine)


@pytest.mark.parametrize("sealed", [True, False])
def test_what_was_put_is_put_again_though_it_is_staged_no_more(blobs: Blobs, *, sealed: bool) -> None:
    with Spool(blobs.staging, sealed=sealed and blobs.seals) as spool:
        writing = spool.new()
        writing.write(TEXT)
        one = writing.finish()
        blobs.put(one)
        blobs.put(one)
    assert read(blobs, one) == TEXT
    assert not one.path.exists()


def test_what_is_neither_staged_nor_kept_is_not_said_to_be(blobs: Blobs) -> None:
    with Spool(blobs.staging, sealed=blobs.seals) as spool:
        writing = spool.new()
        writing.write(TEXT)
        one = writing.finish()
        one.path.unlink()
        with pytest.raises((NotKept, FileNotFoundError)):
            blobs.put(one)
    assert list(blobs.names()) == []
