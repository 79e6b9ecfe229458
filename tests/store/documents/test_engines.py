"""What makers of object stores do otherwise, and what an operator may switch on: nothing of ours depends on it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import sqlalchemy as sa
from botocore.exceptions import BotoCoreError, ClientError

from tests.extent import LONG, size
from tests.store.databases import shared_engine
from tests.store.documents.test_blobs import kept, read, settings, there, with_tables
from tests.store.engines import NAMES, Engine, engines
from xds.errors import Unusable
from xds.settings.sections import S3, Settings
from xds.store.documents import checking
from xds.store.documents.object_store import RANGE_BYTES, ObjectStore, _key
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.documents.stores import open_blobs, places
from xds.store.engine import make_engine

__all__ = ["engines", "shared_engine"]

pytestmark = [pytest.mark.large] if LONG else []
MANY = size(3_000, 40_000)


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest) -> Engine:
    started: Engine = request.getfixturevalue("engines")[request.param]
    return started


@pytest.fixture
def given(server: Engine, tmp_path: Path) -> Settings:
    given = settings(tmp_path, documents=f"s3://{server.bucket()}/xds")
    return with_tables(replace(given, s3=S3(endpoint=server.url, seconds=30.0)))


@pytest.fixture
def blobs(given: Settings, shared_engine: sa.Engine) -> ObjectStore:
    opened = open_blobs(given, shared_engine)
    assert isinstance(opened, ObjectStore)
    return opened


def bucket_of(given: Settings) -> str:
    return given.server.documents.split("/")[2]


# A start.


def test_a_start_finds_a_bucket_and_touches_nothing(given: Settings, blobs: ObjectStore) -> None:
    checking.check(given)
    assert list(blobs.names()) == []


def test_a_start_without_the_bucket_is_refused(given: Settings) -> None:
    none = replace(given, server=replace(given.server, documents="s3://none-such-bucket/xds"))
    with pytest.raises(Unusable, match=r"server\.documents: s3://none-such-bucket/xds: there is no such bucket"):
        checking.check(none)


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_start_with_other_keys_is_refused(given: Settings, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "another")
    with pytest.raises(Unusable, match="does not let this node in: look at AWS_ACCESS_KEY_ID"):
        checking.check(given)


def test_documents_that_nobody_knows_keep_a_server_from_starting(
    given: Settings, blobs: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sweep would remove them."""
    monkeypatch.setattr(checking, "MANY", 3)
    monkeypatch.setattr(checking, "SWEEP_SECONDS", -60)
    kept(blobs, b"one"), kept(blobs, b"two"), kept(blobs, b"three")
    with pytest.raises(Unusable, match="the database knows none of them"):
        checking.check(given)
    blobs.remove(hashlib.sha256(b"three").hexdigest())
    checking.check(given)


