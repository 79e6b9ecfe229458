"""Documents at rest: what a stolen disk tells, what is found when somebody has changed it, and keys that change."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from tests.store.databases import at_once, shared_engine
from tests.store.documents.test_blobs import kept, read, settings, with_tables
from tests.store.object_stores import Server, s3_server
from xds.errors import Unusable
from xds.settings.sections import S3, Settings
from xds.store.documents import checking, wrapping
from xds.store.documents.folder import BlobStore, Damaged, NotReachable
from xds.store.documents.generations import NOTES
from xds.store.documents.sealing import Sealing, stored_bytes
from xds.store.documents.shelves import FILE, WITHIN, FolderShelf
from xds.store.documents.stores import Place, open_blobs, places
from xds.store.engine import make_engine
from xds.store.interface import Blobs
from xds.store.tables import deployment
from xds.wire.sealed import SEGMENT_BYTES, UNIT_BYTES, text_bytes
from xds.wire.spool import HEADER_BYTES, NotKept, Spool, Spooled

__all__ = ["s3_server", "shared_engine"]

TEXT = b"Anna Schmidt, born 1970-01-01: " * 20_000
assert len(TEXT) > 2 * SEGMENT_BYTES


@dataclass
class Store:
    """A folder of encrypted documents, its key file and its database."""

    folder: Path
    key_file: Path
    engine: sa.Engine
    documents: str = ""
    s3: S3 = S3()  # noqa: RUF009  it is frozen

    @property
    def settings(self) -> Settings:
        given = settings(self.folder, documents=self.documents, documents_key=str(self.key_file))
        return replace(given, s3=self.s3)

    @property
    def place(self) -> Place:
        return places(self.settings)[0]

    def open(self) -> Blobs:
        """As a process that has just been started."""
        return open_blobs(self.settings, self.engine)

    def files(self) -> list[Path]:
        return sorted(one for one in (self.folder / "documents" / WITHIN).glob("??/??/*"))

    def inner(self) -> BlobStore:
        return BlobStore(self.folder / "documents", WITHIN, self.place.store_keys(self.engine))

    def file_of(self, one: Spooled) -> Path:
        return self.inner().path(one.sha256)

    def note(self) -> str:
        with self.engine.connect() as connection:
            wanted = deployment.c.name == NOTES + self.place.note
            return str(connection.scalar(sa.select(deployment.c.value).where(wanted)) or "")

    def forgets(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.delete(deployment).where(deployment.c.name == NOTES + self.place.note))

    @property
    def keys_file(self) -> Path:
        return self.folder / "documents" / WITHIN / FILE


@pytest.fixture
def store(tmp_path: Path, shared_engine: sa.Engine) -> Store:
    wrapping.add(tmp_path / "documents.keys")
    return Store(tmp_path / "data", tmp_path / "documents.keys", shared_engine)


@pytest.fixture
def bucket(store: Store, s3_server: Server) -> Store:
    return replace(store, documents=f"s3://{s3_server.bucket()}/some", s3=S3(endpoint=s3_server.url, seconds=5.0))


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


# What a stolen disk tells.


def test_no_file_has_what_the_document_says_nor_what_it_is_known_by(store: Store) -> None:
    blobs = store.open()
    with Spool(blobs.staging, sealed=blobs.seals) as spool:
        writing = spool.new()
        writing.write(TEXT)
        one = writing.finish()
        under_way = one.path.read_bytes()
        blobs.put(one)
    assert read(blobs, one) == TEXT
    everything = under_way + b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    assert b"Schmidt" not in everything
    names = " ".join(str(path.relative_to(store.folder)) for path in store.folder.rglob("*"))
    for said in (one.sha256, one.sha1, one.sha256[:16]):
        assert said.encode() not in everything
        assert said not in names
    secret = next(iter(wrapping.KeyFile(store.key_file).keys.values())).key
    assert secret not in everything


def test_the_same_document_is_other_bytes_in_another_store(store: Store, tmp_path: Path) -> None:
    other = replace(store, folder=tmp_path / "other")
    one = kept(store.open(), TEXT)
    assert kept(other.open(), TEXT).sha256 == one.sha256
    (mine,), (theirs,) = store.files(), other.files()
    assert mine.name != theirs.name
    assert mine.read_bytes()[HEADER_BYTES:] != theirs.read_bytes()[HEADER_BYTES:]


def test_an_earlier_version_that_sweeps_sees_none_of_them(store: Store) -> None:
    """It would find no row of their names, and remove them after an hour."""
    kept(store.open(), TEXT)
    assert list(BlobStore(store.folder / "documents").names()) == []
    assert store.files() != []


# What was changed is found.


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, shared_engine: sa.Engine) -> tuple[Store, Spooled, bytes]:
    """A store with a short document, and what its file has."""
    folder = tmp_path_factory.mktemp("short")
    wrapping.add(folder / "keys")
    store = Store(folder / "data", folder / "keys", shared_engine)
    one = kept(store.open(), b"short")
    return store, one, store.file_of(one).read_bytes()


@bounded(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_any_bit_of_a_file_that_is_another_is_found(
    short: tuple[Store, Spooled, bytes], data: st.DataObject
) -> None:  # fmt: skip
    store, one, good = short
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    spoilt = bytearray(good)
    spoilt[at] ^= 1 << bit
    store.file_of(one).write_bytes(spoilt)
    with pytest.raises(Damaged):
        list(store.open().unchecked(one.sha256, one.size_bytes))
    store.file_of(one).write_bytes(good)
    assert read(store.open(), one) == b"short"


@bounded(deadline=None)
@given(st.integers(0, HEADER_BYTES + 5 + 15))
def test_any_file_that_was_cut_off_is_found(short: tuple[Store, Spooled, bytes], left: int) -> None:
    store, one, good = short
    store.file_of(one).write_bytes(good[:left])
    assert store.open().holding([(one.sha256, one.size_bytes)]) == [False]
    with pytest.raises(Damaged):
        list(store.open().unchecked(one.sha256, one.size_bytes))
    store.file_of(one).write_bytes(good)


def test_files_that_have_changed_places_are_found(store: Store) -> None:
    blobs = store.open()
    one, other = kept(blobs, TEXT), kept(blobs, TEXT[::-1])
    first, second = store.file_of(one), store.file_of(other)
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    for each in (one, other):
        with pytest.raises(Damaged):
            list(blobs.unchecked(each.sha256, each.size_bytes))
    # Nor does one's content open behind the other's header.
    first.write_bytes(contents[0][:HEADER_BYTES] + contents[1][HEADER_BYTES:])
    with pytest.raises(Damaged):
        list(blobs.unchecked(one.sha256, one.size_bytes))
    first.write_bytes(contents[0])
    assert read(blobs, one) == TEXT


@pytest.mark.parametrize("start", [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, len(TEXT) - 1, len(TEXT)])
def test_from_any_place_on_it_is_the_document_s_rest(store: Store, bucket: Store, start: int) -> None:
    for each in (store, bucket):
        blobs = each.open()
        one = kept(blobs, TEXT)
        assert b"".join(blobs.unchecked(one.sha256, one.size_bytes, start)) == TEXT[start:]


def test_what_is_damaged_further_on_hinders_nobody_who_reads_before_it(store: Store, caplog: Any) -> None:
    blobs = store.open()
    one = kept(blobs, TEXT)
    spoil(store.file_of(one), HEADER_BYTES + 2 * UNIT_BYTES + 5)
    came = list[bytes]()
    with caplog.at_level(logging.ERROR), pytest.raises(Damaged):
        came.extend(blobs.unchecked(one.sha256, one.size_bytes))
    assert b"".join(came) == TEXT[: 2 * SEGMENT_BYTES]
    told, *_ = [one for one in caplog.records if one.message == "document.not_opened"]
    assert (told.sha256, told.problem) == (one.sha256, "segment 2")


def test_a_document_that_is_put_again_while_it_is_read_is_read_to_its_end(store: Store) -> None:
    """In a bucket its object is another from one request to the next."""
    blobs = store.open()
    one = kept(blobs, TEXT)
    path, again = store.file_of(one), iter((True,))

    class ByRequests(BlobStore):
        """Reads each piece of what is there then."""

        def unchecked(self, sha256: str, size_bytes: int, start: int = 0) -> Iterator[bytes]:  # noqa: ARG002
            for at in range(start, size_bytes, 100_000):
                yield path.read_bytes()[at : at + 100_000]
                if next(again, False):
                    path.unlink()
                    kept(blobs, TEXT)

    reading = Sealing(ByRequests(store.folder / "documents"), store.place.store_keys(store.engine))
    before = path.read_bytes()
    assert b"".join(reading.chunks(one.sha256, one.size_bytes)) == TEXT
    assert path.read_bytes() != before
    assert store.inner().holds(one.sha256, stored_bytes(one.size_bytes))


# Keys that change.


def test_another_key_takes_the_place_of_the_first_and_no_document_is_touched(store: Store) -> None:
    one = kept(store.open(), TEXT)
    before = {path: path.read_bytes() for path in store.files()}
    running = store.open()
    assert read(running, one) == TEXT
    first = wrapping.KeyFile(store.key_file).newest.id
    second = wrapping.add(store.key_file).id
    assert store.place.store_keys(store.engine).uses() == {first: 1}
    assert store.place.store_keys(store.engine).rotate() == 1
    assert store.place.store_keys(store.engine).uses() == {second: 2}
    wrapping.remove(store.key_file, first)

    later = store.open()
    assert read(later, one) == TEXT
    other = kept(later, b"after that")
    assert {path: path.read_bytes() for path in before} == before
    assert read(running, other) == b"after that"  # whose process knew the first one only
    assert first not in store.keys_file.read_text() + store.note()


def test_documents_before_and_after_are_wrapped_by_keys_of_their_own(store: Store) -> None:
    one = kept(store.open(), TEXT)
    wrapping.add(store.key_file)
    store.place.store_keys(store.engine).rotate()
    other = kept(store.open(), TEXT[::-1])
    ids = {store.file_of(each).read_bytes()[8:24] for each in (one, other)}
    assert len(ids) == 2


def test_a_key_that_is_missing_is_named_before_anything_is_served(store: Store) -> None:
    kept(store.open(), TEXT)
    needed = wrapping.KeyFile(store.key_file).newest.id
    store.key_file.unlink()
    wrapping.add(store.key_file)
    with pytest.raises(Unusable, match=f"need the key {needed}, which {store.key_file} has not: bring that key back"):
        checking.opens(store.place, store.engine)
    blobs = store.open()
    with pytest.raises(NotReachable):
        blobs.holding([("0" * 64, 1)])
    with Spool(blobs.staging, sealed=True) as spool:
        writing = spool.new()
        writing.write(b"x")
        with pytest.raises(NotKept):
            blobs.put(writing.finish())
    with pytest.raises(Damaged):
        list(blobs.chunks(hashlib.sha256(TEXT).hexdigest(), len(TEXT)))


def test_a_store_that_is_encrypted_is_not_opened_as_one_that_is_not(store: Store, bucket: Store) -> None:
    needed = wrapping.KeyFile(store.key_file).newest.id
    for each in (store, bucket):
        kept(each.open(), TEXT)
        without = replace(each.place, key_file="")
        with pytest.raises(
            Unusable, match=f"encrypted by the key {needed}: server.documents_key must name where it is"
        ):
            checking.opens(without, store.engine)
    with pytest.raises(Unusable, match=needed):
        replace(store.place, key_file="").open(store.engine)


def test_keys_of_a_store_that_are_gone_are_made_from_the_database_s(store: Store, caplog: Any) -> None:
    one = kept(store.open(), TEXT)
    for spoilt in (None, b"", b'{"format": 1, "keys": []}', b"\xff" * 100):
        if spoilt is None:
            store.keys_file.unlink()
        else:
            store.keys_file.write_bytes(spoilt)
        with caplog.at_level(logging.WARNING):
            assert read(store.open(), one) == TEXT
        assert "documents.keys_brought_back" in caplog.text
        assert store.keys_file.read_text() == store.note()
        caplog.clear()


def test_keys_of_a_store_that_came_back_from_an_earlier_time_are_completed(store: Store) -> None:
    before = kept(store.open(), TEXT)
    earlier, first = store.keys_file.read_bytes(), wrapping.KeyFile(store.key_file).newest.id
    wrapping.add(store.key_file)
    store.place.store_keys(store.engine).rotate()
    after, newest = kept(store.open(), b"after that"), store.keys_file.read_bytes()
    wrapping.remove(store.key_file, first)
    store.keys_file.write_bytes(earlier)
    assert [read(store.open(), one) for one in (before, after)] == [TEXT, b"after that"]
    assert store.keys_file.read_bytes() == newest
    assert store.note() == newest.decode()


def test_keys_that_the_database_has_lost_are_noted_again(store: Store) -> None:
    one = kept(store.open(), TEXT)
    store.forgets()
    checking.opens(store.place, store.engine)
    assert store.keys_file.read_text() == store.note()
    assert read(store.open(), one) == TEXT


def test_keys_that_are_nowhere_are_not_replaced_by_others(store: Store) -> None:
    kept(store.open(), TEXT)
    store.forgets()
    store.keys_file.unlink()
    with pytest.raises(Unusable, match="are encrypted, and their keys are gone"):
        checking.opens(store.place, store.engine)
    assert not store.keys_file.exists()


def test_of_many_who_come_first_one_makes_the_keys(store: Store, bucket: Store) -> None:
    for each in (store, bucket):
        names = at_once([lambda each=each: each.place.store_keys(each.engine).name("0" * 64)] * 8)  # type: ignore[misc]
        assert len(set(names)) == 1, names
        assert {*each.place.store_keys(each.engine).uses().values()} == {1}


def test_a_store_whose_shelf_cannot_be_written_keeps_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: FolderShelf, data: bytes) -> None:
        raise NotReachable("no space left")

    monkeypatch.setattr(FolderShelf, "write", full)
    blobs = store.open()
    with pytest.raises(NotKept):
        kept(blobs, b"x")
    assert store.files() == []


# The file of keys.


def test_a_file_of_keys_is_its_owner_s_alone(store: Store) -> None:
    assert store.key_file.stat().st_mode & 0o777 == 0o600
    for mode in (0o644, 0o660, 0o602):
        store.key_file.chmod(mode)
        with pytest.raises(Unusable, match="chmod 600"):
            store.open()
    store.key_file.chmod(0o440)
    store.open()


def test_a_file_of_keys_that_was_changed_is_refused(store: Store, tmp_path: Path) -> None:
    good = store.key_file.read_text()
    id_, _, secret = good.splitlines()[-1].split()
    other = ("B" if secret[0] == "A" else "A") + secret[1:]
    for spoilt in (good.replace(secret, other), good.replace(id_, "0" * 16), good + "more\n", good[:-9] + "\n"):
        store.key_file.write_text(spoilt)
        with pytest.raises(Unusable, match="is no key, or is damaged"):
            store.open()
    store.key_file.write_text("# none\n")
    with pytest.raises(Unusable, match="has no key"):
        store.open()
    store.key_file.write_bytes(b"\xff\xfe")
    with pytest.raises(Unusable, match="is no file of keys"):
        store.open()
    store.key_file.unlink()
    with pytest.raises(Unusable, match="is not there; xds documents key new FILE makes one"):
        store.open()


def test_the_last_key_is_used_and_the_only_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first, second = wrapping.add(path), wrapping.add(path)
    assert [*wrapping.KeyFile(path).keys] == [first.id, second.id]
    assert wrapping.KeyFile(path).newest == second
    with pytest.raises(Unusable, match="has no key"):
        wrapping.remove(path, "0" * 16)
    wrapping.remove(path, second.id)
    with pytest.raises(Unusable, match="is the only key"):
        wrapping.remove(path, first.id)
    assert wrapping.KeyFile(path).newest == first
    assert first.key.hex() not in repr(first)


# What was kept before.


def test_what_was_kept_before_it_was_switched_on_is_read_and_swept(store: Store) -> None:
    plain = replace(store.place, key_file="").open(store.engine)
    before, also = kept(plain, TEXT), kept(plain, b"old")
    blobs = store.open()
    after = kept(blobs, b"new")
    assert [read(blobs, one) for one in (before, also, after)] == [TEXT, b"old", b"new"]
    assert blobs.holding([(one.sha256, one.size_bytes) for one in (before, also, after)]) == [True] * 3
    assert {*blobs.names()} == {before.sha256, also.sha256, after.sha256}
    assert blobs.remove(also.sha256)
    assert {*blobs.names()} == {before.sha256, after.sha256}
    assert read(blobs, kept(blobs, TEXT)) == TEXT  # now it is in both
    assert len(store.files()) == 2


_PUTS = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.store.documents.test_blobs import kept, settings
from xds.store.documents.stores import open_blobs
from xds.store.engine import make_engine
folder, key = sys.argv[1:]
given = settings(Path(folder), documents_key=key)
blobs = open_blobs(given, make_engine(given.database_url, connections=2))
number = 0
while True:
    number += 1
    one = kept(blobs, f"Anna Schmidt {number} ".encode() * 30_000)
    print(one.sha256, one.size_bytes, flush=True)
"""


@pytest.mark.parametrize("after", [1, 3, 6])
def test_who_is_killed_while_it_writes_leaves_what_was_kept_and_nothing_to_be_read(
    tmp_path: Path, after: int, shared_engine: sa.Engine
) -> None:
    if shared_engine.dialect.name != "sqlite":
        pytest.skip("the database has no part in it")
    wrapping.add(tmp_path / "keys")
    given = with_tables(settings(tmp_path / "data", documents_key=str(tmp_path / "keys")))
    command = [sys.executable, "-c", _PUTS, str(tmp_path / "data"), str(tmp_path / "keys")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith("\n")]
    store = Store(tmp_path / "data", tmp_path / "keys", make_engine(given.database_url, connections=2))
    blobs = store.open()
    for sha256, size in whole:
        assert hashlib.sha256(b"".join(blobs.chunks(sha256, int(size)))).hexdigest() == sha256
    for sha256 in blobs.names():  # what was not told of yet is there whole, or not at all
        size = text_bytes(store.inner().path(sha256).stat().st_size - HEADER_BYTES)
        assert hashlib.sha256(b"".join(blobs.chunks(sha256, size))).hexdigest() == sha256
    assert all(b"Schmidt" not in path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
    store.engine.dispose()
