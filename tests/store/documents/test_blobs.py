"""What every store of documents promises, held against folders and S3 servers, of what is encrypted and is not."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import sqlalchemy as sa

from tests import extent
from tests.store.databases import at_once, shared_engine
from tests.store.engines import NAMES, Engine, engines
from tests.store.object_stores import Server, s3_server
from xds.errors import Unusable
from xds.settings.sections import S3, Loaded, Settings
from xds.store.deployment import prepare, with_identity
from xds.store.documents import sightings, wrapping
from xds.store.documents.folder import BlobStore, Damaged, DocumentTable, Kept, NotReachable
from xds.store.documents.object_store import RANGE_BYTES, ObjectStore, _key
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.documents.stores import open_blobs, places
from xds.store.engine import make_engine
from xds.store.interface import Blobs
from xds.wire.spool import CHUNK_BYTES, NotKept, Spool, Spooled

__all__ = ["engines", "s3_server", "shared_engine"]

LONG = bytes(range(256)) * (CHUNK_BYTES // 256) * 2 + b"the end"
LONG_OBJECT = LONG * (RANGE_BYTES // len(LONG) + 1)
"""Of an object store it needs more than one request."""


@dataclass
class Kind:
    """A store, and how one meddles with what it keeps."""

    blobs: Blobs
    overwrite: Callable[[str, bytes], None]
    remove: Callable[[str], object]


def settings(folder: Path, **server: str) -> Settings:
    bare = Settings()
    return replace(bare, server=replace(bare.server, data=str(folder), **server))


def with_tables(given: Settings) -> Settings:
    """The same settings; the database that they name has our tables."""
    engine = make_engine(given.database_url, connections=1)
    prepare(engine, with_identity(Loaded(given, {})))
    engine.dispose()
    return given


def of_folder(folder: Path, engine: sa.Engine) -> Kind:
    store = open_blobs(settings(folder), engine)
    assert isinstance(store, BlobStore)
    return Kind(store, lambda sha, data: _written(store.path(sha), data), lambda sha: store.path(sha).unlink())


def _written(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def of_bucket(folder: Path, engine: sa.Engine, server: Server | Engine, seconds: float = 2.0) -> Kind:
    given = settings(folder, documents=f"s3://{server.bucket()}/some/prefix")
    store = open_blobs(replace(given, s3=S3(endpoint=server.url, seconds=seconds)), engine)
    assert isinstance(store, ObjectStore)
    bucket = store._store

    def overwrite(sha256: str, data: bytes) -> None:
        obstore.put(bucket, _key(sha256), data)

    return Kind(store, overwrite, lambda sha: obstore.delete(bucket, _key(sha)))


def of_sealed(given: Settings, engine: sa.Engine) -> Kind:
    """Encrypted; who meddles with it has the keys."""
    path = given.data / "documents.keys"
    path.parent.mkdir(parents=True)
    wrapping.add(path)
    given = replace(given, server=replace(given.server, documents_key=str(path)))
    store, meddled = open_blobs(given, engine), places(given)[0].open(engine, read_back=False)

    def overwrite(sha256: str, data: bytes) -> None:
        store.remove(sha256)
        with Spool(store.staging, sealed=True) as spool:
            meddled.put(replace(staged(spool, data), sha256=sha256))

    return Kind(store, overwrite, store.remove)


ALL = ("folder", "s3", "encrypted", "s3 encrypted", *NAMES)
KINDS = [pytest.param(name, marks=pytest.mark.large) if extent.LONG else name for name in ALL]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, shared_engine: sa.Engine) -> Kind:
    if request.param == "folder":
        return of_folder(tmp_path, shared_engine)
    if request.param == "encrypted":
        return of_sealed(settings(tmp_path / "data"), shared_engine)
    if request.param == "s3 encrypted":
        server = request.getfixturevalue("s3_server")
        given = settings(tmp_path / "data", documents=f"s3://{server.bucket()}/some/prefix")
        return of_sealed(replace(given, s3=S3(endpoint=server.url, seconds=2.0)), shared_engine)
    if request.param in NAMES:
        server = request.getfixturevalue("engines")[request.param]
        return of_bucket(tmp_path, shared_engine, server, seconds=30.0)
    return of_bucket(tmp_path, shared_engine, request.getfixturevalue("s3_server"))


@pytest.fixture
def blobs(kind: Kind) -> Blobs:
    return kind.blobs


@pytest.fixture
def spool(blobs: Blobs) -> Iterator[Spool]:
    with Spool(blobs.staging, sealed=blobs.seals) as spool:
        yield spool


def staged(spool: Spool, data: bytes) -> Spooled:
    writing = spool.new()
    writing.write(data)
    return writing.finish()


def kept(blobs: Blobs, data: bytes) -> Spooled:
    with Spool(blobs.staging, sealed=blobs.seals) as spool:
        one = staged(spool, data)
        blobs.put(one)
        return one


def read(blobs: Blobs, one: Spooled) -> bytes:
    return b"".join(blobs.chunks(one.sha256, one.size_bytes))


def there(blobs: Blobs, one: Spooled) -> bool:
    return blobs.holding([(one.sha256, one.size_bytes)]) == [True]


@pytest.mark.parametrize("data", [b"", b"x", LONG, b"\0" * CHUNK_BYTES, b"\1" * (RANGE_BYTES + 1)])
def test_what_was_put_is_held_and_comes_back(blobs: Blobs, data: bytes) -> None:
    one = kept(blobs, data)
    assert read(blobs, one) == data
    assert there(blobs, one)
    assert list(blobs.names()) == [one.sha256]
    assert [path for path in blobs.staging.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("start", [1, CHUNK_BYTES, len(LONG_OBJECT) - 1])
def test_what_was_put_is_read_from_any_place_on(blobs: Blobs, start: int) -> None:
    one = kept(blobs, LONG_OBJECT)
    assert b"".join(blobs.unchecked(one.sha256, one.size_bytes, start)) == LONG_OBJECT[start:]


def test_what_was_removed_is_gone_and_may_come_again(blobs: Blobs) -> None:
    one, other = kept(blobs, LONG), kept(blobs, b"other")
    blobs.remove(one.sha256)
    blobs.remove(one.sha256)
    assert not there(blobs, one)
    assert list(blobs.names()) == [other.sha256]
    assert read(blobs, kept(blobs, LONG)) == LONG


def test_it_is_listed_when_it_was_put(blobs: Blobs) -> None:
    before, one, other = time.time(), kept(blobs, b"one"), kept(blobs, b"other")
    listed = dict(blobs.listed())
    assert listed.keys() == {one.sha256, other.sha256}
    assert all(before - 2 < put < time.time() + 2 for put in listed.values())


def test_of_many_each_is_looked_up(blobs: Blobs) -> None:
    one, other = kept(blobs, b"one"), kept(blobs, b"other")
    absent = hashlib.sha256(b"absent").hexdigest()
    wanted = [(one.sha256, 3), (absent, 6), (other.sha256, 5), (other.sha256, 4)]
    assert blobs.holding(wanted) == [True, False, True, False]
    assert blobs.holding([]) == []


def test_the_same_content_put_by_many_at_once_is_kept_once_and_whole(blobs: Blobs) -> None:
    names = {one.sha256 for one in at_once([lambda: kept(blobs, LONG)] * 12) if isinstance(one, Spooled)}
    assert names == {hashlib.sha256(LONG).hexdigest()}
    assert list(blobs.names()) == list(names)
    assert b"".join(blobs.chunks(names.pop(), len(LONG))) == LONG


def test_what_was_cut_off_is_damaged_until_its_content_comes_again(kind: Kind) -> None:
    one = kept(kind.blobs, LONG)
    kind.overwrite(one.sha256, LONG[:100])
    assert not there(kind.blobs, one)
    with pytest.raises(Damaged):
        read(kind.blobs, one)
    kept(kind.blobs, LONG)
    assert read(kind.blobs, one) == LONG


def test_what_is_gone_is_damaged(kind: Kind) -> None:
    one = kept(kind.blobs, LONG)
    kind.remove(one.sha256)
    assert not there(kind.blobs, one)
    with pytest.raises(Damaged):
        read(kind.blobs, one)


@pytest.mark.parametrize("at", [0, CHUNK_BYTES, len(LONG) - 1])
def test_of_other_bytes_the_last_chunk_never_comes(kind: Kind, at: int) -> None:
    one = kept(kind.blobs, LONG)
    kind.overwrite(one.sha256, LONG[:at] + b"!" + LONG[at + 1 :])
    assert there(kind.blobs, one)
    came: list[bytes] = []
    with pytest.raises(Damaged):
        came.extend(kind.blobs.chunks(one.sha256, one.size_bytes))
    assert sum(map(len, came)) < len(LONG)


def test_something_else_under_the_name_of_nothing_is_damaged(kind: Kind) -> None:
    one = kept(kind.blobs, b"x")
    kind.overwrite(one.sha256, b"")
    with pytest.raises(Damaged):
        list(kind.blobs.chunks(one.sha256, 0))


def names_it(engine: sa.Engine, one: Spooled) -> None:
    """A row of a document with these bytes."""
    with engine.begin() as connection:
        row = Kept("2.25.1", "text/plain", one.size_bytes, one.sha1, one.sha256, "registered", "", "")
        DocumentTable(connection, uuid.uuid4().hex).add(row)


def test_the_sweep_takes_what_is_old_and_named_by_nothing(blobs: Blobs, spool: Spool, shared_engine: sa.Engine) -> None:
    unique = uuid.uuid4().hex.encode()
    named, nameless = kept(blobs, b"named" + unique), kept(blobs, b"nameless" + unique)
    names_it(shared_engine, named)
    left, under_way = staged(spool, b"left behind"), staged(spool, b"under way")
    os.utime(left.path, (0, 0))
    assert blobs.sweep(shared_engine, now=time.time()) == 1
    assert set(blobs.names()) == {named.sha256, nameless.sha256}
    assert under_way.path.exists()
    assert not left.path.exists()
    later = time.time() + 2 * SWEEP_SECONDS
    assert blobs.sweep(shared_engine, now=later) == 2
    assert list(blobs.names()) == [named.sha256]
    assert blobs.sweep(shared_engine, now=later) == 0


@pytest.mark.parametrize("off", [-7200, 0, 3600, 10**7])
def test_what_was_put_just_now_stays_whatever_time_of_day_it_is_said_to_be(
    blobs: Blobs, spool: Spool, shared_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    """It may be about to be acknowledged; the clock of the node is set, or the store's is another's."""
    now, real = [0.0], time.time
    monkeypatch.setattr(sightings, "elapsed", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: real() + off)
    one, left = kept(blobs, uuid.uuid4().hex.encode()), staged(spool, b"under way")
    for at in (0.0, SWEEP_SECONDS - 1.0):
        now[0] = at
        assert blobs.sweep(shared_engine) == 0
        assert there(blobs, one)
    now[0] = float(SWEEP_SECONDS)
    assert blobs.sweep(shared_engine) == 2
    assert not there(blobs, one)
    assert not left.path.exists()


def test_content_that_comes_again_while_the_sweep_is_about_stays(blobs: Blobs, shared_engine: sa.Engine) -> None:
    """Whichever is first, what was put is there when the put has returned: it is young again."""
    content = uuid.uuid4().hex.encode()
    sha256 = hashlib.sha256(content).hexdigest()

    def put() -> bool:
        kept(blobs, content)
        return blobs.holding([(sha256, len(content))]) == [True]

    def sweep() -> bool:
        blobs.sweep(shared_engine, now=time.time())
        return True

    for _ in range(5):
        assert at_once([put, sweep, put, sweep], threads=4) == [True] * 4


# An object store that is not there.


@pytest.fixture
def gone(tmp_path: Path, shared_engine: sa.Engine) -> Blobs:
    given = replace(settings(tmp_path, documents="s3://documents"), s3=S3(endpoint="http://127.0.0.1:1", seconds=1.0))
    return open_blobs(given, shared_engine)


def test_a_store_that_does_not_answer_keeps_nothing_and_says_so(
    gone: Blobs, s3_server: Server, shared_engine: sa.Engine
) -> None:
    with Spool(gone.staging) as spool:
        one = staged(spool, b"x")
        with pytest.raises(NotKept):
            gone.put(one)
    asks: list[Callable[[], Any]] = [
        lambda: gone.holding([(one.sha256, 1)]),
        lambda: gone.holding([(one.sha256, 1)] * 3),
        lambda: list(gone.names()),
        lambda: gone.sweep(shared_engine),
    ]
    for ask in asks:
        with pytest.raises(NotReachable):
            ask()
    with pytest.raises(Damaged):
        list(gone.chunks(one.sha256, 1))


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix"])
def test_a_store_without_a_bucket_is_said_so(tmp_path: Path, shared_engine: sa.Engine, url: str) -> None:
    with pytest.raises(Unusable, match="s3://BUCKET"):
        open_blobs(settings(tmp_path, documents=url), shared_engine)
