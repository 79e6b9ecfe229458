"""``xds documents move``: documents go to another store; what would be wrong is refused before anything is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
import sqlalchemy as sa

from tests.cli.command import Done, xds
from tests.hostile.server import Served
from tests.store.documents.test_blobs import kept
from tests.store.object_stores import Server, s3_server
from xds.errors import Unusable
from xds.settings.configuration import load
from xds.store.deployment import prepare, with_identity
from xds.store.documents import moving
from xds.store.documents.both import Both
from xds.store.documents.folder import DocumentTable, Kept
from xds.store.documents.stores import places
from xds.store.engine import make_engine
from xds.store.interface import Blobs
from xds.store.tables import audit_record

__all__ = ["s3_server"]

CONTENTS = [b"", b"the first", b"the second", bytes(range(256)) * 40_000]
WAYS = ["folder to folder", "folder to s3", "s3 to folder", "s3 to s3"]


class Site:
    """A deployment with documents in its old store."""

    def __init__(self, folder: Path, old: str, new: str, endpoint: str = "") -> None:
        server = {"documents": new, "documents_also": old}
        s3 = {"endpoint": endpoint, "seconds": 20.0} if endpoint else {}
        self.served = Served(folder / "site", {"server": server, "s3": s3})
        self.served.write_config()
        self.config = self.served.config
        loaded = with_identity(load(self.config, {}))
        self.engine = make_engine(loaded.settings.database_url, connections=2)
        prepare(self.engine, loaded)
        self.new, self.old = (place.open(self.engine) for place in places(loaded.settings))
        self.names = {self.has(content): content for content in CONTENTS}

    def has(self, content: bytes, *, where: Blobs | None = None, row: bool = True) -> str:
        """A document in the old store; its SHA-256."""
        one = kept(where or self.old, content)
        if row:
            with self.engine.begin() as connection:
                DocumentTable(connection, "1.2.3").add(
                    Kept(f"2.25.{one.sha256[:20]}", "text/plain", one.size_bytes, one.sha1, one.sha256)
                )
        return one.sha256

    def move(self, *more: object) -> Done:
        return xds("documents", "move", "--config", self.config, *more)

    def moved(self, *more: object) -> Any:
        done = self.move("--json", *more)
        assert (done.code, done.err) == (0, ""), done.out
        return done.json

    def read(self) -> dict[str, bytes]:
        """Each document as a server would read it."""
        both = Both(self.new, self.old)
        return {name: b"".join(both.chunks(name, len(content))) for name, content in self.names.items()}

    def contents(self, blobs: Blobs) -> dict[str, bytes]:
        known = {sha256: len(content) for sha256, content in self.names.items()}
        return {name: b"".join(blobs.chunks(name, known[name])) for name in blobs.names()}


def a_store(name: str, kind: str, folder: Path, server: Server | None) -> str:
    return f"file:{folder / name}" if kind == "folder" or server is None else f"s3://{server.bucket()}/{name}"


@pytest.fixture(autouse=True)
def nothing_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "SWEEP_SECONDS", -60)


@pytest.fixture(params=WAYS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    old, new = request.param.split(" to ")
    server = request.getfixturevalue("s3_server") if "s3" in (old, new) else None
    stores = a_store("old", old, tmp_path, server), a_store("new", new, tmp_path, server)
    site = Site(tmp_path, *stores, server.url if server else "")
    yield site
    site.engine.dispose()


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", f"file:{tmp_path / 'new'}")
    yield site
    site.engine.dispose()


def test_documents_are_copied_and_at_the_end_the_old_store_is_empty(site: Site) -> None:
    told = site.moved()
    assert (told["documents"], told["copied"], told["copied_bytes"]) == (4, 4, sum(map(len, CONTENTS)))
    assert site.contents(site.new) == site.contents(site.old) == site.names
    again = site.moved()
    assert (again["documents"], again["copied"], again["removed"]) == (4, 0, 0)
    ended = site.moved("--finish")
    assert (ended["copied"], ended["removed"], ended["left"]) == (0, 4, 0)
    assert list(site.old.names()) == []
    assert site.contents(site.new) == site.names
    assert [path for path in site.new.staging.iterdir() if path.is_file()] == []
    assert site.moved("--finish")["documents"] == 0


def test_what_came_since_is_moved_at_the_end(site: Site) -> None:
    site.moved()
    since = site.has(b"since")
    site.names[since] = b"since"
    told = site.moved("--finish")
    assert (told["copied"], told["removed"], told["left"]) == (1, 5, 0)
    assert site.contents(site.new) == site.names


def test_a_dry_run_touches_nothing(site: Site) -> None:
    told = site.moved("--dry-run", "--finish")
    assert (told["documents"], told["copied"], told["removed"], told["dry_run"]) == (4, 4, 4, True)
    assert list(site.new.names()) == []
    assert site.contents(site.old) == site.names


def test_what_the_new_store_has_damaged_is_copied_again_before_the_old_one_lets_it_go(folders: Site) -> None:
    folders.moved()
    name = hashlib.sha256(b"the first").hexdigest()
    folders.new.path(name).write_bytes(b"the worst")  # type: ignore[attr-defined]
    assert folders.moved("--finish")["copied"] == 1
    assert folders.contents(folders.new) == folders.names


def test_what_the_old_store_has_damaged_is_named_and_stays(folders: Site) -> None:
    name = hashlib.sha256(b"the first").hexdigest()
    folders.old.path(name).write_bytes(b"the worst")  # type: ignore[attr-defined]
    done = folders.move("--finish")
    assert done.code == 1
    assert f"damaged, and only there: document {name}" in done.err
    assert "3 removed" in done.out
    assert "1 document left there" in done.out
    assert list(folders.old.names()) == [name]
    assert name not in set(folders.new.names())


def test_what_was_put_within_the_last_hour_is_left(folders: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "SWEEP_SECONDS", 3600)
    name = hashlib.sha256(b"the first").hexdigest()
    os.utime(folders.old.path(name), (0, 0))  # type: ignore[attr-defined]
    done = folders.move("--finish")
    assert "1 removed" in done.out
    assert "3 documents left there: run this again in an hour" in done.out
    assert folders.contents(folders.old) == {key: value for key, value in folders.names.items() if key != name}


def test_what_no_row_names_is_left_to_the_sweep(folders: Site) -> None:
    young = folders.has(b"young", row=False)
    old = folders.has(b"old", row=False)
    os.utime(folders.old.path(old), (0, 0))  # type: ignore[attr-defined]
    assert folders.moved("--finish")["left"] == 1
    assert list(folders.old.names()) == [young]
    assert folders.contents(folders.new) == folders.names


def test_what_is_said_at_the_end_and_on_record(folders: Site) -> None:
    copied, ended = folders.move(), folders.move("--finish")
    assert "4 copied to file:" in copied.out
    assert "nothing was removed" in copied.out
    assert "take server.documents_also out of the settings" in ended.out
    with folders.engine.connect() as connection:
        said = [bytes(row.message) for row in connection.execute(sa.select(audit_record.c.message))]
    assert sum(b"urn:xds:documents:move" in message for message in said) == 2


# Refused, before anything is touched.


def refused(site: Site, *more: object) -> str:
    before = set(site.new.names()), set(site.old.names())
    done = site.move(*more)
    assert (done.code, done.out) == (1, ""), done.out
    assert (set(site.new.names()), set(site.old.names())) == before
    return done.err


def test_a_move_from_nowhere_is_refused(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.write_config()
    served.settings  # noqa: B018  it is made
    done = xds("documents", "move", "--config", served.config)
    assert (done.code, done.err) == (
        1, "xds: server.documents_also is not set: it names the store that documents are moved from\n"
    )  # fmt: skip


def test_a_store_with_something_else_in_it_is_refused(site: Site, tmp_path: Path) -> None:
    new, _ = places(site.served.settings)
    if new.is_bucket:
        obstore.put(new.bucket(), "pictures/of-a-cat.jpg", b"meow")
    else:
        (new.folder / "pictures").mkdir(parents=True)
    assert "holds pictures" in refused(site)


def test_a_store_with_documents_that_nobody_knows_is_refused(folders: Site) -> None:
    another = folders.has(b"another deployment's", where=folders.new, row=False)
    os.utime(folders.new.path(another), (0, 0))  # type: ignore[attr-defined]
    assert "the database knows none of them" in refused(folders)


def test_a_store_under_another_name_is_refused(site: Site) -> None:
    """Here a link that is made when the settings have been read, or another name of the same service."""
    new, old = places(site.served.settings)
    if old.is_bucket:
        site.served.sections["server"] |= {"documents": f"{old}", "documents_also": f"{old}"}  # type: ignore[operator]
        endpoint = old.s3.endpoint.replace("127.0.0.1", "localhost")
        site.served.sections["s3_also"] = site.served.sections["s3"] | {"endpoint": endpoint}  # type: ignore[operator]
        site.served.write_config()
        assert "under another name" in refused(site, "--finish")
        assert site.contents(site.old) == site.names
        return
    going = moving.Move(site.served.settings, site.engine, moving.Pace(0))
    if new.is_bucket:
        pytest.skip("a folder is no bucket")
    shutil.rmtree(new.folder)
    new.folder.symlink_to(old.folder)
    with pytest.raises(Unusable, match="under another name"):
        going.check()
    assert [one.name for one in (old.folder / "staging").iterdir()] == []


def test_a_bucket_is_left_without_what_shows_whether_it_is_another(site: Site) -> None:
    site.moved()
    for place in places(site.served.settings):
        if place.is_bucket:
            names = [one["path"] for batch in obstore.list(place.bucket()) for one in batch]
            assert [name for name in names if name.startswith("staging")] == []
        else:
            assert list((place.folder / "staging").iterdir()) == []


def test_another_user_than_the_service_is_refused(folders: Site) -> None:
    """What root makes the service cannot read."""
    os.chown(folders.served.settings.data / "identity.json", 65534, -1)
    assert "sudo -u 'nobody'" in refused(folders)


def test_a_bucket_that_is_not_there_is_refused(tmp_path: Path, s3_server: Server) -> None:
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", "s3://none", s3_server.url)
    done = site.move()
    assert (done.code, done.out) == (1, "")
    assert "server.documents: s3://none: there is no such bucket" in done.err
    site.engine.dispose()


def test_a_disk_without_room_is_refused(folders: Site) -> None:
    folders.served.sections["server"]["least_free_bytes"] = 1 << 60  # type: ignore[index]
    folders.served.write_config()
    assert "bytes are needed" in refused(folders)


def test_a_store_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    site = Site(tmp_path, f"file:{tmp_path / 'old'}", "s3://there", "http://127.0.0.1:1")
    done = site.move()
    assert (done.code, done.out, done.err) == (1, "", "xds: s3://there does not answer: run this again\n")
    site.engine.dispose()


def test_a_server_does_not_start_on_a_bucket_that_is_not_there(tmp_path: Path, s3_server: Server) -> None:
    s3 = {"endpoint": s3_server.url, "seconds": 20.0}
    served = Served(tmp_path, {"server": {"documents": "s3://none/xds"}, "s3": s3})
    served.launch()
    assert served.process is not None
    assert served.process.wait(60) == 1
    assert "xds: server.documents: s3://none/xds: there is no such bucket" in served.log
    assert not (served.data / "documents" / "staging").exists() or served.staged() == []
