"""A log that is in an object store, too: put there in slices, verified from there, and brought back."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.audit.databases import database_url, engine, shared_postgres
from tests.audit.log.test_retention import BEGIN, CERTIFICATES, COUNT, DAY, Log
from tests.audit.logs import LOG_ID, our_key
from tests.audit.search.test_reports import a_record
from tests.extent import LONG
from tests.store.engines import NAMES, Engine, Versity, engines
from tests.store.faulty import Asked, Fault, Faulty, faulty
from xds.audit.log import checkpoint as signing
from xds.audit.log import stored as module
from xds.audit.log.retention import Retention
from xds.audit.log.segments import as_leaf
from xds.audit.log.stored import CHECKPOINTS, SEGMENTS, Disagrees, Slice, Stored, Storing
from xds.audit.log.verify import Tampered, Verified, verify
from xds.audit.log.writer import LogWriter
from xds.audit.messages.message import AuditSource
from xds.errors import Unusable
from xds.initiating.audit_storing import cursor
from xds.settings.sections import S3, Audit, Server, Settings
from xds.store.audit import records as store
from xds.store.audit.objects import AuditObjects, NotStored

__all__ = ["database_url", "engine", "engines", "shared_postgres"]

pytestmark = [pytest.mark.large] if LONG else []


@pytest.fixture
def log(engine: sa.Engine, tmp_path: Path) -> Log:
    return Log(engine, tmp_path / "audit")


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest) -> Engine:
    started: Engine = request.getfixturevalue("engines")[request.param]
    return started


@pytest.fixture
def given(server: Engine) -> Settings:
    return settings(server.url, server.bucket())


def settings(url: str, bucket: str) -> Settings:
    return Settings(audit=Audit(object_store=f"s3://{bucket}/logs"), s3=S3(endpoint=url, seconds=20.0))


@pytest.fixture
def objects(given: Settings) -> AuditObjects:
    return AuditObjects(given)


def storing(log: Log, objects: AuditObjects) -> Storing:
    return Storing(log.folder, LOG_ID, objects)


def more(log: Log, count: int = 4, begin: int = COUNT) -> None:
    """Records that come later."""
    with log.engine.begin() as connection:
        store.record(connection, [
            replace(a_record(n, "iti18_responder"), recorded=BEGIN + n * DAY) for n in range(begin, begin + count)
        ])  # fmt: skip
        store.number(connection, 1000)
        rows = [as_leaf(row) for row in store.numbered_from(connection, begin, 1000)]
    writer = LogWriter(log.folder, our_key(), LOG_ID, segment_bytes=12_000)
    writer.open()
    writer.append(rows, rows[-1].recorded)
    writer.close()


def fetched(objects: AuditObjects, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    Stored(objects, LOG_ID).fetch(to)
    return to


def found(objects: AuditObjects, tmp_path: Path, **named: Any) -> Verified:
    return verify(fetched(objects, tmp_path / "back"), CERTIFICATES, every_signature=True, **named)


def same(one: Path, other: Path) -> bool:
    """Whether two folders have the same bytes of records and checkpoints."""
    files = [[b"".join(path.read_bytes() for path in sorted((at / folder).glob("*.log")))
              for folder in (SEGMENTS, CHECKPOINTS)] for at in (one, other)]  # fmt: skip
    return files[0] == files[1]


# Put there.


def test_a_log_is_there_byte_for_byte_and_verifies_from_there_alone(
    log: Log, objects: AuditObjects, tmp_path: Path
) -> None:
    assert storing(log, objects).step() == COUNT
    here = verify(log.folder, CERTIFICATES)
    assert found(objects, tmp_path) == here
    assert same(log.folder, tmp_path / "back")
    assert objects.logs() == [LOG_ID]


def test_what_is_new_is_put_and_nothing_twice(log: Log, objects: AuditObjects, tmp_path: Path) -> None:
    one = storing(log, objects)
    one.step()
    before = Stored(objects, LOG_ID).slices(SEGMENTS)
    assert one.step() == COUNT
    assert Stored(objects, LOG_ID).slices(SEGMENTS) == before
    more(log)
    assert one.step() == COUNT + 4
    more(log, begin=COUNT + 4)
    assert storing(log, objects).step() == COUNT + 8  # after a restart
    assert Stored(objects, LOG_ID).slices(SEGMENTS) == [
        *before, Slice(COUNT, COUNT + 4), Slice(COUNT + 4, COUNT + 8)
    ]  # fmt: skip
    assert found(objects, tmp_path).records == COUNT + 8
    assert same(log.folder, tmp_path / "back")


def test_a_slice_ends_where_a_segment_does_and_where_it_is_long_enough(
    log: Log, objects: AuditObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE_BYTES", 1)
    storing(log, objects).step()
    slices = Stored(objects, LOG_ID).slices(SEGMENTS)
    starts = {int(path.stem) for path in (log.folder / SEGMENTS).glob("*.log")}
    assert starts <= {one.first for one in slices}
    assert Stored(objects, LOG_ID).chain(SEGMENTS) == slices
    assert slices[-1].end == COUNT


def test_what_is_being_written_is_put_when_it_is_sealed(log: Log, objects: AuditObjects, tmp_path: Path) -> None:
    for folder, text in ((SEGMENTS, b"XDS-AUDIT-1 40 2026"), (CHECKPOINTS, b"XDS-CHECKPOINT-1 10 44 900\n<half")):
        (*_, path) = sorted((log.folder / folder).glob("*.log"))
        with path.open("ab") as file:
            file.write(text)
    assert storing(log, objects).step() == COUNT
    assert found(objects, tmp_path).records == COUNT


def test_an_empty_log_is_nothing_yet(tmp_path: Path, objects: AuditObjects) -> None:
    assert Storing(tmp_path / "none", LOG_ID, objects).step() == 0
    with pytest.raises(NotStored, match="there are no segments"):
        fetched(objects, tmp_path / "back")


# A store that fails.


@pytest.fixture
def way(server: Engine) -> Iterator[Faulty]:
    with faulty(server.port) as way:
        yield way


def after(count: int, fault: Fault, method: str) -> Callable[[Asked], Fault | None]:
    seen = Counter[str]()

    def says(asked: Asked) -> Fault | None:
        seen[asked.method] += 1
        return fault if asked.method == method and seen[method] > count else None

    return says


@pytest.mark.parametrize("count", range(4))
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_store_that_fails_in_the_midst_is_gone_on_with_later(
    log: Log, server: Engine, way: Faulty, tmp_path: Path, count: int, method: str
) -> None:
    given = settings(way.url, server.bucket())
    objects = AuditObjects(replace(given, s3=replace(given.s3, seconds=1.0)))
    way.says = after(count, Fault(500, "InternalError"), method)
    one = storing(log, objects)
    with pytest.raises(NotStored):
        one.step()
    way.says = lambda _: None
    assert one.step() == COUNT
    assert found(objects, tmp_path).records == COUNT
    assert same(log.folder, tmp_path / "back")


def test_what_the_store_gives_back_otherwise_does_not_count_as_stored(
    log: Log, server: Engine, way: Faulty, tmp_path: Path
) -> None:
    objects = AuditObjects(settings(way.url, server.bucket()))
    way.says = lambda asked: Fault(wrong=True) if asked.method == "GET" and "/segments/" in asked.path else None
    with pytest.raises(NotStored, match="something else than was sent"):
        storing(log, objects).step()
    assert Stored(objects, LOG_ID).slices(CHECKPOINTS) == []
    way.says = lambda _: None
    assert storing(log, objects).step() == COUNT
    assert found(objects, tmp_path).records == COUNT


# Another history.


def test_another_history_than_the_one_that_is_there_is_not_put_over_it(
    log: Log, objects: AuditObjects, engine: sa.Engine, tmp_path: Path
) -> None:
    storing(log, objects).step()
    before = Stored(objects, LOG_ID).slices(SEGMENTS)
    shutil.rmtree(log.folder)
    with engine.begin() as connection:
        rows = [as_leaf(row) for row in store.numbered_from(connection, 0, 1000)]
    rows[7] = replace(rows[7], message=rows[7].message.replace(b"<", b" <", 1))
    writer = LogWriter(log.folder, our_key(), LOG_ID)
    writer.open()
    writer.append(rows, rows[-1].recorded)
    writer.close()
    with pytest.raises(Disagrees, match="are not those that the object store's last checkpoint counts"):
        storing(log, objects).step()
    assert Stored(objects, LOG_ID).slices(SEGMENTS) == before
    assert found(objects, tmp_path).records == COUNT


def test_a_log_that_is_shorter_than_what_is_there_is_told(log: Log, objects: AuditObjects) -> None:
    storing(log, objects).step()
    shutil.rmtree(log.folder)
    with pytest.raises(Disagrees, match="here are fewer"):
        storing(log, objects).step()


def test_what_was_changed_there_is_found(log: Log, objects: AuditObjects, tmp_path: Path) -> None:
    storing(log, objects).step()
    one = Stored(objects, LOG_ID)
    (first, second, *_) = one.slices(SEGMENTS)
    data = one.data(SEGMENTS, second)
    objects.put(one.path(SEGMENTS, second), data.replace(b"iti18", b"iti81").replace(b"110112", b"110106", 1))
    with pytest.raises(Tampered) as problem:
        found(objects, tmp_path)
    assert problem.value.step == 2
    assert first.end <= (problem.value.leaf or 0) < second.end
    objects.put(one.path(SEGMENTS, second), data)
    assert objects.remove(one.path(SEGMENTS, second))
    with pytest.raises(Tampered) as problem:
        found(objects, tmp_path)
    assert (problem.value.step, problem.value.leaf) == (5, first.end)


def test_what_a_witness_has_seen_is_held_against_it(log: Log, objects: AuditObjects, tmp_path: Path) -> None:
    storing(log, objects).step()
    last = found(objects, tmp_path).last
    assert last is not None
    seen = signing.sign(last, our_key())
    assert found(objects, tmp_path, witnessed=[seen]).last == last
    other = signing.sign(replace(last, root=bytes(32)), our_key())
    with pytest.raises(Tampered) as problem:
        found(objects, tmp_path, witnessed=[other])
    assert problem.value.step == 7


@pytest.mark.parametrize("name", ["../x", "1-2.log", f"{3:020d}-{2:020d}.log", f"{0:020d}-{1:020d}.log.sh", "x"])
def test_what_is_called_otherwise_there_is_passed_over(
    log: Log, objects: AuditObjects, tmp_path: Path, name: str
) -> None:
    storing(log, objects).step()
    objects.put(f"{LOG_ID}/{SEGMENTS}/{name.replace('../', 'up')}", b"hostile")
    assert found(objects, tmp_path).records == COUNT


# Erased.


def test_what_is_erased_here_is_erased_there(log: Log, objects: AuditObjects, tmp_path: Path) -> None:
    one = storing(log, objects)
    one.step()
    first, second, *_ = log.over()
    for segment in (first, second):
        log.erase(segment)
    one.step()
    left = Stored(objects, LOG_ID).slices(SEGMENTS)
    assert [slice_ for slice_ in left if slice_.end <= second.end] == [
        Slice(first.first, first.end, is_erased=True), Slice(second.first, second.end, is_erased=True)
    ]  # fmt: skip
    back = found(objects, tmp_path)
    assert (back.records, back.erased) == (COUNT, second.end)
    assert storing(log, objects).step() == COUNT
    assert same(log.folder, tmp_path / "back")


def test_a_log_of_which_parts_were_erased_before_is_there_with_what_stands_in_their_place(
    log: Log, objects: AuditObjects, tmp_path: Path
) -> None:
    first, *_ = log.over()
    log.erase(first)
    storing(log, objects).step()
    back = found(objects, tmp_path)
    assert (back.records, back.erased) == (COUNT, first.end)


def test_nothing_is_erased_here_before_it_is_there(log: Log) -> None:
    name = cursor(LOG_ID)
    log.retention = Retention(log.engine, log.folder, LOG_ID, our_key(), AuditSource("xds", ""), (name,))
    assert {one.kept_for for one in log.over()} == {"not all of it was indexed and sent on"}
    first, *_ = log.over()
    with pytest.raises(Unusable, match="are kept"):
        log.erase(first)
    with log.engine.begin() as connection:
        store.move(connection, name, COUNT)
    assert {one.kept_for for one in log.over()} == {""}


def locked(server: Engine, days: int = 30) -> str:
    """A bucket that keeps what is put into it."""
    client, name = server.client(), f"locked-{server.bucket()}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    retention = {"Mode": "COMPLIANCE", "Days": days}
    client.put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
    )
    return name


def test_a_bucket_with_a_lock_says_until_when_and_one_without_does_not(
    log: Log, server: Engine, objects: AuditObjects
) -> None:
    one = storing(log, objects)
    one.step()
    assert objects.locked_until(one.newest) is None
    kept = AuditObjects(settings(server.url, locked(server)))
    one = storing(log, kept)
    one.step()
    until = kept.locked_until(one.newest)
    if isinstance(server, Versity):  # it keeps what the bucket's default says, and says nothing of it
        assert until is None
        return
    assert until is not None
    assert timedelta(days=29) < until - datetime.now(UTC) < timedelta(days=31)


def test_what_a_lock_keeps_is_read_as_erased_and_its_bytes_stay_until_it_ends(
    log: Log, server: Engine, tmp_path: Path
) -> None:
    bucket = locked(server)
    objects = AuditObjects(settings(server.url, bucket))
    one = storing(log, objects)
    one.step()
    first, *_ = log.over()
    log.erase(first)
    one.step()
    one.step()
    back = found(objects, tmp_path)
    assert (back.records, back.erased) == (COUNT, first.end)
    versions = server.client().list_object_versions(Bucket=bucket, Prefix=f"logs/{LOG_ID}/{SEGMENTS}/{0:020d}")
    assert [one["Key"] for one in versions["Versions"] if one["Key"].endswith(".log")]


# Settings.


@pytest.mark.parametrize(
    ("url", "documents", "told"),
    [
        ("file:/somewhere", "", "s3://BUCKET"),
        ("s3://", "", "s3://BUCKET"),
        ("s3://b/docs/", "s3://b/docs", "documents are there"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(url: str, documents: str, told: str) -> None:
    with pytest.raises(Unusable, match=told):
        AuditObjects(Settings(server=Server(documents=documents), audit=Audit(object_store=url)))
