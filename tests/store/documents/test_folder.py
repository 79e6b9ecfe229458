"""Document bytes whole or not at all, and the rows that name them."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.databases import at_once, shared_engine
from tests.store.documents.test_blobs import kept, staged
from xds.store.documents.folder import BlobStore, DocumentTable, Kept
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.wire.spool import CHUNK_BYTES, Spool

__all__ = ["shared_engine"]

LONG = bytes(range(256)) * (CHUNK_BYTES // 256) * 2 + b"the end"


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "documents")


@pytest.fixture
def spool(blobs: BlobStore) -> Iterator[Spool]:
    with Spool(blobs.staging) as spool:
        yield spool


def test_the_same_content_is_kept_once(blobs: BlobStore) -> None:
    first = kept(blobs, LONG)
    inode = blobs.path(first.sha256).stat().st_ino
    assert kept(blobs, LONG).sha256 == first.sha256
    assert blobs.path(first.sha256).stat().st_ino == inode
    assert list(blobs.staging.iterdir()) == []


def test_content_that_comes_again_is_young_again(blobs: BlobStore) -> None:
    one = kept(blobs, LONG)
    os.utime(blobs.path(one.sha256), (0, 0))
    kept(blobs, LONG)
    assert blobs.path(one.sha256).stat().st_mtime > time.time() - 60


# Rows.


def a_kept(**changes: object) -> Kept:
    one = Kept("2.25.1", "text/plain", 3, "a" * 40, "b" * 64, "registered", "", "anna^^^&1.2&ISO")
    return replace(one, **changes)  # type: ignore[arg-type]


class Rows:
    """The rows of a repository of its own, a transaction a call."""

    def __init__(self, engine: sa.Engine, repository: str = "") -> None:
        self.engine, self.repository = engine, repository or uuid.uuid4().hex

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object, **named: object) -> object:
            with self.engine.begin() as connection:
                return getattr(DocumentTable(connection, self.repository), name)(*arguments, **named)

        return call


@pytest.fixture
def rows(shared_engine: sa.Engine) -> Rows:
    return Rows(shared_engine)


def test_a_row_is_found_as_it_was_added(rows: Rows) -> None:
    assert rows.find("2.25.1") is None
    assert rows.add(a_kept()) is True
    assert rows.find("2.25.1") == a_kept()
    assert Rows(rows.engine).find("2.25.1") is None


def test_a_registered_row_is_not_changed_by_another(rows: Rows) -> None:
    rows.add(a_kept())
    assert rows.add(a_kept(sha256="c" * 64, state="pending", submission="s")) is False
    assert rows.add(a_kept(state="pending", submission="s")) is False
    assert rows.find("2.25.1") == a_kept()


def test_a_pending_row_is_taken_over_by_a_resend_of_the_same_bytes_only(rows: Rows) -> None:
    rows.add(a_kept(state="pending", submission="first"))
    assert rows.add(a_kept(state="pending", submission="other", sha256="c" * 64)) is False
    assert rows.find("2.25.1") == a_kept(state="pending", submission="first")
    assert rows.add(a_kept(state="pending", submission="second")) is False
    assert rows.find("2.25.1") == a_kept(state="pending", submission="second")
    rows.settle("first")
    assert rows.find("2.25.1") == a_kept(state="pending", submission="second")
    rows.settle("second")
    assert rows.find("2.25.1") == a_kept(state="registered", submission="second")


def test_settling_ends_the_waiting_of_one_submission(rows: Rows) -> None:
    for number, submission in ((1, "one"), (2, "one"), (3, "two")):
        rows.add(a_kept(document_unique_id=f"2.25.{number}", state="pending", submission=submission))
    rows.add(a_kept(document_unique_id="2.25.4", submission="one"))
    rows.settle("one")
    states = [getattr(rows.find(f"2.25.{number}"), "state", None) for number in (1, 2, 3, 4)]
    assert states == ["registered", "registered", "pending", "registered"]


@pytest.mark.parametrize("registered", [True, False])
def test_settling_one_document_leaves_the_others(rows: Rows, registered: bool) -> None:
    other = Rows(rows.engine)
    for table in (rows, other):
        for number in (1, 2):
            table.add(a_kept(document_unique_id=f"2.25.{number}", state="pending", submission="s"))
    rows.settle_one("2.25.1", registered=registered)
    assert getattr(rows.find("2.25.1"), "state", None) == ("registered" if registered else None)
    assert rows.pending(0) == ["2.25.2"]
    assert other.pending(0) == ["2.25.1", "2.25.2"]


def test_what_has_waited_longest_comes_first(rows: Rows) -> None:
    for number in (3, 1, 2):
        rows.add(a_kept(document_unique_id=f"2.25.{number}", state="pending", submission="s"))
    assert rows.pending(0) == ["2.25.3", "2.25.1", "2.25.2"]
    assert rows.pending(0, most=2) == ["2.25.3", "2.25.1"]
    assert rows.pending(60) == []


def test_of_many_who_add_one_row_one_does(rows: Rows) -> None:
    added = at_once([lambda: rows.add(a_kept())] * 8)
    assert sorted(map(bool, added)) == [False] * 7 + [True]


# Both: the sweep.


def test_the_sweep_takes_what_is_old_and_named_by_nothing(blobs: BlobStore, spool: Spool, rows: Rows) -> None:
    named, nameless, young = (kept(blobs, data) for data in (b"named", b"nameless", b"young"))
    rows.add(a_kept(sha256=named.sha256, state="pending"))
    left, being_staged = staged(spool, b"left behind"), staged(spool, b"under way")
    for path in (blobs.path(named.sha256), blobs.path(nameless.sha256), left.path):
        os.utime(path, (0, 0))
    assert blobs.sweep(rows.engine, now=time.time()) == 2
    assert blobs.sweep(rows.engine, now=time.time()) == 0
    assert blobs.path(named.sha256).exists()
    assert blobs.path(young.sha256).exists()
    assert being_staged.path.exists()
    assert not blobs.path(nameless.sha256).exists()
    assert not left.path.exists()
    assert blobs.sweep(rows.engine, now=time.time() + 2 * SWEEP_SECONDS) == 2
    assert blobs.path(named.sha256).exists()


def test_a_file_that_another_sweep_took_is_not_counted(
    blobs: BlobStore, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kept(blobs, b"nameless")
    path = blobs.path(one.sha256)
    os.utime(path, (0, 0))
    locked = BlobStore.locked

    def gone_meanwhile(self: BlobStore, sha256: str) -> object:
        path.unlink(missing_ok=True)
        return locked(self, sha256)

    monkeypatch.setattr(BlobStore, "locked", gone_meanwhile)
    assert blobs.sweep(rows.engine, now=time.time()) == 0


def test_content_that_comes_while_the_sweep_is_about_stays(blobs: BlobStore, rows: Rows) -> None:
    """Whichever is first, a blob is there whenever a put has returned."""
    sha256 = hashlib.sha256(LONG).hexdigest()

    def put() -> bool:
        kept(blobs, LONG)
        return blobs.holds(sha256, len(LONG))

    def sweep() -> bool:
        blobs.sweep(rows.engine, now=time.time())
        return True

    for _ in range(10):
        kept(blobs, LONG)
        os.utime(blobs.path(sha256), (0, 0))
        assert at_once([put, sweep, put, sweep], threads=4) == [True] * 4