def test_documents_that_were_all_removed_do_not_keep_a_server_from_starting(
    given: Settings, blobs: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the next sweep they are there, and no row names them: the deployment has used this store before."""
    monkeypatch.setattr(checking, "MANY", 3)
    monkeypatch.setattr(checking, "SWEEP_SECONDS", -60)
    checking.check(given)
    kept(blobs, b"one"), kept(blobs, b"two"), kept(blobs, b"three")
    checking.check(given)
    engine = make_engine(given.database_url, connections=1)
    checking.owned(places(given)[0], engine)  # nor another move into it
    engine.dispose()


# What is kept.


_PUTS = """
import sys
from pathlib import Path
from tests.store.documents.test_blobs import kept, settings
from dataclasses import replace
from xds.settings.sections import S3
from xds.store.documents.stores import open_blobs
from xds.store.engine import make_engine
folder, url, endpoint, count = sys.argv[1:]
given = replace(settings(Path(folder), documents=url), s3=S3(endpoint=endpoint))
blobs = open_blobs(given, make_engine(given.database_url, connections=1))
for _ in range(int(count)):
    kept(blobs, bytes(range(256)) * 40_000)
"""


def test_the_same_bytes_put_by_several_processes_are_kept_once_and_whole(
    given: Settings, blobs: ObjectStore, server: Engine, tmp_path: Path
) -> None:
    """Each with a lock of its own, as on machines that do not see each other: content is all that they agree on."""
    commands = [
        [sys.executable, "-c", _PUTS, str(tmp_path / str(number)), given.server.documents, server.url, "3"]
        for number in range(3)
    ]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    for one in running:
        _, problem = one.communicate(timeout=240)
        assert one.returncode == 0, problem.decode()[-2000:]
    content = bytes(range(256)) * 40_000
    sha256 = hashlib.sha256(content).hexdigest()
    assert list(blobs.names()) == [sha256]
    assert b"".join(blobs.chunks(sha256, len(content))) == content


def test_parts_of_a_large_upload_that_was_broken_off_are_in_nobody_s_way(
    given: Settings, blobs: ObjectStore, server: Engine, shared_engine: sa.Engine
) -> None:
    """Nobody sees them; they take room until a lifecycle rule of the bucket ends them."""
    content = os.urandom(RANGE_BYTES + 1)
    key = f"xds/{_key(hashlib.sha256(content).hexdigest())}"
    client = server.client()
    begun = client.create_multipart_upload(Bucket=bucket_of(given), Key=key)
    client.upload_part(
        Bucket=bucket_of(given), Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=content[:RANGE_BYTES]
    )
    assert list(blobs.names()) == []
    checking.check(given)
    one = kept(blobs, content)
    assert read(blobs, one) == content
    assert blobs.sweep(shared_engine, now=time.time() + 2 * SWEEP_SECONDS) == 1
    assert list(blobs.names()) == []


@pytest.fixture
def versioned(given: Settings, server: Engine) -> Any:
    client = server.client()
    client.put_bucket_versioning(Bucket=bucket_of(given), VersioningConfiguration={"Status": "Enabled"})
    return client


def test_where_the_bucket_keeps_versions_all_goes_on_and_it_is_said_that_nothing_is_gone(
    versioned: Any, given: Settings, blobs: ObjectStore, shared_engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    content = os.urandom(100)
    one = kept(blobs, content)
    kept(blobs, content)
    with caplog.at_level(logging.WARNING):
        checking.check(given)
        assert blobs.sweep(shared_engine, now=time.time() + 2 * SWEEP_SECONDS) == 1
    assert [record.getMessage() for record in caplog.records] == ["documents.versions_stay"] * 2
    assert not there(blobs, one)
    assert list(blobs.names()) == []
    left = versioned.list_object_versions(Bucket=bucket_of(given))
    assert len(left.get("Versions", [])) >= 1  # it is not gone: what the warning says
    assert read(blobs, kept(blobs, content)) == content


def test_where_the_bucket_keeps_none_nothing_is_said(
    given: Settings, blobs: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    kept(blobs, b"x")
    with caplog.at_level(logging.WARNING):
        checking.check(given)
    assert caplog.records == []


def test_a_lifecycle_rule_for_what_is_left_over_changes_nothing(
    given: Settings, blobs: ObjectStore, server: Engine
) -> None:
    """Where the store has such rules at all."""
    rule = {
        "ID": "left", "Status": "Enabled", "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }  # fmt: skip
    with contextlib.suppress(ClientError, BotoCoreError):
        server.client().put_bucket_lifecycle_configuration(
            Bucket=bucket_of(given), LifecycleConfiguration={"Rules": [rule]}
        )
    one = kept(blobs, os.urandom(RANGE_BYTES + 1))
    assert there(blobs, one)


# Very many.


@pytest.fixture
def many(given: Settings, blobs: ObjectStore) -> int:
    """So many documents in a bucket."""
    (place,) = places(given)
    bucket = place.bucket()
    with ThreadPoolExecutor(16) as pool:
        names = (hashlib.sha256(b"%d" % number).hexdigest() for number in range(MANY))
        for _ in pool.map(lambda name: obstore.put(bucket, _key(name), b"x"), names):
            pass
    return MANY


def resident() -> int:
    """Of this process, in bytes, with what libraries that are not Python's hold."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_very_many_are_listed_and_swept_in_memory_that_does_not_grow(
    many: int, blobs: ObjectStore, shared_engine: sa.Engine
) -> None:
    assert sum(1 for _ in blobs.names()) == many  # what a first time needs is there
    tracemalloc.start()
    before, most, count = resident(), 0, 0
    for count, _ in enumerate(blobs.listed(), 1):
        if count % 1000 == 0:
            most = max(most, resident())
    assert count == many
    assert blobs.sweep(shared_engine) == 0  # all of them are young
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000 + 16 * many  # eight bytes of each are remembered, and as many while that is made
    assert most - before < 16_000_000
