"""Two stores as one, while documents move: a document is found in whichever has it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.databases import shared_engine
from tests.store.documents.test_blobs import kept, names_it, read, settings
from xds.errors import Unusable
from xds.settings.sections import S3
from xds.store.documents.both import Both
from xds.store.documents.folder import BlobStore, Damaged, NotReachable, Unread
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.documents.stores import open_blobs, places
from xds.wire.spool import CHUNK_BYTES

__all__ = ["shared_engine"]

LONG = bytes(range(256)) * (CHUNK_BYTES // 256) * 3 + b"the end"


@pytest.fixture
def both(tmp_path: Path, shared_engine: sa.Engine) -> Both:
    given = settings(tmp_path, documents=f"file:{tmp_path / 'new'}", documents_also=f"file:{tmp_path / 'old'}")
    opened = open_blobs(given, shared_engine)
    assert isinstance(opened, Both)
    return opened


class Away(BlobStore):
    """A folder that does not answer."""

    def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:  # noqa: ARG002
        raise Unread(sha256)

    def holding(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:  # noqa: ARG002
        raise NotReachable

    def sweep(self, engine: sa.Engine, now: float | None = None) -> int:  # noqa: ARG002
        raise NotReachable


def test_what_is_put_goes_into_the_first(both: Both) -> None:
    one = kept(both, b"new")
    assert list(both.first.names()) == [one.sha256]
    assert list(both.also.names()) == []


def test_each_is_found_and_read_where_it_is(both: Both) -> None:
    old, new = kept(both.also, b"old"), kept(both.first, b"new")
    wanted = [(old.sha256, 3), (hashlib.sha256(b"none").hexdigest(), 4), (new.sha256, 3)]
    assert both.holding(wanted) == [True, False, True]
    assert (read(both, old), read(both, new)) == (b"old", b"new")
    assert set(both.names()) == {old.sha256, new.sha256}


def test_what_is_in_neither_is_damaged(both: Both) -> None:
    with pytest.raises(Damaged):
        list(both.chunks(hashlib.sha256(b"none").hexdigest(), 4))


def test_what_was_cut_off_in_the_first_is_read_from_the_other(both: Both) -> None:
    one = kept(both.also, LONG)
    kept(both.first, LONG)
    assert isinstance(both.first, BlobStore)
    both.first.path(one.sha256).write_bytes(LONG[:100])
    assert both.holding([(one.sha256, len(LONG))]) == [True]
    assert read(both, one) == LONG


@pytest.mark.parametrize("content", [b"short", LONG], ids=["short", "long"])
def test_what_is_damaged_in_the_first_is_read_from_the_other(both: Both, content: bytes) -> None:
    """Of the right size: only who reads it to its end sees that."""
    one = kept(both.also, content)
    kept(both.first, content)
    assert isinstance(both.first, BlobStore)
    both.first.path(one.sha256).write_bytes(bytes(len(content)))
    assert read(both, one) == content
    both.also.remove(one.sha256)
    with pytest.raises(Damaged):
        read(both, one)


def test_what_is_moved_while_it_is_read_is_read_to_its_end(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old store loses it in the middle: the new one, which had it not when it was looked for, goes on."""
    one = kept(both.also, LONG)
    moved_after = BlobStore.unchecked

    def unchecked(self: BlobStore, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:
        chunks = moved_after(self, sha256, size_bytes, start)
        if self is both.also:
            yield next(chunks)
            kept(both.first, LONG)
            both.also.remove(sha256)
            raise Damaged(sha256)
        yield from chunks

    monkeypatch.setattr(BlobStore, "unchecked", unchecked)
    assert read(both, one) == LONG


def test_what_is_moved_between_two_looks_is_held(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kept(both.also, LONG)
    held = BlobStore.holding

    def holding(self: BlobStore, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        if self is both.also:
            kept(both.first, LONG)
            both.also.remove(one.sha256)
        return held(self, wanted)

    monkeypatch.setattr(BlobStore, "holding", holding)
    assert both.holding([(one.sha256, len(LONG))]) == [True]


def test_of_a_store_that_is_away_the_other_s_documents_are_given_and_its_own_may_come_later(
    tmp_path: Path, shared_engine: sa.Engine
) -> None:
    both = Both(BlobStore(tmp_path / "new"), Away(tmp_path / "old"))
    one, absent = kept(both.first, b"new"), (hashlib.sha256(b"none").hexdigest(), 4)
    assert both.holding([(one.sha256, 3)]) == [True]
    assert read(both, one) == b"new"
    with pytest.raises(NotReachable):
        both.holding([(one.sha256, 3), absent])
    with pytest.raises(Unread):
        list(both.chunks(*absent))


def test_the_sweep_goes_through_both(both: Both, shared_engine: sa.Engine) -> None:
    """Also through one when the other is away."""
    named = kept(both.also, uuid.uuid4().bytes)
    names_it(shared_engine, named)
    kept(both.also, uuid.uuid4().bytes), kept(both.first, uuid.uuid4().bytes)
    later = SWEEP_SECONDS * 1e6
    assert both.sweep(shared_engine, now=later) == 2
    assert list(both.names()) == [named.sha256]
    nameless = kept(both.also, uuid.uuid4().bytes)
    with pytest.raises(NotReachable):
        Both(Away(both.staging.parent), both.also).sweep(shared_engine, now=later)
    assert both.also.holding([(nameless.sha256, 16)]) == [False]


# What the settings say.


@pytest.mark.parametrize(
    ("documents", "also"),
    [
        ("", "file:{data}/documents"),
        ("file:{data}/there", "file:///{data}/there"),
        ("file:{data}/..", "file:{data}/../{name}/.."),
        ("s3://bucket/prefix", "s3://bucket/prefix/"),
    ],
)
def test_a_store_is_not_both(tmp_path: Path, documents: str, also: str) -> None:
    documents, also = (url.format(data=tmp_path, name=tmp_path.name) for url in (documents, also))
    given = settings(tmp_path, documents=documents, documents_also=also)
    with pytest.raises(Unusable, match=r"server\.documents_also is where server\.documents is already"):
        places(given)


@pytest.mark.parametrize("also", ["https://bucket", "/srv/documents"])
def test_another_store_to_read_from_is_refused(tmp_path: Path, also: str) -> None:
    with pytest.raises(Unusable, match=r"server\.documents_also: only file: and s3://"):
        places(settings(tmp_path, documents_also=also))


def test_the_same_bucket_of_another_service_is_another(tmp_path: Path) -> None:
    given = settings(tmp_path, documents="s3://bucket", documents_also="s3://bucket")
    with pytest.raises(Unusable):
        places(given)
    first, also = places(replace(given, s3_also=S3(endpoint="http://127.0.0.1:9")))
    assert (first.s3.endpoint, also.s3.endpoint) == ("", "http://127.0.0.1:9")


def test_a_slash_at_the_end_makes_no_other_service(tmp_path: Path) -> None:
    given = settings(tmp_path, documents="s3://bucket", documents_also="s3://bucket")
    given = replace(given, s3=S3(endpoint="http://127.0.0.1:9"), s3_also=S3(endpoint="http://127.0.0.1:9/"))
    with pytest.raises(Unusable, match="is already"):
        places(given)


def test_the_other_service_has_keys_of_its_own_where_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSO_AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("ALSO_AWS_SECRET_ACCESS_KEY", "secret")
    first, also = places(settings(tmp_path, documents="s3://one", documents_also="s3://other"))
    assert (first.keys.get("access_key_id"), also.keys["access_key_id"]) == (None, "other")
    assert also.bucket().config.get("access_key_id") == "other"


@pytest.mark.parametrize(
    ("s3", "said"),
    [
        (S3(), (None, None)),
        (S3(encryption="AES256"), ("AES256", None)),
        (S3(encryption="aws:kms", encryption_key="key-1"), ("aws:kms", "key-1")),
    ],
)
def test_the_store_is_told_to_encrypt_where_the_settings_say_so(
    tmp_path: Path, s3: S3, said: tuple[str | None, str | None]
) -> None:
    (place,) = places(replace(settings(tmp_path, documents="s3://one"), s3=s3))
    config = place.bucket().config
    assert (config.get("server_side_encryption"), config.get("sse_kms_key_id")) == said


def test_half_of_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "only")
    (place,) = places(settings(tmp_path, documents="s3://one"))
    with pytest.raises(Unusable, match=r"server\.documents: .*SecretAccessKey"):
        place.bucket()
