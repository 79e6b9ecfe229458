"""An object store that fails, each way that one does: nothing is acknowledged that is not there."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.databases import at_once, shared_engine
from tests.store.documents.test_blobs import kept, read, settings, staged
from tests.store.faulty import Asked, Fault, Faulty, after, faulty, first
from tests.store.object_stores import Server, s3_server
from xds.errors import Unusable
from xds.settings.sections import S3, Settings
from xds.store.documents import checking
from xds.store.documents.folder import Damaged, NotReachable, Unread
from xds.store.documents.object_store import RANGE_BYTES, ObjectStore
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.documents.stores import open_blobs
from xds.wire.spool import NotKept, Spool

__all__ = ["s3_server", "shared_engine"]

LONG = os.urandom(2 * RANGE_BYTES + 1000)
FAULTS = {
    "500": Fault(500, "InternalError"),
    "503": Fault(503, "SlowDown"),
    "403": Fault(403, "AccessDenied"),
    "slow": Fault(seconds=2.0),
}


@pytest.fixture
def way(s3_server: Server) -> Iterator[Faulty]:
    with faulty(s3_server.port) as way:
        yield way


@pytest.fixture
def given(way: Faulty, s3_server: Server, tmp_path: Path) -> Settings:
    """A store that is asked over the faulty way."""
    given = settings(tmp_path, documents=f"s3://{s3_server.bucket()}/xds")
    return replace(given, s3=S3(endpoint=way.url, seconds=20.0))


@pytest.fixture
def blobs(given: Settings, shared_engine: sa.Engine) -> ObjectStore:
    opened = open_blobs(given, shared_engine)
    assert isinstance(opened, ObjectStore)
    return opened


def not_kept(blobs: ObjectStore, content: bytes) -> None:
    with Spool(blobs.staging) as spool, pytest.raises(NotKept):
        blobs.put(staged(spool, content))
    assert [path for path in blobs.staging.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_of_a_store_that_fails_nothing_is_kept_and_later_it_is(
    given: Settings, way: Faulty, shared_engine: sa.Engine, fault: str
) -> None:
    blobs = open_blobs(replace(given, s3=replace(given.s3, seconds=1.0)), shared_engine)
    assert isinstance(blobs, ObjectStore)
    one = kept(blobs, b"before")
    way.says = lambda _: FAULTS[fault]
    not_kept(blobs, b"meanwhile")
    with pytest.raises(NotReachable):
        blobs.holding([(one.sha256, 6)])
    with pytest.raises(Unread):
        read(blobs, one)
    with pytest.raises(NotReachable):
        list(blobs.names())
    with pytest.raises(NotReachable):
        blobs.remove(one.sha256)
    way.says = lambda _: None
    assert read(blobs, one) == b"before"
    assert read(blobs, kept(blobs, b"meanwhile")) == b"meanwhile"


@pytest.mark.parametrize("fault", ["500", "503"])
def test_a_store_that_fails_once_is_asked_again(blobs: ObjectStore, way: Faulty, fault: str) -> None:
    way.says = first(1, FAULTS[fault])
    one = kept(blobs, b"x")
    way.says = first(1, FAULTS[fault])
    assert read(blobs, one) == b"x"


def test_a_body_that_is_cut_off_is_asked_for_again(blobs: ObjectStore, way: Faulty) -> None:
    one = kept(blobs, LONG)
    way.says = first(1, Fault(cut=True), "GET")
    assert read(blobs, one) == LONG


def test_of_bodies_that_are_all_cut_off_the_last_chunk_never_comes(blobs: ObjectStore, way: Faulty) -> None:
    one = kept(blobs, LONG)
    way.says = after(1, Fault(cut=True), "GET")
    came = list[bytes]()
    with pytest.raises(Damaged):
        came.extend(blobs.chunks(one.sha256, len(LONG)))
    assert b"".join(came) in (b"", LONG[:RANGE_BYTES])


def test_of_a_wrong_body_the_last_chunk_never_comes(blobs: ObjectStore, way: Faulty) -> None:
    one = kept(blobs, LONG)
    way.says = lambda asked: Fault(wrong=True) if asked.method == "GET" else None
    came = list[bytes]()
    with pytest.raises(Damaged) as problem:
        came.extend(blobs.chunks(one.sha256, len(LONG)))
    assert not isinstance(problem.value, Unread)
    assert sum(map(len, came)) < len(LONG)


@pytest.mark.parametrize("content", [b"short", LONG], ids=["in one", "in parts"])
def test_an_upload_that_arrives_otherwise_than_it_was_sent_is_not_kept(
    blobs: ObjectStore, way: Faulty, content: bytes
) -> None:
    """The store does not look at checksums: we read back what was sent."""
    way.without = ("content-md5", "x-amz-content-sha256")
    way.says = lambda asked: Fault(lost=True) if asked.method == "PUT" else None
    not_kept(blobs, content)


def test_an_upload_that_arrives_otherwise_once_is_sent_again(blobs: ObjectStore, way: Faulty) -> None:
    """What was there before under its name is not lost by it."""
    one = kept(blobs, b"here before")
    way.says = first(1, Fault(lost=True), "PUT")
    kept(blobs, b"here before")
    assert read(blobs, one) == b"here before"


def test_an_upload_that_is_acknowledged_and_not_there_is_not_kept(blobs: ObjectStore, way: Faulty) -> None:
    way.says = lambda asked: Fault(200) if asked.method == "PUT" else None
    not_kept(blobs, b"x")


@pytest.mark.parametrize("good", [1, 2, 3])
def test_a_large_upload_that_breaks_off_is_not_kept_and_its_parts_are_given_up(
    blobs: ObjectStore, way: Faulty, good: int
) -> None:
    way.says = after(good - 1, Fault(500, "InternalError"), "PUT")
    not_kept(blobs, LONG)
    way.says = lambda _: None
    assert list(blobs.names()) == []
    assert "DELETE" in way.methods()  # AbortMultipartUpload
    assert read(blobs, kept(blobs, LONG)) == LONG


def test_nothing_is_left_to_a_condition_that_some_stores_do_not_keep(blobs: ObjectStore, way: Faulty) -> None:
    """This one takes every put, whatever it is asked: of many at once each is kept, and none asks."""
    conditions = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
    way.without = conditions
    content = os.urandom(1000)
    assert all(not isinstance(one, BaseException) for one in at_once([lambda: kept(blobs, content)] * 8))
    assert list(blobs.names()) == [hashlib.sha256(content).hexdigest()]
    blobs.remove(hashlib.sha256(content).hexdigest())
    assert [one.headers for one in way.asked if {*conditions} & one.headers.keys()] == []


def test_a_bucket_that_has_gone_is_not_taken_for_an_empty_one(blobs: ObjectStore, way: Faulty) -> None:
    """Of a document in it a store says what it says of a document that is not there."""
    one = kept(blobs, b"x")
    way.says = lambda _: Fault(404, "NoSuchBucket")
    for many in (1, 3):
        with pytest.raises(NotReachable):
            blobs.holding([(one.sha256, 1)] * many)
    not_kept(blobs, b"other")


def test_a_sweep_that_is_cut_off_removes_no_more_and_the_next_goes_on(
    blobs: ObjectStore, way: Faulty, shared_engine: sa.Engine
) -> None:
    for number in range(3):
        kept(blobs, os.urandom(20) + bytes([number]))
    way.says = after(1, Fault(503, "SlowDown"), "POST", "DELETE")
    later = time.time() + 2 * SWEEP_SECONDS
    with pytest.raises(NotReachable):
        blobs.sweep(shared_engine, now=later)
    way.says = lambda _: None
    assert blobs.sweep(shared_engine, now=later) == 2


@pytest.mark.parametrize(("algorithm", "key"), [("", ""), ("AES256", ""), ("aws:kms", "key-1")])
def test_the_store_is_asked_to_encrypt_each_upload(
    given: Settings, way: Faulty, shared_engine: sa.Engine, algorithm: str, key: str
) -> None:
    way.without = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
    s3 = replace(given.s3, encryption=algorithm, encryption_key=key)  # type: ignore[arg-type]
    blobs = open_blobs(replace(given, s3=s3), shared_engine)
    kept(blobs, b"short")
    kept(blobs, LONG)

    def begins(asked: Asked) -> bool:
        return "uploads" in asked.path or (asked.method == "PUT" and "partNumber" not in asked.path)

    said = [
        (one.headers.get("x-amz-server-side-encryption", ""),
         one.headers.get("x-amz-server-side-encryption-aws-kms-key-id", ""))
        for one in way.asked if begins(one)
    ]  # fmt: skip
    assert said == [(algorithm, key)] * 2


# What a start says.


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(403, "AccessDenied"), "does not let this node in: look at AWS_ACCESS_KEY_ID"),
        (Fault(403, "SignatureDoesNotMatch"), "does not let this node in"),
        (Fault(404, "NoSuchBucket"), "there is no such bucket"),
    ],
)
def test_a_start_is_refused_where_nothing_could_be_kept(given: Settings, way: Faulty, fault: Fault, said: str) -> None:
    way.says = lambda _: fault
    with pytest.raises(Unusable, match=said):
        checking.check(given)
    assert {*way.methods()} <= {"GET", "HEAD"}


def test_a_start_waits_for_no_store_that_is_away(
    given: Settings, way: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    way.says = lambda _: Fault(503, "SlowDown")
    with caplog.at_level(logging.WARNING):
        checking.check(given)
    assert [record.getMessage() for record in caplog.records] == ["documents.not_reachable"]
